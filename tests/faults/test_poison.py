"""One message among many that raises, hangs or kills the process: it alone ends as a dead letter."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorder, until

PROJECT = Path(__file__).parent / "poison"
GOOD = 50


@pytest.fixture
def server(tmp_path: Path, target: Recorder) -> Iterator[Dovetail]:
    options = ["--supervise", "--stall", "1", "--log", "json"]
    made = Dovetail(PROJECT, tmp_path, {"TARGET_URL": target.url}, options)
    assert made.start(), made.log()
    yield made
    assert made.stop() == 0, made.log()


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


@pytest.mark.parametrize("does", ["raise", "wait", "hang", "hang deaf", "exit", "kill"])
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
        assert dead["reason"].startswith("poison: the process died 3 times") and journey["crashes"] == 3
        assert server.log().count("starting it again") == 3
        event = {"hang": "event_loop_stalled"}.get(does)
        assert event is None or server.log().count(f'"event":"{event}"') == 3, server.log()
    for line in server.messages(flow="orders", state="done"):
        assert server.show(line["id"])["crashes"] == 0
