"""Callers who wait: an answer, a dead letter, a rule, a flow that says nothing, a flow that takes too long."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dovetail.testkit.processes import Dovetail, Gate, Recorded, Recorder

PROJECT = Path(__file__).parent / "request-reply"


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def stock(gate: Gate) -> Iterator[Recorder]:
    def answer(request: Recorded) -> tuple[int, bytes]:
        sku = request.path.rpartition("/")[2]
        if sku == "slow":
            return gate.then(200, b"{}")(request)
        return (404, b'{"error":"unknown"}') if sku == "NOTHING" else (200, json.dumps({"quantity": len(sku)}).encode())

    recorder = Recorder(answer)
    yield recorder
    gate.open()
    recorder.close()


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], stock: Recorder) -> Dovetail:
    server = servers(PROJECT, STOCK_URL=stock.url)
    assert server.start(), server.log()
    return server


def test_the_flow_answers(server: Dovetail) -> None:
    answer = server.post("/availability", '{"sku": "TEAPOT", "quantity": 2}')
    assert (answer.status, answer.json) == (201, {"sku": "TEAPOT", "available": True, "left": 4})
    assert answer.headers["content-type"] == "application/json"
    [message] = server.messages(flow="availability", state="done", limit="1")
    assert answer.headers["x-checked"] == message["id"]


def test_a_message_that_a_rule_ends_was_answered_all_the_same(server: Dovetail) -> None:
    answer = server.post("/availability", '{"sku": "ELEVENCHARS", "quantity": 12}')
    assert (answer.status, answer.json["left"]) == (201, -1)
    [message] = server.messages(flow="availability", state="discarded", limit="1")
    assert server.show(message["id"])["message"]["reason"] == "enough of it"


def test_a_dead_letter_is_told_with_its_reason(server: Dovetail) -> None:
    answer = server.post("/availability", '{"sku": "NOTHING", "quantity": 2}')
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "dead_letter" and "404" in answer.json["detail"]
    [message] = server.messages(flow="availability", state="dead")
    assert answer.json["id"] == message["id"]


def test_a_flow_that_says_nothing(server: Dovetail) -> None:
    for wanted, state in (("true", "done"), ("false", "discarded")):
        answer = server.post("/silent", f'{{"wanted": {wanted}}}')
        assert answer.status == 202, "it was accepted, and there is no more to say"
        assert server.show(answer.json["id"])["message"]["state"] == state, "told when it had ended"


def test_the_time_is_over_and_the_message_goes_on(server: Dovetail, gate: Gate) -> None:
    answer = server.post("/patient", "{}")
    assert answer.status == 504 and answer.json["code"] == "reply_timeout"
    [message] = server.messages(flow="patient")
    assert message["state"] == "pending" and answer.json["id"] == message["id"]
    gate.open()
    assert server.settled(patient=1)["patient"]["done"] == 1
