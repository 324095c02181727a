"""What a target may be asked to bear: a budget for retries, a rate for everything."""

from __future__ import annotations

import asyncio
from collections import deque

from dovetail.clock import Clock
from dovetail.engine.priority import Turns

Queue = deque[asyncio.Future[bool]]


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
    """Calls a second for one credential, shared by all flows; learns to wait from 429 and Retry-After.

    Who has to wait a little does so here, in memory, and the more urgent go first (`Turns`). A rank of which nobody
    waits may always send one to wait, however many more urgent ones there are: so each gets its share.
    """

    def __init__(self, clock: Clock, per_second: float | None) -> None:
        self._clock = clock
        self._gap = 1.0 / per_second if per_second else 0.0
        self._next = 0.0
        self._waiting: tuple[Queue, Queue, Queue] = (deque(), deque(), deque())
        self._turns = Turns()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def limited(self) -> bool:
        """Whether anybody has to ask at all."""
        return self._gap > 0.0 or self._next > 0.0

    async def turn(self, rank: int, patience: float) -> bool:
        """Return when the call may be made; False, at once, if that would take longer than `patience` (seconds)."""
        now = self._clock.monotonic()
        if self._next <= now and not any(self._waiting):
            self._next = now + self._gap
            return True
        held, queue = self._next - now, self._waiting[rank]
        ahead = sum(len(waiting) for waiting in self._waiting[: rank + 1])
        if held > patience or (queue and held + ahead * self._gap > patience):
            return False
        if not queue:
            self._turns.came(rank)
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.append(place)
        self._arm(held)
        try:
            return await place
        except asyncio.CancelledError:
            if place in queue:
                queue.remove(place)
            raise

    def _arm(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._fire)

    def _fire(self) -> None:
        """Let those go whose time has come."""
        self._timer = None
        now = self._clock.monotonic()
        while (rank := self._turns.of(self._waiting)) is not None:
            if self._next > now:
                self._arm(self._next - now)
                return
            place = self._waiting[rank].popleft()
            if not place.done():
                self._turns.took(rank, 1)
                self._next = max(self._next, now - self._gap) + self._gap
                place.set_result(True)

    def hold(self, seconds: float) -> None:
        """The target asked for silence; those who wait are sent away, if it is long."""
        self._next = max(self._next, self._clock.monotonic() + seconds)
        self.dismiss()

    def dismiss(self) -> None:
        """Send away everybody who waits."""
        for queue in self._waiting:
            while queue:
                place = queue.popleft()
                if not place.done():
                    place.set_result(False)

    def delay(self) -> float:
        """Seconds until the next place is free."""
        return max(0.0, self._next - self._clock.monotonic())
