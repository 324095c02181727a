"""Dead letters of two flows and two versions, mended: first rehearsed, then for real; a real server and its target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from dovetail.testkit.processes import Dovetail, Recorded, Recorder

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

    def say(self, *words: str) -> tuple[int, Any]:
        command = [sys.executable, "-m", "dovetail", *words, "-p", str(self.folder), "--store", str(self.server.store)]
        environment = {**os.environ, "ERP_URL": self.target.url}
        done = subprocess.run([*command, "--json"], env=environment, capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout or done.stderr)

    def rows(self) -> list[Any]:
        """All that the store knows of messages. The engine's own books (claims) may still follow after the last end."""
        store = apsw.Connection(str(self.server.store / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
        tables = ("progress", "journal", "edits", "counts", "versions")
        return [store.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


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
    assert (code, len(done["redriven"])) == (0, 4 * EACH)
    shop.server.settled(orders=2 * EACH, returns=2 * EACH)
    real = shop.target.requests[requests:]
    assert {request.path for request in real} == {"/invoice"}, "done effects are not repeated"
    foretold = {(sent["key"], sent["body"]) for run in told["runs"] for sent in run["now"]}
    assert len(real) == len(foretold) == 4 * EACH
    assert {(request.headers["idempotency-key"].strip('"'), request.body.decode()) for request in real} == foretold
    lanes: dict[tuple[str, int], list[int]] = {}
    for order in (request.json for request in real):
        lanes.setdefault((order["flow"], order["id"] % 7), []).append(order["id"])
    assert all(ids == sorted(ids) for ids in lanes.values()), "order of a key"


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


def test_at_rest_a_dry_run_reads_the_store_itself(shop: Shop) -> None:
    shop.send(2)
    shop.write(MENDED)
    shop.server.stop()
    requests = len(shop.target.requests)
    code, told = shop.say("redrive", "--all", "--dry-run")
    assert (code, len(told["runs"]), len(shop.target.requests)) == (0, 4, requests)
    assert {(run["before"], run["version"], len(run["changes"])) for run in told["runs"]} == {(1, 2, 2)}
