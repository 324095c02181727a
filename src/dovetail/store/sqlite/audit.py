"""The events of state changes."""

from __future__ import annotations

import msgspec

from dovetail.store import base
from dovetail.store.sqlite.database import Database

_decoder = msgspec.msgpack.Decoder(list[tuple[object, ...]])


class Audit(base.Audit):
    def __init__(self, db: Database) -> None:
        self._db = db

    def events(self, after: int, limit: int) -> list[tuple[int, int, tuple[object, ...]]]:
        sql = "SELECT txn, at, events FROM audit WHERE txn > ? AND length(events) > 1 ORDER BY txn LIMIT ?"
        rows = self._db.read(sql, (after, limit))
        return [(txn, at, event) for txn, at, events in rows for event in _decoder.decode(events)]
