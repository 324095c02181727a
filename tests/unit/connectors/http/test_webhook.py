"""A webhook from the caller's side: what is accepted, what the flow gets, and what the caller is told."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import json
import zlib
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dovetail.connectors.http import WebhookSource
from dovetail.sdk import OPAQUE, Message, ProjectError, Receipt, Refused, Secret, Unavailable

JSON = {"Content-Type": "application/json"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DATA = Path(__file__).parents[4].parent / "shared" / "data" / "webhooks-events"


async def test_accepted(door) -> None:
    hook = await door()
    answer = await hook.post(b'{"total": 12.10}', JSON)
    assert (answer.status, answer.json()) == (202, {"id": "m1"})
    message = hook.message
    assert (message.body, message.value) == (b'{"total": 12.10}', {"total": Decimal("12.10")})
    assert (message.id, message.source, message.time_ms) == ("", "/hook", hook.clock.wall)
    assert hook.deliveries[0].dedupe is None
    assert not hook.deliveries[0].wait_for_reply


async def test_a_duplicate_is_told_the_first_ones_name(door) -> None:
    hook = await door()
    hook.receipt = Receipt(id="m0", ref=1, duplicate=True)
    answer = await hook.post(b"{}", JSON)
    assert (answer.status, answer.json()) == (200, {"id": "m0", "duplicate": True})


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        (
            {"errors": [{"path": "/total", "message": "is missing"}]},
            {"errors": [{"path": "/total", "message": "is missing"}]},
        ),
        ({"first": "m0"}, {"first": "m0"}),
        (["/a"], {"errors": ["/a"]}),
        (None, {}),
        ({"status": 200, "code": "x", "detail": "y"}, {}),
    ],
)
async def test_refused(door, detail: Any, told: dict[str, Any]) -> None:
    hook = await door()
    hook.receipt = Receipt(error=Refused("not like this", status=422, code="contract", detail=detail))
    answer = await hook.post(b"{}", JSON)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json() == {"status": 422, "code": "contract", "detail": "not like this"} | told


@pytest.mark.parametrize(("after", "header"), [(0.2, "1"), (1.0, "1"), (29.01, "30")])
async def test_unavailable(door, after: float, header: str) -> None:
    hook = await door()
    hook.receipt = Receipt(error=Unavailable("the disk is full", after=after))
    answer = await hook.post(b"{}", JSON)
    assert (answer.status, answer.headers["retry-after"]) == (503, header)
    assert answer.json()["detail"] == "the disk is full"


async def test_before_the_flow_runs_the_door_says_later() -> None:
    source = WebhookSource(WebhookSource.Config.parse("/hook"), "orders")
    told: list[Any] = []
    routes = SimpleNamespace(add=lambda *_, **__: None, remove=lambda *_: None)
    codecs = SimpleNamespace(for_content_type=lambda _: OPAQUE)
    clock = SimpleNamespace(now_ms=lambda: 0)
    await source.open(SimpleNamespace(routes=routes, codecs=codecs, clock=clock))  # type: ignore[arg-type]
    source._receive(SimpleNamespace(headers={}, body=b"", path="/", respond=lambda *what: told.append(what)))  # type: ignore[arg-type]
    assert told[0][0] == 503


@pytest.mark.parametrize(
    ("body", "kind", "place"),
    [
        (b'{"a": 1,\n "b": }', "application/json", {"line": 2, "column": 7}),
        (b"", "application/json", {"line": 1}),
        (b'{"a": 1, "a": 2}', "application/vnd.shop+json", {"line": 1}),
        (b"<a><b></a>", "application/xml", {"line": 1}),
        (b'{"a": NaN}', "application/json", {"line": 1}),
        (b'{"a": "\xff"}', "application/json; charset=utf-8", {"line": 1}),
    ],
)
async def test_unreadable_is_told_where(door, body: bytes, kind: str, place: dict[str, int]) -> None:
    hook = await door()
    answer = await hook.post(body, {"Content-Type": kind})
    assert (answer.status, answer.json()["code"]) == (400, "unreadable")
    assert place.items() <= answer.json().items()
    assert hook.deliveries == []


async def test_the_content_type_decides_and_an_unknown_one_is_bytes(door) -> None:
    hook = await door()
    for headers in ({"Content-Type": "application/x-strange"}, {}):
        assert (await hook.post(b"{ not json", headers)).status == 202
        assert hook.message.value == b"{ not json"
    await hook.post(b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"})
    assert hook.message.value == {"a": "1", "b": "2"}
    assert hook.message.content_type == "application/x-www-form-urlencoded"


async def test_a_format_by_name_overrides_the_content_type(door) -> None:
    hook = await door(format="json")
    assert (await hook.post(b'{"a": 1}', {"Content-Type": "text/plain"})).status == 202
    assert hook.message.value == {"a": 1}
    assert (await hook.post(b"a", {"Content-Type": "text/plain"})).status == 400


async def test_headers_of_the_message_hold_no_credentials(door) -> None:
    hook = await door(verify={"hmac": {"secret": Secret("s"), "header": "X-Sig"}})
    signature = hmac.new(b"s", b"{}", "sha256").hexdigest()
    private = {"Authorization": "Bearer t", "Cookie": "c=1", "Proxy-Authorization": "p", "X-Sig": signature}
    await hook.post(b"{}", {**JSON, **private, "X-Topic": "orders/paid", "Traceparent": TRACE, "Accept": "*/*"})
    assert hook.message.headers == {"content-type": "application/json", "x-topic": "orders/paid"}
    assert hook.message.trace == TRACE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        TRACE.upper(),
        "ff" + TRACE[2:],
        TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        TRACE + "x",
    ],
)
async def test_a_broken_trace_is_no_trace(door, text: str) -> None:
    hook = await door()
    assert (await hook.post(b"{}", {**JSON, "Traceparent": text})).status == 202
    assert hook.message.trace is None


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "DEFLATE", "raw"])
async def test_packed_bodies_are_unpacked(door, coding: str) -> None:
    hook = await door()
    body = b'{"a": "' + b"x" * 5000 + b'"}'
    packed = {
        "gzip": gzip.compress(body, mtime=0),
        "x-gzip": gzip.compress(body[:10], mtime=0) + gzip.compress(body[10:], mtime=0),
        "deflate": zlib.compress(body), "DEFLATE": zlib.compress(body), "raw": zlib.compress(body, wbits=-15),
    }[coding]  # fmt: skip
    header = "deflate" if coding == "raw" else coding
    assert (await hook.post(packed, {**JSON, "Content-Encoding": header})).status == 202
    assert hook.message.body == body
    assert "content-encoding" not in hook.message.headers


@pytest.mark.parametrize(
    ("packed", "coding", "status"),
    [
        (gzip.compress(b"x" * 1_000_000, mtime=0), "gzip", 413),
        (gzip.compress(b"x" * 600, mtime=0) + gzip.compress(b"x" * 600, mtime=0), "gzip", 413),
        (zlib.compress(b"x" * 1_000_000), "deflate", 413),
        (gzip.compress(b"{}", mtime=0)[:-9], "gzip", 400),
        (b"rubbish", "gzip", 400),
        (b"rubbish", "deflate", 400),
        (gzip.compress(b"{}", mtime=0) + b"tail", "gzip", 400),
        (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
    ],
)
async def test_packed_bodies_have_bounds(door, packed: bytes, coding: str, status: int) -> None:
    hook = await door(max_body="1KB")
    answer = await hook.post(packed, {**JSON, "Content-Encoding": coding})
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert hook.deliveries == []


async def test_a_body_over_the_limit(door) -> None:
    hook = await door(max_body="1KB")
    assert (await hook.post(b"x" * 1000)).status == 202
    assert (await hook.post(b"x" * 1001)).status == 413


async def test_an_unproved_request_is_told_how_and_leaves_a_line_in_the_log(door) -> None:
    hook = await door(verify={"basic": {"username": "u", "password": Secret("p")}})
    answer = await hook.post(b"{}", JSON)
    assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    event, fields = hook.context.log.lines[0]
    assert (event, fields["code"], fields["flow"]) == ("webhook.unauthorized", "unauthorized", "orders")
    assert hook.deliveries == []


async def test_the_senders_name_for_a_delivery_is_what_dedupes_it(door) -> None:
    hook = await door(verify={"github": Secret("s")})
    for path in sorted(DATA.glob("github/**/*.json")):
        body = path.read_bytes()
        signature = "sha256=" + hmac.new(b"s", body, "sha256").hexdigest()
        headers = {**JSON, "X-Hub-Signature-256": signature, "X-GitHub-Delivery": path.stem, "X-GitHub-Event": "e"}
        assert (await hook.post(body, headers)).status == 202
        assert hook.message.body == body
        assert hook.deliveries[-1].dedupe == [path.stem]
        assert "x-hub-signature-256" not in hook.message.headers


async def test_slack_is_answered_its_challenge_and_nothing_is_delivered(door) -> None:
    hook = await door(verify={"slack": Secret("s")})
    body = b'{"type": "url_verification", "challenge": "abc"}'
    stamp = str(hook.clock.wall // 1000)
    signature = "v0=" + hmac.new(b"s", b"v0:" + stamp.encode() + b":" + body, "sha256").hexdigest()
    headers = {**JSON, "X-Slack-Signature": signature, "X-Slack-Request-Timestamp": stamp}
    answer = await hook.post(body, headers)
    assert (answer.status, answer.json()) == (200, {"challenge": "abc"})
    assert hook.deliveries == []
    assert (await hook.post(body, {**headers, "X-Slack-Signature": "v0=0"})).status == 401


async def test_the_clock_that_judges_a_timestamp_is_ours(door) -> None:
    hook = await door(verify={"slack": Secret("s")})
    stamp = str(hook.clock.wall // 1000)
    signature = "v0=" + hmac.new(b"s", b"v0:" + stamp.encode() + b":{}", "sha256").hexdigest()
    headers = {**JSON, "X-Slack-Signature": signature, "X-Slack-Request-Timestamp": stamp}
    assert (await hook.post(b"{}", headers)).status == 202
    assert hook.deliveries[0].dedupe == [signature]
    hook.clock.wall += 301_000
    assert (await hook.post(b"{}", headers)).json()["code"] == "timestamp_stale"


async def test_methods(door) -> None:
    hook = await door(methods=["PUT", "GET"])
    assert (await hook.post(b"x", method="PUT")).status == 202
    assert (await hook.post(b"", method="GET")).status == 202
    answer = await hook.post(b"x")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT")


async def test_the_path_is_given_back(door) -> None:
    hook = await door()
    second = WebhookSource(WebhookSource.Config.parse("/hook"), "other")
    with pytest.raises(ValueError, match="already taken"):
        await second.open(hook.context)
    await second.close()
    assert (await hook.post(b"x")).status == 202
    await hook.source.close()
    await hook.source.close()
    assert (await hook.post(b"x")).status == 404
    await second.open(hook.context)
    assert (await hook.post(b"x")).status == 503
    await second.close()


async def test_settings_that_do_not_load() -> None:
    for wrong in ({"path": "hook"}, {"path": "/hook/"}, {"path": "/a?b"}, {"path": "/a", "methods": []}, {},
                  {"path": "/a", "reply": "never"}, {"path": "/a", "max_body": "2GB"}):  # fmt: skip
        with pytest.raises(ProjectError):
            WebhookSource.Config.parse(wrong)
    assert WebhookSource.Config.parse("/").path == "/"


# -- a caller waits for the flow's answer


async def test_the_flows_answer(door) -> None:
    hook = await door(reply="wait")
    reply = Message(b"<ok/>", content_type="text/xml")
    hook.receipt = Receipt(id="m1", ref=1, reply=reply, status=201)
    answer = await hook.post(b"{}", JSON)
    assert (answer.status, answer.headers["content-type"], answer.body) == (201, "text/xml", b"<ok/>")
    assert hook.deliveries[0].wait_for_reply


async def test_no_answer_from_the_flow(door) -> None:
    hook = await door(reply="wait")
    assert (await hook.post(b"{}", JSON)).json() == {"id": "m1"}
    hook.receipt = Receipt(id="m1", ref=1, error=Refused("it failed", status=422, code="dead_letter"))
    answer = await hook.post(b"{}", JSON)
    assert (answer.status, answer.json()["id"], answer.json()["code"]) == (422, "m1", "dead_letter")


async def test_an_answer_that_cannot_be_written(door) -> None:
    hook = await door(reply="wait")
    json_codec = hook.context.codecs.by_name("json")
    hook.receipt = Receipt(id="m1", ref=1, reply=Message(None, codec=json_codec, value={"a": float("nan")}))
    answer = await hook.post(b"{}", JSON)
    assert (answer.status, answer.json()["code"]) == (500, "reply_unwritable")


async def test_the_time_to_wait_is_over(door) -> None:
    hook = await door(reply="wait", timeout="5s")
    hook.holding = True
    asking = asyncio.ensure_future(hook.post(b"{}", JSON))
    later = asyncio.ensure_future(hook.post(b"{}", JSON))
    async with asyncio.timeout(20):
        while len(hook.deliveries) < 2:
            hook.came.clear()
            await hook.came.wait()
    first, second = hook.deliveries
    first.batch[0].id = "m7"
    hook.clock.seconds += 4.9
    hook.source._expire()
    second.settle([Receipt(id="m8", ref=2, reply=Message(b"in time"))])
    hook.clock.seconds += 0.2
    answers = {answer.status: answer for answer in (await asking, await later)}
    assert answers[200].body == b"in time"
    assert answers[504].json() == {
        "status": 504, "code": "reply_timeout", "id": "m7",
        "detail": "the flow gave no answer within 5s; the message goes on",
    }  # fmt: skip
    first.settle([Receipt(id="m7", ref=1, reply=Message(b"too late"))])


# -- CloudEvents

EVENT = {
    "specversion": "1.0", "id": "1234-1234-1234", "source": "/mycontext/subcontext", "type": "com.example.someevent",
    "time": "2018-04-05T03:56:24Z",
}  # fmt: skip
DATA_JSON = b'{"message": "Hello World!"}'


def binary(event: dict[str, str], **headers: str) -> dict[str, str]:
    return {f"ce-{name}": value for name, value in event.items()} | JSON | headers


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
async def test_an_event_in_binary_mode(door, kind: str) -> None:
    hook = await door()
    headers = binary(EVENT | {"subject": "caf%C3%A9"}) | {"Content-Type": kind}
    assert (await hook.post(DATA_JSON, headers)).status == 202
    message = hook.message
    assert (message.source, message.type, message.subject) == (EVENT["source"], EVENT["type"], "café")
    assert (message.time_ms, message.content_type, message.value) == (1522900584000, kind, {"message": "Hello World!"})
    assert hook.deliveries[0].dedupe == ["/mycontext/subcontext 1234-1234-1234"]
    assert message.body == DATA_JSON


@pytest.mark.parametrize("kind", ["application/cloudevents+json", "application/CloudEvents+json; charset=utf-8"])
async def test_an_event_in_structured_mode(door, kind: str) -> None:
    hook = await door()
    event = EVENT | {"datacontenttype": "application/json", "data": {"message": "Hello World!"}, "tenant": "t1"}
    assert (await hook.post(json.dumps(event).encode(), {"Content-Type": kind})).status == 202
    message = hook.message
    assert (message.source, message.type, message.time_ms) == (EVENT["source"], EVENT["type"], 1522900584000)
    assert (message.content_type, message.value) == ("application/json", {"message": "Hello World!"})
    assert (message.headers["ce-tenant"], message.headers["ce-time"]) == ("t1", EVENT["time"])
    assert json.loads(message.body) == {"message": "Hello World!"}


async def test_the_forms_of_data_in_structured_mode(door) -> None:
    hook = await door()
    kind = {"Content-Type": "application/cloudevents+json"}
    for data, value in (
        ({"data": "text"}, "text"),
        ({"data": "<a/>", "datacontenttype": "text/plain"}, "<a/>"),
        ({"data_base64": "AAE=", "datacontenttype": "image/png"}, b"\0\1"),
        ({"data_base64": "eyJhIjoxfQ=="}, {"a": 1}),
        ({"data": None}, None),
        ({}, b""),
    ):
        assert (await hook.post(json.dumps(EVENT | data).encode(), kind)).status == 202, data
        assert hook.message.value == value


@pytest.mark.parametrize(
    "wrong",
    [
        {"specversion": "0.3"}, {"id": ""}, {"source": ""}, {"type": ""}, {"time": "yesterday"},
        {"time": "2018-04-05T03:56:24"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_what_is_no_event(door, wrong: dict[str, str], mode: str) -> None:
    hook = await door()
    if mode == "binary":
        answer = await hook.post(DATA_JSON, binary(EVENT | wrong))
    else:
        answer = await hook.post(json.dumps(EVENT | wrong).encode(), {"Content-Type": "application/cloudevents+json"})
    assert (answer.status, answer.json()["code"]) == (400, "cloudevent")
    assert hook.deliveries == []


@pytest.mark.parametrize(
    "body",
    ["[]", "1", '{"specversion": 1}', json.dumps(EVENT | {"data_base64": "?"}), json.dumps(EVENT | {"data_base64": 1}),
     json.dumps(EVENT | {"datacontenttype": 1}), json.dumps(EVENT | {"subject": 1}), json.dumps(EVENT | {"time": 1})],
)  # fmt: skip
async def test_what_is_no_structured_event(door, body: str) -> None:
    hook = await door()
    answer = await hook.post(body.encode(), {"Content-Type": "application/cloudevents+json"})
    assert (answer.status, answer.json()["code"]) == (400, "cloudevent")


# -- hostile JSON at the door

HOSTILE = sorted((DATA.parent / "conformance" / "json-parsing").glob("**/*.json"))


async def test_hostile_json_is_taken_or_refused_with_a_reason_and_nothing_else(door) -> None:
    hook = await door(max_body="10MB")
    assert len(HOSTILE) > 30
    for path in HOSTILE:
        before = len(hook.deliveries)
        answer = await hook.post(path.read_bytes(), JSON)
        if path.name.startswith(("n_", "y_")):
            assert answer.status == (202 if path.name.startswith("y_") else 400), path.name
        assert answer.status in (202, 400), path.name
        assert (len(hook.deliveries) > before) == (answer.status == 202), path.name
        if answer.status == 400:
            assert answer.json()["code"] == "unreadable"
            assert answer.json()["detail"], path.name
