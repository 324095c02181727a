"""The journal read back."""

from __future__ import annotations

import zlib
from contextlib import closing

from dovetail.store import base
from dovetail.store.base import Row
from dovetail.store.sqlite.database import Database
from dovetail.store.sqlite.prune import Pruner
from dovetail.store.sqlite.rows import HEAD, row

_AFTER = f"""
SELECT {HEAD}, j.body, j.payload FROM journal AS j INDEXED BY journal_stream
WHERE j.stream = ?1 AND j.seq > ?2 AND NOT EXISTS (SELECT 1 FROM progress AS p WHERE p.flow = ?3 AND p.seq = j.seq)
ORDER BY j.seq LIMIT ?4
"""
_PARTS = f"""
SELECT {HEAD} FROM journal AS j INDEXED BY journal_parent WHERE j.parent = ? AND j.parent > 0 ORDER BY j.seq LIMIT ?
"""


class Journal(base.Journal):
    def __init__(self, db: Database, pruner: Pruner) -> None:
        self._db = db
        self._pruner = pruner

    def after(self, flow: int, stream: int, seq: int, limit: int, max_bytes: int) -> list[Row]:
        found: list[Row] = []
        left = max_bytes
        with closing(self._db.rows(_AFTER, (stream, seq, flow, limit))) as rows:
            for values in rows:
                left -= values[8]
                if left < 0 and found:
                    break
                found.append(row(values, values[9] if values[10] is None else self.payload(values[10])))
        return found

    def get(self, seq: int, flow: int = 0) -> Row | None:
        values = self._db.one(f"SELECT {HEAD} FROM journal AS j WHERE j.seq = ?", (seq,))
        if values is None:
            return None
        edited = self._db.one("SELECT body FROM edits WHERE flow = ? AND seq = ?", (flow, seq)) if flow else None
        found = row(values, edited[0] if edited else self.original(seq))
        found.size = len(found.body or b"")
        return found

    def original(self, seq: int) -> bytes | None:
        values = self._db.one("SELECT body, payload FROM journal WHERE seq = ?", (seq,))
        if values is None:
            return None
        body: bytes | None = values[0] if values[1] is None else self.payload(values[1])
        return body

    def payload(self, number: int) -> bytes | None:
        """A large body by its number."""
        values = self._db.one("SELECT packed, body FROM payloads WHERE id = ?", (number,))
        if values is None:
            return None
        body: bytes = zlib.decompress(values[1]) if values[0] else values[1]
        return body

    def parts(self, parent: int, limit: int) -> list[Row]:
        return [row(values) for values in self._db.read(_PARTS, (parent, limit))]

    def last(self, stream: int) -> int:
        values = self._db.one("SELECT max(seq) FROM journal INDEXED BY journal_stream WHERE stream = ?", (stream,))
        return (values and values[0]) or 0

    async def prune(self, before_ms: int, limit: int) -> int:
        return await self._pruner.prune(before_ms, limit)
