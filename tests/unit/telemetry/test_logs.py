"""Log lines are structured, and nothing secret or private is in them."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from dovetail.clock import SystemIds
from dovetail.errors import Retry
from dovetail.message import Message
from dovetail.telemetry import Telemetry
from dovetail.telemetry.logs import LONGEST, Logs

CANARY = "canary-7d41-" + SystemIds().token()


class StillClock:
    """Stands at 2024-05-01T00:00:00Z until moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return 1_714_521_600_000 + int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def origin(self) -> str:
        return "virtual"


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_logger_and_event_first() -> None:
    stream = io.StringIO()
    Logs(StillClock(), format="json", stream=stream).named("engine").info("started", flows=3)
    line = stream.getvalue()
    assert list(json.loads(line)) == ["time", "level", "logger", "event", "flows"]
    assert json.loads(line) == {
        "time": "2024-05-01T00:00:00.000Z", "level": "info", "logger": "engine", "event": "started", "flows": 3,
    }  # fmt: skip


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"body": CANARY},
        {"payload": {"card": CANARY}},
        {"headers": {"authorization": CANARY}},
        {"Authorization": CANARY},
        {"admin_token": CANARY},
        {"api_key": CANARY},
        {"note": f"the password is {CANARY}!"},
        {"error": RuntimeError(f"401 for {CANARY}")},
        {"raw": CANARY.encode()},
        {"nested": [{"deep": CANARY}]},
    ],
)
def test_a_canary_never_reaches_a_line(format: Any, fields: dict[str, Any]) -> None:
    stream = io.StringIO()
    Logs(StillClock(), format=format, secrets=[CANARY], stream=stream).named("x").error("went_wrong", **fields)
    assert "went_wrong" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_long_text_is_cut_and_the_terminal_is_not_steered() -> None:
    stream = io.StringIO()
    Logs(StillClock(), format="console", stream=stream).named("x").info(
        "seen", text="a\x1b]0;owned\x07\nb\u202e" + "z" * 9999
    )
    assert "\x1b]0;" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1
    assert len(stream.getvalue()) < LONGEST + 300


def test_the_level_filters() -> None:
    stream = io.StringIO()
    log = Logs(StillClock(), format="json", level="error", stream=stream).named("x")
    log.warning("quiet")
    log.error("loud")
    assert [line["event"] for line in written(stream)] == ["loud"]


def test_libraries_speak_through_the_same_lines() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        Logs(StillClock(), format="json", secrets=[CANARY], stream=stream).adopt_stdlib()
        logging.getLogger("some.library").warning("cannot use %s", CANARY)
        logging.getLogger("some.library").info("chatter")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert [(line["logger"], line["level"], line["event"]) for line in written(stream)] == [
        ("some.library", "warning", "cannot use ***")
    ]


def test_an_outage_does_not_flood_the_log_and_nothing_goes_uncounted() -> None:
    stream, clock = io.StringIO(), StillClock()
    telemetry = Telemetry(clock, {}, format="json", stream=stream)
    error = Retry("connection refused by a host whose answer was: " + CANARY)
    error.target = "erp"
    for n in range(100):
        telemetry.observer.failed("orders", "call-erp", "retry", Message(b"", id=f"m-{n}"), error)
    clock.seconds = 11
    telemetry.observer.failed("orders", "call-erp", "retry", Message(b"", id="m-last"), error)
    lines = written(stream)
    assert len(lines) == 6
    assert lines[0] == lines[0] | {"event": "attempt_failed", "step": "call-erp", "target": "erp", "message": "m-0"}
    assert lines[-1]["left_out"] == 95
    assert CANARY not in stream.getvalue()
