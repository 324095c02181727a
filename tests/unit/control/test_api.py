"""The admin API over real sockets: who may ask what, and what a hostile client gets."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from dovetail.clock import SystemClock
from dovetail.control.access import OPEN, Guard
from dovetail.control.answers import RedriveOrder, Search
from dovetail.control.api import ROUTES, Api
from dovetail.control.backups import Backups
from dovetail.control.client import Remote, Unreachable, encoded
from dovetail.control.listener import Listener
from dovetail.control.vocabulary import installed
from dovetail.errors import DovetailError, Refused
from dovetail.store.base import State
from dovetail.telemetry import Telemetry

Bench = Any  # the fixture's class
TOKEN = "t" * 40
GOOD = {"authorization": f"Bearer {TOKEN}"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = msgspec.json.decode(self.body)
        assert found["status"] == self.status
        return found


@dataclass
class Served:
    port: int
    telemetry: Telemetry
    log: io.StringIO
    drained: list[bool] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"", host: str = ""
    ) -> Answer:
        """One request, every byte of it ours."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()
        head, _, content = raw.partition(b"\r\n\r\n")
        status, *rest = head.decode().split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        return Answer(int(status.split()[1]), found, content)

    @property
    def remote(self) -> Remote:
        return Remote(f"http://127.0.0.1:{self.port}", TOKEN)


@pytest.fixture
async def served(bench: Bench) -> AsyncIterator[Served]:
    log = io.StringIO()
    telemetry = Telemetry(SystemClock(), {}, format="json", stream=log)
    listener = Listener("127.0.0.1", 0)
    made = Served(0, telemetry, log)
    page = telemetry.page(bench.control.depth, bench.store.usage, bench.control.lanes, bench.control.ready)
    api = Api(
        bench.control, telemetry.health, page, installed(), lambda: made.drained.append(True),
        telemetry.logs.named("admin"), Backups(bench.store.back_up),
    )  # fmt: skip
    await listener.open(Guard(api.app(), TOKEN, {"127.0.0.1", "localhost"}, lambda: listener.port))
    made.port = listener.port
    yield made
    await listener.close()


BAD: list[dict[str, str]] = [
    {}, {"authorization": ""}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"},
    {"authorization": TOKEN}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Bearer {TOKEN[:-1]}"},
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _, _ in ROUTES])
async def test_every_route_is_shut_without_the_token_from_elsewhere_and_for_other_names(
    served: Served, bench: Bench, method: str, path: str
) -> None:
    id = await bench.put("orders", b"{}", State.DEAD)
    path = path.replace("{id}", id).replace("{name}", "http")
    for headers in BAD:
        answer = await served.ask(method, path, headers)
        if path in OPEN:
            assert set(msgspec.json.decode(answer.body)) == {"ok", "reasons"}
            assert msgspec.json.decode(answer.body)["reasons"] == []
        else:
            assert (answer.status, answer.problem["title"]) == (401, "token")
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1:1", f"127.0.0.1.evil.example:{served.port}"):
        assert (await served.ask(method, path, GOOD, host=host)).status == 421
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{served.port}.evil.example", "http://127.0.0.1:1"):
        assert (await served.ask(method, path, {**GOOD, "origin": origin})).status == 403
    assert served.drained == []
    assert (await bench.control.show(id)).message.state == "dead"
    own = await served.ask(method, path, {**GOOD, "origin": f"http://localhost:{served.port}"}, b"{}")
    assert own.status not in (401, 403, 421)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_what_is_not_a_route_is_a_problem_and_never_a_fault(served: Served, method: str) -> None:
    known = {(m, p) for m, p, _, _ in ROUTES}
    for path in ("/", "/api", "/api/nothing", "/api/messages/x/y/z", "/api/../etc/passwd", *(p for _, p in known)):
        if (method, path) not in known and "{" not in path:
            answer = await served.ask(method, path, GOOD)
            assert answer.status in (404, 405), (method, path)
            assert answer.problem["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"[]", 422), (b"null", 422), (b'{"by": 1}', 422), (b'{"by": "a", "sudo": true}', 422),
        (b'{"by": "a"}', 422), (b'{"by": "a", "ids": ["x"]}', 404), (b'{"by": "a", "ids": ["1"], "body": "%"}', 422),
        (b'{"by": "a", "ids": ["1"], "rate": "fast"}', 422), (b"\xff\xfe", 400), (b"[" * 100_000, 422),
        (b'{"by": "a", "search": {"states": ["ded"]}}', 422),
    ],
)  # fmt: skip
async def test_orders_that_make_no_sense_get_4xx_with_a_reason(served: Served, body: bytes, status: int) -> None:
    answer = await served.ask("POST", "/api/redrive", GOOD, body)
    assert (answer.status, bool(answer.problem["detail"])) == (status, True)


@pytest.mark.parametrize(
    "query",
    ["limit=x", "limit=0", "limit=-1", "limit=99999", "since=tomorrow", "state=ded", "flow=nope", "before=1:x:y", "q=1",
     "since=99999999999999999999", "before=orders:%00", "limit=%D9%A3"],
)  # fmt: skip
async def test_searches_that_make_no_sense_get_4xx_with_a_reason(served: Served, query: str) -> None:
    answer = await served.ask("GET", f"/api/messages?{query}", GOOD)
    assert answer.status in (400, 404, 422)
    assert answer.problem["detail"]


