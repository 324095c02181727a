"""Delimited text. A dialect is stated, never guessed; a ragged row is reported with its line and the others go on."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from dovetail.codec.base import BadRecord, CodecError, Record, to_bytes
from dovetail.codec.lines import text_lines
from dovetail.codec.text import line_problem, printable, scalar_text

_REREADS: Final = 100  # how often the lines that a never closed quote swallowed are read again
_NEVER_CLOSED: Final = "a quote is opened here and never closed"
_CUT: Final = "a quote is opened here and not closed before a line that cannot be read"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the text is to be read. `skip` lines come before the header.

    With `header` the first row names the columns; else `names` does; with neither, records are lists. Rows over
    `max_columns`, records over `max_record` characters and fields over 131,072 characters are bad records; `max_rows`
    bounds a body decoded as a whole.
    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    names: tuple[str, ...] = ()
    skip: int = 0
    max_columns: int = 2000
    max_record: int = 2**20
    max_rows: int = 1_000_000


class CsvCodec:
    """`text/csv`: a list of objects (or of lists, in a dialect without names)."""

    name = "csv"

    def __init__(self, dialect: Dialect | None = None) -> None:
        self.dialect = dialect or Dialect()
        self.media_type = f"text/csv; charset={self.dialect.encoding}"
        if len(self.dialect.delimiter) != 1 or len(self.dialect.quote) != 1:
            raise ValueError("a delimiter and a quote are one character each")

    def decode(self, body: bytes) -> list[Any]:
        """All rows. Raises CodecError for the first row at fault."""
        rows: list[Any] = []
        for line, row in self.records([body]):
            if isinstance(row, BadRecord):
                raise row.error
            if len(rows) == self.dialect.max_rows:
                raise CodecError(f"more than {self.dialect.max_rows} rows", line=line)
            rows.append(row)
        return rows

    def encode(self, value: Any) -> bytes:
        """A list of objects (columns in order of first appearance, a header if the dialect has one) or of lists."""
        rows = value if isinstance(value, list | tuple) else [value]
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=self.dialect.delimiter, quotechar=self.dialect.quote, lineterminator="\r\n")
        if rows and isinstance(rows[0], dict):
            names = self.dialect.names or tuple(dict.fromkeys(name for row in rows for name in _object(row)))
            if self.dialect.header:
                writer.writerow(names)
            writer.writerows([scalar_text(row.get(name)) for name in names] for row in rows)
        else:
            writer.writerows([scalar_text(item) for item in _list(row)] for row in rows)
        return to_bytes(out.getvalue(), self.dialect.encoding)

    def records(self, chunks: Iterable[bytes]) -> Iterator[Record]:
        """Raises CodecError only when the header itself cannot be used: no row has a meaning then."""
        dialect = self.dialect
        rows = _Rows(text_lines(chunks, dialect.encoding, dialect.max_record), dialect)
        names, width, header = dialect.names, len(dialect.names), dialect.header
        for line, row in rows:
            if isinstance(row, BadRecord):
                if header:
                    raise row.error
                yield line, row
            elif header:
                header = False
                names = names or _header(row, line, dialect.max_columns)
                width = len(names)
            elif len(row) != (width := width or len(row)) or width > dialect.max_columns:
                expected = min(width, dialect.max_columns)
                what = f"the row has {len(row)} fields where {expected} are expected"
                yield line, BadRecord(CodecError(what, line=line), rows.raw())
            else:
                yield line, dict(zip(names, row, strict=True)) if names else row


class _Rows:
    """Rows of fields with the number of their first line. `raw()` is the text of the last row."""

    def __init__(self, lines: Iterator[str], dialect: Dialect) -> None:
        self._lines = _Lines(lines, dialect)
        self._dialect = dialect
        self._rereads = 0
        self._reader = csv.reader(self._lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)

    def raw(self) -> str:
        return printable("".join(self._lines.taken))

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRecord]]:
        for _ in range(self._dialect.skip):
            self._lines.skip()
        while True:
            start = self._lines.begin()
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield start, self._bad(str(error), start)
            except CodecError as error:
                whole = len(self._lines.taken) == 1 or error.reason.startswith(_NEVER_CLOSED)
                yield start, self._bad(error.reason if whole else _CUT, start)
            else:
                if row:  # not a blank line
                    yield start, row

    def _bad(self, reason: str, start: int) -> BadRecord:
        taken = self._lines.taken
        swallowed = reason.startswith(("unexpected end", "field larger", _NEVER_CLOSED, _CUT))
        if swallowed and len(taken) > 1 and self._rereads < _REREADS:
            self._rereads += 1
            self._lines.put_back()
        if reason.startswith("unexpected end"):
            reason = _NEVER_CLOSED
        return BadRecord(CodecError(reason, line=start), self.raw())


class _Lines:
    """Feeds the reader; an exception raised here ends the record and not the reading."""

    def __init__(self, lines: Iterator[str], dialect: Dialect) -> None:
        self.taken: list[str] = []  # the lines of the current record
        self._lines = lines
        self._charset = dialect.encoding
        self._limit = dialect.max_record
        self._again: deque[str] = deque()
        self._size = 0
        self._number = 0

    def begin(self) -> int:
        """Start a record; the number of its first line."""
        self.taken.clear()
        self._size = 0
        return self._number + 1

    def skip(self) -> None:
        self._number += next(self._lines, None) is not None

    def put_back(self) -> None:
        """Give the lines after the first one back: they are read as records of their own."""
        self._again.extendleft(reversed(self.taken[1:]))
        self._number -= len(self.taken) - 1
        del self.taken[1:]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._number += 1
        self.taken.append(line)
        self._size += len(line)
        if not line.isascii() or len(line) > self._limit:
            problem = line_problem(line, self._charset, self._limit)
            if problem:
                raise CodecError(problem)
        if self._size > self._limit:
            raise CodecError(f"{_NEVER_CLOSED} within {self._limit} characters")
        return line


def _object(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise CodecError(f"rows must all be objects; one is a {type(row).__name__}")
    return row


def _list(row: Any) -> list[Any]:
    if not isinstance(row, list | tuple):
        raise CodecError(f"a row must be an object or a list, not a {type(row).__name__}")
    return list(row)


def _header(row: list[str], line: int, most: int) -> tuple[str, ...]:
    names = [name.strip() for name in row]
    if len(names) > most:
        raise CodecError(f"{len(names)} columns; at most {most} are allowed", line=line)
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name:
            raise CodecError(f"column {index + 1} has no name in the header; give all names in the dialect", line=line)
        if name in seen:
            raise CodecError(f"the header names '{name}' twice; give all names in the dialect", line=line)
        seen.add(name)
    return tuple(names)
