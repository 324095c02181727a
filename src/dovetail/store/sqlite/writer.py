"""The one thread that waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Writer:
    """Runs one job at a time beside the event loop. A job returns its errors, it does not raise them.

    `gate` is held from the moment a job is handed over until it has ended: whoever uses the writing connection from the
    event loop's thread takes it, and so waits for the job.
    """

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="dovetail-store", daemon=True)
        self._thread.start()

    def start(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Hand over a job. It runs to its end whatever becomes of the caller."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.gate.acquire()
        self._jobs.put((job, done))
        return done

    def stop(self) -> None:
        """End the thread after the job it has; safe to call twice."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            result = job()
            self.gate.release()
            # A loop that was closed meanwhile has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                done.get_loop().call_soon_threadsafe(done.set_result, result)


async def ended(done: asyncio.Future[T]) -> tuple[T, bool]:
    """Wait until a job has ended, even while being cancelled: its result, and whether the caller was cancelled
    meanwhile."""
    cancelled = False
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            cancelled = True
    return done.result(), cancelled
