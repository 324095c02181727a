"""`dovetail` with one bug planted: what a proof has to catch. PROOF_PLANTED names the bug."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import apsw

from dovetail.clock import Ids
from dovetail.store.base import State, Work
from dovetail.store.sqlite import apply, connect
from dovetail.store.sqlite.database import Database
from dovetail.store.sqlite.spill import SpillFiles
from dovetail.store.sqlite.store import SqliteStore

VARIABLE = "PROOF_PLANTED"
Commit = Callable[[SqliteStore, Work], Any]


def synchronous_normal() -> None:
    """The log is not flushed with each commit."""
    _weaker_flush("normal")


def synchronous_off() -> None:
    """Nothing is ever flushed."""
    _weaker_flush("off")


def _weaker_flush(word: str) -> None:
    opened = connect.connect

    def weaker(*args: Any) -> apsw.Connection:
        connection = opened(*args)
        connection.pragma("synchronous", word)
        return connection

    setattr(connect, "connect", weaker)


def answer_before_commit() -> None:
    """The answer is given while the commit is still under way."""
    under_way: list[asyncio.Task[None]] = []

    async def early(commit: Commit, store: SqliteStore, work: Work) -> None:
        while under_way:
            await under_way.pop()
        under_way.append(asyncio.get_running_loop().create_task(commit(store, work)))
        await asyncio.sleep(0)

    _commit_by(early)


def dedupe_in_its_own_transaction() -> None:
    """A message and its dedupe id are two transactions."""
    insert = apply.insert
    later: list[tuple[Any, ...]] = []

    def without_ids(connection: apsw.Connection, kept: Any) -> None:
        entries = list(kept)
        later.extend((*e.dedupe, e.seq, e.body_hash) for e in entries if e.dedupe is not None)
        named = {e.seq: e.dedupe for e in entries}
        for e in entries:
            e.dedupe = None
        insert(connection, entries)
        for e in entries:
            e.dedupe = named[e.seq]
            if e.dedupe is not None:
                connection.execute("UPDATE journal SET scope = ?, dedupe_id = ? WHERE seq = ?", (*e.dedupe, e.seq))

    async def then_ids(commit: Commit, store: SqliteStore, work: Work) -> None:
        await commit(store, work)
        rows = [later.pop() for _ in range(len(later))]
        if rows:
            store._db.write(lambda connection: connection.executemany("INSERT INTO dedupe VALUES (?, ?, ?, ?)", rows))

    setattr(apply, "insert", without_ids)
    _commit_by(then_ids)


def dead_letter_in_two_transactions() -> None:
    """A dead letter's state is one transaction, its count and its audit another."""

    async def twice(commit: Commit, store: SqliteStore, work: Work) -> None:
        if any(row.state is State.DEAD for row in work.progress):
            await commit(store, replace(work, counts={}, audit=[]))
            work = Work(counts=work.counts, audit=work.audit)
        await commit(store, work)

    _commit_by(twice)


def outcome_before_what_it_published() -> None:
    """A message is done in one transaction, and what it published comes with the next."""

    async def twice(commit: Commit, store: SqliteStore, work: Work) -> None:
        if any(row.state is State.DONE for row in work.progress) and work.entries:
            await commit(store, replace(work, entries=[], refused=[], claims={}))
            work = Work(entries=work.entries, refused=work.refused, claims=work.claims)
        await commit(store, work)

    _commit_by(twice)


def audit_in_its_own_transaction() -> None:
    """What happened is written into the audit a little later."""

    async def twice(commit: Commit, store: SqliteStore, work: Work) -> None:
        await commit(store, replace(work, audit=[]))
        await commit(store, Work(audit=work.audit))

    _commit_by(twice)


def a_new_name_at_every_start() -> None:
    """The store's own mark is drawn anew, so message ids and effect keys change."""
    begin = SqliteStore._begin

    def renamed(store: SqliteStore, ids: Ids) -> None:
        begin(store, ids)
        store.uid = ids.token(5)
        store._db.write(lambda connection: connection.execute("UPDATE store SET uid = ?", (store.uid,)))

    setattr(SqliteStore, "_begin", renamed)


def log_thrown_away_at_start() -> None:
    """After an unclean end the store begins from its file without its log."""
    opened = Database._open

    def forgetful(database: Database) -> None:
        database.path.with_name(database.path.name + "-wal").unlink(missing_ok=True)
        opened(database)

    setattr(Database, "_open", forgetful)


def folder_of_bodies_without_a_name() -> None:
    """The folder of very large bodies is made, and its own name is not flushed."""
    setattr(SpillFiles, "_name", lambda files: files.folder.mkdir(mode=0o700, exist_ok=True))


def _commit_by(how: Callable[[Commit, SqliteStore, Work], Any]) -> None:
    commit = SqliteStore.commit

    async def other(store: SqliteStore, work: Work) -> None:
        await how(commit, store, work)

    setattr(SqliteStore, "commit", other)


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        synchronous_normal, synchronous_off, answer_before_commit, dedupe_in_its_own_transaction,
        dead_letter_in_two_transactions, outcome_before_what_it_published, audit_in_its_own_transaction,
        a_new_name_at_every_start, log_thrown_away_at_start, folder_of_bodies_without_a_name,
    )
}  # fmt: skip

if __name__ == "__main__":
    from dovetail.cli import main

    BUGS[os.environ[VARIABLE]]()
    sys.exit(main())
