"""The shim's journal read back: what was done to the disk, and the marks of senders and target in between."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from shutil import which

from dovetail.testkit.history import Event, from_line, to_line

SOURCE = Path(__file__).resolve().parents[1] / "shim.c"
_HEAD = struct.Struct("<B3xIiIQQ")
_CREATE, _TRUNCATE = os.O_CREAT, os.O_TRUNC

# What can be done to a disk: (kind, inode or path, …).
Op = tuple[str, int | str, int | str, bytes]


def shim(folder: Path) -> Path:
    """The shim, compiled into `folder` unless it is there. Raises RuntimeError when there is no C compiler."""
    library = folder / "shim.so"
    if library.exists() and library.stat().st_mtime > SOURCE.stat().st_mtime:
        return library
    compiler = which("cc") or which("gcc") or which("clang")
    if compiler is None:
        raise RuntimeError("the proof watches a process's files with a small C library: install a C compiler (cc)")
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"shim.{os.getpid()}.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", draft, SOURCE, "-ldl", "-lpthread"], check=True)
    return draft.rename(library)


def mark(event: Event) -> bytes:
    """The record of something that a sender or the target saw."""
    line = to_line(event)
    return _HEAD.pack(ord("M"), os.getpid(), -1, 0, 0, len(line)) + line


@dataclass(slots=True)
class Flush:
    """A flush that has ended: of an inode, or of the folder `path`. What was done before op `upto` is covered."""

    inode: int
    path: str
    upto: int


Step = int | Flush | Event  # an int: the number of an op


@dataclass(slots=True)
class Journal:
    """`ops` in the order in which they were done; `steps` are ops, flushes and marks in that order."""

    ops: list[Op] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    root: str = ""  # the folder in which the first name was made
    strange: list[str] = field(default_factory=list)  # what an image cannot tell of


def read(data: bytes) -> Journal:
    """The journal of one or several lives of a process."""
    return _Reader().read(data)


class _Reader:
    """Follows names and descriptors."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.names: dict[str, int] = {}
        self.files: dict[tuple[int, int], tuple[int, str]] = {}  # process and descriptor → inode (0: a folder), path
        self.flushing: dict[tuple[int, int], list[int]] = {}
        self.inodes = 0

    def read(self, data: bytes) -> Journal:
        for op, file, path, offset, body in records(data):
            match op:
                case "M":
                    self.journal.steps.append(from_line(body))
                case "O":
                    self._open(file, path, offset)
                case "C":
                    self.files.pop(file, None)
                case "W":
                    self._do("W", self.files[file][0], offset, body)
                case "T":
                    self._do("T", self.files[file][0], offset)
                case "S":
                    self.flushing.setdefault(file, []).append(len(self.journal.ops))
                case "s":
                    inode, name = self.files[file]
                    self.journal.steps.append(Flush(inode, name, self.flushing[file].pop()))
                case "U":
                    self.names.pop(path, None)
                    self._do("U", path)
                case "R":
                    self.names[body.decode()] = self.names.pop(path)
                    self._do("R", path, body.decode())
                case "D" | "X":
                    self.journal.root = self.journal.root or folder_of(path)
                    self._do(op, path)
                case _:
                    self.journal.strange.append(f"{body.decode()} {path or self.files.get(file)}")
        return self.journal

    def _do(self, kind: str, what: int | str, more: int | str = 0, body: bytes = b"") -> None:
        self.journal.steps.append(len(self.journal.ops))
        self.journal.ops.append((kind, what, more, body))

    def _open(self, file: tuple[int, int], path: str, flags: int) -> None:
        self.flushing.pop(file, None)
        if path not in self.names and flags & _CREATE:
            self.inodes += 1
            self.names[path] = self.inodes
            self._do("L", path, self.inodes)
        inode = self.names.get(path, 0)
        if inode and flags & _TRUNCATE:
            self._do("T", inode, 0)
        self.files[file] = inode, path


def records(data: bytes) -> Iterator[tuple[str, tuple[int, int], str, int, bytes]]:
    """(op, (process, descriptor), path, offset, data) of every whole record."""
    at = 0
    while at + _HEAD.size <= len(data):
        op, process, descriptor, named, offset, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + named + length > len(data):
            return
        yield (
            chr(op),
            (process, descriptor),
            data[at : at + named].decode(),
            offset,
            data[at + named : at + named + length],
        )
        at += named + length


def folder_of(path: str) -> str:
    """The folder that a name stands in."""
    return str(PurePosixPath(path).parent)
