"""What every system of the shop example shares: a small HTTP server, a database file, a call log and fault knobs.

Each system listens on two loopback ports. The *service* port is what other systems call; its faults are real: while
``down`` is set nobody listens there and open connections are cut. The *control* port stays up and answers
``GET /health``, ``GET /faults``, ``PUT /faults`` and whatever else a system offers to its operator.

Started as a program, a system prints one line of JSON with both ports, then serves until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import apsw
import httptools
import uvloop

REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 400: "Bad Request", 401: "Unauthorized"}
BASE_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    seq INTEGER PRIMARY KEY, method TEXT, path TEXT, key TEXT, body_hash TEXT, status INTEGER, note TEXT);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, body_hash TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL);
"""


@dataclass(slots=True)
class Request:
    """One HTTP request; header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; raises :class:`Refused` (400) when it is not."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refused(400, f"the body is not JSON: {error}") from None


@dataclass(slots=True)
class Reply:
    """One answer: ``body`` is sent as JSON, unless ``raw`` replaces it."""

    status: int
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    def encode(self, keep_alive: bool) -> bytes:
        """The bytes on the wire."""
        payload = self.raw if self.raw is not None else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [
            "Content-Type: application/json",
            f"Content-Length: {len(payload)}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + payload


class Refused(Exception):
    """A request this system will not do: answered with ``status`` and the reason, and rolled back."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True)
class Faults:
    """The knobs, set with ``PUT /faults``; an absent field returns to its default."""

    down: bool = False  # nobody listens, open connections are cut
    slow_ms: int = 0  # every answer waits this long
    error_rate: float = 0.0  # this share is answered 503 without doing the work
    garbage_rate: float = 0.0  # this share does the work and answers 200 with bytes that are no JSON
    lost_rate: float = 0.0  # this share does the work and cuts the connection instead of answering

    @classmethod
    def read(cls, values: object) -> Faults:
        """Build from decoded JSON; raises :class:`Refused` (400) for an unknown knob or a wrong type."""
        if not isinstance(values, dict):
            raise Refused(400, 'faults are an object, for example {"down": true}')
        kinds = {knob.name: type(knob.default) for knob in fields(cls)}
        for name, value in values.items():
            if name not in kinds:
                raise Refused(400, f"unknown fault {name!r}; there are {', '.join(kinds)}")
            if type(value) not in ((float, int) if kinds[name] is float else (kinds[name],)):
                raise Refused(400, f"fault {name!r} takes a {kinds[name].__name__}, not {value!r}")
        return cls(**values)


Serve = Callable[[Request], Awaitable[Reply | None]]


class Connection(asyncio.Protocol):
    """One client connection. Requests on it are answered one after the other; an answer of None cuts it."""

    def __init__(self, serve: Serve, peers: set[Connection]) -> None:
        self.serve, self.peers = serve, peers
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self.last: asyncio.Task[None] | None = None
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by shape, not by class
        self.peers.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self.peers.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            assert self.transport
            self.transport.write(Reply(400, {"error": str(error)}).encode(keep_alive=False))
            self.transport.close()

    def on_message_begin(self) -> None:
        self.url, self.headers, self.chunks = b"", {}, []  # type: tuple[bytes, dict[str, str], list[bytes]]

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self.url.decode("latin-1").partition("?")
        method = self.parser.get_method().decode()
        request = Request(method, path, dict(parse_qsl(query)), self.headers, b"".join(self.chunks))
        self.last = asyncio.create_task(self.answer(request, self.parser.should_keep_alive(), self.last))

    async def answer(self, request: Request, keep_alive: bool, previous: asyncio.Task[None] | None) -> None:
        """Wait for the request before this one, then serve this one."""
        if previous is not None:
            await previous
        reply = await self.serve(request)
        assert self.transport
        if reply is None:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(reply.encode(keep_alive))
            if not keep_alive:
                self.transport.close()


class Listener:
    """A port that can be closed for real and opened again under the same number."""

    def __init__(self, serve: Serve, port: int) -> None:
        self.serve, self.port = serve, port
        self.peers: set[Connection] = set()
        self.server: asyncio.Server | None = None

    async def open(self) -> None:
        if self.server is None:
            loop = asyncio.get_running_loop()
            self.server = await loop.create_server(lambda: Connection(self.serve, self.peers), "127.0.0.1", self.port)
            self.port = self.server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for peer in list(self.peers):
            if peer.transport is not None:
                peer.transport.abort()


Handler = Callable[..., Reply]
Offers = Sequence[tuple[str, str, Handler]]  # method, path with {parts}, handler


