"""Stored bytes that change by themselves are found, wherever they are, before anybody acts on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import apsw
import pytest

from dovetail.errors import Damaged, StoreError
from dovetail.store.base import Entry, Work
from dovetail.store.sqlite import SqliteStore, bitrot, connect
from dovetail.store.sqlite.payloads import folder_of

FRAME = 24 + connect.PAGE


def flip(path: Path, at: int, bit: int = 0) -> None:
    """One bit of a file is another."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def copied(store: Path, folder: Path) -> Path:
    """The files of a store as they are now, as a kill would leave them."""
    folder.mkdir()
    for file in (store, store.with_name(store.name + "-wal")):
        if file.exists():
            shutil.copy(file, folder / file.name)
    return folder / store.name


async def filled(open_store, path: Path, commits: int) -> SqliteStore:
    store: SqliteStore = await open_store(path)
    for n in range(commits):
        await store.commit(Work(entries=[Entry(1, 1000, 1, b"", b"%04d" % n * 200)]))
    return store


def bodies(store: SqliteStore) -> list[bytes | None]:
    return [row.body for row in store.journal.after(1, 1, 0, 1000, 1 << 30)]


async def test_any_bit_of_the_database_that_flips_is_found(open_store, tmp_path: Path):
    store = await filled(open_store, tmp_path / "first.db", 300)
    wanted = bodies(store)
    await store.close()
    dice, size = Random(1), (tmp_path / "first.db").stat().st_size
    found = 0
    for n in range(60):
        path = copied(tmp_path / "first.db", tmp_path / str(n))
        flip(path, dice.randrange(size) if n else 20, dice.randrange(8))
        try:
            again = await open_store(path)
        except StoreError as error:
            found += "is damaged" in str(error) or "is not a Dovetail store" in str(error) or "newer" in str(error)
        else:  # in a page that nothing uses
            assert bodies(again) == wanted
            await again.close()
    assert found > 50


async def test_a_bit_of_the_log_that_flips_loses_nothing_silently(open_store, tmp_path: Path):
    store = await filled(open_store, tmp_path / "first.db", 40)
    wanted, log = bodies(store), tmp_path / "first.db-wal"
    last = bitrot.flushed(tmp_path / "first.db")
    assert last > 40 and log.stat().st_size >= 32 + last * FRAME
    dice = Random(2)
    for n, at in enumerate([3, 17, 29, *(dice.randrange(32 + last * FRAME) for _ in range(40))]):
        path = copied(tmp_path / "first.db", tmp_path / str(n))
        flip(path.with_name(path.name + "-wal"), at, dice.randrange(8))
        with pytest.raises(Damaged, match="its log can be read up to frame"):
            await open_store(path)
    again = await open_store(copied(tmp_path / "first.db", tmp_path / "whole"))
    assert bodies(again) == wanted


async def test_a_log_that_was_begun_again_or_torn_is_a_good_one(open_store, tmp_path: Path):
    store = await filled(open_store, tmp_path / "first.db", 900)  # several rounds: the log was begun again
    wanted = bodies(store)
    for n, torn in enumerate((0, 1, 4000, FRAME)):
        path = copied(tmp_path / "first.db", tmp_path / str(n))
        log = path.with_name(path.name + "-wal")
        end = 32 + (bitrot.flushed(path) + 1) * FRAME
        data = log.read_bytes()
        log.write_bytes(data[: end - torn] + bytes(torn) + data[end:])  # the last transaction may be half there
        assert bodies(await open_store(path)) in (wanted, wanted[:-1])


async def test_a_large_body_that_was_changed_on_disk_is_not_read(open_store, tmp_path: Path):
    store = await open_store(tmp_path / "first.db")
    body = Random(3).randbytes(2 << 20)
    await store.commit(Work(entries=[Entry(1, 1000, 1, b"", body)]))
    assert store.journal.original(1) == body
    [file] = folder_of(tmp_path / "first.db").iterdir()
    flip(file, 1 << 20)
    with pytest.raises(StoreError, match="its content is not what its name says") as raised:
        store.journal.original(1)
    assert not isinstance(raised.value, Damaged), "only this one message"


async def test_a_store_from_before_is_written_anew_with_checksums(open_store, tmp_path: Path, monkeypatch):
    path, before = tmp_path / "old.db", connect.migrations()[: connect.CHECKED - 1]
    with monkeypatch.context() as old:
        old.setattr(connect, "RESERVE", 0)
        old.setattr(connect, "CHECKED", 99)
        old.setattr(connect, "migrations", lambda: before)
        store = await filled(open_store, path, 300)
        wanted = bodies(store)
        await store.close()
    assert bitrot.reserved(path) == 0
    store = await open_store(path)
    assert bodies(store) == wanted
    await store.close()
    assert bitrot.reserved(path) == bitrot.RESERVE
    flip(path, path.stat().st_size // 2)
    with pytest.raises(Damaged):
        await open_store(path)


async def test_an_installation_without_checksums_says_so(open_store, tmp_path: Path, monkeypatch):
    def missing(*args: object) -> None:
        raise apsw.sqlite_extra.NotAvailable("cksumvfs")

    bitrot.checksums.cache_clear()
    monkeypatch.setattr("apsw.sqlite_extra.load", missing)
    with pytest.raises(StoreError, match="lacks SQLite's checksums"):
        await open_store(tmp_path / "first.db")
    bitrot.checksums.cache_clear()
