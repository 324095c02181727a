"""The only place that reads time, draws randomness or makes an id.

Everything else is handed a `Clock` and an `Ids`, so that the production engine runs under a virtual clock.
"""

from __future__ import annotations

import base64
import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: wall time to show and store, monotonic time to measure and to wait."""

    def now_ms(self) -> int:
        """Wall time as milliseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
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
