"""The bare HTTP the benchmarks are made of: a server protocol and a keep-alive client on uvloop and httptools.

No features: no routing, no limits, no timeouts. What stands between these and the wire is what everybody pays.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

Handle = Callable[["Server", bytes], None]  # the connection to answer on, the body


def reply(status: bytes, body: bytes) -> bytes:
    """A whole response, ready to be written."""
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


class Server(asyncio.Protocol):
    """One accepted connection: every complete request goes to ``handle``, which writes to ``transport``."""

    def __init__(self, handle: Handle, peers: set[Server] | None = None) -> None:
        self.handle, self.peers = handle, peers
        self.parser = httptools.HttpRequestParser(self)
        self.path = b""
        self.chunks: list[bytes] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.peers is not None:
            self.peers.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.peers is not None:
            self.peers.discard(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.chunks = []

    def on_url(self, url: bytes) -> None:
        self.path = url

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)

    def on_message_complete(self) -> None:
        chunks = self.chunks
        self.handle(self, chunks[0] if len(chunks) == 1 else b"".join(chunks))


class Call(asyncio.Protocol):
    """One keep-alive connection of a :class:`Pool`, with one request at a time under way."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.parser: Any = None
        self.transport: Any = None
        self.token: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.pool.lost(self, error)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        token, self.token = self.token, None
        self.pool.answered(self, token, status)


class Pool:
    """A keep-alive client: ``send(request bytes, token)`` now or when a connection is free; ``done(token, status)``."""

    def __init__(self, host: str, port: int, size: int, done: Callable[[Any, int], None]) -> None:
        self.host, self.port, self.size, self.done = host, port, size, done
        self.waiting: deque[tuple[bytes, Any]] = deque()
        self.free: list[Call] = []

    async def open(self) -> None:
        """Open every connection."""
        loop = asyncio.get_running_loop()
        for _ in range(self.size):
            _transport, call = await loop.create_connection(lambda: Call(self), self.host, self.port)
            self.free.append(call)

    def send(self, request: bytes, token: Any) -> None:
        if self.free:
            call = self.free.pop()
            call.token = token
            call.transport.write(request)
        else:
            self.waiting.append((request, token))

    def answered(self, call: Call, token: Any, status: int) -> None:
        if self.waiting:
            request, call.token = self.waiting.popleft()
            call.transport.write(request)
        else:
            self.free.append(call)
        self.done(token, status)

    def lost(self, call: Call, _error: Exception | None) -> None:
        if call in self.free:
            self.free.remove(call)
