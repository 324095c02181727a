"""What opening a store accepts, refuses and says."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import apsw
import pytest

from dovetail.errors import Damaged, StoreError
from dovetail.store.base import Entry, Keeping, Retention, Work
from dovetail.store.sqlite import bitrot, connect

REPOSITORY = Path(__file__).parents[3]


def entries(count: int) -> list[Entry]:
    return [Entry(1, 1000, 1, b"", b"%08d" % n * 100) for n in range(count)]


@pytest.fixture
async def used(open_store, tmp_path: Path) -> Path:
    """A closed store with some hundred pages."""
    store = await open_store()
    await store.commit(Work(entries=entries(3000)))
    await store.close()
    return tmp_path / "store.db"


# --- one owner

OWNER = """
    import asyncio, sys
    from pathlib import Path
    from dovetail.clock import SystemClock, SystemIds
    from dovetail.store.sqlite import SqliteStore

    async def main():
        await SqliteStore.open(Path(sys.argv[1]), clock=SystemClock(), ids=SystemIds())
        print("open", flush=True)
        sys.stdin.read()

    asyncio.run(main())
"""


async def test_a_second_process_is_told_who_owns_the_store(tmp_path: Path, open_store):
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(OWNER), tmp_path / "store.db",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert await owner.stdout.readline() == b"open\n"
        with pytest.raises(StoreError, match=f"in use by process {owner.pid}"):
            await open_store()
    finally:
        owner.kill()
        await owner.wait()
    store = await open_store()
    assert not store.clean


async def test_the_same_process_cannot_open_it_twice(open_store):
    store = await open_store()
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
        await open_store()
    await store.close()
    await open_store()


# --- files that are no store


@pytest.mark.parametrize(
    "content",
    [b"x", b"hello, world\n" * 1000, b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 5000, b"\0" * 8192],
)
async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, open_store, content: bytes):
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"is not a Dovetail store|is damaged") as raised:
        await open_store()
    assert str(path) in raised.value.message
    assert path.read_bytes() == content


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path, open_store):
    path = tmp_path / "store.db"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE mine (x); PRAGMA user_version = 1")
    other.close()
    with pytest.raises(StoreError, match="the SQLite database of another program"):
        await open_store()


async def test_a_store_of_a_newer_version_is_refused(used: Path, open_store):
    newer = apsw.Connection(str(used))
    newer.pragma("user_version", 99)
    newer.close()
    with pytest.raises(StoreError, match=r"written by a newer Dovetail \(its version is 99"):
        await open_store()


async def test_no_folder_and_no_file(tmp_path: Path, open_store):
    with pytest.raises(StoreError, match="there is no folder"):
        await open_store(tmp_path / "nowhere" / "store.db")
    with pytest.raises(StoreError, match="cannot be opened: Is a directory"):
        await open_store(tmp_path)


# --- damage


def overwrite(path: Path, page: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * connect.PAGE)
        file.write(content)


async def test_a_truncated_store_is_damaged(used: Path, open_store):
    os.truncate(used, 10 * connect.PAGE)
    with pytest.raises(StoreError, match="is damaged"):
        await open_store()


@pytest.mark.parametrize("page", [1, 2, 7])
async def test_a_zeroed_page_is_found_after_an_unclean_end(used: Path, open_store, page: int):
    store = await open_store()
    await store.close(clean=False)
    overwrite(used, page, bytes(connect.PAGE))
    with pytest.raises(StoreError, match=r"is damaged|is not a Dovetail store"):
        await open_store()


async def test_damage_that_is_met_later_stops_the_store(used: Path, open_store, monkeypatch):
    store = await open_store()
    sql = "SELECT pageno FROM dbstat WHERE name = 'journal' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 5"
    page = store._db.reading.execute(sql).get
    await store.close()
    overwrite(used, page, b"\xff" * connect.PAGE)
    with pytest.raises(StoreError, match="is damaged"):
        await open_store()
    monkeypatch.setattr(connect, "SMALL", 0)  # as if it were too large to be looked at as a whole
    store = await open_store()
    told: list[Damaged] = []
    store.damaged = told.append
    with pytest.raises(Damaged, match="is damaged"):
        store.journal.after(1, 1, 0, 10_000, 1 << 30)
    assert len(told) == 1
    with pytest.raises(StoreError, match="is damaged"):
        await store.commit(Work())
    with pytest.raises(StoreError, match="is damaged"):
        store.check()


async def test_a_closed_store_says_so(open_store):
    store = await open_store()
    await store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.journal.last(1)
    for body in (b"", b"x" * 100_000):
        with pytest.raises(StoreError, match="is closed"):
            await store.commit(Work(entries=[Entry(1, 1, 1, b"", body)]))
    with pytest.raises(StoreError, match="is closed"):
        await store.journal.prune(Retention({}, Keeping.uniform(0), 0), 1, 1)


# --- settings and schema


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_the_settings_that_carry_the_promise(open_store, tmp_path: Path):
    store = await open_store()
    for connection in (store._db.writing, store._db.reading):
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2
    assert store._db.writing.pragma("application_id") == connect.APPLICATION
    await store.commit(Work(entries=entries(1)))
    assert modes(tmp_path) == dict.fromkeys(["store.db", "store.db-wal", "store.db-shm", "store.db-lock"], 0o600)


async def test_a_disk_without_shared_memory_is_refused(open_store):
    """Network folders, for example: SQLite then keeps no write-ahead log."""
    plain = apsw.VFS("plain", "unix-dotfile", makedefault=True)
    try:
        with pytest.raises(StoreError, match="refuses journal_mode=wal"):
            await open_store()
    finally:
        plain.unregister()


def test_an_older_store_is_brought_up_to_date(tmp_path: Path, monkeypatch):
    first = connect.migrations()
    path = tmp_path / "store.db"
    connect.create(path)
    connection = connect.connect(path, 1024)
    connect.migrate(connection, bitrot.NEW)
    assert connection.pragma("user_version") == len(first)
    monkeypatch.setattr(connect, "migrations", lambda: [*first, ("0099_more.sql", "CREATE TABLE more (x)")])
    connect.migrate(connection, bitrot.NEW)
    connect.migrate(connection, bitrot.NEW)
    assert connection.pragma("user_version") == len(first) + 1
    assert connection.execute("SELECT count(*) FROM more").get == 0


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch):
    first = connect.migrations()
    path = tmp_path / "store.db"
    connect.create(path)
    connection = connect.connect(path, 1024)
    connect.migrate(connection, bitrot.NEW)
    monkeypatch.setattr(connect, "migrations", lambda: [*first, ("0002.sql", "CREATE TABLE more (x); CREATE nonsense")])
    with pytest.raises(apsw.SQLError):
        connect.migrate(connection, bitrot.NEW)
    assert connection.pragma("user_version") == len(first)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").get == 0


def test_the_wheel_holds_the_migrations(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"dovetail/store/migrations/sqlite/{name}" for name, _ in connect.migrations()} <= set(names)
