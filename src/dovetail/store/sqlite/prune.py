"""Forget what has ended long enough ago, a small step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from dovetail.store.base import Pruned, Retention
from dovetail.store.sqlite.candidates import Candidates, Found
from dovetail.store.sqlite.database import Database
from dovetail.store.sqlite.payloads import Payloads

Freed = list[tuple[int, bytes, str | None]]  # large bodies that nothing refers to: number, hash, file


class Pruner:
    """One step after the other; each is one short transaction, and then files are removed beside the event loop."""

    def __init__(self, db: Database, payloads: Payloads, turn: asyncio.Lock, hook: Callable[[str], None]) -> None:
        """`turn` is what commits queue for."""
        self._db, self._payloads = db, payloads
        self._turn, self._hook = turn, hook
        self._candidates = Candidates(db)
        self.held_back = 0  # copies of the store under way: files that they may need stay
        self._later: list[str] = []  # files that went meanwhile

    async def step(self, retention: Retention, now_ms: int, limit: int) -> Pruned:
        """See `dovetail.store.base.Journal.prune`."""
        pruned = Pruned()
        async with self._turn:
            found = self._candidates.look(retention, now_ms, limit)
            freed = await self._delete(found, pruned) if found else []
        if freed:
            self._hook("prune_before_unlink")
        self._later += freed
        if not self.held_back:
            gone, self._later = self._later, []
            if self._payloads.untidy:
                self._payloads.untidy = False
                gone += await self._payloads.orphans()
            await self._payloads.remove(gone)
            pruned.files = len(gone)
        pruned.more = found.more
        return pruned

    async def _delete(self, found: Found, pruned: Pruned) -> list[str]:
        """Carry out, in one transaction; the files whose rows went."""
        freed: Freed = []

        def write(connection: apsw.Connection) -> None:
            bodies = _let_go(connection, found, pruned)
            freed.extend(self._unused(connection, bodies | set(found.unused)))
            self._payloads.going = {digest for _, digest, _ in freed}
            connection.executemany("DELETE FROM payloads WHERE id = ?", [(number,) for number, _, _ in freed])
            self._hook("prune_before_commit")

        try:
            self._db.begin(write)
            error, cancelled = await self._db.threads.run(self._db.finish)
            if error:
                self._db.settle(error)
        finally:
            self._payloads.going = set()
        if cancelled:
            raise asyncio.CancelledError
        return [file for _, _, file in freed if file is not None]

    def _unused(self, connection: apsw.Connection, numbers: set[int]) -> Freed:
        held, _ = self._payloads.held()
        sql = """SELECT id, hash, file FROM payloads WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM journal WHERE payload = ?1)"""
        rows: list[Any] = connection.executemany(sql, [(number,) for number in numbers]).fetchall()
        free = [row for row in rows if row[1] not in held]
        self._candidates.unused = {number for number, digest, _ in rows if digest in held}
        return free


def _let_go(connection: apsw.Connection, found: Found, pruned: Pruned) -> set[int]:
    """Delete and empty what was found; the numbers of large bodies that may have lost their last reference."""
    bytes_by_stream: dict[int, int] = {}
    bodies = _empty(connection, found.bodies, bytes_by_stream) | _empty(connection, found.messages, bytes_by_stream)
    if found.messages:
        _messages(connection, found)
    connection.executemany("UPDATE progress SET memo = ? WHERE flow = ? AND seq = ?", found.answers)
    connection.executemany(
        "DELETE FROM dedupe WHERE scope = ? AND id = ?", [(scope, name) for _, scope, name in found.ids]
    )
    connection.executemany("DELETE FROM remembered WHERE at = ? AND scope = ? AND id = ?", found.ids)
    connection.executemany("DELETE FROM positions WHERE scope = ? AND partition = ?", found.positions)
    connection.executemany("DELETE FROM audit WHERE txn = ?", [(txn,) for txn in found.events])
    connection.executemany(
        "INSERT INTO counts VALUES (?, 'bytes', ?) ON CONFLICT (flow, word) DO UPDATE SET n = n + excluded.n",
        [(-stream, -size) for stream, size in bytes_by_stream.items()],
    )
    pruned.messages, pruned.bodies, pruned.answers = len(found.messages), len(found.bodies), len(found.answers)
    pruned.ids, pruned.events = len(found.ids) + len(found.positions), len(found.events)
    return bodies


def _empty(connection: apsw.Connection, seqs: Sequence[int], freed: dict[int, int]) -> set[int]:
    """Take the bodies from entries; what they weighed by stream goes to `freed`."""
    sql = """SELECT j.stream, j.payload, CASE WHEN p.id IS NOT NULL THEN p.stored
             WHEN j.body IS NOT NULL THEN j.size ELSE 0 END
             FROM journal AS j LEFT JOIN payloads AS p ON p.id = j.payload WHERE j.seq = ?"""
    each = [(seq,) for seq in seqs]
    numbers: set[int] = set()
    rows: list[Any] = connection.executemany(sql, each).fetchall()
    for stream, payload, size in rows:
        freed[stream] = freed.get(stream, 0) + size
        if payload is not None:
            numbers.add(payload)
    connection.executemany("UPDATE journal SET body = NULL, payload = NULL WHERE seq = ?", each)
    return numbers


def _messages(connection: apsw.Connection, found: Found) -> None:
    """Whole messages go; their dedupe ids are remembered apart."""
    gone = [(seq,) for seq in found.messages]
    connection.execute("UPDATE store SET high = max(high, ?)", (max(found.messages),))
    connection.executemany(
        "INSERT OR IGNORE INTO remembered SELECT at, scope, dedupe_id FROM journal WHERE seq = ? AND scope IS NOT NULL",
        gone,
    )
    connection.executemany("DELETE FROM journal WHERE seq = ?", gone)
    connection.executemany("DELETE FROM edits WHERE seq = ?", gone)
    pairs = [(flow, seq) for flow in found.flows for seq in found.messages]
    connection.executemany("DELETE FROM progress WHERE flow = ? AND seq = ?", pairs)
