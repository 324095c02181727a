"""What steps remember, in memory: enough to try a step that remembers, without an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail.sdk import Clock, Group, Message


@dataclass
class FakeGroup:
    """A group that a test can look into."""

    key: str
    value: Any = None
    due: int = 0
    messages: dict[int, Message] = field(default_factory=dict)

    def put(self, value: Any, due: int | None = None) -> None:
        self.value = json.loads(json.dumps(value))
        self.due = self.due if due is None else due

    def add(self, number: int, message: Message) -> None:
        self.messages[number] = message

    def has(self, number: int) -> bool:
        return number in self.messages

    def drop(self, number: int) -> None:
        self.messages.pop(number, None)

    def members(self) -> list[tuple[int, Message]]:
        return sorted(self.messages.items())

    def clear(self) -> None:
        self.value, self.due = None, 0
        self.messages.clear()


@dataclass
class FakeMemory:
    """What was remembered, decided and made."""

    decided: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    groups: dict[tuple[str, str], FakeGroup] = field(default_factory=dict)
    absorbed: dict[str, str] = field(default_factory=dict)  # by message id: the reason
    emitted: list[tuple[Message, str | None, str]] = field(default_factory=list)  # message, key, why it failed
    own: set[str] = field(default_factory=set)  # ids of messages that the step is to see as emitted by itself
    expected: dict[tuple[str, str], dict[int, Any]] = field(default_factory=dict)  # name, key -> place -> event
    told: dict[tuple[str, str], Any] = field(default_factory=dict)  # remembered events


class FakeState:
    """See `dovetail.sdk.State`."""

    def __init__(self, memory: FakeMemory, branch: str, clock: Clock) -> None:
        self._memory, self._branch, self._clock = memory, branch, clock

    def _key(self, step: str, message: Message) -> str:
        return f"{message.id}{self._branch}/{step}"

    def now(self) -> int:
        return self._clock.now_ms()

    def decided(self, step: str, message: Message) -> Any:
        return self._memory.decided.get(self._key(step, message))

    def decide(self, step: str, message: Message, decision: Any, note: str = "") -> None:
        self._memory.decided[self._key(step, message)] = json.loads(json.dumps(decision))
        self._memory.notes[message.id] = note

    def group(self, step: str, key: str, message: Message | None = None) -> Group:
        return self._memory.groups.setdefault((f"{step}{self._branch}", key), FakeGroup(key))

    def shared(self, name: str, key: str) -> Group:
        return self._memory.groups.setdefault((name, key), FakeGroup(key))

    def absorb(self, step: str, message: Message, reason: str) -> None:
        self._memory.absorbed[message.id] = reason

    def emit(
        self, step: str, group: Group, message: Message, *, key: str | None = None, members: Sequence[str] = (),
        failed: str = "",
    ) -> None:  # fmt: skip
        self._memory.emitted.append((message, key, failed))

    def emitted(self, step: str, message: Message) -> bool:
        return message.id in self._memory.own

    def expect(self, step: str, message: Message, name: str, key: str, info: Mapping[str, Any] | None = None) -> int:
        places = self._memory.expected.setdefault((name, key), {})
        places[len(places) + 1] = None
        return len(places)

    def heard(self, name: str, key: str, place: int) -> Any:
        event = self._memory.expected.get((name, key), {}).get(place)
        return event if event is not None else self._memory.told.get((name, key))

    def leave(self, name: str, key: str, place: int) -> None:
        self._memory.expected.get((name, key), {}).pop(place, None)

    def tell(self, name: str, key: str, event: Any, remember: int = 0) -> int:
        places = self._memory.expected.get((name, key), {})
        for place in places:
            places[place] = event
        if remember:
            self._memory.told[name, key] = event
        return len(places)
