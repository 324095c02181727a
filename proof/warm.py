"""Servers forked from a process that has imported everything: imports are nine tenths of a start.

Each is a process of its own that runs `dovetail`'s command line and can be killed like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from subprocess import TimeoutExpired
from threading import Lock

from proof import drilled

_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload(["proof.imported"])


class Forked:
    """Such a process, with as much of `subprocess.Popen` as a drill needs. Safe to ask from any thread."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """`words` are those after `dovetail`; what the process says goes to the end of `log`."""
        self._lock = Lock()
        self._process = _forked.Process(target=_run, args=(list(words), dict(environment), str(log)), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status once it has ended. Raises TimeoutExpired."""
        wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise TimeoutExpired("dovetail", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """A signal, unless it has ended."""
        with self._lock:
            if self._process.exitcode is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        with self._lock:
            self._process.kill()


def _run(words: list[str], environment: Mapping[str, str], log: str) -> None:
    """In the new process."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    os.environ.update(environment)
    sys.argv = ["dovetail", *words]
    drilled.main()
