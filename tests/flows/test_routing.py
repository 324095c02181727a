"""Routes, taps, handled failures, sub-flows, Python, branches: each message ends where its content says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorder

PROJECT = Path(__file__).parent / "routing"


@pytest.fixture(scope="module")
def target() -> Iterator[Recorder]:
    recorder = Recorder(lambda request: (200, json.dumps({"n": len(request.path)}).encode()))
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], target: Recorder) -> Dovetail:
    server = servers(PROJECT, TARGET_URL=target.url)
    assert server.start(), server.log()
    return server


def order(id: int, country: str, total: int = 10, sku: str = "CUP") -> dict[str, Any]:
    return {"id": id, "country": country, "total": total, "lines": [{"sku": sku, "quantity": 3}]}


def ids(target: Recorder, path: str) -> list[int]:
    return sorted(json.loads(body)["id"] for body in target.bodies(path))


def test_routes_and_taps(server: Dovetail, target: Recorder) -> None:
    orders = [order(1, "DE"), order(2, "FR"), order(3, "US"), order(4, "DE", 5000), order(5, "BE", 5000)]
    for one in orders:
        assert server.send("/countries", one) == 202
    flows = server.settled(countries=5, seen=5)
    assert flows["countries"]["done"] == 5
    assert ids(target, "/germany") == [1, 4]
    assert ids(target, "/french") == [2, 5]
    assert ids(target, "/world") == [3]
    assert ids(target, "/fraud") == [4, 5]
    assert ids(target, "/customs") == [5]
    assert ids(target, "/seen") == [1, 2, 3, 4, 5]


def test_a_price_that_is_found(server: Dovetail, target: Recorder) -> None:
    assert server.post("/careful", json.dumps(order(11, "DE")), X_Shop="Lyon").status == 202
    server.settled(careful=1)
    [priced] = [body for body in target.bodies("/priced") if b'"id":11' in body]
    assert priced == b'{"id":11,"country":"DE","total":18.30,"lines":[{"sku":"CUP","quantity":3}],"priced_for":"Lyon"}'
    assert '"event":"order_priced"' in server.log() and '"total":' in server.log()


@pytest.mark.parametrize(
    ("id", "document", "code", "why"),
    [
        (21, order(21, "DE", sku="SOFA"), "unknown-article", "nobody sells SOFA"),
        (22, order(22, "Germany"), "contract", "/country"),
    ],
)
def test_failures_that_are_handled(
    server: Dovetail, target: Recorder, id: int, document: Any, code: str, why: str
) -> None:
    answer = server.post("/careful", json.dumps(document))
    assert answer.status == 202
    server.settled()
    [handled] = [said for body in target.bodies("/unpriced") if (said := json.loads(body))["id"] == id]
    assert handled["code"] == code and why in handled["why"]
    assert server.show(answer.json["id"])["message"]["state"] == "done", "a failure that was handled is no dead letter"


def test_side_by_side_in_order(server: Dovetail, target: Recorder) -> None:
    for n in range(20):
        assert server.send("/side-by-side", {"id": n, "customer": "one"}) == 202
    assert server.settled(side_by_side=20)["side-by-side"]["done"] == 20
    together = [json.loads(body) for body in target.bodies("/together")]
    assert [one["id"] for one in together] == list(range(20)), "messages of one key keep their order"
    assert {(one["left"], one["right"]) for one in together} == {(5, 6)}
