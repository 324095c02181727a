"""Durable retries: rows on disk say when, one timer a flow wakes for the earliest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun
    from dovetail.engine.journey import Journey


class Timer:
    """Brings back a flow's waiting messages when they are due, as many as there is room for."""

    batch = 256
    longest = 60.0  # looks again after that many seconds at the latest

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._handle: asyncio.TimerHandle | None = None
        self._next = 0
        self._busy = False
        self._stopped = False

    def at(self, next_at: int) -> None:
        """Something is due at that time (engine milliseconds)."""
        if self._stopped:
            return
        if self._handle is not None:
            if self._next <= next_at:
                return
            self._handle.cancel()
        self._next = next_at
        delay = min(self.longest, max(0.0, (next_at - self._flow.engine.steady_ms()) / 1000))
        self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def start(self) -> None:
        """Find out what waits."""
        due = self._flow.engine.store.progress.next_due(self._flow.number)
        if due is not None:
            self.at(due)

    def stop(self) -> None:
        """No more."""
        self._stopped = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        engine = self._flow.engine
        if self._busy:
            return
        if engine.steady_ms() < self._next:  # only a long wait's next look
            self.start()
            return
        full = len(self._flow.ready) >= self._flow.window or self._flow.full_of_bytes()
        if not engine.dispatching or not engine.writer.available or full:
            self.at(engine.steady_ms() + 500)
            return
        self._busy = True
        engine.spawn(self._bring_back())

    async def _bring_back(self) -> None:
        flow = self._flow
        engine = flow.engine
        try:
            await engine.writer.barrier()
            journeys: list[Journey] = []
            size = 0
            for row in engine.store.progress.due(flow.number, engine.steady_ms(), self.batch):
                journey = await flow.loader.load(row)
                if journey is not None:
                    journeys.append(journey)
                    size += journey.message.size
                if size >= flow.window_bytes:
                    break  # the others stay due
            await flow.begin_again(journeys)
        except Exception as error:
            engine.log.error("timer_failed", flow=flow.name, error=repr(error))
            self.at(engine.steady_ms() + 5000)
            return
        finally:
            self._busy = False
        self.start()
