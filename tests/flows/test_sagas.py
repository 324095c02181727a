"""Sagas, scatter-gather and loops: the target's own log says what took place, what was undone, and what only once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dovetail.cli import main
from dovetail.testkit.processes import Dovetail, Recorded, Recorder, until

PROJECT = Path(__file__).parent / "sagas"


class Shop:
    """Answers for a recorder. `status` is what a path (a prefix of it) answers in place of a success, `once` only the
    first time; those in `hangs` never answer."""

    def __init__(self) -> None:
        self.status: dict[str, int] = {}
        self.once: dict[str, int] = {}
        self.hangs: set[str] = set()
        self.over = Event()

    def __call__(self, request: Recorded) -> tuple[int, bytes]:
        path = f"{request.method} {request.path}"
        if any(path.startswith(prefix) for prefix in self.hangs):
            self.over.wait()
        for prefix, status in [*self.status.items(), *self.once.items()]:
            if path.startswith(prefix):
                self.once.pop(prefix, None)
                return status, b"{}"
        return (201 if request.method == "POST" else 200), json.dumps(self._answer(request)).encode()

    def _answer(self, request: Recorded) -> Any:
        what, _, which = request.path.strip("/").partition("/")
        if what == "invoices":
            return {"number": f"R-{request.json['id']}"}
        if what == "quotes":
            return {"price": {"dhl": 12, "ups": 7}[which]}
        if what == "pages":
            return {"next": {"1": "2", "2": "3"}.get(which), "rows": [f"{which}a", f"{which}b"]}
        return {}


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


@pytest.fixture(scope="module")
def target(shop: Shop) -> Iterator[Recorder]:
    recorder = Recorder(shop)
    yield recorder
    shop.over.set()
    recorder.close()


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], target: Recorder) -> Dovetail:
    server = servers(PROJECT, TARGET_URL=target.url)
    assert server.start(), server.log()
    return server


@pytest.fixture(autouse=True)
def healthy(shop: Shop) -> Iterator[None]:
    yield
    shop.status.clear()
    shop.hangs.clear()


def order(server: Dovetail, id: str) -> str:
    """Send one; the message's id."""
    answer = server.post("/orders", json.dumps({"id": id, "customer": id}))
    assert answer.status == 202
    return str(answer.json["id"])


def line(server: Dovetail, id: str) -> Any:
    return server.show(id)["message"]


def ended(server: Dovetail, id: str) -> Any:
    """Wait for its end."""
    words = ("done", "dead", "discarded")
    return until("it ends", lambda: (found := line(server, id))["state"] in words and found)


def told(target: Recorder, id: str) -> list[str]:
    """What the target did about an order, in its own order; each once, by its Idempotency-Key."""
    done = [f"{one.method} {one.path}" for one in target.done.values() if id in one.path or id in one.body.decode()]
    assert len(set(done)) == len(done)
    return done


def test_what_goes_well_is_not_undone(server: Dovetail, target: Recorder) -> None:
    assert ended(server, order(server, "good"))["state"] == "done"
    assert sorted(told(target, "good")) == ["POST /confirmations", "POST /invoices", "POST /reservations",
                                            "POST /shipments"]  # fmt: skip


@pytest.mark.parametrize("status", [400, 503])
def test_what_cannot_be_shipped_is_released_and_credited(
    server: Dovetail, target: Recorder, shop: Shop, status: int
) -> None:
    """Refused at once, or away until no attempt is left."""
    shop.status["POST /shipments"] = status
    id = f"refused{status}"
    message = order(server, id)
    end = ended(server, message)
    assert (end["state"], end["reason"]) == ("dead", f"compensated: http_{status}: shop answered {status}")
    done = told(target, id)
    assert sorted(done[:2]) == ["POST /invoices", "POST /reservations"]
    assert sorted(done[2:]) == [f"DELETE /reservations/{id}", "POST /credits"]
    [credit] = [one.json for one in target.done.values() if one.path == "/credits" and id in one.body.decode()]
    assert credit == {"order": id, "invoice": f"R-{id}"}, "the reply was at hand"
    states = {effect["step"]: effect["state"] for effect in server.show(message)["effects"]}
    for step in ("parallel/branch1/call:shop.reserve", "parallel/branch2/call:shop.invoice"):
        assert (states[step], states[f"{step}/compensate"]) == ("compensated", "done")


