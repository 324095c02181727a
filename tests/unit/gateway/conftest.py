"""A listener on loopback, a client that writes raw bytes, and a clock that stands until it is moved."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dovetail.gateway import Limits, Listener
from dovetail.sdk import Request

PATIENCE = 20.0  # a test that waits longer for a signal has failed


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops: their transports differ in just the corners that matter here."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Clock:
    """Stands at 2024-05-01T00:00:00Z until moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return 1_714_521_600_000 + int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def origin(self) -> str:
        return "virtual"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One client connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def answer(self, *, body: bool = True) -> Answer:
        """The next answer; `body=False` for one to a HEAD."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            size = int(headers.get("content-length", 0)) if body else 0
            return Answer(int(head[0].split(" ")[1]), headers, await self.reader.readexactly(size))

    async def rest(self) -> bytes:
        """All that still comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read()
            return b""

    async def ask(self, *parts: bytes) -> Answer:
        self.send(*parts)
        return await self.answer()


class World:
    """A listener, what its handler saw, and a way to hold answers back."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self.listener, self.clock = listener, clock
        self.seen: list[Request] = []
        self.held: list[Request] = []
        self.errors: list[tuple[Request | None, BaseException | None]] = []
        self.changed = asyncio.Event()
        self._wires: list[Wire] = []

    def echo(self, request: Request) -> None:
        self._note(self.seen, request)
        request.respond(200, request.body, "text/plain")

    def hold(self, request: Request) -> None:
        self._note(self.held, request)

    def _note(self, where: list[Request], request: Request) -> None:
        where.append(request)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the handlers to have seen enough."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def connect(self) -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.listener.port))
        self._wires.append(wire)
        return wire

    async def ask(self, *parts: bytes) -> Answer:
        return await (await self.connect()).ask(*parts)

    async def until_empty(self) -> None:
        """Wait for the last connection to be gone."""
        await self.spin(lambda: self.listener.connections == 0)

    async def spin(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until the listener is in a state that it tells nobody about."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def tick_until(self, done: Awaitable[Any]) -> Any:
        """Let seconds pass on the server's clock until `done` is."""
        task = asyncio.ensure_future(done)
        async with asyncio.timeout(PATIENCE):
            while not task.done():
                self.clock.seconds += 1
                self.listener.sweep()
                await asyncio.wait([task], timeout=0.001)
        return await task

    async def close(self) -> None:
        for wire in self._wires:
            wire.writer.close()
        await self.listener.close()
        for wire in self._wires:
            with contextlib.suppress(OSError):
                await wire.writer.wait_closed()


Serve = Callable[..., Awaitable[World]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(max_url=…)`: a listener with /echo (POST and GET, 1000 bytes), /big (1 MB) and /hold."""
    worlds: list[World] = []

    async def start(**limits: Any) -> World:
        clock = Clock()
        tls = limits.pop("tls", None)
        errors: list[tuple[Request | None, BaseException | None]] = []
        listener = Listener(
            "127.0.0.1", 0, clock=clock, limits=Limits(**limits), tls=tls, on_error=lambda *what: errors.append(what)
        )
        world = World(listener, clock)
        world.errors = errors
        for method in ("POST", "GET"):
            listener.routes.add(method, "/echo", world.echo, max_body=1000)
        listener.routes.add("POST", "/big", world.echo, max_body=1_000_000)
        listener.routes.add("POST", "/hold", world.hold, max_body=1000)
        worlds.append(world)
        await listener.start()
        return world

    yield start
    for world in worlds:
        await world.close()
        assert world.errors == [] or any(request is not None for request, _ in world.errors)


@pytest.fixture
def certificate() -> Path:
    """A file with a certificate for localhost and its key."""
    return Path(__file__).parents[2] / "certificates" / "localhost.pem"
