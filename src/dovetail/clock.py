"""The only place that reads time, draws randomness or makes an id.

Everything else is handed a `Clock` and an `Ids`, so that the production engine runs under a virtual clock.
"""

from __future__ import annotations

import base64
import os
import random
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Two clocks: wall time to show and store, monotonic time to measure and to wait."""

    def now_ms(self) -> int:
        """Wall time as milliseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...

    def origin(self) -> str:
        """What `monotonic` counts from: readings of the same origin may be compared, also those of another process.
        Empty when nobody knows."""
        ...


class Ids(Protocol):
    """Names nobody used before, and dice."""

    def token(self, size: int = 10) -> str:
        """A fresh lower-case name of `size` random bytes (base32, unpadded)."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A number drawn evenly from [low, high]."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def origin(self) -> str:
        return _origin()


def _origin() -> str:
    """This start of the machine, and for how many seconds it has slept since (the clock does not count those)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    except (OSError, AttributeError):
        return ""
    return f"{boot}/{round(asleep)}"


class SystemIds:
    """Names from the operating system's entropy, dice from a private generator."""

    def __init__(self) -> None:
        self._dice = random.Random(os.urandom(16))

    def token(self, size: int = 10) -> str:
        return base64.b32encode(os.urandom(size)).decode().rstrip("=").lower()

    def uniform(self, low: float, high: float) -> float:
        return self._dice.uniform(low, high)


def seeded(*parts: object) -> random.Random:
    """A generator that draws the same for the same parts: what a step draws for a message is drawn again on a retry."""
    return random.Random("\x1f".join(map(str, parts)))
