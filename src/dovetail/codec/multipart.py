"""`multipart/form-data`: fields and files in one body.

A field becomes text; a file becomes `{"filename", "content_type", "content"}` with its bytes. A name that repeats holds
a list.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dovetail.codec.base import CodecError, media_type, to_text
from dovetail.codec.form import gather
from dovetail.codec.text import scalar_text

# the library logs a line for each wrong byte it meets, and strangers choose the bytes
_QUIET: Final = logging.Logger("multipart", logging.CRITICAL + 1)
_BOUNDARY: Final = "dovetail-7a1d5c0e94b24f6c8f3e"


class MultipartCodec:
    """`multipart/form-data` with the boundary its content type names."""

    name = "multipart"

    def __init__(self, boundary: str = _BOUNDARY, max_parts: int = 1000) -> None:
        self.boundary = boundary
        self.max_parts = max_parts
        self.media_type = f'multipart/form-data; boundary="{boundary}"'

    def decode(self, body: bytes) -> dict[str, Any]:
        """Names to values. Raises CodecError for a body cut short, of another boundary, or with too many parts."""
        if not self.boundary:
            raise CodecError("the content type of a multipart body must name its boundary")
        collector = _Collector(self)
        try:
            parser = MultipartParser(self.boundary.encode("latin-1"), collector.callbacks())  # type: ignore[arg-type]
            parser.logger = _QUIET
            parser.write(body)
            parser.finalize()
        except (FormParserError, UnicodeError) as error:
            raise CodecError(f"not a multipart body: {error}") from None
        if not collector.ended:
            raise CodecError("the multipart body ends before its last boundary")
        return gather(collector.parts)

    def encode(self, value: Any) -> bytes:
        """The body of an object; a value with a `filename` and bytes as `content` becomes a file."""
        if not isinstance(value, dict):
            raise CodecError(f"a multipart body is written from an object, not from a {type(value).__name__}")
        body = bytearray()
        for name, item in value.items():
            for one in item if isinstance(item, list | tuple) else [item]:
                body += self._part(str(name), one)
        return bytes(body) + f"--{self.boundary}--\r\n".encode()

    def _part(self, name: str, value: Any) -> bytes:
        head = f'--{self.boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
        if isinstance(value, dict):
            head += f'; filename="{_quoted(str(value.get("filename", "file")))}"\r\n'
            head += f"Content-Type: {_quoted(str(value.get('content_type', 'application/octet-stream')))}"
            content = value.get("content", b"")
            data = content if isinstance(content, bytes) else scalar_text(content).encode()
        else:
            data = scalar_text(value).encode()
        if f"--{self.boundary}".encode() in data:
            raise CodecError(f"the value of '{name}' contains the boundary")
        return head.encode() + b"\r\n\r\n" + data + b"\r\n"


class _Collector:
    def __init__(self, codec: MultipartCodec) -> None:
        self.parts: list[tuple[str, Any]] = []
        self.ended = False
        self._codec = codec
        self._name, self._value, self._data = bytearray(), bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) == self._codec.max_parts:
            raise CodecError(f"more than {self._codec.max_parts} parts")
        self._data.clear()
        self._headers = {}

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if b"name" not in options:
            raise CodecError("a part has no name")
        name = to_text(options[b"name"])
        kind = self._headers.get("content-type", b"").decode("utf-8", "replace")
        if b"filename" in options:
            value: Any = {
                "filename": to_text(options[b"filename"]),
                "content_type": kind or "application/octet-stream",
                "content": bytes(self._data),
            }
        else:
            value = to_text(bytes(self._data), media_type(kind)[1].get("charset", "utf-8"))
        self.parts.append((name, value))

    def _finish(self) -> None:
        self.ended = True


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
