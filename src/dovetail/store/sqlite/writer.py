"""The one thread that waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# A thread that comes back from the disk asks for the interpreter lock once in this many seconds. At Python's default of
# 5 ms, and with a busy event loop that lets go of the lock for moments only, commits took up to half a second.
SWITCH = 0.0002


class Job(Generic[T]):
    """Something for the writer's thread. It runs to its end whatever becomes of who waits for it."""

    __slots__ = ("_done", "_loop", "_result", "_waiter", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter = self._loop.create_future()
        self._work = work
        self._done = False
        self._result: T

    def run(self) -> None:
        """In the writer's thread."""
        self._result = self._work()

    def announce(self) -> None:
        """In the writer's thread: wake who waits. A loop that was closed meanwhile has nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._done = True
        if not self._waiter.done():
            self._waiter.set_result(None)

    async def ended(self) -> tuple[T, bool]:
        """Wait for the end even while being cancelled: the result, and whether the caller was cancelled meanwhile."""
        cancelled = False
        while not self._done:
            try:
                await self._waiter
            except asyncio.CancelledError:
                cancelled = True
                self._waiter = self._loop.create_future()
        return self._result, cancelled


class Writer:
    """Runs one job at a time beside the event loop. A job returns its errors, it does not raise them.

    `gate` is held from the moment a job is handed over until it has ended: whoever uses the writing connection from the
    event loop's thread takes it, and so waits for the job.
    """

    def __init__(self) -> None:
        if sys.getswitchinterval() > SWITCH:
            sys.setswitchinterval(SWITCH)
        self.gate = threading.Lock()
        self._jobs: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None  # begun with the first job

    async def run(self, work: Callable[[], T]) -> tuple[T, bool]:
        """Hand over a job and wait for its end: its result, and whether the caller was cancelled meanwhile."""
        job = Job(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="dovetail-store", daemon=True)
            self._thread.start()
        self.gate.acquire()
        self._jobs.put(job)  # type: ignore[arg-type]  # results differ from job to job
        return await job.ended()

    def stop(self) -> None:
        """End the thread after the job it has; safe to call twice."""
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            self.gate.release()
            job.announce()
