"""Plain text: the value is a string; as records, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from dovetail.codec.base import BadRecord, CodecError, Record, to_bytes, to_text
from dovetail.codec.lines import text_lines


class TextCodec:
    """`text/plain` in any charset."""

    name = "text"

    def __init__(self, charset: str = "utf-8", max_line: int = 2**20) -> None:
        self.charset = charset
        self.max_line = max_line
        self.media_type = f"text/plain; charset={charset}"

    def decode(self, body: bytes) -> str:
        """The text. Raises CodecError with the place of the first byte that is not of the charset."""
        return to_text(body, self.charset)

    def encode(self, value: Any) -> bytes:
        """Text as it is; a number or a yes/no as JSON writes it. Raises CodecError for anything else."""
        if isinstance(value, str):
            return to_bytes(value, self.charset)
        if isinstance(value, bytes):
            return value
        return to_bytes(scalar_text(value), self.charset)

    def records(self, chunks: Iterable[bytes]) -> Iterator[Record]:
        for number, line in enumerate(text_lines(chunks, self.charset, self.max_line), 1):
            problem = line_problem(line, self.charset, self.max_line)
            if problem:
                yield number, BadRecord(CodecError(problem, line=number), printable(line))
            else:
                yield number, line.rstrip("\r\n")


def scalar_text(value: Any) -> str:
    """A scalar as text: true, false, digits without an exponent, nothing for None. Raises CodecError for the rest."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, float) and value - value == 0:
        return format(Decimal(repr(value)), "f") if "e" in repr(value) else repr(value).removesuffix(".0")
    raise CodecError(f"a {type(value).__name__} ({str(value)[:40]}) cannot be written as text")


def line_problem(line: str, charset: str, limit: int) -> str:
    """Why this line of `text_lines` cannot be trusted, or nothing."""
    if len(line) > limit:
        return f"the line is longer than {limit} characters"
    if not line.isascii() and (bad := next((c for c in line if 0xDC80 <= ord(c) < 0xDD00), "")):
        return f"the byte 0x{ord(bad) - 0xDC00:02x} is not valid {charset}; if the file has another encoding, name it"
    return ""


def printable(line: str) -> str:
    """The line as it may be shown or stored, with wrong bytes replaced."""
    return line.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
