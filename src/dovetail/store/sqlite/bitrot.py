"""Stored bytes that change by themselves are found before anybody acts on them.

Every page of the database and of its log ends with a checksum, which SQLite's checksum layer (`cksumvfs`) verifies
whenever a page is read. Frames of the log bear SQLite's own checksums as well, but a wrong one only ends the log there:
what follows would be lost without a word. So the log is looked at before SQLite reads it (`flushed`), and again when it
has (`require`).
"""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path

import apsw
import apsw.sqlite_extra

from dovetail.errors import Damaged, StoreError

RESERVE, NEW = 8, -1  # bytes of each page that hold its checksum; there are no pages yet
_HEADER, _FRAME = 32, 24  # bytes before the first frame of a log, and before each frame's page
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}  # a log's first four bytes: how its checksums read their words


@cache
def checksums() -> None:
    """Have SQLite verify and write checksums, for all files that it opens from now on. Raises StoreError."""
    try:
        apsw.sqlite_extra.load(apsw.Connection(":memory:"), "cksumvfs")
    except (apsw.sqlite_extra.NotAvailable, apsw.Error, AttributeError) as error:
        raise StoreError(
            f"this installation of apsw lacks SQLite's checksums (cksumvfs: {error}): install its wheel from PyPI"
        ) from error


def reserved(path: Path) -> int:
    """How many bytes at the end of each page are not SQLite's; `NEW` for a file without pages. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(100)
    return head[20] if len(head) == 100 else NEW


def met(error: apsw.Error) -> bool:
    """Whether SQLite has read a page whose checksum is wrong."""
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA


def damaged(path: Path, why: str) -> Damaged:
    """The store at `path` cannot be trusted any more."""
    return Damaged(f"store {path} is damaged ({why}): move it away and restore a backup")


def flushed(path: Path) -> int:
    """How many frames of the log of the database at `path` were surely flushed: those of all transactions but the last.

    Whoever commits flushes before the next one is written. So what stands before a frame that was made behind it has
    been on disk, and can be missing or wrong only if the disk has changed it. The last transaction may be half there
    after a power cut. Reads the whole log, verifies next to nothing of it, and flushes it: a writer that was killed
    leaves what it had not flushed, and the next one must not write behind that. Raises OSError.
    """
    log = path.with_name(path.name + "-wal")
    data = b""
    if log.exists():
        with log.open("rb") as file:
            os.fsync(file.fileno())
            data = file.read()
    if len(data) < _HEADER + _FRAME:
        return 0
    magic, _, page = struct.unpack_from(">III", data)
    head = struct.unpack_from(">II", data, 24)
    page = page if 512 <= page <= 65536 and not page & (page - 1) else _page(path)
    frames = _Frames(data, page)
    if not len(frames):
        return 0
    order = _ORDERS.get(magic, "")
    if order and _sum(data[:24], (0, 0), order) == head:
        return _chained(frames, data[16:24], head, order)
    return max(_chained(frames, frames[0][8:16], head, order) for order in _ORDERS.values())  # the head is damaged


class _Frames:
    """The whole frames of a log, each cut out when it is asked for: few of them are."""

    def __init__(self, data: bytes, page: int) -> None:
        self._data, self._size = data, _FRAME + page

    def __len__(self) -> int:
        return (len(self._data) - _HEADER) // self._size

    def __getitem__(self, number: int) -> bytes:
        at = _HEADER + number * self._size
        return self._data[at : at + self._size]


def _chained(frames: _Frames, salts: bytes, head: tuple[int, ...], order: str) -> int:
    """The last frame that ends a transaction and has one behind it that was made behind it: its checksum goes on from
    that one's, as that one says it or as it must be. What an earlier round of the log has left bears other salts."""
    for n in range(len(frames) - 2, -1, -1):
        frame, following = frames[n], frames[n + 1]
        if frame[4:8] == b"\0\0\0\0" or following[8:16] != salts:
            continue
        if _told(following) == _made(following, _told(frame), order):
            return n + 1
        before = _told(frames[n - 1]) if n else head
        if _told(following) == _made(following, _made(frame, before, order), order):
            return n + 1
    return 0


def require(connection: apsw.Connection, path: Path, frames: int) -> None:
    """The log as SQLite has read it must hold that many frames. Raises Damaged."""
    found, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    if found < frames:
        raise damaged(path, f"its log can be read up to frame {found}, and {frames} were flushed")


def _page(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:18], "big")
    return 65536 if size == 1 else max(512, size)


def _told(frame: bytes) -> tuple[int, ...]:
    """The checksum of a frame as it stands there."""
    return struct.unpack_from(">II", frame, 16)


def _made(frame: bytes, before: tuple[int, ...], order: str) -> tuple[int, int]:
    """The checksum of a frame behind one with the checksum `before`."""
    return _sum(frame[_FRAME:], _sum(frame[:8], before, order), order)


def _sum(data: bytes, start: tuple[int, ...], order: str) -> tuple[int, int]:
    """The log's checksum of some bytes, going on from `start`."""
    first, second = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for left, right in zip(words[::2], words[1::2], strict=True):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return first, second
