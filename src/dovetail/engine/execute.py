"""A flow version as the engine runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from dovetail.clock import Clock
from dovetail.engine.chain import StepChain
from dovetail.engine.definition import Canary, FlowDefinition, FlowVersion
from dovetail.engine.observer import Observer
from dovetail.sdk import UNDEFINED, Message
from dovetail.store.base import State


class Compiled:
    """A version with its chain. Steps before `fan_out` are pure and run over whole batches; from there on each
    message runs
    on its own."""

    def __init__(self, flow: str, version: FlowVersion, observer: Observer, clock: Clock) -> None:
        self.version = version
        self.number = version.number
        self.policy = version.policy
        self.chain = StepChain(flow, version.steps, observer, clock)
        self.length = len(version.steps)
        self.index = {step.id: n for n, step in enumerate(version.steps)}
        self.opened = False
        self.ended: Counter[State] = Counter()  # messages that ended on it in this life
        self.fan_out = next((n for n, step in enumerate(version.steps) if step.effectful), self.length)

    async def open(self) -> None:
        """Open every step."""
        for step in self.version.steps:
            await step.open()
        self.opened = True

    async def close(self) -> None:
        """Close every step."""
        for step in self.version.steps:
            await step.close()


class Versions:
    """Current and older versions of one flow, compiled on first use; and the newer one that takes a share, if one
    does."""

    def __init__(
        self, current: Compiled, load: Callable[[int], Compiled], canary: tuple[Canary, Compiled] | None = None,
        moved: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.current = current
        self.canary: Canary | None = None
        self._trial: Compiled | None = None
        if canary is not None:
            self.canary, self._trial = canary
        self.moved = moved or {}
        self._load = load
        self._known = {current.number: current}
        if self._trial is not None:
            self._known[self._trial.number] = self._trial

    async def open(self) -> None:
        """Open the versions that new messages meet."""
        for version in (self.current, self._trial):
            if version is not None:
                await version.open()

    async def close(self) -> None:
        """Close the steps of every version that was loaded."""
        for version in self._known.values():
            await version.close()

    def compiled(self) -> list[Compiled]:
        """Every version that was loaded."""
        return list(self._known.values())

    def get(self, number: int) -> Compiled:
        """The version of that number. Raises ProjectError when it cannot be built any more."""
        found = self._known.get(number)
        if found is None:
            found = self._known[number] = self._load(number)
        return found

    def chosen(self, message: Message) -> Compiled:
        """The version for a new message: the current one, or the canary for its share."""
        if self.canary is None or self._trial is None:
            return self.current
        key = self.current.version.key
        try:
            value = key.evaluate(message) if key is not None else UNDEFINED
        except Exception:  # the door says what is wrong with it, in the current version's words
            return self.current
        known = None if value is UNDEFINED or value is None else str(value)
        return self._trial if self.canary.takes(known, message.body) else self.current


def versions_of(definition: FlowDefinition, observer: Observer, clock: Clock) -> Versions:
    """A flow's versions as it is deployed."""

    def compiled(version: FlowVersion) -> Compiled:
        return Compiled(definition.name, version, observer, clock)

    canary = definition.canary
    return Versions(
        compiled(definition.current), lambda number: compiled(definition.load(number)),
        (canary, compiled(canary.version)) if canary is not None else None, definition.moved,
    )  # fmt: skip
