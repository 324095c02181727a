"""Copies of a store: made while it runs, checked against what they should hold, and put back.

A backup is a folder: `store.db` as of one moment, the spill files it names, and, written last, `backup.json`. One
without the last is not finished. Functions here block; call them in a thread.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from threading import Event
from typing import Any

import apsw
import msgspec

from dovetail.errors import StoreError
from dovetail.store.backup import Manifest, Progress
from dovetail.store.sqlite import bitrot, connect
from dovetail.store.sqlite.owner import Owner
from dovetail.store.sqlite.payloads import folder_of
from dovetail.store.sqlite.spill import flush_folder, hash_of

DATABASE, FILES, MANIFEST = "store.db", "store.db-payloads", "backup.json"
_PAGES = 128  # a step
_PAUSE = 0.004  # seconds between steps: the log's flushes go first
_CHUNK = 1 << 20


def back_up(store: Path, folder: Path, now_ms: int, told: Progress, hook: Callable[[str], None]) -> Manifest:
    """Copy the store at `store`, which may be in use by this process, into a new `folder`, and check the copy.

    Files that the store lets go meanwhile must be kept by the caller until this is over. Raises StoreError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(f"{folder} is not empty: name a new folder for the backup")
        _copy_database(store, folder / DATABASE, told)
        hook("backup_before_files")
        files = _named(folder / DATABASE)
        told.phase, told.total = "files", told.total + sum(size for *_, size in files)
        (folder / FILES).mkdir(mode=0o700)
        for name, *_ in files:
            told.done += _copy(folder_of(store) / name, folder / FILES / name)
        flush_folder(folder / FILES)
        told.phase = "verifying"
        manifest = _described(folder, now_ms)
        hook("backup_before_manifest")
        _write(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        flush_folder(folder)
    except (OSError, apsw.Error) as error:
        raise StoreError(f"the backup in {folder} is not finished: {error}; delete the folder") from error
    told.phase = "done"
    return manifest


def verified(folder: Path) -> Manifest:
    """The manifest of a backup all of which is there and readable. Raises StoreError with what is wrong."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise StoreError(f"{folder} is no finished backup: it has no {MANIFEST}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{folder / MANIFEST} cannot be read: {error}") from error
    if manifest.format != 1:
        raise StoreError(f"{folder} was made by a newer Dovetail (format {manifest.format})")
    try:
        found = _described(folder, manifest.at)
    except (OSError, apsw.Error) as error:
        raise StoreError(f"the backup {folder} is damaged: {error}") from error
    if found != manifest:
        raise StoreError(f"the backup {folder} is damaged: it does not hold what {MANIFEST} says")
    return manifest


def restore(folder: Path, store: Path, now_ms: int, *, replace: bool) -> Manifest:
    """Put a backup in the place of the store at `store`. One that is there is moved aside, and only with `replace`.

    Message numbers go on far beyond those of the backup, from a number made of the time: the store that was lost gave
    numbers after the backup, too, and those must not come again. Raises StoreError.
    """
    manifest = verified(folder)
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = Owner(store)
    try:
        if store.exists() and not replace:
            raise StoreError(f"there is a store at {store}: say --replace to move it aside")
        fresh, files = store.with_name(f"{store.name}.restoring"), folder_of(store)
        fresh_files = files.with_name(f"{files.name}.restoring")
        for left in (fresh, *(fresh.with_name(fresh.name + end) for end in ("-wal", "-shm"))):
            left.unlink(missing_ok=True)
        shutil.rmtree(fresh_files, ignore_errors=True)
        fresh_files.mkdir(mode=0o700)
        _copy(folder / DATABASE, fresh)
        for name, *_ in _named(fresh):
            _copy(folder / FILES / name, fresh_files / name)
        flush_folder(fresh_files)
        _begin_again(fresh, now_ms)
        _move_aside(store, now_ms)
        fresh_files.replace(files)
        fresh.replace(store)
        flush_folder(store.parent)
    except (OSError, apsw.Error) as error:
        raise StoreError(f"the backup {folder} could not be put back: {error}") from error
    finally:
        owner.release()
    return manifest


def _begin_again(database: Path, now_ms: int) -> None:
    """No number of the lost store comes again: a million a second were free since 1970."""
    connection = connect.connect(database, 2048)
    try:
        connection.execute(
            """UPDATE store SET clean = 0,
               high = max(?, 1048576 + max(high, (SELECT coalesce(max(seq), 0) FROM journal)))""",
            (now_ms // 1000 << 20,),
        )
    finally:
        connection.close()


def _move_aside(store: Path, now_ms: int) -> None:
    """The store that is there, with its log and its files, gets other names."""
    log = [store.with_name(store.name + end) for end in ("-wal", "-shm")]
    for old in (store, *log, folder_of(store)):
        if old.exists():
            old.replace(old.with_name(f"{old.name}.before-{now_ms}"))


def _copy_database(store: Path, copy: Path, told: Progress) -> None:
    """The database as of now, page by page, while others write on."""
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    source, target = connect.reader(store), apsw.Connection(str(copy))
    try:
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM store").fetchall()  # from here on it sees this moment and no other
        page = source.pragma("page_size")
        with target.backup("main", source, "main") as copying:
            while not copying.step(_PAGES):
                told.total, told.done = copying.page_count * page, (copying.page_count - copying.remaining) * page
                Event().wait(_PAUSE)
        target.pragma("journal_mode", "delete")  # one file, nothing beside it
    finally:
        source.close()
        target.close()
    _flush(copy)
    told.total = told.done = copy.stat().st_size


def _described(folder: Path, at: int) -> Manifest:
    """What lies in the folder, every byte of it read. Raises StoreError when it does not hold together."""
    database = folder / DATABASE
    reserve = bitrot.reserved(database)
    connection = connect.reader(database)
    try:
        connect.identify(connection, database, reserve)
        connect.quick_check(connection, database)
        held: list[Any] = connection.execute(
            "SELECT uid, high, (SELECT count(*) FROM journal), (SELECT coalesce(max(seq), 0) FROM journal) FROM store"
        ).fetchall()
        uid, high, messages, last = held[0]
    finally:
        connection.close()
    size, digest = _digest(database)
    files = _named(database)
    for name, hash, packed, _ in files:
        size += _check_file(folder / FILES / name, hash, packed)
    return Manifest(1, uid, at, max(high, last), messages, len(files), size, digest)


def _named(database: Path) -> list[tuple[str, bytes, int, int]]:
    """The spill files that a database names: (name, hash of the body, packed, bytes)."""
    connection = connect.reader(database)
    try:
        sql = "SELECT file, hash, packed, stored FROM payloads WHERE file IS NOT NULL ORDER BY file"
        rows: list[Any] = connection.execute(sql).fetchall()
        return rows
    finally:
        connection.close()


def _check_file(file: Path, hash: bytes, packed: int) -> int:
    data = file.read_bytes()
    try:
        body = zlib.decompress(data) if packed else data
    except zlib.error as error:
        raise StoreError(f"{file} is damaged: {error}") from error
    if hash_of(body) != hash:
        raise StoreError(f"{file} is damaged: its content is not what its name says")
    return len(data)


def _digest(file: Path) -> tuple[int, str]:
    size, digest = 0, blake2b(digest_size=32)
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def _copy(source: Path, target: Path) -> int:
    """Copy a file and flush it; its bytes."""
    with source.open("rb") as old:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as new:
            shutil.copyfileobj(old, new, _CHUNK)
            new.flush()
            os.fsync(new.fileno())
            return new.tell()


def _write(file: Path, content: bytes) -> None:
    draft = file.with_name(file.name + ".tmp")
    draft.write_bytes(content)
    _flush(draft)
    draft.replace(file)


def _flush(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
