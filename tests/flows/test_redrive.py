"""Dead letters of two flows and two versions, mended: first rehearsed, then for real; a real server and its target."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
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
flow: %(flow)s
source:
  webhook: {path: /%(flow)s}
key: customer
steps:
  - call: erp.create
  - map: '%(map)s'
  - call: erp.invoice
on_failure: {retry: {for: 1h, base: 1s, cap: 1s}}
"""
WRONG = '{"id": id, "flow": flow, "amount": amount}'
BROKEN = '{"id": id, "total": $number("none of " & amount)}'
MENDED = '{"id": id, "flow": flow, "total": amount}'
FLOWS = ("orders", "returns")
EACH = 250  # dead letters of a flow on a version


class Shop:
    """A target that refuses invoices without a total."""

    def __init__(self, folder: Path) -> None:
        self.target = Recorder(self._answer)
        self.folder = folder / "project"
        for name in ("flows", "connections"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "dovetail.yaml").write_text("project: redriving\n")
        (self.folder / "connections" / "erp.yaml").write_text(CONNECTION)
        self.write(WRONG)
        self.server = Dovetail(self.folder, folder, {"ERP_URL": self.target.url})
        self.sent = 0

    def _answer(self, request: Recorded) -> tuple[int, bytes]:
        refused = request.path == "/invoice" and "total" not in request.json
        return (422, b'{"error": "total?"}') if refused else (200, b"{}")

    def write(self, mapping: str) -> None:
        for flow in FLOWS:
            (self.folder / "flows" / f"{flow}.yaml").write_text(FLOW % {"flow": flow, "map": mapping})

    def send(self, count: int = EACH) -> None:
        for _ in range(count):
            self.sent += 1
            for flow in FLOWS:
                order = {"id": self.sent, "flow": flow, "customer": f"c{self.sent % 7}", "amount": self.sent}
                assert self.server.send(f"/{flow}", order) == 202
        self.server.settled(orders=self.sent, returns=self.sent)

    def deploy(self, mapping: str) -> None:
        self.write(mapping)
        assert self.server.ask("POST", "/api/deploy", {"by": "test"}) is not None, self.server.log()[-2000:]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "dovetail", *words, "-p", str(self.folder), "--store", str(self.server.store)]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "ERP_URL": self.target.url}

    def say(self, *words: str) -> tuple[int, Any]:
        command = self.command(*words, "--json")
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout or done.stderr)

    def events(self) -> list[Any]:
        """The audit trail."""
        return [event for _, _, events in self.rows()["audit"] for event in msgspec.msgpack.decode(events)]

    def rows(self) -> dict[str, list[Any]]:
        """Everything in the store."""
        store = apsw.Connection(str(self.server.store / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
        tables = [
            name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        return {table: store.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


def in_order(requests: Iterable[Recorded]) -> None:
    """Each customer's invoices came in the order of their orders."""
    lanes: dict[tuple[str, int], list[int]] = {}
    for order in (request.json for request in requests):
        lanes.setdefault((order["flow"], order["id"] % 7), []).append(order["id"])
    assert all(ids == sorted(ids) for ids in lanes.values())


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    assert made.server.start(), made.server.log()
    yield made
    made.server.kill()
    made.target.close()


def test_a_thousand_of_two_flows_and_two_versions_are_rehearsed_and_then_sent_just_so(shop: Shop) -> None:
    shop.send()
    shop.deploy(BROKEN)
    shop.send()
    shop.deploy(MENDED)
    requests, rows = len(shop.target.requests), shop.rows()
    code, told = shop.say("redrive", "--flow", "*r*", "--dry-run")
    assert (code, len(told["runs"]), told["skipped"]) == (0, 4 * EACH, [])
    assert len(shop.target.requests) == requests, "a dry run calls nobody"
    assert shop.rows() == rows, "a dry run writes nothing"
    groups = {(group["flow"], group["before"]): group for group in told["groups"]}
    assert {place: (group["count"], group["ends"]) for place, group in groups.items()} == {
        (flow, version): (EACH, "done") for flow in FLOWS for version in (1, 2)
    }
    assert [change.partition(" ")[0] for change in groups["orders", 1]["changes"]] == ["added", "removed"]
    assert groups["orders", 1]["changes"][0].endswith("body.total")
    assert groups["orders", 1]["changes"][1].endswith("body.amount")
    assert len(groups["returns", 2]["changes"]) == 1, "all of the call is new: the old mapping made none"
    assert {run["untouched"] for run in told["runs"]} == {1}, "what was created stays"
    code, done = shop.say("redrive", "--flow", "*r*", "--yes")
    assert (code, done["state"], done["sent"], done["skipped"]) == (0, "done", 4 * EACH, 0), "so many are a job"
    shop.server.settled(orders=2 * EACH, returns=2 * EACH)
    real = shop.target.requests[requests:]
    assert {request.path for request in real} == {"/invoice"}, "done effects are not repeated"
    foretold = {(sent["key"], sent["body"]) for run in told["runs"] for sent in run["now"]}
    assert len(real) == len(foretold) == 4 * EACH
    assert {(request.headers["idempotency-key"].strip('"'), request.body.decode()) for request in real} == foretold
    in_order(real)


def test_bodies_are_mended_by_a_mapping_and_what_fails_again_is_foretold(shop: Shop) -> None:
    shop.deploy('{"id": id, "flow": flow, "total": $number("" & total)}')
    shop.send(3)
    where = ("redrive", "--all")
    code, told = shop.say(*where, "--dry-run")
    assert (code, {group["ends"] for group in told["groups"]}) == (1, {"failed"})
    mapping = '$merge([$, {"total": amount}])'
    code, told = shop.say(*where, "--map", mapping, "--dry-run")
    assert (code, [(group["count"], group["ends"]) for group in told["groups"]]) == (0, [(3, "done"), (3, "done")])
    code, skipped = shop.say(*where, "--map", "nothing.here", "--yes")
    assert (code, len(skipped["skipped"]), skipped["redriven"]) == (1, 6, [])
    reason = shop.server.messages(state="dead")[0]["reason"].partition(":")[0]
    code, none = shop.say("redrive", "--reason", "another", "--yes")
    assert (code, none["redriven"]) == (0, [])
    code, done = shop.say("redrive", "--reason", reason, "--map", mapping, "--yes")
    assert (code, len(done["redriven"])) == (0, 6)
    shop.server.settled(orders=3, returns=3)
    foretold = sorted(sent["body"] for run in told["runs"] for sent in run["now"])
    assert sorted(body.decode() for body in shop.target.bodies("/invoice")) == foretold


def test_a_dry_run_goes_on_with_what_stands_in_for_an_answer(shop: Shop) -> None:
    shop.send(1)
    shop.server.stop()
    (shop.folder / "contracts" / "bill").mkdir(parents=True)
    (shop.folder / "contracts" / "bill" / "1.json").write_text(json.dumps({"required": ["bill"]}))
    steps = (
        "call: erp.invoice",
        "  as: bill",
        "- map: '{\"bill\": $vars.bill.number}'",
        "- validate: bill@1",
        "- publish: bills",
    )
    for flow in FLOWS:
        text = (FLOW % {"flow": flow, "map": MENDED}).replace("call: erp.invoice", "\n  ".join(steps))
        (shop.folder / "flows" / f"{flow}.yaml").write_text(text)
    where = ("redrive", "--flow", "orders", "--dry-run")
    code, told = shop.say(*where)
    [run] = told["runs"]
    assert (code, run["ends"], run["step"], run["assumed"]) == (0, "open", "validate:bill@1", {"call:erp.invoice": {}})
    assert "bill" in run["why"], "it tells what it would fail with"
    code, told = shop.say(*where, "--answer", 'call:erp.invoice={"number": 7}')
    [run] = told["runs"]
    assert (code, run["ends"], run["assumed"]) == (0, "done", {"call:erp.invoice": {"number": 7}})
    assert [(sent["what"], sent["body"]) for sent in run["now"]][1:] == [("publish", '{"bill":7}')]
    code, told = shop.say("redrive", "--all", "--answer", "call:erp.invoice={}")
    assert (code, told["error"]["code"]) == (2, "answer")


def test_a_mapping_that_is_none_is_told_once(shop: Shop) -> None:
    shop.send(2)
    code, told = shop.say("redrive", "--all", "--dry-run", "--map", '{"a": }')
    assert (code, told["error"]["message"][:14]) == (2, "map:1:7: The s")
    code, told = shop.say("redrive", "--all", "--dry-run", "--map", "maps/nope.jsonata")
    assert (code, told["error"]["message"]) == (2, "--map maps/nope.jsonata: there is no such file")


def test_at_rest_a_dry_run_reads_the_store_itself(shop: Shop) -> None:
    shop.send(2)
    shop.write(MENDED)
    shop.server.stop()
    requests, versions = len(shop.target.requests), shop.rows()["versions"]
    code, told = shop.say("redrive", "--all", "--dry-run")
    assert (code, len(told["runs"]), len(shop.target.requests)) == (0, 4, requests)
    assert {(run["before"], run["version"], len(run["changes"])) for run in told["runs"]} == {(1, 0, 2)}
    assert shop.rows()["versions"] == versions, "the new text has no number yet"


def test_a_job_outlives_kills_and_sends_each_message_on_once(shop: Shop) -> None:
    shop.send(150)
    shop.server.stop()
    shop.write(MENDED)
    requests = len(shop.target.requests)
    assert shop.server.start(DOVETAIL_FAILPOINT="after_redrive_commit:3:kill"), shop.server.log()[-2000:]
    answer = shop.server.ask("POST", "/api/redrives", {"by": "test", "search": {"flow": "*r*"}})
    assert (answer["job"]["selected"], answer["skipped"]) == (300, [])
    until("it died when it had sent on two parts", shop.server.dead)
    assert not shop.server.start(DOVETAIL_FAILPOINT="before_redrive_commit:1:kill") or until("again", shop.server.dead)
    code, job = shop.say("redrives", "1")
    assert (code, job["state"], job["left"]) == (0, "running", 100)
    assert shop.server.start(), shop.server.log()[-2000:]
    until("it was carried out", lambda: shop.server.ask("GET", "/api/redrives/1")["state"] == "done")
    shop.server.settled(orders=150, returns=150)
    job = shop.server.ask("GET", "/api/redrives/1")
    assert [job[name] for name in ("sent", "done", "failed", "under_way", "skipped")] == [300, 300, 0, 0, 0]
    redriven = Counter(tuple(event[1:3]) for event in shop.events() if event[0] == "redriven")
    assert (len(redriven), set(redriven.values())) == (300, {1}), "each message once"
    invoices = [request for request in shop.target.done.values() if request.path == "/invoice"]
    assert len(invoices) == 300 and len({(each.json["flow"], each.json["id"]) for each in invoices}) == 300
    in_order(invoices)
    assert {request.path for request in shop.target.requests[requests:]} == {"/invoice"}


def test_a_job_is_seen_paused_resumed_and_cancelled_from_the_command_line(shop: Shop) -> None:
    shop.send(10)
    shop.deploy(MENDED)
    waiting = subprocess.Popen(
        shop.command("redrive", "--all", "--yes", "--rate", "1/m", "--note", "slowly"), stderr=subprocess.PIPE,
        text=True, env=shop.environment,
    )  # fmt: skip
    assert waiting.stderr is not None and waiting.stderr.readline() == "job 1: 20 dead letters\n"
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, "job 1 goes on by itself" in said) == (130, True)
    code, jobs = shop.say("redrives")
    assert (code, [(job["state"], job["selected"], job["note"]) for job in jobs]) == (0, [("running", 20, "slowly")])
    assert shop.say("redrives", "1", "--pause")[1]["state"] == "paused"
    assert shop.say("redrives", "1", "--pause")[0] == 5
    assert shop.say("redrives", "1", "--resume")[1]["state"] == "running"
    code, job = shop.say("redrives", "1", "--cancel")
    assert (code, job["state"], job["left"] > 15) == (0, "cancelled", True)
    code, job = shop.say("redrives", "1", "--watch")
    assert (code, job["under_way"]) == (0, 0)
    shop.server.stop()
    code, job = shop.say("redrive", "--all", "--yes", "--rate", "1000/s")
    assert (code, job["state"], job["sent"]) == (0, "running", 0), "the next server carries it out"
    assert shop.server.start()
    shop.server.settled(orders=10, returns=10)
    assert {flow["dead"] for flow in shop.server.flows().values()} == {0}
    assert len(shop.target.bodies("/invoice")) == 20
    assert shop.say("redrives", "7")[0] == 4
