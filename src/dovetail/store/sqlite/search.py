"""Search: newest first, a bounded look at a time."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from dovetail.store.base import PENDING, Progress, Query, Row, State
from dovetail.store.sqlite.database import Database
from dovetail.store.sqlite.rows import HEAD, OPEN, PROGRESS, progress, row

LOOK = 100_000  # messages that one call looks at
LOOK_TEXT = 10_000  # the same when bodies must be read
_WINDOW = 1_000
_END = 2**63 - 1

_INDEXED = (*(state for state in PENDING if state is not State.FRESH), State.DEAD)
_COLUMNS = f"{HEAD}, j.payload, {PROGRESS}"
_BY_STREAM = f"""
SELECT {_COLUMNS} FROM journal AS j INDEXED BY journal_stream
LEFT JOIN progress AS p ON p.flow = :flow AND p.seq = j.seq
WHERE j.stream = :stream AND j.seq >= :low AND j.seq < :before"""
_BY_STATE = f"""
SELECT {_COLUMNS} FROM progress AS p INDEXED BY progress_open CROSS JOIN journal AS j ON j.seq = p.seq
WHERE p.flow = :flow AND p.state = {{state:d}} AND {OPEN}
AND p.seq >= :low AND p.seq < :before AND j.stream = :stream"""
_STREAM_FLOOR = """
SELECT seq FROM journal INDEXED BY journal_stream
WHERE stream = :stream AND seq >= :low AND seq < :before ORDER BY seq DESC LIMIT 1 OFFSET :window"""
_STATE_FLOOR = f"""
SELECT seq FROM progress INDEXED BY progress_open
WHERE flow = :flow AND state = {{state:d}} AND {OPEN}
AND seq >= :low AND seq < :before ORDER BY seq DESC LIMIT 1 OFFSET :window"""

Found = tuple[Row, Progress | None]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where candidates come from in falling order: a query for them, and one for the number that ends a window of
    them."""

    rows: str
    floor: str


class Search:
    """Looks through the messages in windows, from the newest on, until a page is full or enough was looked at."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, query: Query) -> tuple[list[Found], int]:
        """As `Progresses.find`. Times bound the numbers by bisection, for both grow together (a clock set back blurs
        that)."""
        values = {"flow": query.flow, "stream": query.stream, "key": query.key, "text": query.text}
        values["low"] = self._first(query.since) if query.since else 0
        before = min(query.before or _END, self._first(query.until) if query.until else _END)
        sources = _sources(query)
        found: list[Found] = []
        window, left = _WINDOW, LOOK_TEXT if query.text else LOOK
        while before > 0:
            values["before"], values["window"] = before, window - 1
            floor = max(self._floor(source, values) for source in sources)
            with closing(self._rows(sources, {**values, "low": floor or values["low"]}, query.text)) as rows:
                for item in rows:
                    found.append(item)
                    if len(found) >= query.limit:
                        return found, item[0].seq
            before, left = floor, left - window
            if left <= 0:
                break
            window = min(window * 4, left)
        return found, before

    def _floor(self, source: _Source, values: dict[str, Any]) -> int:
        """The last number of a window, 0 when the source ends before."""
        found = self._db.one(source.floor, values)
        return found[0] if found else 0

    def _rows(self, sources: list[_Source], values: dict[str, Any], text: bytes) -> Generator[Found, None, None]:
        streams = [self._db.rows(source.rows, values) for source in sources]
        for item in heapq.merge(*streams, key=lambda item: -item[0]):
            if text and item[10] is not None and text not in self._payload(item[10]):
                continue
            yield row(item), None if item[12] is None else progress(item[11:])

    def _payload(self, number: int) -> bytes:
        """A large body, nothing for one in a file: those are not searched."""
        packed, body, file = self._db.read("SELECT packed, body, file FROM payloads WHERE id = ?", (number,))[0]
        if file is not None:
            return b""
        return zlib.decompress(body) if packed else body

    def _first(self, at: int) -> int:
        """The first number accepted at a time or later, by bisection."""
        low = 0
        last = self._db.one("SELECT max(seq) FROM journal")
        high = (last[0] or 0) + 1 if last else 1
        while low < high:
            middle = (low + high) // 2
            found = self._db.one("SELECT seq, at FROM journal WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,))
            if found and found[1] < at:
                low = found[0] + 1
            else:
                high = middle
        return low


def _sources(query: Query) -> list[_Source]:
    """Indexed states are read off their index, anything else off the stream."""
    where = " AND j.key = :key" if query.key is not None else ""
    if query.text:
        where += " AND (j.payload IS NOT NULL OR instr(j.body, :text) > 0)"
    states = set(query.states)
    if states and states.issubset(_INDEXED):
        return [_source(_BY_STATE, _STATE_FLOOR, where, state) for state in states]
    if states:
        where += f" AND coalesce(p.state, 0) IN ({', '.join(str(int(state)) for state in states)})"
    return [_source(_BY_STREAM, _STREAM_FLOOR, where, State.FRESH)]


def _source(rows: str, floor: str, where: str, state: State) -> _Source:
    return _Source(f"{rows}{where} ORDER BY j.seq DESC".format(state=state), floor.format(state=state))
