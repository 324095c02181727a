"""What running steps remember: their memory, their decisions, and the messages they make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dovetail.engine.journey import effect_key, place
from dovetail.engine.lanes import PARTS
from dovetail.engine.memo import Attempt, Effect, Memo, meta_of, pack, pack_meta, readable, unpack_meta
from dovetail.engine.memory import Slot
from dovetail.engine.priority import UNSAID, said
from dovetail.engine.signals import SHARED
from dovetail.sdk import Group, Message
from dovetail.store.base import Entry, Progress
from dovetail.store.base import State as Where

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun

MEMORY = "memory"  # the target of the effects that are decisions
MOST_MEMBERS = 1000  # ids of members that an emitted message carries


class Kept(msgspec.Struct, array_like=True):
    """A message in a group's list."""

    seq: int
    at: int
    meta: bytes
    body: bytes
    key: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class Remembered:
    """See `dovetail.sdk.Group`: a slot whose list holds messages."""

    def __init__(self, flow: FlowRun, slot: Slot) -> None:
        self._flow, self.slot, self.key = flow, slot, slot.key

    @property
    def value(self) -> Any:
        return self.slot.value

    @property
    def due(self) -> int:
        return self.slot.due

    def put(self, value: Any, due: int | None = None) -> None:
        self.slot.put(value, due)

    def add(self, number: int, message: Message) -> None:
        json = self._flow.engine.codecs.by_name("json")
        meta = meta_of(message, parent=message.parent, variables=_variables(json, message), origin=message.origin)
        self.slot.set(number, _encode(Kept(message.ref, message.time_ms, pack_meta(meta), message.body, message.key)))

    def has(self, number: int) -> bool:
        return self.slot.get(number) is not None

    def drop(self, number: int) -> None:
        self.slot.set(number, None)

    def members(self) -> list[tuple[int, Message]]:
        return [(number, self._message(_decode(data))) for number, data in self.slot.items()]

    def _message(self, kept: Kept) -> Message:
        entry = Entry(0, kept.at, 0, kept.meta, kept.body, kept.key, seq=kept.seq)
        return self._flow.loader.message(entry, unpack_meta(kept.meta))

    def clear(self) -> None:
        self.slot.clear()


class RunState:
    """See `dovetail.sdk.State`; for the steps of one flow and branch."""

    def __init__(self, flow: FlowRun, branch: str) -> None:
        self._flow, self._engine, self._branch = flow, flow.engine, branch

    def now(self) -> int:
        return self._engine.steady_ms()

    def decided(self, step: str, message: Message) -> Any:
        memo = self._flow.active[message.ref].memo
        if memo is None:
            return None
        return decision_of(self._flow, memo, effect_key(self._flow.name, message.origin, step, self._branch))

    def decide(self, step: str, message: Message, decision: Any, note: str = "") -> None:
        journey = self._flow.active[message.ref]
        journey.notes.effects[effect_key(self._flow.name, message.origin, step, self._branch)] = Effect(
            step=step, target=MEMORY, state="done", attempt=journey.attempt, at=self._engine.clock.now_ms(),
            codec="json", body=self._engine.codecs.by_name("json").encode(decision), message=readable(note[:2000]),
            branch=place(self._branch),
        )  # fmt: skip
        self._flow.touch(journey)

    def group(self, step: str, key: str, message: Message | None = None) -> Remembered:
        slot = self._engine.keeper.slot(self._flow.number, f"{step}{self._branch}", key)
        if message is not None:
            slot.version = self._flow.active[message.ref].version.number
        return Remembered(self._flow, slot)

    def shared(self, name: str, key: str) -> Remembered:
        return Remembered(self._flow, self._engine.keeper.slot(SHARED, name, key))

    def absorb(self, step: str, message: Message, reason: str) -> None:
        self._flow.active[message.ref].absorbed = reason

    def emit(
        self, step: str, group: Group, message: Message, *, key: str | None = None, members: Sequence[str] = (),
        failed: str = "",
    ) -> None:  # fmt: skip
        assert isinstance(group, Remembered)
        flow, engine = self._flow, self._engine
        version = flow.versions.get(group.slot.version)
        now, json = engine.clock.now_ms(), engine.codecs.by_name("json")
        meta = meta_of(message, parent=message.id, owner=flow.number, variables=_variables(json, message))
        meta.emitted, meta.members = step, [_number(member) for member in members[:MOST_MEMBERS]]
        entry = Entry(
            stream=flow.stream, at=now, version=version.number, meta=pack_meta(meta), body=message.body,
            key=f"{PARTS}{key}" if key is not None else None, start=version.index[step] + 1,
            priority=self._priority(message),
        )  # fmt: skip
        engine.hook("before_emit_commit")
        if failed:
            memo = Memo(history=[Attempt(1, now, step, "memory", readable(failed), None, version.number)])
            row = Progress(flow.number, 0, Where.DEAD, now, 1, reason=readable(failed)[:1000], memo=pack(memo))
            engine.writer.moves.refused.append((entry, row))
            engine.writer.wake()
        else:
            engine.send_out([(entry, None)])

    def _priority(self, message: Message) -> int:
        """As urgent as the message that made it ready; normal when a time did."""
        journey = self._flow.active.get(message.ref)
        return said(journey.priority if journey is not None else UNSAID, self._flow.sorts)

    def emitted(self, step: str, message: Message) -> bool:
        return self._flow.active[message.ref].emitted == step

    def expect(self, step: str, message: Message, name: str, key: str, info: Mapping[str, Any] | None = None) -> int:
        known = {"flow": self._flow.name, "step": step, "message": message.id, **(info or {})}
        waits = effect_key(self._flow.name, message.id, step, self._branch)
        found = int(waits[:13], 16) + 1
        self._engine.signals.expect(self._flow.number, message.ref, name, key, found, known)
        return found

    def heard(self, name: str, key: str, place: int) -> Any:
        return self._engine.signals.heard(name, key, place)

    def leave(self, name: str, key: str, place: int) -> None:
        self._engine.signals.leave(name, key, place)

    def tell(self, name: str, key: str, event: Any, remember: int = 0) -> int:
        self._engine.hook("before_tell_commit")
        return self._engine.signals.tell(name, key, event, remember)


def decision_of(flow: FlowRun, memo: Memo, key: str) -> Any:
    """A decision on record, or None."""
    effect = memo.effects.get(key)
    if effect is None or effect.target != MEMORY:
        return None
    return flow.engine.codecs.by_name("json").decode(effect.body)


def _variables(json: Any, message: Message) -> bytes:
    return json.encode(message.variables) if message.variables else b""


def _number(message_id: str) -> int:
    return int(message_id.rpartition("-")[2], 16)