def test_in_doubt_is_undone_too(server: Dovetail, target: Recorder, shop: Shop) -> None:
    """The reservation is never answered: nobody knows whether it took place, so it is released, too."""
    shop.hangs.add("POST /reservations")
    shop.status["DELETE /reservations/doubt"] = 404
    end = ended(server, order(server, "doubt"))
    assert end["reason"].startswith("compensated: unanswered: "), end
    assert told(target, "doubt") == ["POST /invoices", "POST /credits"]
    assert [one.method for one in target.requests if one.path == "/reservations/doubt"] == ["DELETE"]


def test_a_pivot_in_doubt_is_only_ever_taken_forward(server: Dovetail, target: Recorder, shop: Shop) -> None:
    shop.status["POST /shipments"] = 500
    message = order(server, "maybe")
    assert ended(server, message)["reason"] == "http_500: shop answered 500"
    assert not any("credits" in one or "DELETE" in one for one in told(target, "maybe"))
    shop.status.clear()
    server.ask("POST", "/api/redrive", {"by": "ann", "ids": [message]})
    until("it is done", lambda: line(server, message)["state"] == "done")
    assert told(target, "maybe")[2:] == ["POST /shipments", "POST /confirmations"]


def test_after_the_pivot_there_is_only_forward(server: Dovetail, target: Recorder, shop: Shop) -> None:
    shop.status["POST /confirmations"] = 422
    assert ended(server, order(server, "shipped"))["reason"] == "http_422: shop answered 422"
    assert told(target, "shipped")[2:] == ["POST /shipments"]


