"""Real deliveries of well-known senders go through unharmed: byte for byte where unmapped, exact where mapped."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from dovetail.testkit.processes import Answer, Dovetail, Recorder, until

PROJECT = Path(__file__).parent / "webhooks"
SECRETS = {name: f"the {name} secret" for name in ("github", "shopify", "slack", "stripe")}


def digest(sender: str, signed: bytes) -> bytes:
    return hmac.digest(SECRETS[sender].encode(), signed, hashlib.sha256)


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inbox")


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], inbox: Path, target: Recorder) -> Dovetail:
    secrets = {f"DOVETAIL_SECRET_{name.upper()}": secret for name, secret in SECRETS.items()}
    server = servers(PROJECT, INBOX=str(inbox), TARGET_URL=target.url, **secrets)
    assert server.start(), server.log()
    return server


def from_shopify(server: Dovetail, path: str, body: bytes) -> Answer:
    return server.post(path, body, X_Shopify_Hmac_Sha256=base64.b64encode(digest("shopify", body)).decode())


def from_slack(server: Dovetail, path: str, body: bytes, **headers: str) -> Answer:
    now = str(int(time.time()))
    signature = "v0=" + digest("slack", f"v0:{now}:".encode() + body).hex()
    return server.post(path, body, X_Slack_Request_Timestamp=now, X_Slack_Signature=signature, **headers)


def arrived(target: Recorder, path: str, count: int) -> list[bytes]:
    until(f"{count} at {path}", lambda: len(target.bodies(path)) >= count)
    return target.bodies(path)


def test_every_github_delivery(server: Dovetail, inbox: Path, data: Path) -> None:
    folder = data / "webhooks-events/github/api.github.com"
    files = sorted(folder.rglob("*.json"))
    assert len(files) == 83
    for number, file in enumerate(files):
        body = file.read_bytes()
        signature = "sha256=" + digest("github", body).hex()
        headers = {
            "X_GitHub_Event": file.parent.name,
            "X_GitHub_Delivery": f"d-{number}",
            "X_Hub_Signature_256": signature,
        }
        assert server.post("/hooks/github", body, **headers).status == 202, file
        assert server.post("/hooks/github", body, **headers).status == 200, "GitHub sends again what it knows by id"
    flows = server.settled(github=83)
    assert flows["github"]["done"] == 83
    kept = {file.relative_to(inbox / "github"): file.read_bytes() for file in (inbox / "github").rglob("*.json")}
    assert kept == {Path(f.parent.name) / f"d-{n}.json": f.read_bytes() for n, f in enumerate(files)}


def test_documents_of_all_kinds_as_they_came(server: Dovetail, target: Recorder, data: Path) -> None:
    folder = data / "webhooks-events"
    kinds = ("shopify", "slack-api-responses", "slack-interactive-scim-audit", "cloudevents-formats")
    bodies = [file.read_bytes() for kind in kinds for file in sorted((folder / kind).rglob("*.json"))]
    assert len(bodies) >= 14
    for body in bodies:
        assert from_shopify(server, "/hooks/shopify", body).status == 202
    server.settled(shopify=len(bodies))
    assert sorted(target.bodies("/shopify")) == sorted(bodies)


def test_an_order_whose_lines_disagree_with_its_subtotal(server: Dovetail, target: Recorder, data: Path) -> None:
    body = (data / "webhooks-events/shopify/order.json").read_bytes()
    order = json.loads(body)["order"]
    assert from_shopify(server, "/hooks/shopify/orders", body).status == 202
    assert from_shopify(server, "/hooks/shopify/orders", body).json["duplicate"] is True
    assert server.settled(shop_orders=1)["shop-orders"]["done"] == 1
    [mapped] = map(json.loads, target.bodies("/orders"))
    lines = sum(line["quantity"] * Decimal(line["price"]) for line in order["line_items"])
    assert mapped == {
        "reference": "450789469",
        "total": "409.94",
        "tax": "11.94",
        "lines": [
            {"sku": line["sku"], "quantity": line["quantity"], "unit_price": line["price"]}
            for line in order["line_items"]
        ],
        "lines_agree_with_subtotal": lines == Decimal(order["subtotal_price"]),
    }
    assert mapped["lines_agree_with_subtotal"] is False


def test_stripe_objects(server: Dovetail, inbox: Path, data: Path) -> None:
    files = sorted((data / "webhooks-events/stripe-fixtures").glob("*.json"))
    assert len(files) == 10
    now = str(int(time.time()))
    for file in files:
        body = file.read_bytes()
        signature = f"t={now},v1={digest('stripe', now.encode() + b'.' + body).hex()},v0=old"
        assert server.post("/hooks/stripe", body, Stripe_Signature=signature).status == 202, file
    assert server.settled(stripe=10)["stripe"]["done"] == 10
    kept = sorted(file.read_bytes() for file in (inbox / "stripe").iterdir())
    assert kept == sorted(file.read_bytes() for file in files)


def test_slack_events(server: Dovetail, inbox: Path, data: Path) -> None:
    files = sorted((data / "webhooks-events/slack-events").glob("*.json"))
    assert len(files) >= 20
    for file in files:
        assert from_slack(server, "/hooks/slack", file.read_bytes(), X_Name=file.name).status == 202, file
    assert server.settled(slack=len(files))["slack"]["done"] == len(files)
    assert {file.name: file.read_bytes() for file in (inbox / "slack").iterdir()} == {
        file.name: file.read_bytes() for file in files
    }


def test_slack_asks_whether_this_is_the_right_door(server: Dovetail) -> None:
    before = server.count("slack", "accepted")
    body = b'{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595","type":"url_verification"}'
    answer = from_slack(server, "/hooks/slack", body)
    assert (answer.status, answer.json) == (200, {"challenge": "3eZbrw1aBm2rZgRNFdxV2595"})
    assert server.post("/hooks/slack", body).status == 401, "without the signature there is no answer to it"
    assert server.count("slack", "accepted") == before


def test_slack_forms(server: Dovetail, target: Recorder, data: Path) -> None:
    command = json.loads(
        (
            data / "webhooks-events/slack-interactive-scim-audit/app-backend/slash-commands/SlashCommandPayload.json"
        ).read_text()
    ) | {"command": "/stock", "text": "Größe 42 & mehr", "is_enterprise_install": "false"}
    action = {
        "type": "block_actions",
        "actions": [{"action_id": "approve", "value": "9007199254740993"}],
        "container": {},
    }
    forms = [urlencode(command).encode(), urlencode({"payload": json.dumps(action)}).encode()]
    for form in forms:
        answer = from_slack(server, "/hooks/slack/actions", form, Content_Type="application/x-www-form-urlencoded")
        assert answer.status == 202
    server.settled(slack_actions=2)
    assert sorted(target.bodies("/form")) == sorted(forms)
    said = [json.loads(body) for body in target.bodies("/action")]
    assert command in said and action in said and len(said) == 2
    kinds = {request.headers["content-type"] for request in target.requests if request.path == "/form"}
    assert kinds == {"application/x-www-form-urlencoded"}


EVENT = {
    "specversion": "1.0", "type": "com.example.someevent", "time": "2018-04-05T03:56:24Z", "id": "1234-1234-1234",
    "source": "/mycontext/subcontext",
}  # fmt: skip
DATA = b'{\n    "message": "Hello World!"\n}'


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_binary_cloudevents(server: Dovetail, target: Recorder, kind: str) -> None:
    attributes = {f"ce_{name}": value for name, value in EVENT.items()} | {"ce_id": f"binary {kind}"}
    before = len(target.bodies("/events"))
    assert server.post("/hooks/events", DATA, Content_Type=kind, **attributes).status == 202
    assert server.post("/hooks/events", DATA, Content_Type=kind, **attributes).status == 200, "known by source and id"
    assert arrived(target, "/events", before + 1)[before] == DATA


@pytest.mark.parametrize("kind", ["application/cloudevents+json", "application/cloudevents+json; charset=utf-8"])
def test_structured_cloudevents(server: Dovetail, target: Recorder, kind: str) -> None:
    before = len(target.bodies("/events"))
    event = EVENT | {"id": f"structured {kind}", "datacontenttype": "application/json", "data": json.loads(DATA)}
    answer = server.post("/hooks/events", json.dumps(event), Content_Type=kind)
    assert answer.status == 202
    assert json.loads(arrived(target, "/events", before + 1)[before]) == {"message": "Hello World!"}
    journey = server.show(answer.json["id"])
    assert (journey["source"], journey["type"]) == (EVENT["source"], EVENT["type"])
    assert journey["headers"]["ce-time"] == EVENT["time"]


def test_cloudevents_of_other_kinds(server: Dovetail, target: Recorder) -> None:
    before = len(target.bodies("/events"))
    plain = EVENT | {"id": "plain", "datacontenttype": "text/plain", "data": "Hello, 🌎!"}
    packed = EVENT | {"id": "packed", "datacontenttype": "application/x", "data_base64": "AAH/"}
    for event in (plain, packed):
        assert (
            server.post("/hooks/events", json.dumps(event), Content_Type="application/cloudevents+json").status == 202
        )
    assert set(arrived(target, "/events", before + 2)[before:]) == {"Hello, 🌎!".encode(), b"\x00\x01\xff"}


@pytest.mark.parametrize("missing", ["id", "source", "type", "specversion"])
def test_what_is_no_cloudevent(server: Dovetail, missing: str) -> None:
    event = {name: value for name, value in EVENT.items() if name != missing}
    answer = server.post("/hooks/events", json.dumps(event), Content_Type="application/cloudevents+json")
    assert answer.status == 400 and missing in answer.json["detail"]


def exact(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


def test_ids_and_amounts_stay_exact(server: Dovetail, target: Recorder) -> None:
    body = b"""{"id": 900719925474099312345, "total": 12345678901234567890.10, "lines": [
      {"sku": "a", "quantity": 3, "price": 0.1}, {"sku": "b", "quantity": 1, "price": 1e2},
      {"sku": "c", "quantity": 7, "price": 19.99999999999999999999}]}"""
    assert server.post("/orders", body).status == 202
    server.settled(prices=1)
    [mapped] = map(exact, target.bodies("/prices"))
    assert mapped["id"] == 900719925474099312345
    assert mapped["reference"] == "ORDER-900719925474099312345"
    assert str(mapped["total"]) == "12345678901234567890.10", "the last zero too"
    assert [line["price"] for line in mapped["lines"]] == [Decimal("0.1"), 100, Decimal("19.99999999999999999999")]
    assert mapped["sum"] == Decimal("240.3")
