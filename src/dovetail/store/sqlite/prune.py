"""Forget ended messages, with all that hangs on them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

import apsw

from dovetail.store.sqlite.database import Database

_LOOK = 10  # entries looked at for one that may go
_ENDED = 10
_END = 2**63 - 1


class Pruner:
    """Walks the journal from its oldest entry on, a bounded stretch a call, and begins again at the end."""

    def __init__(self, db: Database, turn: asyncio.Lock) -> None:
        """`turn` is what commits queue for."""
        self._db = db
        self._turn = turn
        self._at = 0

    async def prune(self, before_ms: int, limit: int) -> int:
        async with self._turn:
            gone = self._walk(before_ms, limit)
            if gone:
                self._db.begin(lambda connection: _delete(connection, gone, self._flows()))
                error, cancelled = await self._db.threads.run(self._db.finish)
                if error:
                    self._db.settle(error)
                if cancelled:
                    raise asyncio.CancelledError
        return len(gone)

    def _walk(self, before_ms: int, limit: int) -> list[int]:
        """Up to `limit` numbers that may go, from where the last walk ended on and round the end once."""
        gone: list[int] = []
        start, left = self._at, limit * _LOOK
        for low, high in ((start, _END), (0, start)):
            sql = "SELECT seq, stream, parent, at FROM journal WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
            rows = self._db.read(sql, (low, high, left))
            stretch = [row[:3] for row in takewhile(lambda row: row[3] < before_ms, rows)]
            gone += self._prunable(stretch)
            left -= len(stretch)
            if len(gone) >= limit:
                self._at = gone[limit - 1]
                return gone[:limit]
            self._at = stretch[-1][0] if left <= 0 else 0
            if left <= 0:
                break
        return gone

    def _flows(self) -> list[int]:
        """Every flow that may have said something about a message."""
        rows = self._db.read("SELECT number FROM names WHERE kind = 'flow' UNION SELECT flow FROM readers")
        return [flow for (flow,) in rows]

    def _prunable(self, stretch: Sequence[tuple[int, int, int]]) -> list[int]:
        """Which of (number, stream, parent) may go: ended for every reader, pending for nobody, no key stands still
        behind it, its parent's split over."""
        if not stretch:
            return []
        first, last = stretch[0][0], stretch[-1][0]
        readers: dict[int, set[int]] = defaultdict(set)
        for stream, flow in self._db.read("SELECT stream, flow FROM readers"):
            readers[stream].add(flow)
        ended_for: dict[int, set[int]] = defaultdict(set)
        pending = {seq for (seq,) in self._db.read("SELECT seq FROM parked WHERE seq BETWEEN ? AND ?", (first, last))}
        for flow in self._flows():
            sql = "SELECT seq, state FROM progress WHERE flow = ? AND seq BETWEEN ? AND ?"
            for seq, state in self._db.read(sql, (flow, first, last)):
                if state >= _ENDED:
                    ended_for[seq].add(flow)
                else:
                    pending.add(seq)
        found: list[int] = []
        gone: set[int] = set()
        for seq, stream, parent in stretch:
            wanted = readers.get(stream)
            if wanted is None or seq in pending or not ended_for[seq] >= wanted - {0}:
                continue
            if parent and parent not in gone and self._db.one("SELECT 1 FROM journal WHERE seq = ?", (parent,)):
                continue  # parts stay as long as the whole can be looked at
            found.append(seq)
            gone.add(seq)
        return found


def _delete(connection: apsw.Connection, gone: Sequence[int], flows: Sequence[int]) -> None:
    each = [(seq,) for seq in gone]
    connection.execute("UPDATE store SET high = max(high, ?)", (max(gone),))
    connection.executemany(
        "DELETE FROM dedupe WHERE (scope, id) = (SELECT scope, dedupe_id FROM journal WHERE seq = ?)", each
    )
    freed = connection.executemany("DELETE FROM journal WHERE seq = ? RETURNING payload", each).fetchall()
    payloads = {row for row in freed if row[0] is not None}
    sql = "DELETE FROM payloads WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM journal WHERE payload = ?1)"
    connection.executemany(sql, payloads)
    connection.executemany("DELETE FROM edits WHERE seq = ?", each)
    pairs = [(flow, seq) for flow in flows for seq in gone]
    connection.executemany("DELETE FROM progress WHERE flow = ? AND seq = ?", pairs)
