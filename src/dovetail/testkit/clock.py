"""Time that moves when it is told to, and names that come out the same for the same seed."""

from __future__ import annotations

import random


class VirtualClock:
    """Both clocks under the test's hand. `advance` moves them together; `set_wall` is what an operator or NTP does."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._wall = now_ms
        self._monotonic = 0.0

    def now_ms(self) -> int:
        """Wall time in milliseconds."""
        return self._wall + round(self._monotonic * 1000)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._monotonic

    def origin(self) -> str:
        """The clock's own: a restart keeps it."""
        return "virtual"

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._monotonic += seconds

    def set_wall(self, now_ms: int) -> None:
        """Set the wall clock without any time passing."""
        self._wall = now_ms - round(self._monotonic * 1000)


class SeededIds:
    """Names and dice from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = random.Random(seed)

    def token(self, size: int = 10) -> str:
        """As long as `size` bytes are in base32."""
        return "".join(self._dice.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(-(-size * 8 // 5)))

    def uniform(self, low: float, high: float) -> float:
        """A number from [low, high]."""
        return self._dice.uniform(low, high)
