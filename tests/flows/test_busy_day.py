"""A file is read while the process is killed again and again: each line once; then its urgent lines go first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dovetail.testkit.processes import PATIENCE, Dovetail, Recorder, until

PROJECT = Path(__file__).parent / "busy-day"
LINES, BAD, URGENT = 8000, 97, 3


@pytest.fixture
def gate() -> Event:
    """While it is not set, the target answers nobody."""
    return Event()


@pytest.fixture
def erp(gate: Event) -> Iterator[Recorder]:
    def answer(request: Any) -> tuple[int, bytes]:
        gate.wait(PATIENCE)
        return 200, b"{}"

    recorder = Recorder(answer)
    yield recorder
    gate.set()
    recorder.close()


@pytest.fixture
def server(servers: Callable[..., Dovetail], erp: Recorder, tmp_path: Path) -> Dovetail:
    (tmp_path / "in").mkdir()
    return servers(PROJECT, IN=str(tmp_path / "in"), ERP_URL=erp.url)


def drop(folder: Path, first: int = 0, urgent: int = 0) -> None:
    """A file of lines, some of them with a field too many, the last ones urgent."""
    lines = [
        f"{n},no,too many" if n % BAD == 0 else f"{n},{'yes' if n >= first + LINES - urgent else 'no'}"
        for n in range(first, first + LINES)
    ]
    (folder / "lines.part").write_text("\n".join(["id,urgent", *lines, ""]))
    (folder / "lines.part").rename(folder / f"{first}.csv")


def test_killed_in_the_middle_of_a_file(server: Dovetail, erp: Recorder, gate: Event, tmp_path: Path) -> None:
    gate.set()
    drop(tmp_path / "in")
    for some in (50, 300, 900):
        assert server.start(), server.log()
        until(f"{some} lines are accepted", lambda some=some: server.count("lines", "accepted") >= some)
        assert server.count("lines", "accepted") < LINES, "it is killed in the middle"
        server.kill()
    assert server.start(), server.log()
    until("the file is in the archive", lambda: (tmp_path / "in/done/0.csv").exists())
    bad = len(range(0, LINES, BAD))
    until("all are booked", lambda: server.count("lines", "done") == LINES - bad)
    flow = (server.flows() or {})["lines"]
    assert (flow["accepted"], flow["dead"]) == (LINES, bad), "each line once, the bad ones, too"
    assert flow["partitions"] == 1 and list(flow["positions"].values()) == [LINES + 1]
    assert sorted(int(request.json["id"]) for request in erp.done.values()) == [n for n in range(LINES) if n % BAD]
    assert server.stop() == 0


def test_urgent_lines_overtake_after_a_kill(server: Dovetail, erp: Recorder, gate: Event, tmp_path: Path) -> None:
    drop(tmp_path / "in", urgent=URGENT)
    assert server.start(), server.log()
    until("the file is in the archive", lambda: (tmp_path / "in/done/0.csv").exists())
    bad = len(range(0, LINES, BAD))
    assert Counter(one["priority"] for one in server.messages(flow="lines", state="pending")) == {
        "background": LINES - bad - URGENT, "urgent": URGENT,
    }  # fmt: skip
    server.kill()
    asked = len(erp.requests)
    gate.set()
    assert server.start(), server.log()
    until("all are booked", lambda: server.count("lines", "done") == LINES - bad)
    booked = [request.json["urgent"] for request in erp.requests[asked:]]
    last = [n for n, urgent in enumerate(booked) if urgent == "yes"][-1]
    assert last < len(booked) // 3, "what was in flight, and then the urgent ones"
    assert sorted(int(request.json["id"]) for request in erp.done.values()) == [n for n in range(LINES) if n % BAD]
    assert server.stop() == 0
