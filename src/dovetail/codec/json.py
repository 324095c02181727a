"""JSON (RFC 8259), strict, and newline-delimited JSON.

Stricter than the RFC demands: a name twice in one object, nesting deeper than 64, exponents beyond ±308, integers of
more than 4,300 digits and unpaired surrogates are refused. Integers and decimals are exact: a number with a point or an
exponent is read as `decimal.Decimal`. A UTF-8 byte order mark is skipped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

import jiter
import msgspec

from dovetail.codec.base import BadRecord, CodecError, Record, to_text
from dovetail.codec.lines import numbered_lines

MAX_DEPTH: Final = 64

# One pass over the bytes makes both rare cases visible: openings become `[`, digits and signs `0`, exponent marks `e`.
_MARKS: Final = bytes(
    48 if chr(c) in "0123456789+-" else 101 if chr(c) in "eE" else 91 if chr(c) in "[{" else c for c in range(256)
)
_LONG_EXPONENT = re.compile(rb"[0-9][eE][+-]?0*[1-9][0-9]{2}")
_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?[eE]([+-]?[0-9]+)', re.DOTALL)
_PLACE = re.compile(r" at line (\d+) column (\d+)$")
_LOOKED_AT: Final = frozenset((dict, list, tuple, float, Decimal))
_encode = msgspec.json.Encoder(decimal_format="number").encode
_from_json = jiter.from_json
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_UNSURE: Any = object()
_LONG: Final = 4300  # digits of an integer that are too many for the slower reader, which then says so
_DIGITS: Final = b"0" * _LONG


def _quickly(body: bytes) -> Any:
    """The value by the quicker reader, or `_UNSURE`: it names no places and keeps the last of duplicate keys in
    silence.

    It is sure when writing the value again gives as many colons as came in: each member has one, those within strings
    stay,
    and nothing else makes any (a colon written as an escape could make up for a lost member, so then it is unsure).
    """
    if len(body) > _LONG and _DIGITS in body.translate(_MARKS):
        return _UNSURE
    try:
        value = _decode(body)
        if body.count(b":") == _encode(value).count(b":") and (b"\\" not in body or b"\\u003" not in body):
            return value
    except (ValueError, ArithmeticError, RecursionError):
        pass
    return _UNSURE


class JsonCodec:
    """`application/json` and everything that ends in `+json`."""

    name = "json"
    media_type = "application/json"

    def __init__(self, charset: str = "utf-8") -> None:
        self.charset = charset

    def decode(self, body: bytes) -> Any:
        """The value. Raises CodecError with line and column."""
        if self.charset != "utf-8":
            body = to_text(body, self.charset).encode()
        value = _quickly(body)
        if value is _UNSURE:
            try:
                value = _from_json(body, float_mode="decimal", catch_duplicate_keys=True, allow_inf_nan=False)
            except ValueError as error:
                if body.startswith(b"\xef\xbb\xbf"):
                    return self.decode(body[3:])
                raise _explained(body, str(error)) from None
        marks = body.translate(_MARKS)
        if marks.count(b"[") > MAX_DEPTH and _deeper(value):
            raise _too_deep(body)
        if b"0e000" in marks and _LONG_EXPONENT.search(body):
            _refuse_exponents(body)
        return value

    def reread(self, body: bytes) -> Any:
        """The value of bytes that `decode` has read or `encode` has written before: as `decode`, in half the time."""
        if self.charset == "utf-8":
            try:
                return _decode(body)
            except (ValueError, ArithmeticError, RecursionError):
                pass  # the stricter reader knows more of what is strange, and says what it refuses
        return self.decode(body)

    def encode(self, value: Any) -> bytes:
        """UTF-8 bytes without spaces. Raises CodecError for what JSON cannot say: NaN, infinities, lone surrogates."""
        try:
            body = _encode(value)
        except UnicodeEncodeError as error:
            raise CodecError(f"JSON cannot hold the unpaired surrogate {error.object[error.start]!r}") from None
        except RecursionError:
            raise CodecError(
                "the value is nested too deeply, or contains itself, and cannot be written as JSON"
            ) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise CodecError(f"the value cannot be written as JSON: {error}") from None
        if (
            b"null" in body or b"NaN" in body or b"Infinity" in body
        ):  # the encoder writes these for numbers that are not
            _refuse_not_finite(value)
        return body


class JsonLinesCodec:
    """Newline-delimited JSON: a list of values, one a line. Blank lines are skipped."""

    name = "ndjson"
    media_type = "application/x-ndjson"

    def __init__(self, max_line: int = 16 * 2**20) -> None:
        self.max_line = max_line
        self._json = JsonCodec()

    def decode(self, body: bytes) -> list[Any]:
        """All values. Raises CodecError for the first line at fault."""
        values: list[Any] = []
        for _, value in self.records([body]):
            if isinstance(value, BadRecord):
                raise value.error
            values.append(value)
        return values

    def encode(self, value: Any) -> bytes:
        """One line per item of a list; anything else is one line."""
        items = value if isinstance(value, list | tuple) else [value]
        return b"".join(self._json.encode(item) + b"\n" for item in items)

    def records(self, chunks: Iterable[bytes]) -> Iterator[Record]:
        for number, line in numbered_lines(chunks, self.max_line):
            text = line.strip()
            if not text:
                continue
            if len(line) > self.max_line:
                error = CodecError(f"the line is longer than {self.max_line} bytes", line=number)
                yield number, BadRecord(error, line[:200].decode("utf-8", "replace"))
                continue
            try:
                yield number, self._json.decode(text)
            except CodecError as error:
                moved = CodecError(error.reason, line=number, column=error.column)
                yield number, BadRecord(moved, line.decode("utf-8", "replace").rstrip("\r\n"))


def _deeper(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if item.__class__ is dict:
                inner += [part for part in item.values() if part.__class__ is dict or part.__class__ is list]
            elif item.__class__ is list:
                inner += [part for part in item if part.__class__ is dict or part.__class__ is list]
        if not inner:
            return False
        level = inner
    return True


def _explained(body: bytes, text: str) -> CodecError:
    match = _PLACE.search(text)
    if match is None:
        return CodecError(f"not JSON: {text}")
    line, offset = int(match[1]), int(match[2])
    reason = text[: match.start()]
    if reason.startswith("recursion limit"):
        return _too_deep(body)
    if reason.startswith("Internal error"):
        reason = "a number's exponent is beyond ±308"
    elif reason == "number out of range":
        reason = "a number has more than 4300 digits"
    elif reason.startswith("Detected duplicate key"):
        reason = reason.replace("Detected duplicate key", "the name is there twice in one object:")
    row = body.split(b"\n", line)[line - 1] if line else b""
    word = re.match(rb"-?(NaN|Infinity)", row[max(offset - 1, 0) :])
    if word:
        reason = f"{word[0].decode()} is not a JSON value"
    return CodecError(f"not JSON: {reason}", line=line, column=_column(row, offset))


def _column(row: bytes, offset: int) -> int:
    return len(row[: max(offset - 1, 0)].decode("utf-8", "replace")) + 1


def _too_deep(body: bytes) -> CodecError:
    depth = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', body, re.DOTALL):
        first = match[0][:1]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        if depth > MAX_DEPTH:
            return _placed(body, match.start(), f"nested deeper than {MAX_DEPTH} levels")
    return CodecError(f"nested deeper than {MAX_DEPTH} levels")


def _refuse_exponents(body: bytes) -> None:
    for match in _NUMBER.finditer(body):
        if match[1] and abs(int(match[1][:6])) > 308:
            raise _placed(body, match.start(), "a number's exponent is beyond ±308")


def _placed(body: bytes, offset: int, message: str) -> CodecError:
    start = body.rfind(b"\n", 0, offset) + 1
    return CodecError(message, line=body.count(b"\n", 0, offset) + 1, column=_column(body[start:], offset - start + 1))


def _refuse_not_finite(value: Any) -> None:
    pending = [value]
    for item in pending:  # grows while it is walked
        kind = item.__class__
        if kind is dict:
            pending += [part for part in item.values() if part.__class__ in _LOOKED_AT]
        elif kind is list or kind is tuple:
            pending += [part for part in item if part.__class__ in _LOOKED_AT]
        elif kind in _LOOKED_AT and not math.isfinite(item):
            raise CodecError(f"JSON has no number {item}")
