"""One message among many that raises, hangs, eats memory or kills the process: it alone ends as a dead letter."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorder, until

PROJECT = Path(__file__).parent / "poison"
GOOD = 30
CRASHES = 2  # the flow's limit
MEMORY = 400  # megabytes: some 300 more than the server needs


@pytest.fixture
def server(tmp_path: Path, target: Recorder) -> Iterator[Dovetail]:
    options = ["--supervise", "--stall", "1", "--memory", f"{MEMORY}MB", "--log", "json"]
    made = Dovetail(PROJECT, tmp_path, {"TARGET_URL": target.url}, options)
    assert made.start(), made.log()
    yield made
    assert made.stop() in (0, -9), made.log()  # -9: the test killed it


def sent(server: Dovetail, document: Any) -> None:
    """Send as a client does who was not told: again, wherever the server is now."""

    def accepted() -> bool:
        try:
            place = json.loads((server.store / "server.json").read_text())
        except (OSError, ValueError):
            return False
        server.port, server.admin = (int(place[name].rpartition(":")[2]) for name in ("http", "url"))
        return server.send("/orders", document) in (200, 202)

    until(f"{document} is accepted", accepted)


def told(server: Dovetail) -> dict[str, Any] | None:
    """The flow's numbers once nothing is pending."""
    try:
        place = json.loads((server.store / "server.json").read_text())
    except (OSError, ValueError):
        return None
    server.admin = int(place["url"].rpartition(":")[2])
    flow = (server.flows() or {}).get("orders")
    return flow if flow and not flow["pending"] and flow["accepted"] == GOOD + 1 else None


@pytest.mark.parametrize("does", ["raise", "wait", "hang", "hang deaf", "eat", "exit", "kill"])
def test_the_neighbours_are_done_once_and_carry_no_blame(server: Dovetail, target: Recorder, does: str) -> None:
    target.requests.clear()
    target.done.clear()
    for n in range(GOOD):
        if n == GOOD // 2:
            sent(server, {"id": "bad", "does": does})
        sent(server, {"id": n})
    flow = until("everything has ended", lambda: told(server), 120.0)
    assert (flow["done"], flow["dead"]) == (GOOD, 1)
    done = Counter(json.loads(body)["id"] for body in target.bodies("/take"))
    assert done == dict.fromkeys(range(GOOD), 1)
    [dead] = server.messages(flow="orders", state="dead")
    journey = server.show(dead["id"])
    assert json.loads(journey["body"]["text"])["id"] == "bad"
    if does in ("raise", "wait"):
        assert dead["reason"].startswith({"raise": "python:", "wait": "deadline:"}[does])
        assert journey["crashes"] == 0 and "starting it again" not in server.log()
    else:
        assert dead["reason"].startswith(f"poison: the process died {CRASHES} times") and journey["crashes"] == CRASHES
        assert server.log().count("starting it again") == CRASHES
        event = {"hang": "event_loop_stalled", "eat": "memory_exhausted"}.get(does)
        assert event is None or server.log().count(f'"event":"{event}"') == CRASHES, server.log()
    for line in server.messages(flow="orders", state="done"):
        assert server.show(line["id"])["crashes"] == 0


def test_the_server_drains_when_its_supervisor_is_killed(server: Dovetail) -> None:
    place = json.loads((server.store / "server.json").read_text())
    assert server.process is not None and place["pid"] != server.process.pid
    server.kill()
    until("the child has ended in good order", lambda: '"event":"stopped"' in server.log())
    assert '"event":"stopped"' in server.log()


def test_a_supervisor_told_to_end_in_a_pause_ends(tmp_path: Path, target: Recorder) -> None:
    server = Dovetail(PROJECT, tmp_path, {"TARGET_URL": target.url}, ["--supervise"])
    assert server.start(), server.log()
    place = json.loads((server.store / "server.json").read_text())
    os.kill(place["pid"], signal.SIGKILL)
    until("it is about to start another one", lambda: "starting it again" in server.log())
    assert server.stop() == 0
