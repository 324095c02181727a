"""The shared HTTP listener: accepts, watches over its connections, drains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable

from dovetail.errors import DovetailError
from dovetail.gateway.answers import Answers
from dovetail.gateway.connection import Connection
from dovetail.gateway.limits import Limits
from dovetail.gateway.routes import Router
from dovetail.sdk import Clock, Request

OnError = Callable[[Request | None, BaseException | None], None]


class Listener:
    """HTTP/1.1 on one address. Handlers are mounted on `routes`, before or after `start`.

    A handler is called on the event loop with one complete request and must not block; what it raises is answered with
    a 500 and handed to `on_error` (else to the loop's exception handler). `start`, `drain` and `close` may each be
    called again; `close` without `start` too.
    """

    def __init__(
        self, host: str, port: int, *, clock: Clock, limits: Limits | None = None, tls: ssl.SSLContext | None = None,
        on_error: OnError | None = None,
    ) -> None:  # fmt: skip
        """`port` 0 takes a free one; `port` says which after `start`."""
        self.host, self.port = host, port
        self.limits = limits or Limits()
        self.routes = Router()
        self.answers = Answers()
        self.draining = False
        self.buffered = 0  # bytes of bodies that are being received
        self.now = clock.monotonic()  # as of the last sweep: exact enough for timeouts, and free to read
        self._clock = clock
        self._tls = tls
        self._on_error = on_error
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen. Raises `DovetailError` when the address cannot be had."""
        if self._server is not None:
            return
        self.draining = False
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self), self.host, self.port, backlog=1024, ssl=self._tls,
                ssl_handshake_timeout=self.limits.header_timeout if self._tls else None,
            )  # fmt: skip
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            text = f"cannot listen on {self.host}:{self.port}: {why}; choose another address with --host and --port"
            raise DovetailError(text, code="listen") from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._tick()

    async def drain(self, timeout: float) -> int:
        """Stop accepting, let the requests that came in be answered, and close.

        Returns how many connections had to be cut after `timeout` seconds.
        """
        self.draining = True
        self._stop_accepting()
        for connection in list(self._connections):
            connection.leave()
        if self._connections:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout)
        cut = len(self._connections)
        await self.close()
        return cut

    async def close(self) -> None:
        """Stop at once: connections are cut."""
        self._stop_accepting()
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            self._empty = asyncio.Event()
            await self._empty.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sweep(self) -> None:
        """Look after every connection once. Called each second."""
        self.now = now = self._clock.monotonic()
        self.answers.date(self._clock.now_ms())
        for connection in list(self._connections):
            connection.check(now)

    def _tick(self) -> None:
        self.sweep()
        self._timer = asyncio.get_running_loop().call_later(1.0, self._tick)

    def _stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    # -- the connections' side -----------------------------------------------------------------------------------

    def joined(self, connection: Connection) -> bool:
        """Take note of a new connection; False when there is no room for it."""
        self._connections.add(connection)
        return len(self._connections) <= self.limits.max_connections

    def left(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections and self._empty is not None:
            self._empty.set()

    def failed(self, request: Request | None, error: BaseException | None) -> None:
        """A handler raised, or a connection met something nobody foresaw."""
        if self._on_error is not None:
            self._on_error(request, error)
        else:
            asyncio.get_running_loop().call_exception_handler({"message": "an HTTP handler failed", "exception": error})
