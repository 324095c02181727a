"""A circuit breaker per target: stop calling what does not answer, and find out cheaply when it does again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from dovetail.clock import Clock, Ids

Position = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens at 50 % failures of the last 20 calls with at least 5, or 5 in a row; open 5 s, doubling to 5 min, with
    jitter.

    While open nothing is admitted. Then one probe is; its outcome closes or opens it again. `changed` hears every move.
    """

    window, least, in_a_row = 20, 5, 5
    first_open, longest_open = 5.0, 300.0

    def __init__(self, clock: Clock, ids: Ids, changed: Callable[[Position], None]) -> None:
        self._clock, self._ids, self._changed = clock, ids, changed
        self.position: Position = "closed"
        self._calls: deque[bool] = deque(maxlen=self.window)
        self._failed_in_a_row = 0
        self._span = 0.0
        self._until = 0.0
        self._probing = False

    def wait(self) -> float:
        """0 when a call may be made now; otherwise the seconds to wait before asking again. Asking when 0 admits the
        call."""
        if self.position == "closed":
            return 0.0
        now = self._clock.monotonic()
        if now < self._until:
            return self._until - now
        if self._probing:
            return 0.25
        self._move("half_open")
        self._probing = True
        return 0.0

    def release(self) -> None:
        """An admitted call ended without telling anything about the target (it was cancelled, or never made)."""
        self._probing = False

    def success(self) -> None:
        """The target answered, whatever it said of the message."""
        if self.position == "closed":
            if self._failed_in_a_row or self._calls:
                self._failed_in_a_row = 0
                self._calls.append(True)
            return
        self._probing = False
        self._span = 0.0
        self._failed_in_a_row = 0
        self._calls.clear()
        self._move("closed")

    def failure(self, *, at_once: bool = False, after: float | None = None) -> None:
        """The target did not answer as a working one does. `at_once`: no need to count (bad credentials, no such
        host)."""
        if self.position == "open":
            return  # calls that were under way when it opened tell nothing new
        self._failed_in_a_row += 1
        self._calls.append(False)
        bad = self._calls.count(False)
        many = len(self._calls) >= self.least and bad * 2 >= len(self._calls)
        if at_once or self.position == "half_open" or self._failed_in_a_row >= self.in_a_row or many:
            self._open(after)

    def _open(self, after: float | None) -> None:
        self._span = min(self.longest_open, self._span * 2 or self.first_open)
        self._until = self._clock.monotonic() + max(self._span * self._ids.uniform(0.8, 1.2), after or 0.0)
        self._probing = False
        self._move("open")

    def _move(self, position: Position) -> None:
        if position != self.position:
            self.position = position
            self._changed(position)
