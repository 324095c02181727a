"""Total deadlines for calls, by one sweep for all instead of a timer each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from dovetail.clock import Clock
from dovetail.errors import InDoubt

T = TypeVar("T")


class Deadlines:
    """Cancels a task's call when its time is over. Exact to the sweep's interval, a tenth of a second."""

    interval = 0.1

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()

    async def run(self, call: Awaitable[T], seconds: float) -> T:
        """Await `call` for at most `seconds`. Raises `InDoubt` when it was cut off (code `timeout`), or when a client
        library let a cancellation of its own slip out (`cancelled`)."""
        task = asyncio.current_task()
        assert task is not None
        outer = self._due.get(task)
        self._due[task] = self._clock.monotonic() + seconds
        try:
            return await call
        except asyncio.CancelledError:
            if task in self._expired:
                raise InDoubt(f"no complete answer within {seconds:g} s", code="timeout") from None
            if task.cancelling():
                raise
            raise InDoubt("the call was cancelled from within", code="cancelled") from None
        finally:
            if task in self._expired:
                self._expired.discard(task)
                task.uncancel()
            if outer is None:
                self._due.pop(task, None)
            else:
                self._due[task] = outer

    async def sweep(self) -> None:
        """Run as a task for as long as calls are made."""
        while True:
            await asyncio.sleep(self.interval)
            now = self._clock.monotonic()
            for task, at in list(self._due.items()):
                if at <= now and task not in self._expired:
                    self._expired.add(task)
                    task.cancel()
