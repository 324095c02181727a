"""A webhook on a real listener, systems that answer as they are told to (well or badly), and a clock that is moved."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from dovetail.clock import SystemIds
from dovetail.codec import built_in_codecs
from dovetail.connectors.http import HttpConnection, WebhookSource
from dovetail.gateway import Listener
from dovetail.sdk import Delivery, Receipt

PATIENCE = 20.0
NOW_MS = 1_714_521_600_000  # 2024-05-01T00:00:00Z


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Clock:
    """Stands until moved."""

    def __init__(self) -> None:
        self.wall = NOW_MS
        self.seconds = 0.0

    def now_ms(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def origin(self) -> str:
        return "virtual"


class Log:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    warning = error = info


def connecting(name: str, clock: Any, routes: Any = None) -> Any:
    return SimpleNamespace(
        name=name, log=Log(), clock=clock, ids=SystemIds(), codecs=built_in_codecs(), routes=routes, folder=Path(),
    )  # fmt: skip


class Answer:
    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class Door:
    """One webhook; `receipt` (or `receipts.pop`) is what the engine's part answers, unless deliveries are held."""

    def __init__(self, listener: Listener, source: WebhookSource, context: Any) -> None:
        self.listener, self.source, self.context = listener, source, context
        self.clock: Clock = context.clock
        self.receipt = Receipt(id="m1", ref=1)
        self.deliveries: list[Delivery] = []
        self.holding = False
        self.came = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.came.set()
        if not self.holding:
            delivery.settle([self.receipt])

    async def room(self) -> None:
        return None

    @property
    def message(self) -> Any:
        return self.deliveries[-1].batch[0]

    async def post(self, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> Answer:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
            lines = [f"{method} {self.source.config.path} HTTP/1.1", "Host: door", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                answer = Answer(head, b"")
                answer.body = await reader.readexactly(int(answer.headers.get("content-length", 0)))
            finally:
                writer.close()
                await writer.wait_closed()
            return answer


@pytest.fixture
async def door() -> AsyncIterator[Callable[..., Awaitable[Door]]]:
    """`await door(verify=…)`: a running webhook at /hook."""
    ends: list[Callable[[], Awaitable[None]]] = []

    async def make(**config: Any) -> Door:
        clock = Clock()
        failures: list[Any] = []
        listener = Listener("127.0.0.1", 0, clock=clock, on_error=lambda *what: failures.append(what))
        context = connecting("orders", clock, listener.routes)
        source = WebhookSource(WebhookSource.Config.parse({"path": "/hook", **config}), "orders")
        made = Door(listener, source, context)
        await source.open(context)
        running = asyncio.ensure_future(source.run(made))
        await asyncio.sleep(0)
        await listener.start()

        async def end() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await source.close()
            await listener.close()
            assert failures == []

        ends.append(end)
        return made

    yield make
    for end in ends:
        await end()


class Asked:
    """A request as a system saw it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body


Behave = Callable[[Asked, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, body: bytes = b"{}", **headers: str) -> Behave:
    """Behaves well: one complete answer, the connection stays."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [
        f"{name.replace('_', '-')}: {value}" for name, value in ({"content_type": "application/json"} | headers).items()
    ]
    return raw("\r\n".join([*lines, "", ""]).encode() + body)


def raw(data: bytes, close: bool = False) -> Behave:
    """Says these bytes and nothing else."""

    async def behave(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if close:
            writer.close()

    return behave


class System:
    """A real server on loopback; `behave` decides what becomes of each request."""

    def __init__(self) -> None:
        self.behave: Behave = answer(200)
        self.asked: list[Asked] = []
        self.connections = 0
        self.most_at_once = 0
        self._now = 0
        self.came = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, tls: Any = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.writers.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    asked = Asked(head, b"")
                    asked.body = await reader.readexactly(int(asked.headers.get("content-length", 0)))
                    self.asked.append(asked)
                    self._now += 1
                    self.most_at_once = max(self.most_at_once, self._now)
                    self.came.set()
                    try:
                        await self.behave(asked, reader, writer)
                    finally:
                        self._now -= 1
                    await writer.drain()
        finally:
            self._tasks.discard(task)
            self.writers.discard(writer)
            writer.transport.abort()

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    made = System()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def connection(system: System) -> AsyncIterator[Callable[..., Awaitable[HttpConnection]]]:
    """`await connection(operations, **config)`: an open connection named erp to the system."""
    made: list[HttpConnection] = []

    async def make(operations: dict[str, Any] | None = None, **config: Any) -> HttpConnection:
        declared = {
            name: HttpConnection.OperationConfig.parse(one)
            for name, one in (operations or {"do": {"path": "/do", "repeat": "none"}}).items()
        }
        settings = HttpConnection.Config.parse({"url": f"http://127.0.0.1:{system.port}", **config})
        one = HttpConnection("erp", settings, declared)
        await one.open(connecting("erp", Clock()))
        made.append(one)
        return one

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def certificate() -> Path:
    """A file with a certificate for localhost and its key."""
    return Path(__file__).parents[3] / "certificates" / "localhost.pem"
