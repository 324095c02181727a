"""Open SQLite as the store needs it: checked header, asserted settings, current schema, errors in the house's words."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files
from pathlib import Path

import apsw

from dovetail.errors import DovetailError, StoreError, Unavailable
from dovetail.store.sqlite.bitrot import NEW, RESERVE, checksums, damaged, met

MINIMUM = (3, 51, 3)  # older ones may corrupt a database in WAL mode (the "WAL reset" bug)
APPLICATION = int.from_bytes(b"DVTL", "big")
PAGE = 8192  # bytes; a fifth less waste than 4096 with messages of a kilobyte
CHECKPOINT = 500  # pages: a log of 4 MiB is written back in about 5 ms, by the commit that fills it
LOG = 16 << 20  # bytes that the log's file keeps after it had to grow (big transactions, checkpoints that failed)
SMALL = 64 << 20  # bytes up to which a store is checked at each start
CHECKED = 8  # the migration from which on pages have checksums


def translate(error: apsw.Error, path: Path) -> DovetailError:
    """What an SQLite error means for the caller: try later (Unavailable) or stop (StoreError)."""
    if isinstance(error, apsw.FullError):
        return Unavailable(f"no space left for store {path}", after=5.0)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Unavailable(f"store {path} is being written by another program", after=1.0)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return damaged(path, str(error))
    if met(error):
        return damaged(path, "the checksum of a page is wrong")
    if isinstance(error, apsw.ConnectionClosedError):
        return StoreError(f"store {path} is closed")
    full = " (its disk is full)" if isinstance(error, apsw.IOError) and _is_full(path) else ""
    return StoreError(f"store {path} cannot be used: {error}{full}")


def _is_full(path: Path) -> bool:
    """Whether there is less room than SQLite needs for its shared memory file."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < 1 << 16


def create(path: Path) -> None:
    """Make sure that the file is there, readable by its owner alone, and looks like SQLite. Raises StoreError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise StoreError(f"store {path} cannot be opened: {error.strerror}") from error
    if head and (len(head) < 100 or not head.startswith(b"SQLite format 3\0")):
        raise StoreError(f"{path} is not a Dovetail store: it is not an SQLite database")


def connect(path: Path, cache_kib: int) -> apsw.Connection:
    """A connection with the store's settings, those that carry a promise read back. Raises StoreError, apsw.Error."""
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < MINIMUM:
        raise StoreError(f"SQLite {apsw.sqlite_lib_version()} is too old: {'.'.join(map(str, MINIMUM))} is needed")
    checksums()
    connection = apsw.Connection(str(path), statementcachesize=64)
    connection.set_busy_timeout(100)
    connection.pragma("page_size", PAGE)  # of a new file; the others keep theirs
    connection.reserve_bytes(None, RESERVE)  # the same, until they are written anew
    settings = {
        "journal_mode": (connection.pragma("journal_mode", "wal"), "wal"),
        "synchronous": (connection.pragma("synchronous", "full") or connection.pragma("synchronous"), 2),
    }
    for name, (found, wanted) in settings.items():
        if found != wanted:
            connection.close()
            raise StoreError(f"store {path}: SQLite refuses {name}={wanted} (it says {found}); use a local disk")
    connection.pragma("wal_autocheckpoint", CHECKPOINT)
    connection.pragma("journal_size_limit", LOG)
    connection.pragma("cache_size", -cache_kib)
    connection.pragma("temp_store", "memory")
    return connection


def identify(connection: apsw.Connection, path: Path, reserve: int) -> None:
    """Refuse databases of other programs and of newer versions. `reserve`: what `bitrot.reserved` said before the
    database was opened (whoever closes a file gives up all locks of the process on it). Raises StoreError, apsw.Error.
    """
    tables = connection.execute("SELECT count(*) FROM sqlite_master").get
    if tables and connection.pragma("application_id") != APPLICATION:
        raise StoreError(f"{path} is not a Dovetail store: it is the SQLite database of another program")
    version, known = connection.pragma("user_version"), len(migrations())
    if version > known:
        raise StoreError(
            f"store {path} was written by a newer Dovetail (its version is {version}, this one knows {known}): "
            "use that Dovetail, or another store"
        )
    if version >= CHECKED and reserve not in (NEW, RESERVE):
        raise damaged(path, "its pages say that they have no checksums")


@cache
def migrations() -> list[tuple[str, str]]:
    """(name, SQL) of every migration in order; the first is number 1."""
    folder = files("dovetail.store") / "migrations" / "sqlite"
    found = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    numbers = [int(name[:4]) for name, _ in found]
    if numbers != list(range(1, len(numbers) + 1)):
        raise StoreError(f"the migrations of this installation are not numbered 1, 2, 3, …: {numbers}")
    return found


def reader(path: Path) -> apsw.Connection:
    """A connection that only reads. Raises StoreError, apsw.Error."""
    checksums()
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def migrate(connection: apsw.Connection, reserve: int) -> None:
    """Bring the schema up to date, each step in its own transaction. A store whose pages have no checksums yet is
    written anew, which takes as much room again and some seconds a gigabyte. Raises apsw.Error."""
    done = connection.pragma("user_version")
    for number, (_, sql) in enumerate(migrations()[done:], done + 1):
        if number == CHECKED and reserve not in (NEW, RESERVE):
            connection.execute("VACUUM")
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        with connection:
            connection.execute(sql)
            connection.pragma("user_version", number)


def quick_check(connection: apsw.Connection, path: Path) -> None:
    """Read the whole file and compare its structures. Raises StoreError with the first problem."""
    found = connection.execute("PRAGMA quick_check(1)").get
    if found != "ok":
        raise damaged(path, str(found))
