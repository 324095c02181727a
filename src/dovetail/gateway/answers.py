"""Answers as bytes: status lines and headers that are made once and kept, problem documents (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

import msgspec

PROBLEM = "application/problem+json"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# What an answer says of the connection: a 1.0 client must be told that it stays open, a 1.1 client that it does not.
KEEP, KEEP_SAID, CLOSE = range(3)
_CONNECTION = (b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n")

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "content-type", "date"})


def problem(status: int, code: str, detail: str) -> bytes:
    """A problem document: `code` is a short stable word for machines, `detail` a sentence for a person."""
    title = _REASONS.get(status, "Error")
    return msgspec.json.encode({"title": title, "status": status, "code": code, "detail": detail})


class Answers:
    """Encodes answers. The beginnings are kept per (status, content type, connection) until `date` is called."""

    def __init__(self) -> None:
        self._heads: dict[tuple[int, str, int], bytes] = {}
        self._date = b""

    def date(self, now_ms: int) -> None:
        """Set the Date header of the answers to come."""
        self._date = formatdate(now_ms / 1000, usegmt=True).encode()
        self._heads.clear()

    def encode(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None, connection: int,
        without_body: bool,
    ) -> bytes:  # fmt: skip
        """The whole answer. `without_body` answers a HEAD: the length is told, the body stays here."""
        head = self._heads.get((status, content_type, connection))
        if head is None:
            head = self._head(status, content_type, connection)
        if headers:
            head += _extra(headers)
        if status == 204 or status == 304:
            return head + b"\r\n"
        if without_body:
            return b"%bContent-Length: %d\r\n\r\n" % (head, len(body))
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def _head(self, status: int, content_type: str, connection: int) -> bytes:
        if not _VALUE.fullmatch(content_type):
            return self._head(status, "application/octet-stream", connection)
        kind = b"" if status == 204 or not content_type else b"Content-Type: %b\r\n" % content_type.encode("latin-1")
        head = b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b" % (
            status, _REASONS.get(status, "Status").encode(), self._date, kind, _CONNECTION[connection],
        )  # fmt: skip
        if len(self._heads) < 256:  # content types may come from messages: the table must not grow with them
            self._heads[status, content_type, connection] = head
        return head


def _extra(headers: Mapping[str, str]) -> bytes:
    """A handler's own headers. What could split the answer, or would speak of its framing, is left out."""
    lines = []
    for name, value in headers.items():
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value) and name.lower() not in _OURS:
            lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")
