"""What a power cut may leave: two models of a file system, five of what of the unflushed reached the disk.

`ext4`: names are written in order, before whatever is flushed later. `strict`: a name is safe only when its folder was
flushed. In both, what was written to a file is safe when that file was flushed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import cast

from proof.images.journal import Flush, Op, folder_of

SYSTEMS = ("ext4", "strict")
MODELS = ("all", "synced", "torn", "subset", "prefix")
SECTOR = 512
_DATA = ("W", "T")


@dataclass(slots=True)
class Disk:
    """Names and what stands in the files."""

    names: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    contents: dict[int, bytearray] = field(default_factory=dict)

    def copy(self) -> Disk:
        """One that can be changed; contents are shared until they are written to (see `own`)."""
        return Disk(dict(self.names), set(self.folders), dict(self.contents))

    def own(self, ops: Sequence[Op]) -> Disk:
        """A copy with its own contents of whatever `ops` write to."""
        copy = self.copy()
        for inode in {cast(int, what) for kind, what, _, _ in ops if kind in _DATA}:
            copy.contents[inode] = bytearray(copy.contents.get(inode, b""))
        return copy

    def do(self, op: Op) -> None:
        """One op. What it needs may be missing: then it leaves no trace."""
        kind, what, more, body = op
        if kind == "W":
            content, at = self.contents.setdefault(cast(int, what), bytearray()), cast(int, more)
            if len(content) < at:
                content.extend(bytes(at - len(content)))
            content[at : at + len(body)] = body
        elif kind == "T":
            content, length = self.contents.setdefault(cast(int, what), bytearray()), cast(int, more)
            content.extend(bytes(max(0, length - len(content))))
            del content[length:]
        else:
            self._name(kind, str(what), more)

    def _name(self, kind: str, path: str, more: int | str) -> None:
        if kind == "L":
            self.names[path] = cast(int, more)
            self.contents.setdefault(cast(int, more), bytearray())
        elif kind == "U":
            self.names.pop(path, None)
        elif kind == "R" and path in self.names:
            self.names[str(more)] = self.names.pop(path)
        elif kind == "D":
            self.folders.add(path)
        elif kind == "X":
            self.folders.discard(path)

    def files(self) -> dict[str, bytearray]:
        """What can be found: files whose folder is there."""
        return {path: self.contents[inode] for path, inode in self.names.items() if folder_of(path) in self.folders}


class Cache:
    """What of the ops so far is safe on a disk of one system, and what is not."""

    def __init__(self, system: str, ops: Sequence[Op], root: str) -> None:
        self.system, self._ops = system, ops
        self.safe = Disk(folders={root})
        self.unsafe: list[int] = []
        self.version = 0
        self.done = 0  # ops so far

    def does(self, number: int) -> None:
        """The next op is done; nothing of it is safe yet."""
        self.unsafe.append(number)
        self.done = number + 1

    def flushed(self, flush: Flush) -> None:
        """Move what a flush covers."""
        moved = [number for number in self.unsafe if number < flush.upto and self._covers(flush, self._ops[number])]
        if not moved:
            return
        for number in moved:
            self.safe.do(self._ops[number])
        gone = set(moved)
        self.unsafe = [number for number in self.unsafe if number not in gone]
        self.version += 1

    def _covers(self, flush: Flush, op: Op) -> bool:
        kind, what, more, _ = op
        if kind in _DATA:
            return what == flush.inode
        if self.system == "ext4":
            return True
        return not flush.inode and folder_of(str(more if kind == "R" else what)) == flush.path


@dataclass(frozen=True, slots=True)
class Image:
    """One state of the disk. `key` is the same for two that cannot differ."""

    system: str
    model: str
    key: tuple[object, ...]
    chosen: tuple[int, ...]
    torn: int = -1  # of the last one, so many bytes were written


def images(cache: Cache, dice: Random) -> Iterator[Image]:
    """The five images of this moment."""
    unsafe = tuple(cache.unsafe)
    for model in MODELS:
        torn = -1
        if model == "all":
            chosen = unsafe
        elif model == "synced":
            chosen = ()
        elif model == "torn":
            chosen, torn = unsafe, _torn(cache._ops, unsafe, dice)
        elif model == "subset":
            chosen = _ordered(cache, [number for number in unsafe if dice.random() < 0.5])
        else:
            chosen = unsafe[: dice.randint(0, len(unsafe))]
        yield Image(cache.system, model, _key(cache, unsafe, chosen, torn), chosen, torn)


def build(cache: Cache, image: Image) -> Disk:
    """The disk of an image."""
    ops = [cache._ops[number] for number in image.chosen]
    if image.torn >= 0:
        kind, inode, at, body = ops[-1]
        ops[-1] = (kind, inode, at, body[: image.torn])
    disk = cache.safe.own(ops)
    for op in ops:
        disk.do(op)
    return disk


def _torn(ops: Sequence[Op], unsafe: Sequence[int], dice: Random) -> int:
    """How many bytes of the last write reach the disk: up to a sector's border somewhere in it."""
    if not unsafe or ops[unsafe[-1]][0] != "W":
        return -1
    _, _, at, body = ops[unsafe[-1]]
    first = -cast(int, at) % SECTOR
    borders = range(first, len(body), SECTOR)
    return dice.choice(borders) if borders else 0


def _ordered(cache: Cache, chosen: Sequence[int]) -> tuple[int, ...]:
    """Where names are written in order, those behind one that is missing are missing too."""
    if cache.system == "strict":
        return tuple(chosen)
    kept = set(chosen)
    missing = [n for n in cache.unsafe if cache._ops[n][0] not in _DATA and n not in kept]
    end = missing[0] if missing else len(cache._ops)
    return tuple(n for n in chosen if n < end or cache._ops[n][0] in _DATA)


def _key(cache: Cache, unsafe: tuple[int, ...], chosen: tuple[int, ...], torn: int) -> tuple[object, ...]:
    if torn < 0 and chosen == unsafe and unsafe:
        return ("all", cache.done)
    return (cache.system, cache.version, chosen, torn)
