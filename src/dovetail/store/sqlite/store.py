"""The store itself: opening, the one transaction, closing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import apsw

from dovetail.clock import Clock, Ids
from dovetail.errors import StoreError, Unavailable
from dovetail.sdk import Threads
from dovetail.store import base
from dovetail.store.backup import Manifest, Progress
from dovetail.store.base import Entry, Work
from dovetail.store.sqlite import apply, backup, connect
from dovetail.store.sqlite.apply import Numbers
from dovetail.store.sqlite.audit import Audit
from dovetail.store.sqlite.database import Database, opened
from dovetail.store.sqlite.journal import Journal
from dovetail.store.sqlite.memory import Memories
from dovetail.store.sqlite.owner import Owner
from dovetail.store.sqlite.payloads import Payloads, folder_of
from dovetail.store.sqlite.progress import Progresses
from dovetail.store.sqlite.prune import Pruner
from dovetail.store.sqlite.register import Register
from dovetail.store.sqlite.search import Search
from dovetail.store.sqlite.spill import SpillFiles

BACKUP = Threads(1)


class SqliteStore(base.Store):
    """A store in one SQLite file, owned by one process.

    A commit inserts its rows in the event loop's thread (microseconds a row) and waits for the disk in another.
    What holds when the disk fails:

    - No space: the transaction is rolled back, `Unavailable`; the next one works as soon as there is space.
    - A write or flush fails: nothing is flushed twice. The store is reopened from its log (`Database.recover`) and
      asked whether it kept the transaction. Kept: `commit` returns, and what it wrote stands on disk. Not kept:
      `Unavailable`, and it will not turn up later.
    - The reopening fails, too: `StoreError`, and the outcome of this one transaction is unknown until a later
      opening. It may turn up then although its sender was told nothing: a sender that repeats is recognised by its
      dedupe id, one without is accepted a second time. The same holds for a kill between the flush and the answer.
      What `commit` returned for is never lost by either.
    """

    def __init__(
        self, path: Path, owner: Owner, db: Database, clock: Clock, hook: Callable[[str], None] | None
    ) -> None:
        """Not for callers: `open` makes stores."""
        self._path, self._owner, self._db, self._clock = path, owner, db, clock
        self._hook = hook or (lambda name: None)
        self._turn = asyncio.Lock()
        self._closed = False
        db.damaged = lambda error: self.damaged(error)
        self._numbers = Numbers(1, 1)
        self._payloads = Payloads(db, SpillFiles(folder_of(path), self._hook))
        self._pruner = Pruner(db, self._payloads, self._turn, self._hook)
        self.journal = Journal(db, self._payloads, self._pruner)
        self.progress = Progresses(db, Search(db))
        self.register = Register(db)
        self.memory = Memories(db)
        self.audit = Audit(db)

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock, ids: Ids, hook: Callable[[str], None] | None = None
    ) -> SqliteStore:
        """Open or make the store at `path` and own it until `close`.

        `hook` is called with "store_before_commit" and "store_after_commit" inside every `commit`. Raises StoreError:
        held by another process (named), damaged, not a store, of a newer version, on a disk that cannot keep the
        promise; Unavailable: no space left.
        """
        if not path.parent.is_dir():
            raise StoreError(f"store {path}: there is no folder {path.parent}")
        owner = Owner(path)
        try:
            store = cls(path, owner, Database(path), clock, hook)
        except BaseException:
            owner.release()
            raise
        try:
            store._begin(ids)
        except BaseException:
            store._db.close()
            owner.release()
            raise
        return store

    def _begin(self, ids: Ids) -> None:
        """Read how the store was left, look at all of it if it is small, and note that it is in use."""
        self._db.write(
            lambda connection: connection.execute(
                "INSERT INTO store VALUES (1, ?, 1, 0, 0, ?) ON CONFLICT DO NOTHING",
                (ids.token(5), self._clock.now_ms()),
            )
        )
        uid, clean = self._db.read("SELECT uid, clean FROM store")[0]
        self.uid, self.clean = uid, bool(clean)
        if self._path.stat().st_size < connect.SMALL:
            self.check()
        self._db.write(opened)
        self._payloads.begin(self._db.read("SELECT opened FROM store")[0][0])
        self._numbers = self._free_numbers()

    def _free_numbers(self) -> Numbers:
        sql = """SELECT 1 + max(high, coalesce((SELECT max(seq) FROM journal), 0)),
                 1 + coalesce((SELECT max(txn) FROM audit), 0) FROM store"""
        return Numbers(*self._db.read(sql)[0])

    def check(self) -> None:
        """Read the whole file and compare its structures (seconds a gigabyte, blocking). Raises StoreError if it is
        damaged."""
        self._db.check()

    async def stow(self, entries: Iterable[Entry]) -> None:
        self._db.require()
        await self._payloads.stow(entries)

    async def commit(self, work: Work) -> None:
        async with self._turn:
            self._db.require()
            await self._payloads.stow(apply.large(work))
            numbers, now = self._numbers, self._clock.now_ms()

            def write(connection: apsw.Connection) -> Numbers:
                after = apply.apply(connection, work, numbers, now)
                self._hook("store_before_commit")
                return after

            after = self._db.begin(write)
            error, cancelled = await self._db.threads.run(self._db.finish)
            if error:
                self._db.settle(error, numbers.txn)
            self._numbers = after
            self._hook("store_after_commit")
        if cancelled:
            raise asyncio.CancelledError

    async def back_up(self, folder: Path, told: Progress) -> Manifest:
        """Copy the store as of one moment into a new folder, and check the copy; meanwhile everything goes on.

        The log grows until the database is copied, and no spill file is let go before the end. Raises StoreError.
        """
        self._db.require()
        self._pruner.held_back += 1
        try:
            return await BACKUP.run(backup.back_up, self._path, folder, self._clock.now_ms(), told, self._hook)
        finally:
            self._pruner.held_back -= 1

    def usage(self) -> Mapping[str, int]:
        log = self._path.with_name(self._path.name + "-wal")
        disk = os.statvfs(self._path.parent)
        return {
            "store": self._path.stat().st_size,
            "wal": log.stat().st_size if log.exists() else 0,
            "files": self._payloads.weight(),
            "free": disk.f_bavail * disk.f_frsize,
            "disk": disk.f_blocks * disk.f_frsize,
        }

    async def close(self, clean: bool = True) -> None:
        """Close, safe to call twice. If the disk does not take the word `clean`, the next opener looks closer."""
        async with self._turn:
            if self._closed:
                return
            self._closed = True
            if clean:
                with contextlib.suppress(Unavailable, StoreError):
                    self._db.write(lambda connection: connection.execute("UPDATE store SET clean = 1"))
            self._db.close()
            self._owner.release()
