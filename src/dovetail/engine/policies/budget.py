"""What a target may be asked to bear: a budget for retries, a rate for everything."""

from __future__ import annotations

from dovetail.clock import Clock


class RetryBudget:
    """First calls earn a fifth of a retry; a retry costs one, and one that succeeds is given back.

    So an outage never multiplies calls by more than 1.2, however many messages wait. A retry a while is free, or
    messages would wait for ever where no new ones come in.
    """

    trickle = 0.1  # retries a second that nobody has to earn

    def __init__(self, clock: Clock, most: float = 20.0) -> None:
        self._clock = clock
        self._most = self._tokens = most
        self._at = clock.monotonic()

    def earn(self) -> None:
        """A first call was made."""
        if self._tokens < self._most:
            self._tokens = min(self._most, self._tokens + 0.2)

    def take(self) -> bool:
        """Whether a retry may be made now."""
        now = self._clock.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self.trickle)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def give_back(self) -> None:
        """The retry succeeded."""
        self._tokens = min(self._most, self._tokens + 1.0)


class Rate:
    """Calls a second for one credential, shared by all flows; learns to wait from 429 and Retry-After."""

    def __init__(self, clock: Clock, per_second: float | None) -> None:
        self._clock = clock
        self._gap = 1.0 / per_second if per_second else 0.0
        self._next = 0.0

    @property
    def limited(self) -> bool:
        """Whether anybody has to ask at all."""
        return self._gap > 0.0 or self._next > 0.0

    def reserve(self, patience: float) -> float | None:
        """Seconds to sleep before this call, having taken its place; None if that would exceed `patience` (nothing is
        taken)."""
        now = self._clock.monotonic()
        start = max(now, self._next)
        if start - now > patience:
            return None
        self._next = start + self._gap
        return start - now

    def hold(self, seconds: float) -> None:
        """The target asked for silence."""
        self._next = max(self._next, self._clock.monotonic() + seconds)

    def delay(self) -> float:
        """Seconds until the next place is free."""
        return max(0.0, self._next - self._clock.monotonic())
