"""Every operation and sink that comes with Dovetail sits its exam, and so do the fakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.connectors.file import FileConnection
from dovetail.connectors.http import HttpConnection
from dovetail.sdk import Call, Operation, Rejected, Repeat, Sink
from dovetail.testkit import operation_suite, sink_suite
from dovetail.testkit.fakes import FakeConnecting, FakeOperation, MemorySink
from dovetail.testkit.operation_suite import OperationCase
from dovetail.testkit.sink_suite import SinkCase
from dovetail.testkit.steps import message

CATALOG = Catalog.builtin()


def call(n: int, args: dict[str, Any], key: str = "key") -> Call:
    return Call(message({"n": n}, id=f"m-{n}", ref=n + 1), f"{key}{n}", args, 20.0)


# --- file -------------------------------------------------------------------------------------------------------------


def folder(tmp_path: Path) -> Callable[[], Any]:
    return lambda: sorted(
        (path.relative_to(tmp_path).as_posix(), path.read_bytes())
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.name.startswith("kept")
    )


def empty(tmp_path: Path) -> None:
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            path.unlink()


@asynccontextmanager
async def file_connection(tmp_path: Path) -> AsyncIterator[FileConnection]:
    empty(tmp_path)
    connection = FileConnection("files", FileConnection.Config(root="."), {})
    await connection.open(FakeConnecting(tmp_path))
    for n in range(8):
        (tmp_path / f"kept{n}.json").write_text(json.dumps({"kept": n}))
    yield connection
    await connection.close()


def file_operation(name: str, args: Callable[[int], dict[str, Any]], reads: bool) -> Callable[[Path], OperationCase]:
    def case(tmp_path: Path) -> OperationCase:
        @asynccontextmanager
        async def open() -> AsyncIterator[Operation]:
            async with file_connection(tmp_path) as connection:
                yield connection.operation(name)

        (tmp_path.parent / "outside.json").write_text("{}")
        if not (tmp_path / "link").is_symlink():
            (tmp_path / "link").symlink_to(tmp_path.parent)
        key = "folder" if name == "list" else "path"
        names = ["../outside.json", "link/outside.json", "/etc/passwd", "a/../b", "a\0b", "x" * 300]
        refused = [call(100 + n, {key: bad}) for n, bad in enumerate(names)]
        return OperationCase(open, lambda n: call(n, args(n)), None if reads else folder(tmp_path), refused)

    return case


def file_sink(name: str) -> Callable[[Path], SinkCase]:
    def case(tmp_path: Path) -> SinkCase:
        @asynccontextmanager
        async def open() -> AsyncIterator[Sink]:
            async with file_connection(tmp_path) as connection:
                yield connection.sink(name)

        return SinkCase(
            open, lambda n: call(n, {"path": f"out/{n}.json"}), folder(tmp_path), call(9, {"path": "../no"})
        )

    return case


# --- http -------------------------------------------------------------------------------------------------------------


class Shop:
    """A system that speaks just enough HTTP: it makes an order for each Idempotency-Key, and refuses negative ones."""

    def __init__(self) -> None:
        self.orders: dict[str, bytes] = {}
        self.made = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                lines = request.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, answer = self.answer(lines[0], headers.get("idempotency-key", ""), body)
                head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
                writer.write(head.encode() + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, line: str, key: str, body: bytes) -> tuple[int, bytes]:
        if line.startswith("GET "):
            found = self.orders.get(line.split()[1].rpartition("=")[2])
            return (200, found) if found else (404, b"{}")
        if json.loads(body)["n"] < 0:
            return 422, b'{"error": "negative"}'
        if key not in self.orders:
            self.orders[key] = body
            self.made += 1
        return 200, self.orders[key]


def http_operation(repeat: str) -> Callable[[Path], OperationCase]:
    def case(tmp_path: Path) -> OperationCase:
        shop = Shop()

        @asynccontextmanager
        async def open() -> AsyncIterator[Operation]:
            server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            lookup = {"lookup": "/orders?key={key}"} if repeat == "queryable" else {}
            declared = HttpConnection.OperationConfig.parse({"path": "/orders", "repeat": repeat, **lookup})
            config = HttpConnection.Config(url=f"http://127.0.0.1:{port}")
            connection = HttpConnection("shop", config, {"create": declared})
            await connection.open(FakeConnecting(tmp_path))
            try:
                yield connection.operation("create")
            finally:
                await connection.close()
                server.close()
                await server.wait_closed()

        return OperationCase(open, lambda n: call(n, {}), lambda: sorted(shop.orders.items()), [call(-1, {})])

    return case


# --- fakes ------------------------------------------------------------------------------------------------------------


def fake_operation(repeat: Repeat) -> Callable[[Path], OperationCase]:
    def case(tmp_path: Path) -> OperationCase:
        fake = FakeOperation(repeat=repeat, answer=lambda call: Rejected("no") if call.args else call.message.value)

        @asynccontextmanager
        async def open() -> AsyncIterator[Operation]:
            yield fake

        return OperationCase(open, lambda n: call(n, {}), lambda: sorted(fake.done), [call(9, {"bad": 1})])

    return case


def fake_sink(tmp_path: Path) -> SinkCase:
    sinks: list[MemorySink] = []

    @asynccontextmanager
    async def open() -> AsyncIterator[Sink]:
        sinks.append(MemorySink(judge=lambda call: Rejected("no") if call.args else None))
        yield sinks[-1]

    return SinkCase(open, lambda n: call(n, {}), lambda: dict(sinks[-1].written), call(9, {"bad": 1}))


OPERATIONS: dict[str, Callable[[Path], OperationCase]] = {
    "file.read": file_operation("read", lambda n: {"path": f"kept{n}.json"}, reads=True),
    "file.list": file_operation("list", lambda n: {"pattern": f"kept{n}*"}, reads=True),
    "file.write": file_operation("write", lambda n: {"path": f"sub/{n}.json"}, reads=False),
    "file.append": file_operation("append", lambda n: {"path": "all.ndjson"}, reads=False),
    "http.idempotent-by-key": http_operation("idempotent-by-key"),
    "http.queryable": http_operation("queryable"),
    "fake.idempotent": fake_operation(Repeat.IDEMPOTENT),
    "fake.queryable": fake_operation(Repeat.QUERYABLE),
}
SINKS: dict[str, Callable[[Path], SinkCase]] = {
    "file.write": file_sink("write"),
    "file.append": file_sink("append"),
    "fake.write": fake_sink,
}


@pytest.mark.parametrize("name", operation_suite.CHECKS)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_operation(name: str, operation: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    await operation_suite.CHECKS[name](OPERATIONS[operation](root))


@pytest.mark.parametrize("name", sink_suite.CHECKS)
@pytest.mark.parametrize("sink", SINKS)
async def test_sink(name: str, sink: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    await sink_suite.CHECKS[name](SINKS[sink](root))


def test_no_operation_and_no_sink_is_left_out() -> None:
    for name in CATALOG.names("connection"):
        kind = CATALOG.connection(name)
        assert {f"{name}.{operation}" for operation in kind.operations} <= set(OPERATIONS)
        assert {f"{name}.{sink}" for sink in kind.sinks} <= set(SINKS)
        if kind.OperationConfig is not None:
            assert any(operation.startswith(f"{name}.") for operation in OPERATIONS)
