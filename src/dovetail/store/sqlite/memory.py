"""What steps remember."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from dovetail.store import base
from dovetail.store.base import Memory
from dovetail.store.sqlite.database import Database

_COLUMNS = "flow, scope, key, item, value, at, due, version"
_PUT = f"INSERT OR REPLACE INTO memory ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class Memories(base.Memories):
    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, flow: int, scope: str, key: str, item: int = 0) -> Memory | None:
        sql = f"SELECT {_COLUMNS} FROM memory WHERE flow = ? AND scope = ? AND key = ? AND item = ?"
        values = self._db.one(sql, (flow, scope, key, item))
        return Memory(*values) if values else None

    def items(self, flow: int, scope: str, key: str) -> list[Memory]:
        sql = f"SELECT {_COLUMNS} FROM memory WHERE flow = ? AND scope = ? AND key = ? AND item > 0 ORDER BY item"
        return [Memory(*values) for values in self._db.read(sql, (flow, scope, key))]

    def due(self, flow: int, now: int, limit: int) -> list[Memory]:
        sql = f"""SELECT {_COLUMNS} FROM memory INDEXED BY memory_due
                  WHERE flow = ? AND due > 0 AND due <= ? ORDER BY due LIMIT ?"""
        return [Memory(*values) for values in self._db.read(sql, (flow, now, limit))]

    def next_due(self, flow: int) -> int | None:
        sql = "SELECT min(due) FROM memory INDEXED BY memory_due WHERE flow = ? AND due > 0"
        values = self._db.one(sql, (flow,))
        return values[0] if values else None

    def heads(self, flow: int, scope: str, after: str, limit: int) -> list[Memory]:
        sql = f"""SELECT {_COLUMNS} FROM memory
                  WHERE flow = ? AND scope = ? AND key > ? AND item = 0 ORDER BY key LIMIT ?"""
        return [Memory(*values) for values in self._db.read(sql, (flow, scope, after, limit))]


def write(connection: apsw.Connection, changes: Sequence[Memory]) -> None:
    """Make the changes, the later one of two to the same place winning."""
    gone, rows = folded(changes)
    if gone:
        connection.executemany("DELETE FROM memory WHERE flow = ? AND scope = ? AND key = ?", gone)
    dropped = [place for place, row in rows.items() if row.value is None]
    if dropped:
        connection.executemany("DELETE FROM memory WHERE flow = ? AND scope = ? AND key = ? AND item = ?", dropped)
    kept = [(*place, row.value, row.at, row.due, row.version) for place, row in rows.items() if row.value is not None]
    if kept:
        connection.executemany(_PUT, kept)


def folded(
    changes: Sequence[Memory],
) -> tuple[set[tuple[int, str, str]], dict[tuple[int, str, str, int], Memory]]:
    """What is left of changes made in order: keys that are emptied first, then one change for each item."""
    gone: set[tuple[int, str, str]] = set()
    rows: dict[tuple[int, str, str], dict[int, Memory]] = {}
    for change in changes:
        place = (change.flow, change.scope, change.key)
        if change.item == 0 and change.value is None:
            gone.add(place)
            rows[place] = {}
        else:
            rows.setdefault(place, {})[change.item] = change
    return gone, {(*place, item): row for place, items in rows.items() for item, row in items.items()}
