"""What every codec shares: the error, the record framing and the lookup."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from dovetail.errors import Rejected
from dovetail.message import OPAQUE, Codec


class CodecError(Rejected):
    """These bytes are not what they say they are, or this value cannot be written in this format.

    `line` and `column` count from 1; 0 means that there is no such place.
    """

    code = "unreadable"

    def __init__(self, message: str, *, line: int = 0, column: int = 0, detail: Any = None) -> None:
        place = f" at line {line}" + (f" column {column}" if column else "") if line else ""
        super().__init__(message + place, detail=detail)
        self.reason = message
        self.line = line
        self.column = column


Record = tuple[int, "Any | BadRecord"]


class BadRecord:
    """A record that could not be read: `error` says why, `raw` is its text as far as it is known."""

    __slots__ = ("error", "raw")

    def __init__(self, error: CodecError, raw: str) -> None:
        self.error = error
        self.raw = raw

    def __repr__(self) -> str:
        return f"BadRecord({self.error})"


@runtime_checkable
class Framed(Protocol):
    """A codec whose bytes are a row of records, which can be read one after the other in constant memory."""

    def records(self, chunks: Iterable[bytes]) -> Iterator[Record]:
        """(number of its first line, value or `BadRecord`) for each record; a bad one does not stop the others."""
        ...


def charset_of(name: str) -> str:
    """Python's name for a charset. Raises CodecError for one that nobody knows or that is not a text encoding."""
    try:
        found = codecs.lookup(name)
        if not found._is_text_encoding:
            raise LookupError(name)
    except (LookupError, ValueError):
        raise CodecError(f"the charset '{name}' is unknown") from None
    return found.name


def to_text(body: bytes, charset: str = "utf-8") -> str:
    """The text of `body`, without a byte order mark. Raises CodecError with the place of the first wrong byte."""
    name = charset_of(charset)
    try:
        text = body.decode("utf-8-sig" if name == "utf-8" else name)
    except UnicodeDecodeError as error:
        before = body[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        wrong = f"the byte 0x{body[error.start]:02x} is not valid {name}"
        raise CodecError(wrong, line=line, column=column) from None
    except UnicodeError as error:
        raise CodecError(f"the text is not valid {name}: {error}") from None
    return text


def to_bytes(text: str, charset: str = "utf-8") -> bytes:
    """The bytes of `text`. Raises CodecError for a character that the charset does not have."""
    name = charset_of(charset)
    try:
        return text.encode(name)
    except UnicodeEncodeError as error:
        wrong = f"the character {text[error.start]!r} cannot be written in {name}"
        raise CodecError(wrong, line=text.count("\n", 0, error.start) + 1) from None


def media_type(content_type: str) -> tuple[str, dict[str, str]]:
    """`text/csv; charset=latin-1` → (`text/csv`, {charset: latin-1}), names in lower case."""
    kind, *rest = content_type.split(";")
    parameters: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if equals:
            parameters.setdefault(name.strip().lower(), value.strip().strip('"'))
    return kind.strip().lower(), parameters


Make = Callable[[Mapping[str, str]], Codec]


class Codecs:
    """The formats at hand: a value, never changed in place.

    `by_media_type` also gets the keys `+json` and `+xml`, which stand for all media types that end so.
    """

    def __init__(self, by_name: Mapping[str, Codec], by_media_type: Mapping[str, Make]) -> None:
        self._by_name = dict(by_name)
        self._by_media_type = dict(by_media_type)
        self._seen: dict[str, Codec] = {}

    def names(self) -> list[str]:
        """The names that `by_name` knows."""
        return sorted(self._by_name)

    def by_name(self, name: str) -> Codec:
        """The codec called `name`; KeyError if there is none."""
        return self._by_name[name]

    def for_content_type(self, content_type: str | None) -> Codec:
        """The codec of a media type and its parameters; `OPAQUE` for one that nobody knows."""
        if not content_type:
            return OPAQUE
        found = self._seen.get(content_type)
        if found is None:
            found = self._make(content_type)
            if len(self._seen) < 256:  # content types come from strangers
                self._seen[content_type] = found
        return found

    def _make(self, content_type: str) -> Codec:
        kind, parameters = media_type(content_type)
        suffix = "+" + kind.rpartition("+")[2]
        make = self._by_media_type.get(kind) or self._by_media_type.get(suffix)
        return OPAQUE if make is None else make(parameters)

    def extended(self, by_name: Mapping[str, Codec], by_media_type: Mapping[str, Make]) -> Codecs:
        """A new lookup that knows more; the same names are replaced."""
        return Codecs({**self._by_name, **by_name}, {**self._by_media_type, **by_media_type})
