"""The watchdog: ends the process when the event loop stands still, or when memory runs out, and says what ran.

Ending is the cure: nothing accepted is lost by it, the next start runs what was in flight one at a time, and only a
message that does it again takes the mark (see `recovery`). It is a thread. A call that never gives other threads
a turn stops this thread too; for that there is the system's own alarm, three times as patient: each thread's place is
printed, then SIGALRM ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path

from dovetail.engine.engine import Engine
from dovetail.sdk import Log

FAILED = 70  # exit status: the process could not go on, and another one should
_PAGE = os.sysconf("SC_PAGESIZE")


def resident() -> int:
    """Bytes of memory that this process has in use; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def allowed() -> int:
    """Bytes of memory that the system allows this process's group, 0 for no limit."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limit = int(Path(name).read_text())
            return limit if limit < 1 << 60 else 0
    return 0


class Watchdog:
    """Watches one engine from `start` (on its loop) until `stop`."""

    period = 0.1  # seconds between two looks
    soft, hard = 0.8, 0.95  # shares of the memory: one message at a time from here; the end from here

    def __init__(self, engine: Engine, log: Log, *, stall: float, memory: int) -> None:
        """`stall`: seconds the loop may stand still, 0 for ever. `memory`: bytes, 0 for what the system allows."""
        self._engine, self._log, self._stall = engine, log, stall
        self._memory = memory or allowed()
        self._missed = 0.0
        self._over = threading.Event()
        self._beat: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="dovetail-watchdog", daemon=True)

    def start(self) -> None:
        """Begin; called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._turn()
        self._thread.start()

    def stop(self) -> None:
        """No more."""
        self._over.set()
        if self._beat is not None:
            self._beat.cancel()
        if self._stall:
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _turn(self) -> None:
        """The loop turns."""
        self._missed = 0.0
        if self._stall:
            faulthandler.dump_traceback_later(3 * self._stall, file=sys.__stderr__ or 2)
            signal.setitimer(signal.ITIMER_REAL, 3 * self._stall + 0.5)
        self._engine.tight = bool(self._memory) and resident() > self.soft * self._memory
        self._beat = self._loop.call_later(min(1.0, self._stall / 4) if self._stall else 1.0, self._turn)

    def _watch(self) -> None:
        """Counts its own looks and not the time: a process that was stopped and goes on has not stood still."""
        while not self._over.wait(self.period):
            self._missed += self.period
            if self._stall and self._missed > self._stall:
                self._end("event_loop_stalled", seconds=self._stall)
            if self._memory and resident() > self.hard * self._memory:
                self._end("memory_exhausted", used=resident(), limit=self._memory)

    def _end(self, event: str, **fields: object) -> None:
        try:  # whatever happens to the line, the end comes
            self._log.error(
                event, **fields, running=self._running(), hint="run it under a supervisor that starts it again"
            )
        finally:
            os._exit(FAILED)

    def _running(self) -> list[str]:
        """Flow and number of the message whose task holds the loop; of all that are under way when it is not known."""
        busy = [
            (flow.name, journey)
            for flow in list(self._engine.flows.values())
            for journey in list(flow.active.values())
            if journey.busy
        ]
        current = asyncio.current_task(self._loop)
        blamed = [pair for pair in busy if pair[1].task is not None and pair[1].task is current]
        return [f"{flow}:{journey.seq}" for flow, journey in (blamed or busy)[:20]]
