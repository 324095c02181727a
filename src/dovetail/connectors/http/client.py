"""A keep-alive HTTP/1.1 client for one origin: bounded, under one total deadline a call, and honest about doubt.

It retries nothing and follows no redirect. A request is written only to a connection that looks alive; if that one
turns out dead all the same, nobody can know what the other side saw, and the call ends as unanswered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httptools

from dovetail.connectors.http import egress
from dovetail.connectors.http.faults import Fault, Unanswered, Unsent, Untrusted

_MAX_HEAD = 64 * 1024
_CHUNKED = 8  # how much larger than itself a body may come, in chunks
_MAX_INTERIM = 16  # answers such as 100 and 103 before the real one
_SWEEP = 0.05  # seconds between two looks at what is overdue
_DOZED = 0.005  # seconds of idleness after which a connection is looked at before it is used


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. `cut`: the body was larger than allowed, and only its beginning is here."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False


class _Stop(Exception):
    """Raised inside the parser."""


class Connection(asyncio.Protocol):
    """One connection, used for one request at a time."""

    __slots__ = (
        "_chunks", "_fed", "_head", "_interim", "_limit", "_names", "_parser", "_pool", "_size",
        "_status", "_transport", "_values", "_waiter", "alive", "deadline", "seconds", "since",
    )  # fmt: skip

    def __init__(self, pool: Client) -> None:
        self._pool = pool
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self._chunks: list[bytes] = []
        self._waiter: asyncio.Future[Response] | None = None
        self.alive = False
        self.since = 0.0
        self.deadline = self.seconds = 0.0

    def send(self, data: bytes, limit: int, head: bool, deadline: float, seconds: float) -> asyncio.Future[Response]:
        """Write a request; the future ends with the answer or a `Fault`. `head`: the answer has no body. `deadline`:
        the
        loop's time at which `seconds` are over."""
        self._limit, self._head = limit, head
        self.deadline, self.seconds = deadline, seconds
        self._interim = 0
        self._begin()
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return waiter

    def late(self, now: float) -> bool:
        """Whether an answer is due; if it is overdue, there is none any more."""
        if self._waiter is None:
            return False
        if now >= self.deadline:
            self._fail(Unanswered(f"no complete answer within {self.seconds:g} s"))
            return False
        return True

    def abort(self) -> None:
        """Cut it; what it was asked ends as unanswered."""
        self.alive = False
        self._settle(Unanswered("the connection was cut on this side"))
        self._transport.abort()

    # -- the transport's side ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self.alive = True
        self._begin()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Unanswered("the answer changes the protocol"))
        except httptools.HttpParserCallbackError as error:
            self._fail(Unanswered(f"the answer is not HTTP: {error.__context__}"))
        except httptools.HttpParserError as error:
            self._fail(Unanswered(f"the answer is not HTTP: {error}"))
        else:
            self._fed += len(data)
            if self._waiter is not None and self._fed > _MAX_HEAD + _CHUNKED * max(self._size, 0):
                self._fail(Unanswered("the answer's head does not end, or its chunks are mostly air"))

    def eof_received(self) -> bool:
        if self._ending and self._waiter is not None:
            self._complete(keep=False)
        self.alive = False
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        untrusted = isinstance(exc, ssl.SSLError) and self._size < 0
        self.alive = False
        if self._waiter is not None:
            why = f": {exc}" if exc else ""
            fault = Untrusted(f"TLS ended{why}") if untrusted else Unanswered(f"the connection was closed{why}")
            self._settle(fault)
        del self._parser
        self._pool.lost(self)

    # -- the parser's side ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._waiter is None:
            raise _Stop("more came than was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._size >= 0:
            return  # a trailer must not pass for a header
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._size = 0
        if self._status >= 200 and self._head:
            self._complete(keep=False)

    def on_body(self, chunk: bytes) -> None:
        if self._waiter is None:
            return
        self._size += len(chunk)
        self._chunks.append(chunk)
        if self._size > self._limit:
            self._complete(keep=False, cut=True)

    def on_message_complete(self) -> None:
        if self._waiter is None:
            return
        if self._status < 200:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise _Stop("it never comes to the point")
            self._begin()
        else:
            self._complete(keep=self._parser.should_keep_alive())

    # -- one answer ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._names.clear()
        self._values.clear()
        self._chunks.clear()
        self._size = -1  # the head is not complete
        self._fed = 0

    @property
    def _ending(self) -> bool:
        """Whether the answer's body ends with the connection."""
        if self._size < 0 or self._status < 200:
            return False
        names = {name.lower() for name in self._names}
        return b"content-length" not in names and b"transfer-encoding" not in names

    def _complete(self, keep: bool, cut: bool = False) -> None:
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        response = Response(self._status, self._headers(), body[: self._limit] if cut else body, cut)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(response)
        if not keep:
            self.alive = False
            self._transport.close()

    def _headers(self) -> dict[str, str]:
        if not self._names:
            return {}
        names = b"\n".join(self._names).lower().decode("latin-1").split("\n")  # no name or value has a newline in it
        values = b"\n".join(self._values).decode("latin-1").split("\n")
        headers: dict[str, str] = {}
        for name, value in zip(names, values, strict=True):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    def _fail(self, fault: Fault) -> None:
        self._settle(fault)
        self.abort()

    def _settle(self, fault: Fault) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(fault)


class Client:
    """The connections to one origin: at most `size`, the freshest idle one first, waiting calls in their order."""

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, server_name: str = "", size: int = 32,
        keep: float = 30.0,
    ) -> None:  # fmt: skip
        """`keep`: seconds after which an idle connection is not used again."""
        self._host, self._port, self._tls, self._name = host, port, tls, server_name
        self._size, self._keep = size, keep
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._count = 0  # connections that are there or on their way
        self._closed = False
        self._sweep: asyncio.TimerHandle | None = None

    async def request(self, data: bytes, *, seconds: float, limit: int, head: bool = False) -> Response:
        """Send one request and return its complete answer, `limit` bytes of body at most, all within `seconds`.

        Raises a `Fault`; cancelling is safe at any moment and cuts the connection if the request was sent.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        connection = self._awake(now)
        if connection is None:
            try:
                async with asyncio.timeout(seconds):
                    connection = await self._acquire()
            except TimeoutError:
                raise Unsent(f"no connection to {self._host}:{self._port} within {seconds:g} s") from None
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP, self._look_over)
        try:
            response = await connection.send(data, limit, head, now + seconds, seconds)
        except BaseException:
            if connection.alive:
                connection.abort()
            raise
        if connection.alive:
            self._release(connection)
        return response

    def _look_over(self) -> None:
        """Cut the calls whose time is over; one look at all of them is cheaper than a timer for each."""
        loop = asyncio.get_running_loop()
        now, due = loop.time(), False
        for connection in list(self._open):
            due |= connection.late(now)
        self._sweep = loop.call_later(_SWEEP, self._look_over) if due else None

    async def close(self) -> None:
        """Cut all connections; calls under way end as unanswered or unsent."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.abort()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(Unsent("the connection is being closed"))

    def _awake(self, now: float) -> Connection | None:
        """The connection that was used a moment ago, if there is one: nobody has to wait for it."""
        if not self._idle or now - self._idle[-1].since > _DOZED:
            return None
        connection = self._idle.pop()
        return connection if connection.alive else None

    async def _acquire(self) -> Connection:
        if self._closed:
            raise Unsent("the connection is closed")
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            idle = now - connection.since
            if idle > _DOZED and idle <= self._keep:
                await self._look(connection)
            if connection.alive and idle <= self._keep:
                return connection
            if connection.alive:
                connection.abort()
        if self._count < self._size:
            self._count += 1
            return await self._connect()
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            given = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            raise
        return given if given is not None and given.alive else await self._replace(given)

    async def _look(self, connection: Connection) -> None:
        """Let the loop read once, so that a connection the server closed meanwhile is known to be dead."""
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._give_back(connection)
            raise

    async def _replace(self, dead: Connection | None) -> Connection:
        """A new connection in the place that a waiting call was given."""
        if dead is None:
            return await self._connect()
        return await self._acquire()  # its place became free when it died

    async def _connect(self) -> Connection:
        try:
            connection = await egress.connect(self._host, self._port, lambda: Connection(self), self._tls, self._name)
        except BaseException:
            self._free()
            raise
        self._open.add(connection)
        if not connection.alive:  # it was closed before we came to look
            self.lost(connection)
            raise Unsent(f"{self._host}:{self._port} closed the connection at once")
        return connection

    def _release(self, connection: Connection) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if connection.since - self._idle[0].since > self._keep:
            self._idle[0].abort()

    def _give_back(self, given: Connection | None) -> None:
        if given is None:
            self._free()
        elif given.alive:
            self._release(given)

    def _free(self) -> None:
        """A place is free: the first call that waits may connect."""
        self._count -= 1
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._count += 1
                waiter.set_result(None)
                return

    def lost(self, connection: Connection) -> None:
        """A connection ended."""
        if connection in self._open:
            self._open.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._free()
