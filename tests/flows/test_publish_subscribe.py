"""One topic, two subscribers, each with its own place: one that is held up and one that dies stop nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorded, Recorder, until

PROJECT = Path(__file__).parent / "publish-subscribe"
ORDERS = [{"id": n, "customer": f"c{n % 2}", "total": n * 10, "lines": [{"sku": "CUP"}]} for n in range(1, 21)]


class Systems(Recorder):
    """The ledger refuses an order without a total, and is away at first."""

    def __init__(self) -> None:
        self.away = True
        super().__init__(self.say)

    def say(self, request: Recorded) -> tuple[int, bytes]:
        if request.path == "/ledger" and self.away:
            return 503, b"{}"
        return (
            (422, b'{"error":"no total"}') if request.path == "/ledger" and not request.json["total"] else (201, b"{}")
        )

    def stored(self, path: str) -> list[Any]:
        return [json.loads(body) for body in self.bodies(path)]


@pytest.fixture
def systems() -> Iterator[Systems]:
    recorder = Systems()
    yield recorder
    recorder.close()


def test_two_subscribers(servers: Callable[..., Dovetail], systems: Systems) -> None:
    server = servers(PROJECT, SYSTEMS_URL=systems.url)
    assert server.start(), server.log()
    for order in [*ORDERS, {"id": 99, "customer": "c0", "total": 0, "lines": []}, ORDERS[3]]:
        assert server.send("/orders", order) in (200, 202)
    until("packing has them all", lambda: server.count("packing", "done") == 21)
    assert server.count("ledger", "done") == 0, "the ledger is away, and packing did not wait for it"
    server.kill()
    systems.away = False
    assert server.start(), server.log()
    flows = server.settled(ledger=21)
    assert (flows["ledger"]["done"], flows["ledger"]["dead"]) == (20, 1)
    assert (flows["packing"]["done"], flows["packing"]["dead"]) == (21, 0)
    entered = systems.stored("/ledger")
    for customer in ("c0", "c1"):
        own = [order["id"] for order in entered if order["customer"] == customer]
        assert own == [order["id"] for order in ORDERS if order["customer"] == customer], "in the order of publication"
    assert sorted(slip["order"] for slip in systems.stored("/packing")) == sorted(
        [str(order["id"]) for order in ORDERS] + ["99"]
    )
    [dead] = server.messages(flow="ledger", state="dead")
    assert "422" in dead["reason"]
