"""What is in a file: its fingerprint, and its records one portion after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Any

from dovetail.sdk import Codec, Codecs, CsvCodec, Dialect, Framed, Rejected, Spec, field

_CHUNK = 1 << 20
_PORTION = 4 << 20  # bytes of a file after which a portion ends, however few records it has

_ENDINGS = {
    ".json": "json",
    ".csv": "csv",
    ".xml": "xml",
    ".txt": "text",
    ".log": "text",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
FORMATS = {"json": ".json", "csv": ".csv", "xml": ".xml", "text": ".txt", "ndjson": ".ndjson"}


class Opened:
    """A file that is open for reading.

    Closed when nobody refers to it any more, and not by hand: a thread may still be reading when its caller was
    cancelled, and a descriptor closed under it could by then be another file.
    """

    __slots__ = ("handle",)

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __del__(self) -> None:
        os.close(self.handle)

    def looks(self) -> tuple[int, int]:
        """Size, and time of the last change in nanoseconds."""
        about = os.fstat(self.handle)
        return about.st_size, about.st_mtime_ns


class CsvOptions(Spec):
    """How a CSV file is written; nothing about it is guessed."""

    delimiter: str = field(default=",", help="What stands between fields.", example=";", min=1, max=1)
    quote: str = field(default='"', help="What stands around a field that contains a delimiter.", min=1, max=1)
    encoding: str = field(default="utf-8", help="The character encoding.", example="latin-1")
    header: bool = field(default=True, help="Whether the first row names the columns.")
    columns: list[str] = field(default=[], help="The columns' names, when the file does not say or says it badly.")
    skip: int = field(default=0, min=0, help="Lines before the first row that mean nothing.")

    def rules(self) -> Iterable[tuple[str, str]]:
        """The encoding must be one."""
        try:
            "".encode(self.encoding)
        except LookupError:
            yield "encoding", f"there is no encoding '{self.encoding}'; write one like utf-8, latin-1 or cp1252"

    def codec(self) -> CsvCodec:
        """The codec that reads it."""
        return CsvCodec(
            Dialect(
                delimiter=self.delimiter, quote=self.quote, encoding=self.encoding, header=self.header,
                names=tuple(self.columns), skip=self.skip,
            )
        )  # fmt: skip


def codec_of(codecs: Codecs, name: str) -> Codec:
    """The codec that a file's ending suggests; bytes when it suggests none."""
    return codecs.by_name(_ENDINGS.get(PurePosixPath(name).suffix.lower(), "bytes"))


def fingerprint(file: Opened, *salt: object) -> str:
    """A hash of a file's content, and of `salt` when it is not the content alone that makes it the same."""
    digest = blake2b(digest_size=16)
    for chunk in _chunks(file):
        digest.update(chunk)
    for part in salt:
        digest.update(f"\0{part}".encode())
    return digest.hexdigest()


class Records:
    """A file's records from one line on. `portion` blocks and raises `CodecError` when the file as a whole cannot be
    read.
    """

    def __init__(self, file: Opened, codec: Framed, behind: int) -> None:
        self._bytes = 0
        self._behind = behind
        self._records = iter(codec.records(self._counted(file)))

    def _counted(self, file: Opened) -> Iterator[bytes]:
        for chunk in _chunks(file):
            self._bytes += len(chunk)
            yield chunk

    def portion(self, limit: int) -> list[tuple[int, Any]]:
        """Up to `limit` of the next (line, value or `BadRecord`); none at the end of the file."""
        found: list[tuple[int, Any]] = []
        start = self._bytes
        for line, value in self._records:
            if line > self._behind:
                found.append((line, value))
                if len(found) >= limit or self._bytes - start > _PORTION:
                    break
        return found


def _chunks(file: Opened) -> Iterator[bytes]:
    """The file from its start, without moving the descriptor's own position."""
    position = 0
    while chunk := os.pread(file.handle, _CHUNK, position):
        position += len(chunk)
        yield chunk


def first_lines(file: Opened, count: int) -> bytes:
    """The first lines of a file as they are, with their ends; nothing if they are not there within 64 KiB."""
    lines = os.pread(file.handle, 1 << 16, 0).splitlines(keepends=True)[:count]
    return b"".join(lines) if len(lines) == count else b""


def whole(file: Opened, limit: int) -> bytes:
    """All of a file. Raises `Rejected` when it is longer than `limit` bytes."""
    body = b"".join(_chunks(file)) if file.looks()[0] <= limit else None
    if body is None:
        raise Rejected(f"it has {file.looks()[0]} bytes; at most {limit} are taken as one message", code="too-large")
    return body
