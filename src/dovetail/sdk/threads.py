"""Blocking code beside the event loop: a bounded number of threads, and the loop never waits for one.

A thread cannot be stopped from outside. When its deadline passes or its caller is cancelled, the caller goes on at
once; a function that had not begun never does, one that had runs to its own end and its result is thrown away.
Until then it keeps its thread, so functions that never end use up the threads, never more than that. They do not
keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from dovetail.errors import Paused, Retry

T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Threads:
    """At most `size` threads, started when they are first needed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._started = 0
        self._idle = threading.Semaphore(0)

    async def run(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """What `function(*args)` returns or raises.

        Raises `Retry` with the code `deadline` when it has not ended after `timeout` seconds, and `Paused` when it
        could not even begin because every thread is busy.
        """
        job: Future[T] = Future()
        self._jobs.put((job, function, args))
        if not self._idle.acquire(blocking=False) and self._started < self.size:
            self._started += 1
            threading.Thread(target=self._work, name=f"dovetail-{self._started}", daemon=True).start()
        waiting = asyncio.wrap_future(job)
        done, _ = await asyncio.wait([waiting], timeout=timeout) if timeout is not None else ({waiting}, None)
        if done:
            return await waiting
        if job.cancel():
            raise Paused(f"all {self.size} threads are busy", after=timeout)
        waiting.cancel()
        raise Retry(f"not finished after {timeout:g} s", code="deadline")

    def _work(self) -> None:
        while True:
            job, function, args = self._jobs.get()
            if job.set_running_or_notify_cancel():
                try:
                    result = function(*args)
                except BaseException as error:
                    job.set_exception(error)
                else:
                    job.set_result(result)
            del job, function, args
            self._idle.release()
