"""The journal read back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from dovetail.store import base
from dovetail.store.base import Pruned, Retention, Row
from dovetail.store.sqlite.database import Database
from dovetail.store.sqlite.payloads import Payloads
from dovetail.store.sqlite.prune import Pruner
from dovetail.store.sqlite.rows import HEAD, row

_WHOLE = f"SELECT {HEAD}, j.body, j.payload, (SELECT b.file FROM payloads AS b WHERE b.id = j.payload)"
_FRESH = "NOT EXISTS (SELECT 1 FROM progress AS p WHERE p.flow = ?3 AND p.seq = j.seq) ORDER BY j.seq LIMIT ?4"
_AFTER = f"{_WHOLE} FROM journal AS j INDEXED BY journal_stream WHERE j.stream = ?1 AND j.seq > ?2 AND {_FRESH}"
_OF_PRIORITY = f"""{_WHOLE} FROM journal AS j INDEXED BY journal_priority
WHERE j.stream = ?1 AND j.priority > 0 AND j.priority = ?5 AND j.seq > ?2 AND {_FRESH}"""
_OF_KEY = f"""{_WHOLE} FROM journal AS j INDEXED BY journal_priority_key
WHERE j.stream = ?1 AND j.priority > 0 AND j.key = ?5 AND j.seq > ?2 AND j.seq < ?6 AND {_FRESH}"""
_FIRST = """
SELECT min(seq) FROM journal INDEXED BY journal_priority
WHERE stream = ? AND priority > 0 AND priority = ? AND seq > ?
"""
_WITHOUT = """
SELECT (SELECT count(*) FROM journal INDEXED BY journal_stream WHERE stream = ?1 AND seq > ?2)
> (SELECT count(*) FROM journal INDEXED BY journal_priority WHERE stream = ?1 AND priority > 0 AND priority IN (1, 2, 3)
   AND seq > ?2)
"""
_PARTS = f"""
SELECT {HEAD} FROM journal AS j INDEXED BY journal_parent WHERE j.parent = ? AND j.parent > 0 ORDER BY j.seq LIMIT ?
"""
_MOST_EARLIER = 16 << 20  # bytes of bodies that one look for a key's messages reads


class Journal(base.Journal):
    def __init__(self, db: Database, payloads: Payloads, pruner: Pruner) -> None:
        self._db, self._payloads = db, payloads
        self._pruner = pruner

    def after(
        self, flow: int, stream: int, seq: int, limit: int, max_bytes: int, priority: int = 0
    ) -> list[Row]:  # fmt: skip
        if not priority:
            return self._fresh(_AFTER, (stream, seq, flow, limit), max_bytes)
        return self._fresh(_OF_PRIORITY, (stream, seq, flow, limit, priority), max_bytes)

    def earlier(self, flow: int, stream: int, key: str, seq: int, before: int, limit: int) -> list[Row]:
        return self._fresh(_OF_KEY, (stream, seq, flow, limit, key, before), _MOST_EARLIER)

    def first(self, stream: int, priority: int, seq: int) -> int:
        values = self._db.one(_FIRST, (stream, priority, seq))
        return (values and values[0]) or 0

    def without_priority(self, stream: int, seq: int) -> bool:
        return bool(self._db.read(_WITHOUT, (stream, seq))[0][0])

    def _fresh(self, sql: str, bindings: Sequence[Any], max_bytes: int) -> list[Row]:
        found: list[Row] = []
        left = max_bytes
        with closing(self._db.rows(sql, bindings)) as rows:
            for values in rows:
                left -= values[8]
                if left < 0 and found:
                    break
                found.append(self._row(values))
        return found

    def _row(self, values: Sequence[Any]) -> Row:
        body, payload, file = values[10:13]
        if payload is None:
            return row(values, body)
        found = row(values, None if file is not None else self._payloads.read(payload))
        found.beside = payload if file is not None else 0
        return found

    async def fetch(self, row: Row) -> bytes | None:
        return await self._payloads.fetch(row.beside)

    def get(self, seq: int, flow: int = 0) -> Row | None:
        values = self._db.one(f"SELECT {HEAD} FROM journal AS j WHERE j.seq = ?", (seq,))
        if values is None:
            return None
        edited = self._db.one("SELECT body FROM edits WHERE flow = ? AND seq = ?", (flow, seq)) if flow else None
        found = row(values, edited[0] if edited else self.original(seq))
        found.edited = edited is not None
        found.size = len(found.body or b"")
        return found

    def original(self, seq: int) -> bytes | None:
        values = self._db.one("SELECT body, payload FROM journal WHERE seq = ?", (seq,))
        if values is None:
            return None
        body: bytes | None = values[0] if values[1] is None else self._payloads.read(values[1])
        return body

    def parts(self, parent: int, limit: int) -> list[Row]:
        return [row(values) for values in self._db.read(_PARTS, (parent, limit))]

    def last(self, stream: int) -> int:
        values = self._db.one("SELECT max(seq) FROM journal INDEXED BY journal_stream WHERE stream = ?", (stream,))
        return (values and values[0]) or 0

    async def prune(self, retention: Retention, now_ms: int, limit: int) -> Pruned:
        return await self._pruner.step(retention, now_ms, limit)
