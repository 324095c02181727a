"""The state of messages read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dovetail.store import base
from dovetail.store.base import DUE, PENDING, REDRIVEN, Parked, Progress, Query, Row, State
from dovetail.store.sqlite.database import Database
from dovetail.store.sqlite.rows import OPEN, PROGRESS, progress
from dovetail.store.sqlite.search import Search

_FRESH = """
SELECT (SELECT count(*) FROM journal INDEXED BY journal_stream WHERE stream = ?1 AND seq > ?2) - (
  SELECT count(*) FROM progress AS p CROSS JOIN journal AS j ON j.seq = p.seq
  WHERE p.flow = ?3 AND p.seq > ?2 AND j.stream = ?1)
"""
_KEYS_A_TIME = 1000
_DUE = f"state IN ({', '.join(f'{state:d}' for state in DUE)})"  # as the index has it


class Progresses(base.Progresses):
    def __init__(self, db: Database, search: Search) -> None:
        self._db = db
        self._search = search

    def _all(self, index: str, where: str, bindings: Sequence[Any]) -> list[Progress]:
        sql = f"SELECT {PROGRESS} FROM progress AS p INDEXED BY {index} WHERE {where}"
        return [progress(values) for values in self._db.read(sql, bindings)]

    def get(self, flow: int, seq: int) -> Progress | None:
        values = self._db.one(f"SELECT {PROGRESS} FROM progress AS p WHERE flow = ? AND seq = ?", (flow, seq))
        return progress(values) if values else None

    def due(self, flow: int, now: int, limit: int) -> list[Progress]:
        where = f"flow = ? AND next_at <= ? AND {_DUE} ORDER BY next_at, seq LIMIT ?"
        return self._all("progress_due", where, (flow, now, limit))

    def next_due(self, flow: int) -> int | None:
        sql = f"SELECT min(next_at) FROM progress INDEXED BY progress_due WHERE flow = ? AND {_DUE}"
        values = self._db.one(sql, (flow,))
        return values[0] if values else None

    def interrupted(self, flow: int) -> list[Progress]:
        return self._all("progress_open", f"flow = ? AND state = {State.RUNNING:d} AND {OPEN} ORDER BY seq", (flow,))

    def held(self, flow: int, key: str, limit: int) -> list[Progress]:
        where = f"flow = ? AND key = ? AND state < 10 AND state = {State.HELD:d} ORDER BY seq LIMIT ?"
        return self._all("progress_key", where, (flow, key, limit))

    def head(self, flow: int, key: str) -> Progress | None:
        where = f"flow = ? AND key = ? AND state < 10 AND state != {State.HELD:d} AND reason != ? ORDER BY seq LIMIT 1"
        found = self._all("progress_key", where, (flow, key, REDRIVEN))
        return found[0] if found else None

    def blocked(self, flow: int) -> Iterator[tuple[str, int]]:
        # In pages, so that no snapshot is held open while the caller takes its time.
        sql = """SELECT key, min(seq) FROM progress INDEXED BY progress_key
                 WHERE flow = ? AND key > ? AND state < 10 GROUP BY key ORDER BY key LIMIT ?"""
        empty = "SELECT min(seq) FROM progress INDEXED BY progress_key WHERE flow = ? AND key = '' AND state < 10"
        first = self._db.one(empty, (flow,))
        if first and first[0] is not None:
            yield "", first[0]
        key = ""
        while page := self._db.read(sql, (flow, key, _KEYS_A_TIME)):
            yield from page
            key = page[-1][0]

    def parked(self, flow: int, after: str | None, limit: int) -> list[Parked]:
        sql = "SELECT flow, key, seq, at, strict FROM parked WHERE flow = ?1 AND (?2 IS NULL OR key > ?2) "
        rows = self._db.read(sql + "ORDER BY key LIMIT ?3", (flow, after, limit))
        return [Parked(flow, key, seq, at, bool(strict)) for flow, key, seq, at, strict in rows]

    def parked_lane(self, flow: int, key: str) -> Parked | None:
        values = self._db.one("SELECT seq, at, strict FROM parked WHERE flow = ? AND key = ?", (flow, key))
        return Parked(flow, key, values[0], values[1], bool(values[2])) if values else None

    def parked_keys(self, flow: int) -> int:
        return int(self._db.read("SELECT count(*) FROM parked WHERE flow = ?", (flow,))[0][0])

    def behind(self, flow: int, key: str) -> int:
        sql = "SELECT count(*) FROM progress INDEXED BY progress_key WHERE flow = ? AND key = ? AND state < 10"
        return int(self._db.read(sql, (flow, key))[0][0])

    def find(self, query: Query) -> tuple[list[tuple[Row, Progress | None]], int]:
        return self._search.find(query)

    def counts(self) -> dict[tuple[int, str], int]:
        return {(flow, word): n for flow, word, n in self._db.read("SELECT flow, word, n FROM counts")}

    def fresh(self, flow: int, stream: int, seq: int) -> int:
        return int(self._db.read(_FRESH, (stream, seq, flow))[0][0])

    def pending(self, flow: int) -> dict[State, int]:
        sql = "SELECT count(*) FROM progress INDEXED BY progress_open WHERE flow = ? AND state = {:d} AND " + OPEN
        found = {
            state: self._db.read(sql.format(state), (flow,))[0][0] for state in PENDING if state is not State.FRESH
        }
        return {state: n for state, n in found.items() if n}
