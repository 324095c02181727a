"""HTTP as a source sees it: a request with raw bytes, and one answer. Mounted on the gateway's shared listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Request:
    """One complete request. Header names are lower case; `body` is the raw bytes as they came (after de-chunking).

    `respond` must be called once; it may be called later and never blocks. After the client went away it does nothing.
    """

    __slots__ = ("body", "headers", "method", "path", "peer", "query", "respond")

    def __init__(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, peer: str, respond: Respond
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.peer = peer
        self.respond = respond


class Respond(Protocol):
    """`respond(status, body, content_type, headers)`."""

    def __call__(
        self, status: int, body: bytes = b"", content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None: ...  # fmt: skip


Handler = Callable[[Request], None]


class Routes(Protocol):
    """The shared listener's table of routes."""

    def add(self, method: str, path: str, handler: Handler, *, max_body: int) -> None:
        """Mount `handler` at an exact path (no trailing slash). A body over `max_body` bytes gets 413 before it is
        read whole.

        Raises ValueError if the place is taken.
        """
        ...

    def remove(self, method: str, path: str) -> None:
        """Unmount; nothing happens if it is not there."""
        ...
