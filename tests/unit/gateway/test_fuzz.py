"""Whatever bytes come in, in whatever pieces: the server answers or closes, never with a 5xx, and goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dovetail.clock import SystemClock
from dovetail.gateway import Limits, Listener

VALID = [
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n",
    b"GET /echo?a=b%20c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    b"HEAD /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
]
GRAMMAR = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"-1", b"ffffffffffffffff", b"HTTP/1.1",
    b"HTTP/1.0", b"GET", b"CONNECT", b"/", b"http://a/", b"%", b"?", b"#", b"\xff", b"Content-Length: 1\r\n",
    b"Content-Length: 9\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n",
    b"Host: b\r\n", b"x" * 9000, b"0\r\n\r\n", b"\r\n\r\n",
]  # fmt: skip
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


class Served:
    """A listener on its own loop, and a way to throw bytes at it."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.errors: list[object] = []
        limits = Limits(max_url=2000, max_head=4000, max_headers=20, max_pipelined=3)
        self.listener = Listener(
            "127.0.0.1", 0, clock=SystemClock(), limits=limits, on_error=lambda _, error: self.errors.append(error)
        )
        for method in ("GET", "POST"):
            self.listener.routes.add(method, "/echo", lambda request: request.respond(200, request.body), max_body=1000)
        runner.run(self.listener.start())

    def throw(self, pieces: list[bytes]) -> bytes:
        """All that the server says to these bytes and the end of the stream, until it closes."""
        return self.runner.run(self._throw(pieces))

    async def _throw(self, pieces: list[bytes]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        try:
            async with asyncio.timeout(20):
                with contextlib.suppress(OSError):  # it may have closed already
                    for piece in pieces:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(0)
                    writer.write_eof()
                with contextlib.suppress(ConnectionResetError):
                    return await reader.read()
                return b""
        finally:
            writer.transport.abort()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        served = Served(runner)
        yield served
        runner.run(served.listener.close())


@st.composite
def almost_requests(draw: st.DrawFn) -> list[bytes]:
    """Requests that were cut up, spliced with what breaks parsers, and sent in pieces."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 5))
        data[at : at + cut] = draw(st.sampled_from(GRAMMAR) | st.binary(max_size=4))
    pieces = []
    while data:
        size = draw(st.integers(1, 400))
        pieces.append(bytes(data[:size]))
        del data[:size]
    return pieces


MANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(pieces=almost_requests())
@example(pieces=[b"".join(VALID[:4]) * 20])
def test_broken_requests(served: Served, pieces: list[bytes]) -> None:
    check(served, pieces)


@MANY
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_noise(served: Served, pieces: list[bytes]) -> None:
    check(served, pieces)


def check(served: Served, pieces: list[bytes]) -> None:
    said = served.throw(pieces)
    statuses = [int(status) for status in STATUS.findall(said)]
    assert not said or statuses, "what it says is HTTP"
    assert all(status < 500 for status in statuses), statuses
    assert served.errors == []
    assert served.throw([VALID[0]]).endswith(b"\r\n\r\nhello")
    assert served.listener.buffered == 0
