"""How far sources have come: read and raised by the transaction that accepts their messages."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from dovetail.store.base import Entry, Place

Key = tuple[int, str]


class Marks:
    """The high-water marks that one transaction meets. `known` tells, `seen` notes, `write` raises."""

    def __init__(self, connection: apsw.Connection, entries: Iterable[Entry]) -> None:
        self._connection = connection
        self._before: dict[Key, int] = {}
        self._seen: dict[Key, set[int]] = {}
        self._limits: dict[Key, int] = {}  # below the first conflict: that one is still to be kept
        self._at: dict[Key, tuple[int, bool]] = {}
        keys = {entry.position.key for entry in entries if entry.position is not None}
        if keys:
            sql = "SELECT scope, partition, number FROM positions WHERE scope = ? AND partition = ?"
            rows = connection.executemany(sql, keys)
            self._before = {(scope, partition): number for scope, partition, number in rows}

    def known(self, place: Place) -> bool:
        """Whether it was accepted before: at or below the mark as it stood before the transaction, or in this one."""
        return place.number <= self._before.get(place.key, -1) or place.number in self._seen.get(place.key, ())

    def seen(self, entry: Entry, place: Place) -> None:
        """It has been decided about."""
        self._seen.setdefault(place.key, set()).add(place.number)
        self._at[place.key] = entry.at, place.passing
        if entry.conflict_with:
            self._limits[place.key] = min(place.number - 1, self._limits.get(place.key, place.number))

    def write(self) -> None:
        """Raise the marks."""
        sql = """INSERT INTO positions VALUES (?, ?, ?, ?, ?) ON CONFLICT (scope, partition)
                 DO UPDATE SET number = max(number, excluded.number), at = excluded.at, passing = excluded.passing"""
        for (scope, partition), numbers in self._seen.items():
            number = min(max(numbers), self._limits.get((scope, partition), max(numbers)))
            self._connection.execute(sql, (scope, partition, number, *self._at[scope, partition]))