def test_a_compensation_that_cannot_be_made_is_seen_and_handed_to_a_person(
    server: Dovetail, target: Recorder, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.status |= {"POST /shipments": 400, "DELETE": 503}
    message = order(server, "stuck")
    until("it is seen", lambda: any(one["id"] == message for one in server.messages(state="compensating")))
    end = ended(server, message)
    assert end["reason"].startswith("compensation stopped: http_503: shop answered 503; left to undo: ")
    assert "call:shop.reserve by shop.release" in end["reason"] and "; it had failed: http_400" in end["reason"]
    shop.status.clear()
    server.ask("POST", "/api/redrive", {"by": "ann", "ids": [message]})
    until("it is undone", lambda: line(server, message)["reason"].startswith("compensated: "))
    assert sorted(told(target, "stuck")[2:]) == ["DELETE /reservations/stuck", "POST /credits"]
    assert main(["show", message, "--project", str(PROJECT), "--store", str(server.store)]) == 0
    shown = capsys.readouterr().out
    assert "compensated" in shown and "call:shop.reserve/compensate" in shown


def test_a_server_killed_on_the_way_back_goes_on(
    servers: Callable[..., Dovetail], target: Recorder, shop: Shop
) -> None:
    server = servers(PROJECT, TARGET_URL=target.url)
    assert server.start()
    shop.status |= {"POST /shipments": 400, "DELETE": 503}
    message = order(server, "killed")
    until("it is on its way back", lambda: any(one["state"] == "compensating" for one in [line(server, message)]))
    server.kill()
    shop.status.clear()
    assert server.start()
    assert ended(server, message)["reason"] == "compensated: http_400: shop answered 400"
    assert sorted(told(target, "killed")[2:]) == ["DELETE /reservations/killed", "POST /credits"]


# --- scatter-gather, loop ---------------------------------------------------------------------------------------------


def test_who_does_not_answer_in_time_is_left_out(server: Dovetail, target: Recorder, shop: Shop) -> None:
    ask = lambda weight: server.post("/quotes", json.dumps({"id": "q", "weight": weight})).json  # noqa: E731
    assert ask(20) == {"id": "q", "best": 7, "missing": []}
    assert ask(0) == {"id": "q", "best": 0, "missing": []}
    shop.hangs.add("GET /quotes/ups")
    assert ask(20) == {"id": "q", "best": 12, "missing": ["ups: timeout"]}
    shop.status["GET /quotes/dhl"] = 404
    answer = server.post("/quotes", json.dumps({"id": "none", "weight": 20}))
    assert (answer.status, answer.json["detail"]) == (422, "http_404: shop answered 404")
    [dead] = server.messages(flow="quotes", state="dead")
    codes = {error["code"] for error in server.show(dead["id"])["attempts"][0]["detail"]["branches"].values()}
    assert codes == {"http_404", "timeout"}


def test_a_decision_stands_when_the_message_is_tried_again(server: Dovetail, target: Recorder, shop: Shop) -> None:
    """The carrier is back when the order is placed at last; the order is the one that was decided on."""
    shop.once |= {"GET /quotes/ups": 404, "POST /ordered": 503}
    before = len([one for one in target.requests if one.path == "/quotes/ups"])
    assert server.post("/quotes", json.dumps({"id": "later", "weight": 20})).json["best"] == 12
    assert not shop.once
    [ordered] = [one.json for one in target.done.values() if one.path == "/ordered" and b"later" in one.body]
    assert ordered == {"id": "later", "best": 12, "missing": ["ups: http_404"]}
    assert len([one for one in target.requests if one.path == "/quotes/ups"]) == before + 1


def test_page_after_page_and_row_after_row(server: Dovetail, target: Recorder, shop: Shop) -> None:
    shop.once |= {"GET /pages/3": 503, "POST /rows": 503}
    answer = server.post("/pages", json.dumps({"id": "p", "next": "1", "rows": []}))
    assert ended(server, answer.json["id"])["state"] == "done" and not shop.once
    rows = [one.json for one in target.done.values() if one.path == "/rows"]
    assert rows == [{"id": "p", "row": row, "n": n} for n, row in enumerate(("1a", "1b", "2a", "2b", "3a", "3b"))]
    assert [one.path for one in target.requests if one.path in ("/pages/1", "/pages/2")] == ["/pages/1", "/pages/2"]


# --- dovetail check ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "old", "new", "said"),
    [
        ("orders", "operation: shop.release", "operation: shop.relase",
         "flows/orders.yaml:9:33: error: the connection 'shop' has no operation 'relase'"),
        ("orders", "invoice\": $vars.reply.number", "invoice\": $vars.reply.(number",
         "flows/orders.yaml:12:"),
        ("orders", "pivot: true ", "pivot: true\n    compensate: shop.release",
         "flows/orders.yaml:15:17: error: after a pivot nothing is undone"),
        ("orders", "pivot: true ", "pivot: yes please", "flows/orders.yaml:14:12: error: 'pivot' must be true"),
        ("quotes", "need: 1", "need: 4", "flows/quotes.yaml:10:11: error: there are only 3 branches"),
        ("quotes", "when: weight < 10", "wenn: weight < 10", "flows/quotes.yaml:9:"),
        ("pages", "while: $boolean(next)", "while: $bolean(next)",
         "flows/pages.yaml:7:14: error: there is no function $bolean"),
        ("pages", "- loop: rows\n", "- loop:\n", "error: say how often: either 'over' a list, or 'while' a condition"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flow: str, old: str, new: str,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("TARGET_URL", "http://127.0.0.1")
    project = Path(shutil.copytree(PROJECT, tmp_path / "sagas"))
    file = project / f"flows/{flow}.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    assert main(["check", str(project)]) != 0
    assert said in capsys.readouterr().out