class System:
    """A system with its own database. A subclass gives ``name``, ``schema`` and what it offers.

    A handler takes the request and the path's named parts, works on ``self.db`` inside one transaction together with
    the call log, and returns a :class:`Reply` or raises :class:`Refused`. A POST with an ``Idempotency-Key`` is done
    once: a repeat gets the first answer again (header ``Idempotent-Replayed``), the same key with another body is 422.
    """

    name = "system"
    schema = ""

    def __init__(self, database: Path, token: str = "", seed: int = 1) -> None:
        self.db = apsw.Connection(str(database))
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")  # these systems are never cut from power, only from the network
        self.db.execute(BASE_SCHEMA + self.schema)
        self.token, self.faults, self.random = token, Faults(), random.Random(seed)
        self.service, self.control = Listener(self.serve, 0), Listener(self.operate, 0)
        self.service_routes = compile_routes(self.offers())
        self.control_routes = compile_routes(self.commands())

    def offers(self) -> Offers:
        """What the service port offers."""
        return ()

    def commands(self) -> Offers:
        """What the control port offers beside health and faults."""
        return ()

    async def serve(self, request: Request) -> Reply | None:
        """Answer one call on the service port, faults included; None cuts the connection."""
        faults = self.faults
        if faults.slow_ms:
            await asyncio.sleep(faults.slow_ms / 1000)
        if self.random.random() < faults.error_rate:
            reply = Reply(503, {"error": f"{self.name} is unwell"})
            self.record(request, reply, "error")
            return reply
        reply, note = self.perform(request)
        if self.random.random() < faults.lost_rate:
            return None
        if self.random.random() < faults.garbage_rate:
            return Reply(200, raw=b"\x00<h1>500 but we say 200{")
        if note:
            reply.headers["Idempotent-Replayed"] = "true"
        return reply

    def perform(self, request: Request) -> tuple[Reply, str]:
        """Do the work and log the call in one transaction; the note says ``replayed`` for a repeat."""
        try:
            with self.db:
                self.authorise(request)
                reply, note = self.once(request)
                self.record(request, reply, note)
        except Refused as refusal:
            reply, note = Reply(refusal.status, {"error": str(refusal)}), ""
            self.record(request, reply, "refused")
        return reply, note

    def authorise(self, request: Request) -> None:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "a bearer token of this system is needed")

    def once(self, request: Request) -> tuple[Reply, str]:
        key = request.headers.get("idempotency-key")
        if key is None or request.method != "POST":
            return dispatch(self.service_routes, request), ""
        digest = hashlib.sha256(request.body).hexdigest()
        row = self.db.execute("SELECT body_hash, status, body FROM answers WHERE key = ?", (key,)).fetchone()
        if row is not None:
            if row[0] != digest:
                raise Refused(422, f"idempotency key {key} was used before with another body")
            return Reply(row[1], json.loads(row[2])), "replayed"
        reply = dispatch(self.service_routes, request)
        self.db.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (key, digest, reply.status, json.dumps(reply.body)))
        return reply, ""

    def record(self, request: Request, reply: Reply, note: str) -> None:
        self.db.execute(
            "INSERT INTO calls (method, path, key, body_hash, status, note) VALUES (?, ?, ?, ?, ?, ?)",
            (
                request.method,
                request.path,
                request.headers.get("idempotency-key"),
                hashlib.sha256(request.body).hexdigest(),
                reply.status,
                note,
            ),
        )

    async def operate(self, request: Request) -> Reply | None:
        """Answer one command on the control port."""
        try:
            if request.path == "/health":
                return Reply(200, {"system": self.name, "down": self.faults.down})
            if request.path == "/faults":
                if request.method == "PUT":
                    await self.set_faults(Faults.read(request.json()))
                return Reply(200, asdict(self.faults))
            return dispatch(self.control_routes, request)
        except Refused as refusal:
            return Reply(refusal.status, {"error": str(refusal)})

    async def set_faults(self, faults: Faults) -> None:
        self.faults = faults
        if faults.down:
            self.service.close()
        else:
            await self.service.open()

    async def run(self) -> None:
        """Open both ports, say where they are on standard output, serve until told to stop."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await self.service.open()
        await self.control.open()
        print(json.dumps({"name": self.name, "port": self.service.port, "control": self.control.port}), flush=True)
        await stop.wait()
        self.service.close()
        self.control.close()
        self.db.close()


Routes = list[tuple[str, "re.Pattern[str]", Handler]]


def compile_routes(offers: Offers) -> Routes:
    """Turn ``/things/{id}`` paths into patterns."""
    return [(method, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), call) for method, path, call in offers]


def dispatch(routes: Routes, request: Request) -> Reply:
    """Call the handler of the first matching route; raises :class:`Refused` (404, 405)."""
    known = False
    for method, pattern, handler in routes:
        match = pattern.fullmatch(request.path)
        if match:
            if method == request.method:
                return handler(request, **match.groupdict())
            known = True
    raise Refused(405 if known else 404, f"{request.method} {request.path} is not offered here")


def text(document: object, *path: str) -> str:
    """The non-empty text or whole number at ``path`` of a JSON document; raises :class:`Refused` (422)."""
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise Refused(422, f"{'.'.join(path)} is missing")
    return value


def rows(document: object, name: str) -> list[Any]:
    """The non-empty list under ``name``; raises :class:`Refused` (422)."""
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, list) or not value:
        raise Refused(422, f"{name} must have at least one line")
    return value


def main(kind: type[System]) -> None:
    """Run a system as a program: ``python erp.py --db erp.sqlite``."""
    options = argparse.ArgumentParser(description=kind.__doc__)
    options.add_argument("--db", type=Path, required=True, help="this system's own database file")
    options.add_argument("--token", default="", help="the bearer token callers must present; none when empty")
    options.add_argument("--port", type=int, default=0, help="service port; a free one when 0")
    options.add_argument("--control", type=int, default=0, help="control port; a free one when 0")
    given = options.parse_args()

    async def run() -> None:
        system = kind(given.db, given.token)
        system.service.port, system.control.port = given.port, given.control
        await system.run()

    uvloop.run(run())
