"""One connection: bytes to requests, requests to handlers, answers back in the order of the requests.

Written by hand on httptools, because it decides the speed of the door. httptools (llhttp in strict mode) refuses what
request smuggling is made of: both framing headers, a repeated Content-Length, obs-fold, NUL, a bare CR or LF, a bad
chunk. This file adds what a parser cannot know: limits, Host, order, back-pressure, an orderly end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import httptools

from dovetail.gateway.answers import CLOSE, CONTINUE, KEEP, KEEP_SAID, PROBLEM, problem
from dovetail.gateway.refusals import SOON, Stop, nowhere, origin_form, too_large, too_large_head
from dovetail.sdk import Request

if TYPE_CHECKING:
    from dovetail.gateway.listener import Listener

_IDLE, _HEAD, _BODY = range(3)  # what is being read
_SMALL = 64 * 1024  # bytes of a body for which there is room even when large ones are turned away
_SLICE = 16 * 1024  # fed to the parser at once: what a full queue of answers can be overshot by
_CHUNKED = 8  # how much larger than itself a body may come, in chunks
_SINGLE = frozenset({"host", "content-type", "content-encoding", "authorization", "expect"})


class Exchange:
    """One request's place in the row of answers; it is the request's `respond`. The first answer counts."""

    __slots__ = ("answer", "connection", "head", "mode")

    def __init__(self, connection: Connection, mode: int, head: bool) -> None:
        self.connection: Connection | None = connection
        self.mode = mode
        self.head = head
        self.answer: tuple[int, bytes, str, Mapping[str, str] | None] | None = None

    def __call__(
        self, status: int, body: bytes = b"", content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        connection = self.connection
        if connection is not None:
            self.connection = None
            self.answer = (status, body, content_type, headers)
            if connection.row and connection.row[0] is self:
                connection.flush()


class Connection(asyncio.Protocol):
    """One client. Made by the listener, which also calls `check` once a second and `leave` when it drains."""

    __slots__ = (
        "_asked", "_body_size", "_chunks", "_deaf", "_exchange", "_fed", "_fresh", "_held", "_last", "_limits",
        "_listener", "_method", "_names", "_parser", "_paused", "_peer", "_request", "_route", "_since", "_state",
        "_transport", "_upgrade", "_url", "_values", "_write_paused", "row",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._limits = listener.limits
        self.row: deque[Exchange] = deque()
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self._chunks: list[bytes] = []
        self._url = b""
        self._state = _IDLE
        self._fed = self._body_size = 0
        self._held = b""
        self._exchange: Exchange | None = None  # of the request whose body is being read
        self._fresh = True  # nothing was read yet
        self._asked = False  # the client waits for 100 Continue, and earlier answers are still due
        self._upgrade = False
        self._last = False  # the last request of this connection was read
        self._deaf = False  # the last answer was written: what still comes in is thrown away
        self._paused = self._write_paused = False
        self._since = listener.now

    # -- the transport's side ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(self._limits.write_buffer)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._parser = httptools.HttpRequestParser(self)
        if not self._listener.joined(self):
            self._end(Stop(503, "too_many_connections", "the server has no room for more connections", SOON))

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self._forget_body()
        for exchange in (*self.row, self._exchange):
            if exchange is not None:
                exchange.connection = None
        self.row.clear()
        self._held = b""
        del self._parser
        self._listener.left(self)

    def eof_received(self) -> bool:
        if self._deaf or not self.row:
            return False
        self._last = True  # it may only have closed its own half: the answers that are due still go out
        return self._transport.can_write_eof()

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._last:
            return
        self._fresh = False
        if self._paused:  # a TLS transport may still hand over what it had decrypted
            self._held += data
        elif len(data) > _SLICE:
            self._feed_slices(data)
        else:
            self._feed(data)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._since = self._listener.now
        self._pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._since = self._listener.now
        self._resume()

    # -- reading -------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + bytes(data[upgrade.args[0] :])
                continue
            except httptools.HttpParserCallbackError as error:
                self._fail(error.__context__)
            except httptools.HttpParserError as error:
                self._end(Stop(400, "malformed_request", f"this is not an HTTP/1.1 request: {error}"))
            break
        if self._state != _IDLE:
            self._fed += len(data)
            if self._state == _HEAD:
                if self._fed > self._limits.max_head + _SLICE:
                    self._end(too_large_head(self._limits.max_head))
            elif self._fed > self._limits.max_head + _SLICE + _CHUNKED * self._route.max_body:
                self._fail(too_large(self._route))  # endless chunk extensions or trailers

    def _feed_slices(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(data), _SLICE):
            if self._paused:
                self._held = bytes(view[start:])
                return
            if self._deaf or self._last:
                return
            self._feed(view[start : start + _SLICE])

    def _head_without_upgrade(self) -> bytes:
        """The head again, less its Upgrade. We speak nothing else, so we ignore it; the parser would skip the body."""
        version, self._parser = self._parser.get_http_version(), httptools.HttpRequestParser(self)
        lines = [
            name + b": " + value
            for name, value in zip(self._names, self._values, strict=True)
            if name.lower() != b"upgrade"
        ]
        start = f"{self._method} {self._url.decode('latin-1')} HTTP/{version}".encode("latin-1")
        head = b"\r\n".join([start, *lines, b"", b""])
        self._names.clear()
        self._values.clear()
        self._url = b""
        self._upgrade = False
        return head

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._write_paused and len(self.row) <= self._limits.max_pipelined // 2:
            asyncio.get_running_loop().call_soon(self._read_on)  # never from within the parser

    def _read_on(self) -> None:
        if not self._paused or self._write_paused or self._transport.is_closing():
            return
        self._paused = False
        held, self._held = self._held, b""
        if held and not self._deaf and not self._last:
            self._feed_slices(held)
        if not self._paused:
            self._transport.resume_reading()

    # -- the parser's side ---------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        if self._url:
            url = self._url + url
        else:
            self._state = _HEAD
            self._fed = 0
            self._since = self._listener.now
        self._url = url
        if len(url) > self._limits.max_url:
            raise Stop(414, "url_too_long", f"the URL is longer than {self._limits.max_url} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state == _BODY:
            return  # a trailer: nobody asked for one, and it must not pass for a header
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        listener, parser = self._listener, self._parser
        headers = self._headers()
        method = parser.get_method().decode()
        if method == "CONNECT":
            raise Stop(400, "bad_target", "this server is no proxy")
        if "upgrade" in headers and parser.should_upgrade():
            self._method, self._upgrade = method, True
            return
        self._names.clear()
        self._values.clear()
        if parser.should_keep_alive() and "connection" not in headers:
            mode = KEEP
        else:
            mode = self._mode(headers)
        if "host" not in headers and parser.get_http_version() != "1.0":
            raise Stop(400, "host_missing", "the request has no Host header")
        if "transfer-encoding" in headers and headers["transfer-encoding"].lower() != "chunked":
            raise Stop(400, "transfer_coding", "the only transfer coding understood here is chunked")
        url = self._url
        path, _, query = (url if url[0] == 47 else origin_form(url)).decode("ascii").partition("?")
        self._url = b""
        places = listener.routes.at(path)
        route = places.get(method) if places is not None else None
        if route is None:
            route = nowhere(method, places)
        length = headers.get("content-length")
        if length is not None and int(length) > route.max_body:
            raise too_large(route)
        self._state = _BODY
        self._route = route
        self._exchange = exchange = Exchange(self, mode, method == "HEAD")
        self._request = Request(method, path, query, headers, b"", self._peer, exchange)
        if "expect" in headers:
            self._expected(headers["expect"])

    def on_body(self, chunk: bytes) -> None:
        self._body_size += len(chunk)
        listener = self._listener
        listener.buffered += len(chunk)
        self._chunks.append(chunk)
        if self._body_size > self._route.max_body:
            raise too_large(self._route)
        most = self._limits.max_buffered if self._body_size <= _SMALL else self._limits.max_buffered // 2
        if listener.buffered > most:  # large bodies leave room for small ones
            raise Stop(503, "no_room", "too many bodies are being received at this moment", SOON)

    def on_message_complete(self) -> None:
        if self._upgrade or self._last:
            return
        request, exchange, chunks = self._request, self._exchange, self._chunks
        assert exchange is not None
        if chunks:
            request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._forget_body()
        self._state = _IDLE
        self._asked = False
        row = self.row
        row.append(exchange)
        if exchange.mode == CLOSE:
            self._last = True
        if len(row) >= self._limits.max_pipelined:
            self._pause()
        try:
            self._route.handler(request)
        except Exception as error:
            self._listener.failed(request, error)
            exchange(500, problem(500, "internal", "the server made a mistake; it was logged"), PROBLEM)

    def _headers(self) -> dict[str, str]:
        """The headers by lower-case name, in one pass for all of them."""
        names, values = b"\n".join(self._names), b"\n".join(self._values)  # neither can contain a newline
        if len(self._names) > self._limits.max_headers or len(names) + len(values) > self._limits.max_head:
            raise too_large_head(self._limits.max_head)
        if not self._names:
            return {}
        keys, texts = names.lower().decode("latin-1").split("\n"), values.decode("latin-1").split("\n")
        headers = dict(zip(keys, texts, strict=True))
        return headers if len(headers) == len(keys) else _merged(keys, texts)

    def _mode(self, headers: dict[str, str]) -> int:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise Stop(400, "http_version", "this server speaks HTTP/1.1 and HTTP/1.0")
        if version == "1.0" and "transfer-encoding" in headers:
            raise Stop(400, "transfer_coding", "HTTP/1.0 knows no transfer coding")
        if not self._parser.should_keep_alive():
            return CLOSE
        return KEEP_SAID if version == "1.0" else KEEP

    def _expected(self, expectation: str) -> None:
        if expectation.lower() != "100-continue":
            raise Stop(417, "expectation", "the only expectation understood here is 100-continue")
        self._asked = bool(self.row)
        if not self._asked and self._parser.get_http_version() == "1.1":
            self._transport.write(CONTINUE)

    def _forget_body(self) -> None:
        self._listener.buffered -= self._body_size
        self._body_size = 0
        self._chunks.clear()

    # -- answering -----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the answers at the head of the row that are ready."""
        row, write, answers = self.row, self._transport.write, self._listener.answers
        while row and (answer := row[0].answer) is not None:
            exchange = row.popleft()
            mode = exchange.mode
            if self._listener.draining and not row and self._state == _IDLE:
                mode = CLOSE
            write(answers.encode(*answer, mode, exchange.head))
            if mode == CLOSE:
                self._finish()
                return
        if not row:
            if self._last:
                self._finish()
                return
            self._since = self._listener.now
            if self._asked:
                self._asked = False
                self._transport.write(CONTINUE)
        if self._paused:
            self._resume()

    def _fail(self, error: BaseException | None) -> None:
        if not isinstance(error, Stop):
            self._listener.failed(None, error)
            error = Stop(400, "malformed_request", "this request cannot be read")
        self._end(error)

    def _end(self, stop: Stop) -> None:
        """Answer `stop` when its turn comes, read nothing more, and close."""
        if self._last:
            return
        self._last = True
        self._forget_body()
        exchange = Exchange(self, CLOSE, False)
        self.row.append(exchange)
        exchange(stop.status, problem(stop.status, stop.code, stop.detail), PROBLEM, stop.headers)

    def _finish(self) -> None:
        """The last answer is written. A client that still sends is heard out for a moment: a reset eats answers."""
        self._deaf = True
        self._since = self._listener.now
        if self._state != _IDLE and self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # it is gone already
                self._transport.abort()
            self._write_paused = False
            self._resume()
        else:
            self._transport.close()

    # -- the listener's side -------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Called once a second: end what takes too long. A request that waits for its handler has no limit here."""
        waited, limits = now - self._since, self._limits
        if self._deaf:
            if waited > (limits.idle_timeout if self._transport.get_write_buffer_size() else limits.linger):
                self._transport.abort()
        elif self._write_paused:
            if waited > limits.idle_timeout:
                self._transport.abort()
        elif self._paused or self._last:
            return
        elif self._state == _HEAD:
            if waited > limits.header_timeout:
                self._end(Stop(408, "slow_request", f"no complete head within {limits.header_timeout:g} seconds"))
        elif self._state == _BODY:
            if waited > limits.body_timeout + self._body_size / limits.body_rate:
                self._end(Stop(408, "slow_request", "the body came too slowly"))
        elif not self.row and waited > (limits.header_timeout if self._fresh else limits.idle_timeout):
            self._transport.close()

    def leave(self) -> None:
        """The listener drains: close now if nothing is due here, or after the last answer."""
        if not self.row and self._state == _IDLE and not self._deaf:
            self._deaf = True
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()


def _merged(keys: list[str], texts: list[str]) -> dict[str, str]:
    """Repeated headers as one list, except where two would mean two different requests."""
    headers: dict[str, str] = {}
    for key, text in zip(keys, texts, strict=True):
        if key not in headers:
            headers[key] = text
        elif key in _SINGLE:
            raise Stop(400, "repeated_header", f"the header {key} may be there only once")
        else:
            headers[key] += ("; " if key == "cookie" else ", ") + text
    return headers
