"""Operations of an HTTP connection against a real server: what is sent, and what becomes of each answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ssl
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from dovetail.codec import JsonCodec
from dovetail.connectors.http import HttpConnection
from dovetail.sdk import (
    Call,
    InDoubt,
    Message,
    MessageError,
    Paused,
    ProjectError,
    Rejected,
    Repeat,
    Retry,
    Secret,
    Throttled,
)

CANARY = "c4nary-53cret"
MESSAGE = Message(b'{"total": 12.10}', codec=JsonCodec())
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def call(args: dict[str, Any] | None = None, *, message: Message = MESSAGE, timeout: float = 20.0) -> Call:
    return Call(message, "k-1", args or {}, timeout, 1, TRACE)


def say(status: int, body: bytes = b"{}", close: bool = False, **headers: str) -> Any:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [
        f"{name.replace('_', '-')}: {value}" for name, value in ({"content_type": "application/json"} | headers).items()
    ]
    data = "\r\n".join([*lines, "", ""]).encode() + body

    async def behave(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if close:
            writer.close()

    return behave


def by_target(**answers: Any) -> Any:
    """Behave by the first word of the path."""

    async def behave(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers[asked.target.split("/")[1].split("?")[0]](asked, reader, writer)

    return behave


async def silent(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_what_is_sent_and_what_comes_back(connection, system) -> None:
    erp = await connection({"create": {"path": "/orders", "repeat": "idempotent-by-key"}}, auth={"bearer": Secret("t")})
    system.behave = say(201, b'{"number": 9007199254740993, "total": 1.10}', location="/orders/1")
    operation = erp.operation("create")
    reply = await operation.call(call())
    assert (reply.status, reply.value) == (201, {"number": 9007199254740993, "total": Decimal("1.10")})
    assert reply.headers["location"] == "/orders/1"
    (asked,) = system.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/orders", MESSAGE.body)
    assert asked.headers == {
        "host": f"127.0.0.1:{system.port}", "user-agent": "dovetail", "accept": "*/*", "authorization": "Bearer t",
        "idempotency-key": "k-1", "content-type": "application/json", "content-length": "16", "traceparent": TRACE,
    }  # fmt: skip
    assert (operation.name, operation.target, operation.repeat) == ("erp.create", "erp", Repeat.IDEMPOTENT)


async def test_paths_queries_and_headers_take_arguments(connection, system) -> None:
    erp = await connection(
        {
            "find": {
                "method": "GET", "path": "/orders/{id}/lines", "repeat": "natural",
                "query": {"state": "{state}", "q": "a {x} b", "fixed": "1&2", "flag": "{flag}"},
                "headers": {"X-Tenant": "t-{tenant}", "X-Maybe": "{maybe}", "Accept": "text/csv"},
            }
        },
        url=f"http://127.0.0.1:{system.port}/api/v1/", headers={"Accept": "application/xml", "X-All": "1"},
    )  # fmt: skip
    args = {"id": "a/b ü?#%", "x": "&=", "flag": True, "tenant": Decimal("1.50")}
    await erp.operation("find").call(call(args))
    (asked,) = system.asked
    assert asked.target == "/api/v1/orders/a%2Fb%20%C3%BC%3F%23%25/lines?q=a%20%26%3D%20b&fixed=1%262&flag=true"
    assert (asked.headers["x-tenant"], asked.headers["accept"], asked.headers["x-all"]) == ("t-1.50", "text/csv", "1")
    assert not {"x-maybe", "idempotency-key", "content-type", "content-length"} & set(asked.headers)


@pytest.mark.parametrize(
    "args",
    [
        {}, {"id": None}, {"id": ""}, {"id": ".."}, {"id": "."}, {"id": ["a"]}, {"id": {"a": 1}},
        {"id": "1", "tenant": "a\r\nX-Evil: 1"}, {"id": "1", "tenant": "\u20ac"},
    ],
)  # fmt: skip
async def test_arguments_that_do_not_fit_are_rejected_before_anything_is_sent(connection, system, args: Any) -> None:
    erp = await connection({"put": {"path": "/o/{id}", "repeat": "none", "headers": {"X-T": "{tenant}"}}})
    with pytest.raises(Rejected, match="the argument"):
        await erp.operation("put").call(call(args))
    assert system.asked == []


@pytest.mark.parametrize(
    ("method", "body", "sent"),
    [
        ("POST", "auto", True), ("PUT", "auto", True), ("PATCH", "auto", True), ("DELETE", "auto", False),
        ("GET", "auto", False), ("POST", "none", False), ("DELETE", "message", True),
    ],
)  # fmt: skip
async def test_when_the_message_is_sent(connection, system, method: str, body: str, sent: bool) -> None:
    erp = await connection({"do": {"method": method, "path": "/do", "repeat": "natural", "body": body}})
    await erp.operation("do").call(call())
    assert system.asked[0].body == (MESSAGE.body if sent else b"")
    assert ("idempotency-key" in system.asked[0].headers) == (method != "GET")


async def test_a_content_type_cannot_carry_another_header(connection, system) -> None:
    erp = await connection()
    await erp.operation("do").call(call(message=Message(b"x", content_type="text/plain\r\nX-Evil: 1")))
    assert system.asked[0].headers["content-type"] == "application/octet-stream"
    assert "x-evil" not in system.asked[0].headers


async def test_replies_without_a_body_and_of_other_kinds(connection, system) -> None:
    erp = await connection()
    operation = erp.operation("do")
    system.behave = say(200, b"")
    assert (await operation.call(call())).value is None
    system.behave = say(200, b"<a/>", content_type="application/x-unknown")
    assert (await operation.call(call())).value == b"<a/>"
    system.behave = say(200, gzip.compress(b'{"a": 1}'), content_encoding="gzip")
    assert (await operation.call(call())).value == {"a": 1}
    system.behave = say(200, b"not json")
    reply = await operation.call(call())
    with pytest.raises(Rejected):
        reply.value  # noqa: B018


@pytest.mark.parametrize(
    ("repeat", "status", "kind"),
    [
        ("none", 400, Rejected), ("none", 404, Rejected), ("none", 302, Rejected), ("none", 401, Paused),
        ("none", 503, Retry), ("none", 500, InDoubt), ("queryable", 502, InDoubt), ("natural", 500, Retry),
        ("idempotent-by-key", 504, Retry), ("none", 429, Throttled),
    ],
)  # fmt: skip
async def test_statuses(connection, system, repeat: str, status: int, kind: type[MessageError]) -> None:
    lookup = {"lookup": "/do?key={key}"} if repeat == "queryable" else {}
    erp = await connection({"do": {"path": "/do", "repeat": repeat, **lookup}})
    system.behave = say(status, b'{"why": "because"}', retry_after="9")
    with pytest.raises(MessageError) as caught:
        await erp.operation("do").call(call())
    assert type(caught.value) is kind
    assert caught.value.target == "erp"
    assert caught.value.detail == {"status": status, "body": '{"why": "because"}'}
    if isinstance(caught.value, Retry):
        assert caught.value.after == 9
    assert len(system.asked) == 1  # nothing is retried here


async def test_expected_statuses(connection, system) -> None:
    erp = await connection({"do": {"path": "/do", "repeat": "none", "expect": [200, 303, 404], "already_done": [409]}})
    for status in (200, 303, 404, 409):
        system.behave = say(status, b'{"id": 7}')
        reply = await erp.operation("do").call(call())
        assert (reply.status, reply.value) == (status, {"id": 7})
    system.behave = say(201)
    with pytest.raises(Rejected):
        await erp.operation("do").call(call())


async def test_faults(connection, system) -> None:
    erp = await connection(max_response="1KB")
    operation = erp.operation("do")
    system.behave = silent
    with pytest.raises(InDoubt, match="no complete answer") as caught:
        await operation.call(call(timeout=0.1))
    assert caught.value.code == "unanswered"
    system.behave = say(200, b"x" * 2000)
    with pytest.raises(Rejected, match="but with more than 1KB"):
        await operation.call(call())
    system.behave = say(500, b"x" * 2000)
    with pytest.raises(InDoubt, match="answered 500"):
        await operation.call(call())
    for packed in (gzip.compress(b"x" * 5000), b"rubbish"):
        system.behave = say(200, packed, content_encoding="gzip")
        with pytest.raises(Rejected, match="answered 200, but"):
            await operation.call(call())
    await system.stop()
    with pytest.raises(Retry, match="no connection"):
        await (await connection()).operation("do").call(call())


async def test_the_shortest_of_the_timeouts_counts(connection, system) -> None:
    system.behave = silent
    erp = await connection({"do": {"path": "/do", "repeat": "none", "timeout": "60ms"}})
    with pytest.raises(InDoubt, match=r"within 0\.06 s"):
        await erp.operation("do").call(call())
    erp = await connection({"do": {"path": "/do", "repeat": "none"}}, timeout="50ms")
    with pytest.raises(InDoubt, match=r"within 0\.05 s"):
        await erp.operation("do").call(call())


@pytest.mark.parametrize(
    ("url", "kind", "code"),
    [
        ("http://169.254.169.254", Paused, "address_denied"),
        ("http://[::ffff:a9fe:a9fe]:80", Paused, "address_denied"),
        ("http://nothing.invalid", Paused, "name_unresolved"),
        ("https://localhost:{port}", Paused, "tls"),
    ],
)
async def test_targets_that_cannot_be_used(
    connection, system, certificate, url: str, kind: type[MessageError], code: str
) -> None:
    await system.stop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await system.start(context)
    erp = await connection(url=url.format(port=system.port))
    with pytest.raises(kind) as caught:
        await erp.operation("do").call(call())
    assert (caught.value.code, caught.value.after) == (code, 30.0)


# -- asking whether it was done


async def test_queryable(connection, system) -> None:
    erp = await connection(
        {
            "create": {
                "path": "/orders", "repeat": "queryable",
                "lookup": {"path": "/orders?ref={key}&shop={shop}", "missing": [404, 410]},
            }
        },
        auth={"api_key": {"key": Secret("{k}&"), "parameter": "api_key"}},
    )  # fmt: skip
    operation = erp.operation("create")
    system.behave = say(200, b'[{"id": 1}]')
    reply = await operation.query(call({"shop": "a b"}))
    assert reply is not None
    assert reply.value == [{"id": 1}]
    assert (system.asked[0].method, system.asked[0].target) == ("GET", "/orders?ref=k-1&shop=a%20b&api_key=%7Bk%7D%26")
    for behave in (say(404), say(410), say(200, b"[]"), say(200, b"{}"), say(200, b""), say(200, b"null")):
        system.behave = behave
        assert await operation.query(call({"shop": "x"})) is None
    system.behave = say(500)
    with pytest.raises(MessageError):
        await operation.query(call({"shop": "x"}))
    assert (await connection()).operation("do").repeat is Repeat.NONE
    with pytest.raises(NotImplementedError):
        await (await connection()).operation("do").query(call())


# -- proving ourselves


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"bearer": Secret(CANARY)}, "authorization", f"Bearer {CANARY}"),
        (
            {"basic": {"username": "u", "password": Secret(CANARY)}}, "authorization",
            "Basic " + base64.b64encode(f"u:{CANARY}".encode()).decode(),
        ),
        ({"api_key": {"key": Secret(CANARY), "header": "X-Key"}}, "x-key", CANARY),
    ],
)  # fmt: skip
async def test_credentials_are_sent_and_never_told(connection, system, auth: Any, header: str, value: str) -> None:
    erp = await connection(auth=auth, headers={"X-Also": Secret("also-" + CANARY)})
    system.behave = say(403, f"who is {value}? {CANARY} also-{CANARY}".encode())
    with pytest.raises(Rejected) as caught:
        await erp.operation("do").call(call())
    assert system.asked[0].headers[header] == value
    assert system.asked[0].headers["x-also"] == "also-" + CANARY
    told = repr((caught.value, caught.value.detail, erp.config, vars(erp.config), erp.operation("do")))
    assert CANARY not in told


class TokenServer:
    """Hands out t1, t2, …; `good` are those the system takes."""

    def __init__(self) -> None:
        self.given = 0
        self.good: Callable[[str], bool] = lambda token: True
        self.life: Any = 3600
        self.answer: Any = None

    async def token(self, asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.given += 1
        body = f'{{"access_token": "t{self.given}", "token_type": "Bearer", "expires_in": {self.life}}}'
        await (self.answer or say(200, body.encode()))(asked, reader, writer)

    async def do(self, asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        await say(200 if self.good(token) else 401, f'"{token}"'.encode())(asked, reader, writer)

    def auth(self, system: Any, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{system.port}/token?x=1"
        return {
            "oauth2_client_credentials": {"token_url": url, "client_id": "a:b", "client_secret": Secret(CANARY), **more}
        }


@pytest.fixture
def tokens(system) -> TokenServer:
    server = TokenServer()
    system.behave = by_target(token=server.token, do=server.do)
    return server


async def test_a_token_is_fetched_once_for_many_calls(connection, system, tokens) -> None:
    erp = await connection(auth=tokens.auth(system, scope="a b", audience="api"))
    operation = erp.operation("do")
    replies = await asyncio.gather(*(operation.call(call()) for _ in range(20)))
    assert {reply.value for reply in replies} == {"t1"}
    (asked,) = [one for one in system.asked if one.method == "POST" and one.target.startswith("/token")]
    assert asked.target == "/token?x=1"
    assert asked.body == b"grant_type=client_credentials&scope=a+b&audience=api"
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")) == f"a%3Ab:{CANARY}".encode()


async def test_id_and_secret_may_go_in_the_body(connection, system, tokens) -> None:
    erp = await connection(auth=tokens.auth(system, in_body=True))
    await erp.operation("do").call(call())
    assert system.asked[0].body == f"grant_type=client_credentials&client_id=a%3Ab&client_secret={CANARY}".encode()
    assert "authorization" not in system.asked[0].headers


@pytest.mark.parametrize(("life", "renewed_after"), [(3600, 3540), (100, 90), ('"3600"', 3540)])
async def test_a_token_is_renewed_before_it_expires(
    connection, system, tokens, life: Any, renewed_after: float
) -> None:
    tokens.life = life
    erp = await connection(auth=tokens.auth(system))
    clock = erp.context.clock
    operation = erp.operation("do")
    assert (await operation.call(call())).value == "t1"
    clock.seconds += renewed_after - 0.5
    assert (await operation.call(call())).value == "t1"
    clock.seconds += 1
    assert (await operation.call(call())).value == "t2"


async def test_a_refused_token_is_renewed_once_and_the_call_made_again(connection, system, tokens) -> None:
    tokens.good = lambda token: token == "t2"
    erp = await connection(auth=tokens.auth(system))
    operation = erp.operation("do")
    replies = await asyncio.gather(*(operation.call(call()) for _ in range(10)))
    assert {reply.value for reply in replies} == {"t2"}
    assert tokens.given == 2


async def test_a_token_that_stays_refused_pauses(connection, system, tokens) -> None:
    tokens.good = lambda token: False
    erp = await connection(auth=tokens.auth(system))
    with pytest.raises(Paused, match="answered 401"):
        await erp.operation("do").call(call())
    assert tokens.given == 2


@pytest.mark.parametrize(
    "behave",
    [
        say(401, b'{"error": "invalid_client"}'), say(500), say(200, b"rubbish"), say(200, b"{}"), say(200, b"[]"),
        say(200, b'{"access_token": 1}'), say(200, b'{"access_token": "a\\r\\nb"}'),
        say(200, b'{"access_token": "x", "token_type": "mac"}'),
        say(200, b'{"access_token": "x", "expires_in": "soon"}'),
        say(200, b"x" * 100_000),
    ],
)  # fmt: skip
async def test_no_token_pauses_and_the_next_call_asks_again(connection, system, tokens, behave: Any) -> None:
    tokens.answer = behave
    erp = await connection(auth=tokens.auth(system))
    operation = erp.operation("do")
    results = await asyncio.gather(*(operation.call(call()) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {Paused}
    assert CANARY not in repr([(result, getattr(result, "detail", None)) for result in results])
    assert not [asked for asked in system.asked if asked.target == "/do"]
    tokens.answer = None
    assert (await operation.call(call())).status == 200


async def test_a_cancelled_call_does_not_take_the_token_from_the_others(connection, system, tokens) -> None:
    gate = asyncio.Event()

    async def slow(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"access_token": "slow"}')

    tokens.answer = slow
    erp = await connection(auth=tokens.auth(system))
    calls = [asyncio.ensure_future(erp.operation("do").call(call())) for _ in range(3)]
    await system.came.wait()
    calls[0].cancel()
    with pytest.raises(Paused, match="no token in time"):
        await erp.operation("do").call(call(timeout=0.05))
    gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [result.value for result in results[1:]] == ["slow", "slow"]


# -- settings


@pytest.mark.parametrize(
    "config",
    [
        {}, {"url": "erp.example.com"}, {"url": "ftp://x"}, {"url": "http://u:p@x"}, {"url": "http://x?a=b"},
        {"url": "http://x:99999"}, {"url": "http://x", "headers": {"Host": "y"}}, {"url": "http://x", "pool": 0},
        {"url": "http://x", "headers": {"X-A": "a\r\nb"}}, {"url": "http://x", "headers": {"X A": "b"}},
        {"url": "http://x", "auth": {"api_key": {"key": Secret("k")}}},
        {"url": "http://x", "tls": {"certificate": "c"}},
        {"url": "http://x", "auth": {"api_key": {"key": Secret("k"), "header": "h", "parameter": "p"}}},
    ],
)  # fmt: skip
def test_settings_that_do_not_load(config: dict[str, Any]) -> None:
    with pytest.raises(ProjectError):
        HttpConnection.Config.parse(config)


@pytest.mark.parametrize(
    "config",
    [
        {"path": "/a"}, {"path": "a", "repeat": "none"}, {"path": "/a?b", "repeat": "none"},
        {"path": "/a", "repeat": "queryable"}, {"path": "/a", "repeat": "none", "lookup": "/a"},
        {"path": "/a", "repeat": "transactional"}, {"path": "/a", "repeat": "none", "expect": [99]},
        {"path": "/a", "repeat": "none", "headers": {"Content-Length": "1"}}, {"path": "/a", "repeat": "sometimes"},
    ],
)  # fmt: skip
def test_operations_that_do_not_load(config: dict[str, Any]) -> None:
    with pytest.raises(ProjectError):
        HttpConnection.OperationConfig.parse(config)


async def test_open_and_close_may_be_repeated(connection, system) -> None:
    erp = await connection()
    await erp.open(erp.context)
    await erp.close()
    await erp.close()
    await erp.open(erp.context)
    assert (await erp.operation("do").call(call())).status == 200
    with pytest.raises(KeyError):
        erp.operation("other")


async def test_tls_files_that_are_not_there_are_named(connection, tmp_path) -> None:
    with pytest.raises(ProjectError, match="connection erp: its tls files"):
        await connection(url="https://localhost", tls={"ca": str(tmp_path / "none.pem")})


async def test_tls_with_an_authority_of_ones_own(connection, system, certificate) -> None:
    await system.stop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await system.start(context)
    erp = await connection(url=f"https://localhost:{system.port}", tls={"ca": str(certificate)})
    assert (await erp.operation("do").call(call())).status == 200
