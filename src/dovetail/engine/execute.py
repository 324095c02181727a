"""A flow version as the engine runs it."""

from __future__ import annotations

from collections.abc import Callable

from dovetail.clock import Clock
from dovetail.engine.chain import StepChain
from dovetail.engine.definition import FlowVersion
from dovetail.engine.observer import Observer


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
    """Current and older versions of one flow, compiled on first use."""

    def __init__(self, current: Compiled, load: Callable[[int], Compiled]) -> None:
        self.current = current
        self._load = load
        self._known = {current.number: current}

    async def close(self) -> None:
        """Close the steps of every version that was loaded."""
        for version in self._known.values():
            await version.close()

    def get(self, number: int) -> Compiled:
        """The version of that number; 0 is the current one. Raises ProjectError when it cannot be built any more."""
        if number == 0:
            return self.current
        found = self._known.get(number)
        if found is None:
            found = self._known[number] = self._load(number)
        return found
