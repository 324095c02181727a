"""Deploying while running: versions, what waits, canaries, rolling back; by text, a real server and its target."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorded, Recorder, until

CONNECTION = """
connection: erp
connector: http
url: "${env:ERP_URL}"
operations:
  create: {method: POST, path: /create, repeat: idempotent-by-key}
  invoice: {method: POST, path: /invoice, repeat: idempotent-by-key}
"""
FLOW = """
flow: orders
source:
  webhook: {path: /orders}
key: customer
steps:
  - call: erp.create
    id: %(create)s
    as: erp
  - map: '{"version": %(version)d, "id": id}'
  - call: erp.invoice
on_failure: {retry: {for: 1h, base: 1s, cap: 1s}}
"""


class Shop:
    """A project whose text changes, a server, and a target that can refuse invoices."""

    def __init__(self, folder: Path) -> None:
        self.closed: set[str] = set()
        self.target = Recorder(self._answer)
        self.folder = folder / "project"
        for name in ("flows", "connections"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "dovetail.yaml").write_text("project: deploying\n")
        (self.folder / "connections" / "erp.yaml").write_text(CONNECTION)
        self.write(1)
        self.server = Dovetail(self.folder, folder, {"ERP_URL": self.target.url})

    def _answer(self, request: Recorded) -> tuple[int, bytes]:
        return (503, b"{}") if request.path in self.closed else (200, b"{}")

    def write(self, version: int, create: str = "create") -> None:
        text = FLOW % {"version": version, "create": create}
        (self.folder / "flows" / "orders.yaml").write_text(text)

    def send(self, *ids: int, customer: str | None = None) -> None:
        for id in ids:
            assert self.server.send("/orders", {"id": id, "customer": customer or f"c{id}"}) == 202

    def invoices(self) -> dict[int, int]:
        """The version that invoiced, by order."""
        found = [json.loads(body) for body in self.target.bodies("/invoice")]
        assert len({order["id"] for order in found}) == len(found)
        return {order["id"]: order["version"] for order in found}

    def invoiced(self, *ids: int) -> dict[int, int]:
        until(f"orders {ids} are invoiced", lambda: set(ids) <= set(self.invoices()))
        return {id: self.invoices()[id] for id in ids}

    def waiting(self, count: int) -> None:
        until(f"{count} messages wait", lambda: len(self.server.messages(flow="orders", state="waiting")) == count)

    def deploy(self, **order: Any) -> Any:
        answer = self.server.ask("POST", "/api/deploy", {"by": "test", **order})
        assert answer is not None, self.server.log()[-2000:]
        [plan] = [plan for plan in answer["flows"] if plan["flow"] == "orders"]
        return plan

    def decide(self, what: str, version: int = 0) -> Any:
        answer = self.server.ask("POST", f"/api/{what}", {"by": "test", "flow": "orders", "version": version})
        assert answer is not None, self.server.log()[-2000:]
        return answer

    def roles(self) -> dict[int, str]:
        versions = self.server.ask("GET", "/api/versions/orders")["versions"]
        return {line["version"]: line["role"] for line in versions if line["role"]}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    assert made.server.start(), made.server.log()
    yield made
    made.server.kill()
    made.target.close()


def test_what_waits_ends_on_the_version_that_accepted_it(shop: Shop) -> None:
    shop.closed = {"/invoice"}
    shop.send(1)
    shop.waiting(1)
    shop.write(2)
    plan = shop.deploy(plan=True)
    assert (plan["change"], plan["version"], plan["next"]) == ("changed", 1, 0)
    assert [(line["fate"], line["count"]) for line in plan["waiting"]] == [("moves", 1)]
    assert shop.roles() == {1: "current"}, "a plan changes nothing"
    plan = shop.deploy()
    assert (plan["change"], plan["next"]) == ("changed", 2)
    assert shop.roles() == {2: "current"}
    shop.send(2)
    shop.closed = set()
    assert shop.invoiced(1, 2) == {1: 1, 2: 2}
    assert shop.deploy()["change"] == "same"


def test_waiting_messages_can_be_taken_along(shop: Shop) -> None:
    shop.closed = {"/invoice"}
    shop.send(1, 2, customer="ada")  # the second one is held behind the first
    shop.waiting(1)
    shop.write(2)
    shop.deploy(move=True)
    shop.closed = set()
    assert shop.invoiced(1, 2) == {1: 2, 2: 2}
    assert len(shop.target.bodies("/create")) == 2


def test_waiting_messages_that_were_left_behind_can_be_taken_along_later(shop: Shop) -> None:
    shop.closed = {"/invoice"}
    shop.send(1, 2, customer="ada")
    shop.waiting(1)
    shop.write(2)
    shop.deploy()
    plan = shop.deploy(plan=True, move=True)
    assert (plan["change"], {(line["version"], line["fate"]) for line in plan["waiting"]}) == ("same", {(1, "moves")})
    until("they are taken along", lambda: shop.deploy(move=True)["waiting"] == [])  # not in the middle of an attempt
    shop.closed = set()
    assert shop.invoiced(1, 2) == {1: 2, 2: 2}
    assert len(shop.target.bodies("/create")) == 2


def test_a_canary_gets_another_share_and_one_that_was_rolled_back_begins_again(shop: Shop) -> None:
    shop.write(2)
    shop.deploy(percent=10)
    answer = shop.server.ask("POST", "/api/deploy", {"by": "test", "move": True})
    assert answer["notes"] == [
        "the canary of orders, version 2, takes new messages only: promote it, then move the others"
    ]
    plan = shop.deploy(percent=40, keys=["vip"])
    assert (plan["change"], plan["version"], plan["next"], plan["percent"]) == ("changed", 1, 2, 40)
    assert shop.roles() == {1: "current", 2: "canary"}
    shop.send(1, customer="vip")
    assert shop.invoiced(1) == {1: 2}
    shop.decide("rollback")
    assert shop.roles() == {1: "current"}
    shop.deploy(percent=5)
    assert shop.roles() == {1: "current", 2: "canary"}
    shop.decide("promote")
    answer = shop.server.ask("POST", "/api/deploy", {"by": "test", "percent": 5})
    assert [note[:16] for note in answer["notes"]] == ["nothing to share"]
    assert shop.roles() == {2: "current"}


def test_a_step_that_was_renamed_keeps_what_it_has_done(shop: Shop) -> None:
    shop.closed = {"/invoice"}
    shop.send(1)
    shop.waiting(1)
    shop.write(2, create="erp-order")
    [line] = shop.deploy(plan=True)["waiting"]
    assert (line["fate"], line["why"]) == ("mapping", "done, and gone in the new version: create")
    [line] = shop.deploy(plan=True, steps={"create": "erp-order"})["waiting"]
    assert line["fate"] == "moves"
    shop.deploy(move=True, steps={"create": "erp-order"})
    shop.closed = set()
    assert shop.invoiced(1) == {1: 2}
    assert len([request for request in shop.target.requests if request.path == "/create"]) == 1


def test_a_step_that_moved_into_another_one_is_not_done_again(shop: Shop) -> None:
    shop.closed = {"/invoice"}
    shop.send(1)
    shop.waiting(1)
    shop.write(2)
    flow = shop.folder / "flows" / "orders.yaml"
    step = "  - call: erp.create\n    id: create\n    as: erp\n"
    assert step in flow.read_text()
    nested = "  - try:\n      - call: erp.create\n        id: create\n        as: erp\n    catch: [{log: failed}]\n"
    flow.write_text(flow.read_text().replace(step, nested))
    [line] = shop.deploy(move=True)["waiting"]
    assert (line["fate"], line["why"]) == (
        "finishes", "step create stands elsewhere: its call would be another one"
    )  # fmt: skip
    shop.closed = set()
    assert shop.invoiced(1) == {1: 1}
    assert len([request for request in shop.target.requests if request.path == "/create"]) == 1


def test_a_message_that_cannot_be_placed_stays(shop: Shop) -> None:
    shop.closed = {"/invoice"}
    shop.send(1)
    shop.waiting(1)
    shop.write(2, create="erp-order")
    shop.deploy(move=True)
    shop.closed = set()
    assert shop.invoiced(1) == {1: 1}


def test_a_canary_takes_its_share_through_a_kill_until_it_is_promoted(shop: Shop) -> None:
    shop.write(2)
    plan = shop.deploy(keys=["vip"], percent=30)
    assert (plan["percent"], plan["keys"]) == (30, ["vip"])
    assert shop.roles() == {1: "current", 2: "canary"}
    ids = range(1, 61)
    shop.send(*ids)
    shop.send(100, customer="vip")
    before = shop.invoiced(*ids, 100)
    assert before[100] == 2
    shared = sum(version == 2 for id, version in before.items() if id != 100)
    assert 4 < shared < 40, "30 percent of 60 customers"
    shop.server.kill()
    assert shop.server.start(), shop.server.log()
    assert shop.roles() == {1: "current", 2: "canary"}
    for id in ids:
        shop.send(id + 1000, customer=f"c{id}")
    after = shop.invoiced(*(id + 1000 for id in ids))
    assert [after[id + 1000] for id in ids] == [before[id] for id in ids], "a customer stays on its version"
    shop.decide("promote")
    assert shop.roles() == {2: "current"}
    shop.send(3000, 3001, 3002)
    assert set(shop.invoiced(3000, 3001, 3002).values()) == {2}


def test_rolled_back_until_another_text_comes(shop: Shop) -> None:
    shop.write(2)
    shop.deploy()
    shop.decide("rollback")
    assert shop.roles() == {1: "current"}
    shop.send(1)
    assert shop.invoiced(1) == {1: 1}
    assert shop.server.stop() == 0
    assert shop.server.start(), shop.server.log()
    assert shop.roles() == {1: "current"}, "a restart does not undo it, although the folder has the newer text"
    shop.write(3)
    assert shop.deploy()["next"] == 3
    shop.send(2)
    assert shop.invoiced(2) == {2: 3}
    shop.decide("rollback", version=2)
    shop.send(3)
    assert shop.invoiced(3) == {3: 2}
    shop.decide("promote")
    shop.send(4)
    assert shop.invoiced(4) == {4: 3}


def test_a_rollback_leaves_edits_that_are_not_deployed_alone(shop: Shop) -> None:
    shop.write(2)
    shop.deploy()
    shop.write(3)
    shop.decide("rollback")
    assert shop.roles() == {1: "current"}
    (shop.folder / "flows" / "orders.yaml").write_text("flow: orders\nsteps: nonsense\n")
    shop.decide("promote")
    assert shop.roles() == {2: "current"}, "what was deployed, not what the folder has by now"
    shop.decide("rollback")
    shop.send(1)
    assert shop.invoiced(1) == {1: 1}
    answer = shop.server.ask("POST", "/api/rollback", {"by": "test", "flow": "orders", "version": 0})
    assert answer is None, "there is nothing before the first version"


def test_a_canary_is_ended_by_a_rollback(shop: Shop) -> None:
    shop.write(2)
    shop.deploy(percent=50)
    shop.decide("rollback")
    assert shop.roles() == {1: "current"}
    shop.send(*range(20))
    assert set(shop.invoiced(*range(20)).values()) == {1}


def test_text_with_a_problem_changes_nothing(shop: Shop, say: Callable[..., Any]) -> None:
    shop.write(2)
    flow = shop.folder / "flows" / "orders.yaml"
    flow.write_text(flow.read_text().replace("call: erp.create", "call: erp.creat"))
    said = say("deploy", "-p", shop.folder, "--store", shop.server.store)
    assert said.code == 1
    assert "flows/orders.yaml:7:11: error:" in said.err
    assert "create" in said.err.partition("did you mean")[2]
    shop.send(1)
    assert shop.invoiced(1) == {1: 1}


def test_flows_come_and_go_and_a_connection_moves(shop: Shop, say: Callable[..., Any]) -> None:
    other = Recorder()
    extra = FLOW % {"version": 9, "create": "create"}
    (shop.folder / "flows" / "extra.yaml").write_text(
        extra.replace("flow: orders", "flow: extra").replace("/orders", "/extra")
    )
    said = say("deploy", "-p", shop.folder, "--store", shop.server.store)
    assert (said.code, "extra  new" in said.out, "deployed" in said.out) == (0, True, True)
    assert shop.server.send("/extra", {"id": 7, "customer": "x"}) == 202
    assert shop.invoiced(7) == {7: 9}
    (shop.folder / "connections" / "erp.yaml").write_text(CONNECTION.replace("${env:ERP_URL}", other.url))
    (shop.folder / "flows" / "extra.yaml").unlink()
    orders = shop.folder / "flows" / "orders.yaml"
    orders.write_text(orders.read_text().replace("/orders", "/new-orders"))
    said = say("deploy", "-p", shop.folder, "--store", shop.server.store)
    assert (said.code, "extra  removed" in said.out, "connections opened anew: erp" in said.out) == (0, True, True)
    assert shop.server.send("/extra", {}) == 404
    assert shop.server.send("/orders", {}) == 404
    assert shop.server.send("/new-orders", {"id": 8, "customer": "x"}) == 202
    until("the new place is called", lambda: other.bodies("/invoice"))
    other.close()


def test_the_commands(shop: Shop, say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERP_URL", shop.target.url)  # for the command that reads the project itself
    where = ("-p", shop.folder, "--store", shop.server.store)
    shop.write(2)
    assert "nothing was changed: this is the plan" in say("deploy", "--plan", *where).out
    assert "canary for 25 %" in say("deploy", "--canary", "25%", *where).out
    listed = say("versions", "orders", *where).out
    assert "canary 25 %" in listed
    assert say("promote", "orders", *where).code == 0
    assert "flow orders has no version 7" in say("rollback", "orders", "--to", "7", *where).err
    assert say("deploy", "--canary", "all", *where).code != 0
    assert "no flow has a step 'b'" in say("deploy", "--plan", "--step", "a=b", *where).err
    assert say("rollback", "orders", "--to", "1", "--json", *where).json["deployed"] is True
    assert shop.server.stop() == 0
    shop.write(3)
    assert say("deploy", "--plan", "--json", *where).json["flows"][0]["change"] == "changed"
    assert "dovetail run" in say("deploy", *where).err
