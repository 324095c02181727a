"""The two connections of a store: one writes, one reads beside it; and what happens when the disk fails."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from dovetail.errors import Damaged, DovetailError, StoreError, Unavailable
from dovetail.store.sqlite import bitrot, connect
from dovetail.store.sqlite.writer import Writer

T = TypeVar("T")
WRITER_CACHE = 32 << 10  # KiB
READER_CACHE = 16 << 10
Bindings = Sequence[Any] | Mapping[str, Any]


class Database:
    """`read` and `write` belong to the event loop's thread; `finish` is the job of the writer's thread."""

    def __init__(self, path: Path) -> None:
        """Open and check everything. Raises StoreError."""
        self.path = path
        self.threads = Writer()
        self.broken = False  # an I/O error was met: the connections must not be used again
        self._lost = ""  # why it can be used no more
        self.damaged: Callable[[Damaged], None] = lambda error: None  # told when stored bytes turn out to have changed
        try:
            self._open()
        except BaseException:
            self.threads.stop()
            raise

    def _open(self) -> None:
        connect.create(self.path)
        try:
            reserve, flushed = bitrot.reserved(self.path), bitrot.flushed(self.path)
            with contextlib.ExitStack() as half_open:
                writing = connect.connect(self.path, WRITER_CACHE)
                half_open.callback(writing.close)
                connect.identify(writing, self.path, reserve)
                bitrot.require(writing, self.path, flushed)
                connect.migrate(writing, reserve)
                self.reading = connect.connect(self.path, READER_CACHE)
                self.writing = writing
                half_open.pop_all()
        except apsw.Error as error:
            raise self._translated(error) from error
        except OSError as error:
            raise StoreError(f"store {self.path} cannot be read: {error}") from error

    def _translated(self, error: apsw.Error) -> DovetailError:
        """The error in the house's words. Once a damage is met, nothing is written any more."""
        known = connect.translate(error, self.path)
        if isinstance(known, Damaged) and not self._lost:
            self._lost = known.message
            self.damaged(known)
        return known

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, sql: str, bindings: Bindings = ()) -> list[Any]:
        """All rows of a query on what is committed. Raises StoreError."""
        try:
            return self.reading.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise self._translated(error) from error

    def rows(self, sql: str, bindings: Bindings = ()) -> Generator[Any, None, None]:
        """As `read`, row by row; whoever stops early closes the iterator."""
        try:
            cursor = self.reading.execute(sql, bindings)
            try:
                yield from cursor
            finally:
                cursor.close()
        except apsw.Error as error:
            raise self._translated(error) from error

    def one(self, sql: str, bindings: Bindings = ()) -> Any | None:
        """The first row, or None."""
        rows = self.read(sql, bindings)
        return rows[0] if rows else None

    def require(self) -> None:
        """Raises StoreError when the store was closed or given up."""
        if self._lost:
            raise StoreError(self._lost)

    # --- writing ---------------------------------------------------------------------------------------------------

    def begin(self, work: Callable[[apsw.Connection], T]) -> T:
        """Open a transaction and do `work` in it; `finish` must follow. When this raises, nothing is open and nothing
        kept.

        Raises Unavailable, StoreError, and what `work` raises.
        """
        self.require()
        if self.broken:
            self.recover()
        try:
            self.writing.execute("BEGIN IMMEDIATE")
            return work(self.writing)
        except apsw.Error as error:
            self.rollback(error)
            self.settle(error)
            raise
        except BaseException:
            self.rollback()
            raise

    def finish(self) -> apsw.Error | None:
        """Commit and flush. A failure is rolled back and returned, for `settle`. Runs in the writer's thread."""
        try:
            self.writing.execute("COMMIT")
        except apsw.Error as error:
            self.rollback(error)
            return error
        return None

    def rollback(self, error: apsw.Error | None = None) -> None:
        """Leave the transaction. An I/O error leaves the connections in doubt: they are not used again."""
        self.broken = self.broken or isinstance(error, apsw.IOError)
        if self.writing.in_transaction:
            with contextlib.suppress(apsw.Error):
                self.writing.execute("ROLLBACK")

    def settle(self, error: apsw.Error, txn: int = 0) -> None:
        """After a failed transaction: return if it was kept all the same, else raise Unavailable or StoreError.

        Only an I/O error leaves that open, and the reopened store answers it (`txn` is the transaction's number in
        the audit).
        """
        if not isinstance(error, apsw.IOError) or bitrot.met(error):
            raise self._translated(error) from error
        if self.broken:
            self.recover()
        if not self.one("SELECT 1 FROM audit WHERE txn = ?", (txn,)):
            raise Unavailable(
                f"the disk of store {self.path} failed ({error}): nothing was accepted, try again"
            ) from error

    def write(self, work: Callable[[apsw.Connection], T]) -> T:
        """One small transaction, flushed before it returns. Blocks the event loop for that time: not for messages."""
        with self.threads.gate:
            result = self.begin(work)
            error = self.finish()
        if error:
            self.settle(error)
        return result

    # --- the disk failed -------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Open anew from the log. Raises StoreError when that fails, too; then the outcome of the last transaction is
        unknown.

        After a failed flush the kernel may hold pages that it believes to be on disk and that are not, so flushing
        again proves nothing. The connections are closed without a checkpoint; the log, as far as it can be read, is
        written to a new file, flushed and put in the place of the old one. What SQLite then recovers from it stands
        on disk, whichever way the last transaction went, and it can be asked.
        """
        log = self.path.with_name(self.path.name + "-wal")
        try:
            self._drop()
            if log.exists():
                _rewrite(log)
            self._open()
            with self.writing:
                opened(self.writing)  # proves that the disk takes a flush again
        except (OSError, apsw.Error, StoreError) as error:
            with contextlib.suppress(apsw.Error):
                self._drop()
            self._lost = (
                f"the disk of store {self.path} fails ({error}): messages accepted before are safe, whether the last "
                "transaction was kept is unknown until the store is opened again"
            )
            raise StoreError(self._lost) from error
        self.broken = False

    def check(self) -> None:
        """Read the whole file and compare its structures. Raises StoreError."""
        try:
            connect.quick_check(self.reading, self.path)
        except apsw.Error as error:
            raise self._translated(error) from error

    def _drop(self) -> None:
        """Close without writing the log back into the file."""
        for connection in (self.reading, self.writing):
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close()

    def close(self) -> None:
        """Close both connections; the last one writes the log back into the file. Safe to call twice."""
        self.threads.stop()
        self._lost = self._lost or f"store {self.path} is closed"
        with contextlib.suppress(apsw.Error):
            self.reading.close()
            self.writing.close()


def opened(connection: apsw.Connection) -> None:
    """Note that the store is in use. The count changes each time, for SQLite does not write what is there already."""
    connection.execute("UPDATE store SET clean = 0, opened = opened + 1")


def _rewrite(file: Path) -> None:
    """Write a file's content to a flushed new file in its place."""
    copy = file.with_name(file.name + ".copy")
    target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with file.open("rb") as old, os.fdopen(target, "wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())
    copy.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
