"""Steps that remember, through `kill -9`: groups, events, decisions, numbers, checked-in bodies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorder, until

PROJECT = Path(__file__).parent / "patterns"
Say = Callable[..., Any]


@pytest.fixture(scope="module")
def systems() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], systems: Recorder) -> Dovetail:
    running = servers(PROJECT, SYSTEMS_URL=systems.url)
    assert running.start(), running.log()
    return running


def stored(systems: Recorder, path: str) -> list[Any]:
    return [json.loads(body) for body in systems.bodies(path)]


def again(server: Dovetail) -> None:
    server.kill()
    assert server.start(), server.log()


def test_parcels_of_one_region_leave_together(server: Dovetail, systems: Recorder) -> None:
    parcels = [{"id": n, "region": "north" if n % 2 else "south", "weight": n} for n in range(1, 9)]
    for n, parcel in enumerate(parcels):
        assert server.send("/parcels", parcel) == 202
        if n in (1, 4):
            again(server)

    def members() -> list[int]:
        found = [bundle["parcels"] for bundle in stored(systems, "/bundles")]
        return [id for ids in found for id in (ids if isinstance(ids, list) else [ids])]

    until("every parcel has left", lambda: len(members()) >= 8)
    assert Counter(members()) == Counter(range(1, 9)), "every parcel is in one bundle"
    bundles = stored(systems, "/bundles")
    assert sum(bundle["weight"] for bundle in bundles) == sum(range(1, 9))
    until("the books are closed", lambda: server.count("bundles", "done") == 8 + len(bundles))
    assert (server.flows() or {})["bundles"]["remembers"] == {}, "no group is open"
    [first, *_] = [line for line in server.messages(flow="bundles") if line["reason"].startswith("aggregated")]
    whole = [journey for line in server.messages(flow="bundles") if (journey := server.show(line["id"]))["members"]]
    assert first["id"] in [member for journey in whole for member in journey["members"]]
    taken = server.show(first["id"])
    assert (taken["steps"][0]["outcome"], taken["message"]["state"]) == ("absorbed", "done")
    assert [step["outcome"] for step in whole[0]["steps"]] == ["done", "done"]


def test_an_order_waits_for_its_payment(server: Dovetail, systems: Recorder) -> None:
    assert server.send("/payments", {"payment": "p0", "order": "o0", "amount": 10}) == 202
    for n in range(2):
        assert server.send("/orders", {"id": f"o{n}"}) == 202
    assert server.send("/quotes", {"id": "q1"}) == 202
    until("the early bird is shipped", lambda: stored(systems, "/shipments") == [{"order": "o0", "paid": 10}])
    [waiting] = until("the other waits", lambda: server.messages(flow="shipping", state="waiting"))
    assert waiting["reason"] == "waits for order-paid o1"
    again(server)
    for _ in range(2):
        assert server.send("/payments", {"payment": "p1", "order": "o1", "amount": 12.5}) == 202
    until("two are shipped", lambda: len(stored(systems, "/shipments")) == 2)
    assert stored(systems, "/shipments")[1] == {"order": "o1", "paid": 12.5}
    until("the quote is given up", lambda: stored(systems, "/chased") == [{"id": "q1"}])
    until("it has ended", lambda: server.count("quotes", "discarded") == 1)
    until("the payments, too", lambda: server.count("payments", "done") == 2)
    [given_up] = server.messages(flow="quotes", state="discarded")
    assert server.show(given_up["id"])["steps"][0]["outcome"] == "dropped"
    [repeat] = server.messages(flow="payments", state="discarded")
    assert repeat["reason"].startswith("a repeat of ")


def test_a_person_decides(server: Dovetail, systems: Recorder, say: Say) -> None:
    for n in range(3):
        assert server.send("/refunds", {"id": n, "customer": "c1", "amount": 900 + n}) == 202
    asked = lambda: say("approvals", *where, "--json").json  # noqa: E731
    where = ("--project", str(PROJECT), "--store", str(server.store))
    lines = until("all wait", lambda: found if len(found := asked()) == 3 else None)
    assert {line["by"] for line in lines} == {"finance"} and "Refund 901 to c1" in [line["what"] for line in lines]
    until("they are reminded once each", lambda: len(stored(systems, "/reminders")) == 3)
    again(server)
    by_what = {line["what"]: line["message"] for line in asked()}
    yes, no = by_what["Refund 900 to c1"], by_what["Refund 901 to c1"]
    assert "Refund 902 to c1" in say("approvals", *where).out
    assert say("approve", yes, "--by", "ann", *where).code == 0
    until("it is paid", lambda: stored(systems, "/refunds") == [{"id": 0, "by": "ann"}])
    assert "approved by ann" in say("show", yes, *where).out
    assert say("approve", yes, *where).code == 4, "one decision is enough"
    server.kill()  # nobody runs: the decision is taken all the same
    assert say("approve", no, "--no", "-c", "too late", "--by", "bob", *where).code == 0
    assert len(asked()) == 1
    assert server.start(), server.log()
    until("it is refused", lambda: stored(systems, "/refused") == [{"id": 1, "why": "too late"}])
    until("it has ended", lambda: server.count("refunds", "discarded") == 1)
    [ended] = server.messages(flow="refunds", state="discarded")
    assert ended["reason"] == "rejected by bob: too late"
    assert len(stored(systems, "/refunds")) == 1 and len(stored(systems, "/reminders")) == 3
    missing = say("approve", "nonsense", *where)
    assert missing.code == 4 and "is not a message id" in missing.err


def test_changes_are_posted_in_their_order(server: Dovetail, systems: Recorder) -> None:
    for version in (3, 1, 2, 6, 5):
        for account in ("a", "b"):
            assert server.send("/changes", {"account": account, "version": version}) == 202
        if version == 2:
            again(server)
    until("all are posted", lambda: len(stored(systems, "/postings")) == 10)
    for account in ("a", "b"):
        posted = [change["version"] for change in stored(systems, "/postings") if change["account"] == account]
        assert posted == [1, 2, 3, 5, 6]


def test_a_scan_stays_in_the_store(server: Dovetail, systems: Recorder) -> None:
    scan = {"id": "s1", "pages": ["x" * 100_000] * 3}
    assert server.send("/scans", scan) == 202
    [archived] = until("it is archived", lambda: stored(systems, "/archive"))
    assert archived == scan | {"sheets": 3}
