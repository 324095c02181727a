"""A key behind a dead letter, by the user's door: it waits through restarts and kills until a command lets it go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorded, Recorder, request, until

PROJECT = Path(__file__).parent / "parking"


class Bank:
    """Answers for a recorder: it refuses the numbers that are `bad`."""

    def __init__(self) -> None:
        self.bad: set[int] = set()

    def __call__(self, request: Recorded) -> tuple[int, bytes]:
        return (400 if request.json["n"] in self.bad else 200), b"{}"


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank()


@pytest.fixture(scope="module")
def target(bank: Bank) -> Iterator[Recorder]:
    recorder = Recorder(bank)
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], target: Recorder) -> Dovetail:
    server = servers(PROJECT, TARGET_URL=target.url)
    assert server.start(), server.log()
    return server


@pytest.fixture
def desk(server: Dovetail, target: Recorder, say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """`desk("parked")`: a command about this server's store."""
    monkeypatch.setenv("TARGET_URL", target.url)
    return lambda *words: say(*words, "--project", PROJECT, "--store", server.store)


def send(server: Dovetail, flow: str, customer: str, *numbers: int) -> None:
    for n in numbers:
        assert server.send(f"/{flow}", {"customer": customer, "n": n}) == 202


def booked(target: Recorder, flow: str, customer: str) -> list[int]:
    """What the target took of a customer, in its own order."""
    bodies = [json.loads(body) for body in target.bodies(f"/{flow}")]
    return [body["n"] for body in bodies if body["customer"] == customer]


def parked(desk: Any, flow: str, behind: int) -> Any:
    """Wait until one key of the flow stands still with so many behind it."""

    def found() -> Any:
        lines = desk("parked", "--flow", flow, "--json").json
        return lines[0] if [line["behind"] for line in lines] == [behind] else None

    return until(f"{behind} wait behind a dead letter of {flow}", found)


def test_a_parked_key_waits_through_a_restart_and_a_kill_and_goes_on_in_order(
    server: Dovetail, target: Recorder, bank: Bank, desk: Any
) -> None:
    bank.bad = {2}
    send(server, "orders", "ann", *range(10))
    send(server, "orders", "bob", *range(10, 20))
    line = parked(desk, "orders", 7)
    assert (line["key"], line["state"], line["strict"]) == ("ann", "dead", False)
    assert line["reason"].startswith("http_400")
    for n, end in ((20, server.stop), (21, server.kill)):
        end()
        assert parked(desk, "orders", n - 13) == line | {"behind": n - 13}, "at rest, too"
        assert server.start(), server.log()
        send(server, "orders", "ann", n)
        send(server, "orders", "bob", n)
        parked(desk, "orders", n - 12)
    until("bob is not held up", lambda: booked(target, "orders", "bob") == [*range(10, 20), 20, 21])
    assert booked(target, "orders", "ann") == [0, 1]
    assert "1 keys parked" in desk("status").out
    page = request(server.admin, "GET", "/metrics", headers={"Authorization": f"Bearer {server.token}"}).body.decode()
    assert 'dovetail_keys_parked{flow="orders"} 1.0' in page
    bank.bad = set()
    said = desk("unpark", "orders", "ann", "--failed", "redrive", "--by", "eve")
    assert said.code == 0 and "goes first" in said.err
    server.settled(orders=24)
    assert booked(target, "orders", "ann") == [*range(10), 20, 21]
    assert desk("parked", "--json").json == []


def test_a_blocked_key_lets_nobody_pass_until_the_dead_letter_is_discarded(
    server: Dovetail, target: Recorder, bank: Bank, desk: Any
) -> None:
    bank.bad = {1}
    send(server, "payments", "ann", *range(5))
    line = parked(desk, "payments", 3)
    refused = desk("unpark", "payments", "ann", "--failed", "leave")
    assert refused.code == 5 and "redrive or discard" in refused.err
    server.kill()
    said = desk("discard", line["failed"], "--reason", "paid in cash", "--by", "eve")
    assert said.code == 0 and "1 discarded" in said.err
    assert server.start(), server.log()
    flow = server.settled(payments=5)["payments"]
    assert (flow["done"], flow["discarded"], flow["dead"], flow["parked"]) == (4, 1, 0, 0)
    assert booked(target, "payments", "ann") == [0, 2, 3, 4]
    assert desk("discard", line["failed"], "--reason", "again").code == 5


def test_a_key_that_skips_goes_on_without_the_dead_letter(
    server: Dovetail, target: Recorder, bank: Bank, desk: Any
) -> None:
    bank.bad = {1}
    send(server, "notes", "ann", *range(5))
    flow = server.settled(notes=5)["notes"]
    assert (flow["done"], flow["dead"], flow["parked"]) == (4, 1, 0)
    assert booked(target, "notes", "ann") == [0, 2, 3, 4]
    assert desk("parked", "--json").json == []
