"""`dovetail run --supervise`: a parent that starts the server again when it ended without being told to."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dovetail.cli.exits import FAILED
from dovetail.clock import SystemClock

FIRST, LONGEST, STEADY = 0.5, 60.0, 60.0  # seconds: the first pause, the longest, a life after which it is the first

_PDEATHSIG = 1  # of prctl(2)


async def supervise(words: Sequence[str], address: Path) -> int:
    """Run `dovetail` with these words until it ends by itself; its exit code. `address`: where it says that it serves.

    One that was killed, or ended because it could not go on, is started again, after a pause that doubles. A problem in
    the project, found before it ever served, ends both: starting again would not mend it. Told to end in a pause, it
    ends at once; when it is killed itself, the child drains.
    """
    loop, told, clock = asyncio.get_running_loop(), asyncio.Event(), SystemClock()
    children: list[asyncio.subprocess.Process] = []

    def tell(number: int) -> None:
        told.set()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell, number)
    pause, served = FIRST, False
    while True:
        born = clock.monotonic()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dovetail", *words, preexec_fn=_with_parent(os.getpid())
        )
        children[:] = [child]
        if told.is_set():
            child.terminate()
        code = await child.wait()
        served = served or _announced(address) == child.pid
        if told.is_set() or code == 0 or (code > 0 and code != FAILED and not served):
            return max(0, code)
        pause = FIRST if clock.monotonic() - born > STEADY else pause
        sys.stderr.write(f"dovetail: the server ended with {code}; starting it again in {pause:g} s\n")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), pause)
        if told.is_set():
            return 0
        pause = min(LONGEST, 2 * pause)


def _with_parent(parent: int) -> Callable[[], None] | None:
    """Runs in the child before the server does: when the parent dies, however it dies, the child is told to drain. None
    where the system cannot do that (it is Linux that can)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def bind() -> None:
        prctl(_PDEATHSIG, signal.SIGTERM.value)
        if os.getppid() != parent:  # it is dead already
            os._exit(FAILED)

    return bind


def _announced(address: Path) -> int:
    """The process that said last that it serves; it takes that back when it ends in good order."""
    try:
        return int(msgspec.json.decode(address.read_bytes())["pid"])
    except (OSError, msgspec.DecodeError):
        return 0