@pytest.mark.parametrize(
    ("host", "port", "own"),
    [
        ("127.0.0.1:8081", 8081, True), ("LOCALHOST:8081", 8081, True), ("[::1]:8081", 8081, True),
        ("localhost", 80, True), ("[::1]", 80, True), ("localhost", 8081, False), ("localhost:", 8081, False),
        ("localhost:80810000000", 8081, False), ("::1:8081", 8081, False), ("evil.example:8081", 8081, False),
        ("localhost:8081:8081", 8081, False), ("", 80, False), ("localhost.:8081", 8081, False),
        ("localhost:٨٠٨١", 8081, False), ("user@localhost:8081", 8081, False),
    ],
)  # fmt: skip
async def test_the_names_that_a_server_goes_by(host: str, port: int, own: bool) -> None:
    answers: list[int] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        answers.append(200)

    async def send(event: Any) -> None:
        answers.append(event.get("status", 0))

    guard = Guard(inner, TOKEN, {"127.0.0.1", "localhost", "::1"}, lambda: port)
    headers = [(b"host", host.encode("utf-8")), (b"authorization", f"Bearer {TOKEN}".encode())]
    await guard({"type": "http", "path": "/api/status", "headers": headers}, None, send)  # type: ignore[arg-type]
    assert (answers[0] == 200) is own
    assert answers[0] in (200, 421)


async def test_a_body_over_the_limit_is_not_read(served: Served) -> None:
    headers = {**GOOD, "content-length": str(1 << 40)}
    assert (await served.ask("POST", "/api/redrive", headers)).problem["title"] == "too-large"


async def test_a_doubled_credential_is_refused(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Authorization: Bearer wrong\r\nConnection: close\r\n\r\n".encode()
    )
    assert (await reader.read()).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


async def test_health_and_metrics(served: Served) -> None:
    assert (await served.ask("GET", "/livez")).status == 200
    assert (await served.ask("GET", "/readyz")).status == 503
    told = await served.ask("GET", "/readyz", GOOD)
    assert msgspec.json.decode(told.body) == {"ok": False, "reasons": ["starting"]}
    served.telemetry.health.started()
    assert (await served.ask("GET", "/readyz")).status == 200
    metrics = await served.ask("GET", "/metrics", GOOD)
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert b"dovetail_store_available 1.0" in metrics.body


async def test_a_fault_of_our_own_is_logged_here_and_says_nothing_there(served: Served, bench: Bench) -> None:
    def broken() -> None:
        raise RuntimeError("canary-of-the-inside")

    bench.control.status = broken
    answer = await served.ask("GET", "/api/status", GOOD)
    assert (answer.status, answer.problem["title"]) == (500, "internal")
    assert b"canary" not in answer.body
    assert "canary-of-the-inside" in served.log.getvalue()


async def test_drain_is_asked_for_once_per_call(served: Served) -> None:
    assert (await served.ask("POST", "/api/drain", GOOD)).status == 202
    assert served.drained == [True]


async def test_the_client_gets_what_the_desk_says(served: Served, bench: Bench) -> None:
    remote = served.remote
    dead = await bench.put("orders", b"\x00\xffbytes", State.DEAD, key="ä/ö?&", reason="rejected: no")
    page = await asyncio.to_thread(remote.messages, Search(flow="orders", states=["dead"], key="ä/ö?&"))
    assert page == await bench.control.messages(Search(flow="orders", states=["dead"], key="ä/ö?&"))
    assert [line.id for line in page.messages] == [dead]
    assert await asyncio.to_thread(remote.show, dead) == await bench.control.show(dead)
    assert await asyncio.to_thread(remote.body, dead) == b"\x00\xffbytes"
    assert {flow.flow for flow in (await asyncio.to_thread(remote.status)).flows} == {"orders", "ledger", "slips"}
    order = RedriveOrder(by="ada", ids=[dead], body=encoded(b"mended"))
    assert (await asyncio.to_thread(remote.redrive, order)).redriven == [dead]
    assert await asyncio.to_thread(remote.body, dead) == b"mended"
    assert await asyncio.to_thread(remote.body, dead, "", True) == b"\x00\xffbytes"
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(remote.redrive, RedriveOrder(by="ada", ids=[dead]))
    assert (refused.value.status, refused.value.code) == (409, "not-dead")
    with pytest.raises(Refused, match="there is nothing at"):
        await asyncio.to_thread(remote.show, "../../api/status")
    assert base64.b64decode(order.body or "") == b"mended"
    names = {line.name for line in await asyncio.to_thread(remote.connectors)}
    assert {"http", "webhook", "map"} <= names
    assert (await asyncio.to_thread(remote.connector, "webhook")).kind == "source"


async def test_nobody_there_is_said_in_words(served: Served) -> None:
    wrong = Remote(served.remote.url, "wrong" * 8)
    with pytest.raises(Refused, match="a valid token is needed"):
        await asyncio.to_thread(wrong.status)
    taken = Listener("127.0.0.1", served.port)
    with pytest.raises(DovetailError, match="choose another with --admin-port"):
        taken.bind()
    free = Listener("127.0.0.1", 0)
    free.bind().close()
    with pytest.raises(Unreachable, match="does not answer"):
        await asyncio.to_thread(Remote(free.url, TOKEN).status)
