"""The other tiers in small: a store killed again and again, faults of network, disk and clock; and the proof's page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proof import __main__ as proof_main
from proof import faults, kills, report
from proof.faults import Case
from proof.result import Result, problems

ROOT = Path(__file__).resolve().parents[2]
KEPT = [
    Case("target", "garbage"), Case("source", "half-open"), Case("disk", "full"), Case("flush", "30,2"),
    Case("clock", "backwards"), Case("message", "giant"),
]  # fmt: skip


def test_a_store_is_killed_again_and_again() -> None:
    trial = kills.run(3)
    assert trial.breaches == []
    assert trial.counters["kills"] == kills.EACH
    assert ("kill", "accounted") in trial.cells and ("source-repeats", "once") in trial.cells


@pytest.mark.parametrize("case", KEPT, ids=str)
def test_a_fault_from_outside(case: Case) -> None:
    trial = faults.run(faults.CASES.index(case))
    assert trial.breaches == []
    assert trial.counters[str(case)] == 1


def test_a_result_says_what_is_wrong_with_it() -> None:
    result = Result("tier", "a try", "SEED")
    assert problems(result.plain()) == ["nothing was tried"]
    result.add("7", [], {"reached": 1}, [("kill", "once")])
    assert problems(result.plain()) == []
    result.expected, result.planted = ["reached", "missed"], {"bug": "seed 1", "other": ""}
    result.find("8", "once", "twice")
    assert problems(result.plain()) == [
        "[once] 8: twice", "never reached: missed", "a planted bug was not caught: other",
    ]  # fmt: skip


def test_the_page_is_made_of_the_recorded_run() -> None:
    record = json.loads((ROOT / report.RECORD).read_text())
    assert (ROOT / report.PAGE).read_text() == report.text(record)
    assert [problem for tier in record["tiers"] for problem in problems(tier)] == []


def test_a_tier_that_ended_at_this_commit_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_main, "OUTPUT", tmp_path)
    result = Result("kills", "a kill", "SEED")
    result.add("1", [], {}, [("kill", "once")], trials=32)
    ask = proof_main.arguments().parse_args
    result.write(tmp_path)
    assert proof_main.kept("kills", ask(["--resume"])) is None, "it has not come to its end"
    result.end().write(tmp_path)
    assert proof_main.kept("kills", ask([])) is None, "nobody asked to go on"
    found = proof_main.kept("kills", ask(["--resume"]))
    assert found is not None and found["trials"] == 32
    assert proof_main.kept("kills", ask(["--resume", "--long"])) is None, "it is too small"
    monkeypatch.setattr(proof_main, "commit", lambda: "another")
    assert proof_main.kept("kills", ask(["--resume"])) is None, "other code was proved"
