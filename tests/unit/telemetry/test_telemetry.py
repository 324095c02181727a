"""The whole of it on one observer: what is heard reaches every listener; health follows the store."""

from __future__ import annotations

import io
import json

from dovetail.clock import SystemClock
from dovetail.engine.observer import Observer
from dovetail.message import Message
from dovetail.store.base import State
from dovetail.telemetry import Telemetry, combine
from dovetail.telemetry.several import HOOKS


def test_every_hook_of_the_seam_reaches_every_listener_in_order() -> None:
    heard: list[tuple[int, str, tuple[object, ...]]] = []

    def listener(number: int) -> Observer:
        def hook(name: str) -> object:
            return lambda self, *what: heard.append((number, name, what))

        return type("Listener", (Observer,), {name: hook(name) for name in HOOKS})()

    for many in (1, 2, 3):
        heard.clear()
        whole = combine(*(listener(number) for number in range(many)))
        for name in HOOKS:
            getattr(whole, name)("a", 1)
        assert heard == [(number, name, ("a", 1)) for name in HOOKS for number in range(many)]


def test_silent_listeners_cost_nothing_and_nobody_listening_is_fine() -> None:
    class Deaf(Observer):
        pass

    combine(Deaf()).ended("orders", Message(b""), State.DONE, 0.1)
    assert "ended" not in vars(combine(Deaf()))


def test_ready_follows_the_phases_and_the_store() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(SystemClock(), {}, format="json", stream=stream)
    health = telemetry.health
    assert (health.ready().ok, health.ready().reasons) == (False, ("starting",))
    health.started()
    assert health.ready().ok
    telemetry.observer.store(False, "the disk is full")
    assert health.ready().reasons == ("the store takes no messages: the disk is full",)
    assert health.live().ok
    telemetry.observer.store(True, "")
    assert health.ready().ok
    health.draining()
    assert health.ready().reasons == ("draining",)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "store_unavailable", "store_available",
    ]  # fmt: skip
    telemetry.close()


def test_a_dead_letter_is_counted_and_logged_with_its_id_alone() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(SystemClock(), {}, format="json", stream=stream)
    telemetry.observer.ended("orders", Message(b"private", id="m-9"), State.DEAD, 1.0)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["flow"], line["message"]) == ("message_dead", "orders", "m-9")
    assert "private" not in stream.getvalue()
    assert telemetry.metrics.flows["orders"].ended[State.DEAD] == 1
