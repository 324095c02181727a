"""The other tiers in small: a store killed again and again, faults of network, disk and clock; and the proof's page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
