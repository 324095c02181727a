"""Very large bodies as files beside the database: written and flushed before the row that names them.

A file is never changed. Its name begins with the hash of the body and ends with a number that no other file gets, so
a file that was let go can never be mistaken for one that is being written for the same body.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

SAMPLE = 32 << 10
_PIECE = 1 << 20
_FLUSH = 8 << 20  # bytes after which a piece is flushed: one flush of everything would hold up the log's flushes


class SpillFiles:
    """The folder of spill files. Everything here blocks; call it in a thread."""

    def __init__(self, folder: Path, hook: Callable[[str], None]) -> None:
        self.folder = folder
        self._hook = hook
        self._named = False  # the folder's own name is known to be on disk

    def write(self, name: str, body: bytes, packed: bool) -> int:
        """Write a body under a new name and flush it, its name included; its bytes on disk. Raises OSError.

        After a failure nothing lies under that name; a process that dies leaves a file that no row names.
        """
        self._hook("spill_before_write")
        self._name()
        draft = self.folder / f"{name}.tmp"
        try:
            size = self._draft(draft, body, packed)
            self._hook("spill_before_rename")
            draft.replace(self.folder / name)
            flush_folder(self.folder)
        except BaseException:
            for left in (draft, self.folder / name):
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)
            raise
        self._hook("spill_before_row")
        return size

    def _name(self) -> None:
        """Make the folder. Files in one whose name is lost with the power are lost with it, so that is flushed, too."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if not self._named:
            flush_folder(self.folder.parent)
            self._named = True

    def _draft(self, draft: Path, body: bytes, packed: bool) -> int:
        size = flushed = 0
        target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(target, "wb", buffering=0) as file:
            for piece in pieces(body, packed):
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
                size += len(piece)
                if size - flushed >= _FLUSH:
                    os.fdatasync(file.fileno())
                    flushed = size
            os.fsync(file.fileno())
        return size

    def read(self, name: str, packed: bool) -> bytes:
        """The body of a file. Raises OSError, zlib.error; ValueError when it is not what its name says."""
        data = (self.folder / name).read_bytes()
        body = zlib.decompress(data) if packed else data
        if hash_of(body).hex() != name.partition(".")[0]:
            raise ValueError("its content is not what its name says, the disk has changed it: bring it from a backup")
        return body

    def names(self) -> list[str]:
        """What lies in the folder, drafts included."""
        try:
            return sorted(file.name for file in self.folder.iterdir())
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Let a file go; one that is gone already is no fault. Raises OSError."""
        (self.folder / name).unlink(missing_ok=True)


def hash_of(body: bytes) -> bytes:
    """What a body is addressed by."""
    return blake2b(body, digest_size=32).digest()


def compressible(body: bytes) -> bool:
    """Whether its beginning and its middle suggest that compressing saves a tenth."""
    half = SAMPLE // 2
    middle = max(half, len(body) // 2)
    sample = body[:half] + body[middle : middle + half]
    return len(zlib.compress(sample, 1)) < 0.9 * len(sample)


def pieces(body: bytes, packed: bool) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time."""
    view = memoryview(body)
    parts = (view[at : at + _PIECE] for at in range(0, len(view), _PIECE))
    if not packed:
        yield from (part.tobytes() for part in parts)
        return
    packing = zlib.compressobj(1)
    for part in parts:
        yield packing.compress(part)
    yield packing.flush()


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
