"""Files beneath one folder, and nothing else: no `..`, no links out of it, each change complete or not made.

Every function here blocks; connections and sources call them through `THREADS`. They raise OSError, and `Rejected`
for a name that no file may have.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from pathlib import Path

from dovetail.sdk import MessageError, Paused, Rejected, Retry, Threads

THREADS = Threads(4)
TEMPORARY = ".dovetail-"  # how names of files being written begin; nobody lists or reads them

_PERMANENT = {
    errno.ENOENT: "there is no such file",
    errno.ELOOP: "it is a link, and links are not followed",
    errno.ENOTDIR: "a part of its path is not a folder (links are not followed)",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EEXIST: "it is there already",
    errno.EINVAL: "the file system does not take this name",
}
_OPERATOR = {
    errno.EACCES: "access is denied",
    errno.EPERM: "the operation is not permitted",
    errno.EROFS: "the file system is read-only",
}


def translated(error: OSError, name: str) -> MessageError:
    """The table of this connector's errors: what the system says, as what happens next."""
    number = error.errno or 0
    if number in _PERMANENT:
        return Rejected(f"{name}: {_PERMANENT[number]}", code="file")
    if number in _OPERATOR:
        return Paused(f"{name}: {_OPERATOR[number]}", after=60.0, code="file")
    return Retry(f"{name}: {error.strerror or error}", code="file")  # a full disk, an I/O error, too many open files


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file in a folder. `modified` is in nanoseconds since 1970."""

    name: str
    size: int
    modified: int


def parts_of(name: str) -> list[str]:
    """A relative name's parts. Raises `Rejected` for one that leads out, or nowhere."""
    if not isinstance(name, str) or "\0" in name or name.startswith("/"):
        raise Rejected(f"{name!r} is not a name beneath the connection's folder", code="path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or any(part.startswith(TEMPORARY) for part in parts):
        raise Rejected(f"{name!r} is not a name beneath the connection's folder", code="path")
    return parts


class Root:
    """One folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def folder(self, parts: list[str], create: bool = False) -> Iterator[int]:
        """A descriptor of a folder beneath the root, reached without following a link."""
        if create:
            self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                        os.fsync(handle)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def open(self, name: str) -> int:
        """A descriptor for reading a regular file; the caller closes it."""
        *folders, last = parts_of(name)
        with self.folder(folders) as folder:
            handle = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EISDIR, "not a regular file", name)
        return handle

    def read(self, name: str, limit: int) -> tuple[bytes, os.stat_result]:
        """A whole file. Raises `Rejected` when it is longer than `limit` bytes."""
        handle = self.open(name)
        try:
            found = os.fstat(handle)
            with os.fdopen(handle, "rb", closefd=False) as file:
                body = file.read(limit + 1)
        finally:
            os.close(handle)
        if len(body) > limit:
            raise Rejected(f"{name}: longer than the {int(limit)} bytes that may be read at once", code="too-large")
        return body, found

    def stat(self, name: str) -> os.stat_result:
        """What is known about a file, without following a link."""
        *folders, last = parts_of(name)
        with self.folder(folders) as folder:
            return os.stat(last, dir_fd=folder, follow_symlinks=False)

    def entries(self, folder: str = "") -> list[Entry]:
        """The regular files of a folder, in order of name; neither links nor what is being written."""
        with self.folder(parts_of(folder) if folder not in ("", ".") else []) as handle, os.scandir(handle) as found:
            files = []
            for item in found:
                if item.name.startswith(TEMPORARY):
                    continue
                with suppress(FileNotFoundError):  # gone since
                    about = item.stat(follow_symlinks=False)
                    if stat.S_ISREG(about.st_mode):
                        files.append(Entry(item.name, about.st_size, about.st_mtime_ns))
        return sorted(files, key=lambda file: file.name)

    def write(self, name: str, body: bytes, tag: str) -> None:
        """Put a whole file in place: after a crash the old one is there, or the new one, and it is on disk on return.

        `tag` names the unfinished file, so that the next attempt of the same effect overwrites its leftovers.
        """
        *folders, last = parts_of(name)
        temporary = f"{TEMPORARY}{tag}"
        with self.folder(folders, create=True) as folder:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640, dir_fd=folder)
            try:
                _write_all(handle, body)
                os.fsync(handle)
            finally:
                os.close(handle)
            try:
                os.rename(temporary, last, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def append(self, name: str, body: bytes) -> None:
        """Add to the end of a file, which is made if it is not there; on disk on return."""
        *folders, last = parts_of(name)
        with self.folder(folders, create=True) as folder:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            handle = os.open(last, flags, 0o640, dir_fd=folder)
            before = os.fstat(handle).st_size
            try:
                _write_all(handle, body)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, before)  # no half of it stays when the disk is full
                raise
            finally:
                os.close(handle)
            os.fsync(folder)

    def move(self, name: str, target: Root, new: str) -> str:
        """Move a file to `new` beneath `target`, or to the next free name like it; the name it got."""
        stem, dot, ending = new.partition(".")
        with self.folder([]) as here, target.folder([], create=True) as there:
            for number in count(1):
                free = new if number == 1 else f"{stem}-{number}{dot}{ending}"
                if _placed(name, here, free, there):
                    break
            os.fsync(there)
            os.unlink(name, dir_fd=here)
            os.fsync(here)
        return free

    def remove(self, name: str) -> None:
        """Delete a file if it is there."""
        *folders, last = parts_of(name)
        with suppress(FileNotFoundError), self.folder(folders) as folder:
            os.unlink(last, dir_fd=folder)


def _write_all(handle: int, body: bytes) -> None:
    view = memoryview(body)
    while view:
        view = view[os.write(handle, view) :]


def _placed(name: str, here: int, free: str, there: int) -> bool:
    """Give the file its new name as well; False when another file has it. A link never replaces one; a rename would."""
    try:
        os.link(name, free, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
    except FileExistsError:
        # the same file under both names: a crash came before the old one was removed
        return os.path.samestat(_about(name, here), _about(free, there))
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        with suppress(FileNotFoundError):
            _about(free, there)
            return False
        _copy(name, here, free, there)
    return True


def _about(name: str, folder: int) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _copy(name: str, here: int, free: str, there: int) -> None:
    """The way to another file system: a complete copy takes the new name."""
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=here)
    temporary = f"{TEMPORARY}{blake2b(os.fsencode(name), digest_size=16).hexdigest()}"
    try:
        copy = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640, dir_fd=there)
        try:
            while chunk := os.read(source, 1 << 20):
                _write_all(copy, chunk)
            os.fsync(copy)
        finally:
            os.close(copy)
    finally:
        os.close(source)
    os.rename(temporary, free, src_dir_fd=there, dst_dir_fd=there)
