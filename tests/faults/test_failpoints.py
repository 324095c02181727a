"""A real process killed, hung or made to raise at named boundaries, restarted, drained. `make prove` runs them all."""

from __future__ import annotations

import pytest

from dovetail.engine.failpoints import NAMES
from proof import failpoints
from proof.failpoints import Case
from proof.result import problems

KEPT = [
    *(Case(name, "first", "kill") for name in NAMES),
    Case("during_recovery", "second", "kill"),
    Case("spill_before_row", "first", "kill"),
    Case("store_before_commit", "last", "kill"),
    Case("after_retry_claim", "first", "raise"),  # a message that had been claimed again was never looked at again
    Case("before_accept_commit", "second", "raise"),
    Case("after_send_before_record", "first", "hang"),
    Case("after_send_before_record", "second", "kill", "after_send_before_record"),
]


@pytest.mark.parametrize("case", KEPT, ids=str)
def test_one_invoice_per_order(case: Case) -> None:
    report = failpoints.run(case)
    assert report.breaches == []
    assert report.counters[f"{case.name}:{case.action}"] == 1, "it was hit"
    assert not case.recovery or report.counters[f"recovery:{case.recovery}"] == 1, "and its recovery too"


def test_the_matrix_leaves_no_name_out() -> None:
    cases = set(failpoints.matrix())
    assert {(case.name, case.hit, case.action) for case in cases if not case.recovery} == {
        (name, hit, action)
        for name in (*NAMES, *failpoints.SPILLING)
        for hit in ("first", "second", "last")
        for action in ("kill", "raise", "hang")
    }
    assert {case.name for case in cases if case.recovery} == {*NAMES, *failpoints.SPILLING}
    assert cases >= set(KEPT)


def test_a_boundary_that_nobody_crosses_is_a_finding() -> None:
    result = failpoints.tier([failpoints.matrix().index(KEPT[0])])
    assert result.trials == 1 and problems(result.plain()) == []
    result.expected.append("before_split_commit:kill")
    assert problems(result.plain()) == ["never reached: before_split_commit:kill"]
