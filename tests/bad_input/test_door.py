"""Bad input over HTTP: each has a clear answer, nothing of it is kept, and the server goes on as before."""

from __future__ import annotations

import hmac
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Answer, Dovetail, request

SECRETS = {name: f"the {name} secret" for name in ("github", "slack", "stripe")}
CONFORMANCE = Path(__file__).resolve().parents[3] / "shared/data/conformance/json-parsing"
DOCUMENTS = sorted(CONFORMANCE.rglob("*.json"))


def refused(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The problem document, which must be one."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer
    problem = answer.json
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"] and "Traceback" not in problem["detail"]
    return dict(problem)


@pytest.fixture(autouse=True)
def nothing_is_lost_or_kept(server: Dovetail) -> Iterator[None]:
    """What was accepted has ended well, and a good message goes through afterwards as it did before."""
    yield
    answer = server.post("/json", b'{"good":true}')
    assert answer.status == 202
    flows = server.settled()
    assert all(flow["accepted"] == flow["done"] for name, flow in flows.items() if name not in ("rows", "documents"))


def test_the_conformance_documents_are_there() -> None:
    assert len(DOCUMENTS) >= 39


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.stem)
def test_json_conformance(server: Dovetail, place: Path, file: Path) -> None:
    body = file.read_bytes()
    answer = server.post("/json", body)
    if answer.status == 202:
        assert not file.name.startswith("n_"), "it is no JSON"
        server.settled()
        assert (place / "out/json" / answer.json["id"]).read_bytes() == body, "byte for byte"
    else:
        assert not file.name.startswith("y_") and file.name != "number_9223372036854775808.json", answer.body
        problem = refused(answer, 400, "unreadable")
        assert problem["line"] >= 1 and problem["column"] >= 1


@pytest.mark.parametrize(
    ("body", "says", "line", "column"),
    [
        (b"[" * 100_000, "deeper than 64", 1, 65),
        (b"[" * 100_000 + b"]" * 100_000, "deeper than 64", 1, 65),
        (b'{"a":' * 100_000, "deeper than 64", 1, 321),
        (b"1" * 10_000_000, "4300 digits", 1, None),
        (b"[" + b"-" + b"9" * 5_000_000 + b".0]", "4300 digits", 1, None),
        (b'{\n "id": 1,\n "id": 2}', '"id"', 3, None),
        (b'["\\ud800"]', "escape", 1, None),
        (b'["\\udfff"]', "surrogate", 1, None),
        (b'{"\\udead": 1}', "surrogate", 1, None),
        (b"[NaN]", "NaN", 1, 2),
        (b"[1,\n-Infinity]", "Infinity", 2, None),
        (b"[1e400]", "308", 1, 2),
        (b"[1E-99999999999999999999]", "", 1, None),
        (b'{"a": "\x00"}', "control character", 1, None),
        (b'["\xff"]', "", 1, None),
        ('{"a":1}'.encode("utf-16"), "", 1, None),
        (b"", "", 1, None),
        (b"[1] [2]", "", 1, 5),
    ],
)  # fmt: skip
def test_hostile_json(server: Dovetail, body: bytes, says: str, line: int, column: int | None) -> None:
    problem = refused(server.post("/json", body), 400, "unreadable")
    assert says in problem["detail"] and len(problem["detail"]) < 500
    assert problem["line"] == line and (column is None or problem["column"] == column)


ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">{ENTITIES}]><a b="&a9;">&a9;</a>'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (BOMB, "DTD"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "DTD"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><a/>', "DTD"),
        ("<!DOCTYPE a><a/>", "DTD"),
        ("<a>" * 100_000, "deeper than 64"),
        ("<a>" * 65 + "</a>" * 65, "deeper than 64"),
        ("<a><b></a>", "not XML"),
        ("<a>&nbsp;</a>", "nbsp"),
        ("", "not XML"),
    ],
)
def test_hostile_xml(server: Dovetail, body: str, says: str) -> None:
    assert says in refused(server.post("/xml", body, Content_Type="application/xml"), 400, "unreadable")["detail"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content_Type": "application/json; charset=klingon"}, 400, "unreadable"),
        ({"Content_Encoding": "gzip"}, 400, "content_encoding"),
        ({"Content_Encoding": "rot13"}, 415, "content_encoding"),
        ({"Content_Type": "multipart/form-data"}, 400, "unreadable"),
    ],
)
def test_bodies_that_are_not_what_they_are_said_to_be(
    server: Dovetail, headers: dict[str, str], status: int, code: str
) -> None:
    refused(server.post("/json", b"[1]", **headers), status, code)


def test_a_packed_bomb(server: Dovetail) -> None:
    import gzip

    packed = gzip.compress(b" " * 30_000_000 + b"[]")
    refused(server.post("/json", packed, Content_Encoding="gzip"), 413, "body_too_large")


