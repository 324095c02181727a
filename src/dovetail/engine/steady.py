"""The time that waits go by: the wall clock as it was once found, carried on by the clock that cannot be set.

A jump of the wall clock fires no timer early or twice, in this life or after a restart: what was found is kept in the
store, and holds for as long as the machine runs.
"""

from __future__ import annotations

from collections.abc import MutableMapping

import msgspec

from dovetail.clock import Clock
from dovetail.store.base import Register

MARK = "steady:"
UNSET = 30 * 86_400_000  # milliseconds; a clock that is further off was never set, and is believed once it is


class Steady:
    """`ms()` is the time. `keep` has it written with the next commit, if it is not known there."""

    def __init__(self, clock: Clock, register: Register) -> None:
        self._clock = clock
        found = clock.now_ms() - int(clock.monotonic() * 1000)
        self._offset, self._kept = found, False
        data = register.mark(MARK)
        if data and clock.origin():
            origin, offset = msgspec.msgpack.decode(data, type=tuple[str, int])
            if origin == clock.origin() and abs(offset - found) <= UNSET:
                self._offset, self._kept = offset, True

    def ms(self) -> int:
        """Milliseconds since 1970, by the wall clock as it was found at first."""
        return self._offset + int(self._clock.monotonic() * 1000)

    def keep(self, marks: MutableMapping[str, bytes]) -> None:
        """Have it written; nothing to do when it is."""
        if not self._kept and self._clock.origin():
            marks[MARK] = msgspec.msgpack.encode((self._clock.origin(), self._offset))
            self._kept = True
