"""One keep-alive HTTP/1.1 connection to one address, for systems that call others."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import httptools


class Exchange:
    """Collects one response."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.chunks: list[bytes] = []
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


class Client:
    """Sends POSTs to ``url`` one after the other, reconnecting when needed. Not to be shared by tasks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname or "127.0.0.1", parts.port or 80, parts.path or "/"
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, headers: dict[str, str], within: float) -> tuple[int, bytes]:
        """Send one request; returns status and body. Raises OSError when no answer came ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                return await self._post(body, headers)
        except (OSError, asyncio.IncompleteReadError, httptools.HttpParserError) as error:
            self.close()
            raise error if isinstance(error, OSError) else ConnectionError(f"broken answer: {error}") from None

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if self.streams is None or self.streams[0].at_eof():
            self.close()
            self.streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        exchange = Exchange()
        while not exchange.complete:
            data = await reader.read(65536)
            if not data:
                raise ConnectionError("the connection was closed before the answer")
            exchange.parser.feed_data(data)
        if not exchange.parser.should_keep_alive():
            self.close()
        return exchange.parser.get_status_code(), b"".join(exchange.chunks)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None
