"""Bytes or text in chunks to numbered lines, in bounded memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator

from dovetail.codec.base import charset_of


def numbered_lines(chunks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    """Lines with their ends, split at `\\n`. A line over `limit` bytes comes cut to `limit + 1` bytes."""
    number, rest = 0, b""
    for chunk in chunks:
        rest += chunk
        *whole, rest = rest.split(b"\n")
        for line in whole:
            number += 1
            yield number, line[: limit + 1] if len(line) > limit else line + b"\n"
        rest = rest[: limit + 1]
    if rest:
        yield number + 1, rest


def text_lines(chunks: Iterable[bytes], charset: str, limit: int) -> Iterator[str]:
    """Lines with their ends, split at `\\n`, `\\r\\n` and `\\r`, without a byte order mark.

    Bytes that the charset does not know come as unpaired surrogates U+DC80 to U+DCFF. A line over `limit` characters
    comes cut to `limit + 1`.
    """
    name = charset_of(charset)
    errors = "surrogateescape" if name == "utf-8" else "replace"
    decoder = codecs.getincrementaldecoder("utf-8-sig" if name == "utf-8" else name)(errors)
    rest = ""
    for chunk in chunks:
        lines = _split(rest + decoder.decode(chunk))
        rest = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        for line in lines:
            yield line if len(line) <= limit else line[: limit + 1]
        if len(rest) > limit:
            rest = rest[: limit + 1] + ("\r" if rest.endswith("\r") else "")
    for line in _split(rest + decoder.decode(b"", True)):
        yield line if len(line) <= limit else line[: limit + 1]


def _split(text: str) -> list[str]:
    return io.StringIO(text, newline="").readlines()