# --- who sends -----------------------------------------------------------------------------------------------------


def signature(name: str, text: bytes) -> str:
    return hmac.digest(SECRETS[name].encode(), text, "sha256").hex()


def test_wrong_signatures(server: Dovetail) -> None:
    good = f"sha256={signature('github', b'{}')}"
    assert server.post("/signed", b"{}", X_Hub_Signature_256=good).status == 202
    assert refused(server.post("/signed", b"{}"), 401, "signature_missing")["detail"].count("x-hub-signature-256")
    for given in (good[:-1] + "0", good.removeprefix("sha256="), "sha256=", "ü"):
        answer = server.post("/signed", b"{ }" if given == good else b"[]", X_Hub_Signature_256=given)
        refused(answer, 401, "signature_mismatch" if given else "signature_missing")
        assert "www-authenticate" in answer.headers
    refused(server.post("/signed", b"[]", X_Hub_Signature_256=good), 401, "signature_mismatch")
    assert SECRETS["github"] not in server.log()


@pytest.mark.parametrize("off", [-301 - 10, 301 + 10])
def test_stale_timestamps(server: Dovetail, off: int) -> None:
    stamp = str(int(time.time()) + off)
    proof = f"v0={signature('slack', f'v0:{stamp}:{{}}'.encode())}"
    answer = server.post("/stamped", b"{}", X_Slack_Request_Timestamp=stamp, X_Slack_Signature=proof)
    assert "300 seconds" in refused(answer, 401, "timestamp_stale")["detail"]
    proof = f"t={stamp},v1={signature('stripe', f'{stamp}.{{}}'.encode())}"
    refused(server.post("/payments", b"{}", Stripe_Signature=proof), 401, "timestamp_stale")


def test_proofs_that_cannot_be_read(server: Dovetail) -> None:
    refused(server.post("/payments", b"{}", Stripe_Signature="v1=abc"), 400, "signature_malformed")
    proof = f"v0={signature('slack', b'v0:yesterday:{}')}"
    answer = server.post("/stamped", b"{}", X_Slack_Request_Timestamp="yesterday", X_Slack_Signature=proof)
    refused(answer, 400, "timestamp_malformed")


# --- where, how, how much ------------------------------------------------------------------------------------------


def test_places_and_methods(server: Dovetail) -> None:
    for path in ("/nothing", "/orders/", "/ORDERS", "/orders/../json", "//orders"):
        refused(server.post(path, b"{}"), 404, "not_found")
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = request(server.port, method, "/orders", b"{}" if method != "GET" else None)
        refused(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"


def test_too_large(server: Dovetail) -> None:
    assert "2000 bytes" in refused(server.post("/orders", b" " * 2001), 413, "body_too_large")["detail"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert b" 413 " in client.recv(1000), "told before it is sent"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n400\r\n" + b"x" * 1024 + b"\r\n")
        assert b" 413 " in client.recv(1000)


# --- what it says ---------------------------------------------------------------------------------------------------

ORDER = {"id": 1, "customer": "ada", "lines": [{"sku": "CUP", "quantity": 2}]}


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({}, ["", "", ""]),
        ([], [""]),
        (None, [""]),
        (ORDER | {"id": "1"}, ["/id"]),
        (ORDER | {"id": 1.5}, ["/id"]),
        (ORDER | {"lines": []}, ["/lines"]),
        (ORDER | {"lines": [{"sku": 1, "quantity": 0}, {"sku": "CUP"}]},
         ["/lines/0/quantity", "/lines/0/sku", "/lines/1"]),
    ],
)  # fmt: skip
def test_contract_violations(server: Dovetail, document: Any, paths: list[str]) -> None:
    problem = refused(server.post("/orders", json.dumps(document)), 422, "contract")
    assert sorted(error["path"] for error in problem["errors"]) == paths
    assert all(error["message"] for error in problem["errors"])


def test_the_same_id(server: Dovetail, place: Path) -> None:
    first = server.post("/orders", json.dumps(ORDER))
    assert first.status == 202
    again = server.post("/orders", json.dumps(ORDER))
    assert (again.status, again.json) == (200, {"id": first.json["id"], "duplicate": True})
    other = server.post("/orders", json.dumps(ORDER | {"customer": "eve"}))
    assert refused(other, 409, "conflict")["first"] == first.json["id"]
    server.settled()
    assert json.loads((place / "out/orders/1").read_text()) == ORDER


@pytest.mark.parametrize("document", ["{}", '{"id": null}', '{"id": {"a": 1}}', '{"id": []}', "[]", '"text"'])
def test_no_id(server: Dovetail, document: str) -> None:
    refused(server.post("/optional", document), 422, "no_id")
