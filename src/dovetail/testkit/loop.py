"""An event loop in which waiting costs nothing: when nobody can go on, time jumps to the next timer.

The order in which ready tasks run is drawn from a seed, so that another seed is another interleaving and the same
seed is the same run. Threads are refused, because they would bring real time in. A program that waits for nothing any
more is told so.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from dovetail.testkit.clock import VirtualClock

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Every task waits and no timer is set: in real life this hangs for ever."""


class _Selector(selectors.SelectSelector):
    """Sleeping is moving the clock."""

    clock: VirtualClock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        self.clock.advance(max(timeout, 0.0))
        if len(self.get_map()) <= 1:  # nothing but what another thread would wake the loop with: there is none
            return []
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs on `clock`; `seed` decides who goes first among those that can go on."""

    def __init__(self, clock: VirtualClock, seed: int = 0) -> None:
        selector = _Selector()
        selector.clock = clock
        super().__init__(selector)
        self.clock = clock
        self._dice = random.Random(seed)
        self._clock_resolution = 1e-6  # coarser than what a float of some years can tell apart

    def time(self) -> float:
        """The clock's monotonic time."""
        return self.clock.monotonic()

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        ready.rotate(self._dice.randrange(len(ready) or 1))
        super()._run_once()  # type: ignore[misc]

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:  # type: ignore[override]
        """Refused."""
        raise RuntimeError("a virtual loop has no threads")


def run(main: Callable[[VirtualClock], Coroutine[Any, Any, T]], seed: int = 0, clock: VirtualClock | None = None) -> T:
    """Run `main(clock)` to its end in virtual time. Raises `Deadlock` when it waits for what never comes."""
    clock = clock or VirtualClock()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock, seed)) as runner:
        return runner.run(main(clock))
