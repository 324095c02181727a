"""The history checker: a good history passes, each breach is named, and events survive their way through a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.cells import CELLS, FAULTS, INVARIANTS, Finding, TierResult, bound, run_cells
from dovetail.testkit.checker import check
from dovetail.testkit.history import (
    KINDS,
    Answer,
    Audited,
    Call,
    Count,
    Crash,
    Drained,
    Effect,
    Event,
    Fault,
    Memory,
    Recorder,
    Redrive,
    Restored,
    Seen,
    Send,
    digest,
    from_line,
    read,
    to_line,
)

HASH = digest(b"invoice")


def life(id: str, place: int, *, state: str = "done", flow: str = "orders", **send: Any) -> list[Event]:
    """One message from its client to its target and the desk's last word on it."""
    ref, key = f"store-{place:x}", f"key-{id}"
    wants = send.pop("wants", [("erp", "", [HASH])])
    return [
        Send("invoke", id, flow, wants=wants, **send),
        Send("ok", id, flow, ref=ref),
        Call("erp", id, key, flow=flow, lane="k"),
        Effect("erp", id, key, HASH),
        Answer("erp", key, "done"),
        Seen(flow, ref, state, id, place=place),
        Audited(flow, ref, "accepted"),
        Audited(flow, ref, state),
    ]


def told(*events: Event, whole: bool = True, n: int = 2) -> list[Event]:
    return [*events, Count("orders", n, 0, n, 0, 0), Memory("messages", 3, 4), Drained(whole)]


GOOD = [Fault("kill"), *life("a", 1), *life("b", 2)]


def breaches(*events: Event, **more: Any) -> list[tuple[str, str]]:
    return check(told(*events, **more)).breaches


def test_a_good_history_passes_and_says_which_cells_it_ran() -> None:
    redriven = [Redrive("invoke", "orders", "store-9"), Redrive("ok", "orders", "store-9")]
    report = check(told(*GOOD, *redriven, Audited("orders", "store-9", "redriven")))
    assert report.breaches == []
    assert report.cells() == [("kill", invariant) for invariant in INVARIANTS]


def test_without_an_end_the_cells_that_need_one_are_not_claimed() -> None:
    report = check(GOOD)
    assert report.breaches == [] and report.cells() == []


def gone(kind: type[Event], n: int = 0) -> list[Event]:
    """The good history without its n-th event of a kind."""
    events = list(GOOD)
    events.remove([event for event in events if isinstance(event, kind)][n])
    return events


LATE = [
    *life("a", 1)[:2], *life("b", 2), Call("erp", "a", "key-a", flow="orders", lane="k"), *life("a", 1)[3:],
]  # fmt: skip
HELD: list[Event] = [
    Call("x", "a", "q", flow="orders", lane="h", parks=True), Answer("x", "q", "rejected"),
    Call("x", "b", "r", flow="orders", lane="h", parks=True), *GOOD,
]  # fmt: skip
BAD: dict[str, tuple[str, list[Event]]] = {
    "was accepted as store-1, and nobody knows it": ("accounted", gone(Seen)),
    "a is done, and erp never did its effect": ("accounted", gone(Effect)),
    "b is still waiting": ("accounted", [*life("a", 1), *life("b", 2, state="waiting")]),
    "the desk counts 2 done, there are 3": ("accounted", [*GOOD, *life("c", 3)]),
    "erp did the effect of a 2 times": ("once", [*GOOD, Effect("erp", "a", "key-a", HASH)]),
    "was called again for a , though it had said done": ("once", [*GOOD, Call("erp", "a", "key-a")]),
    "was called again for a , though it had said rejected": (
        "once", [Call("x", "a", "q"), Answer("x", "q", "rejected"), Call("x", "a", "q"), *GOOD],
    ),
    "was called for a  under two keys": ("once", [Call("erp", "a", "other"), *GOOD]),
    "a  became 2 messages": ("once", [*GOOD, Seen("orders", "store-9", "done", "a")]),
    "was called for a  after b of its key began": ("order", LATE),
    "was called for b, though a was refused before": ("order", HELD),
    "of 'x', which nobody sent": ("faithful", [*GOOD, Effect("erp", "x", "key", HASH)]),
    "got the effect of b altered": ("faithful", [*GOOD[:-5], Effect("erp", "b", "key-b", digest(b"x")), *GOOD[-4:]]),
    "of a, which was not to be done": ("faithful", [*GOOD, Effect("crm", "a", "key", HASH)]),
    "of c, which was refused": (
        "faithful", [*GOOD, Send("invoke", "c", wants=[("erp", "", [HASH])]), Send("fail", "c"),
                     Effect("erp", "c", "k", HASH)],
    ),
    "could not be taken up": ("redrivable", [*GOOD, Redrive("fail", "orders", "store-1", text="gone")]),
    "is dead again, though all was mended": (
        "redrivable", [Redrive("invoke", "orders", "store-2", last=True), *life("a", 1), *life("b", 2, state="dead")],
    ),
    "the audit has no acceptance of a": ("audited", gone(Audited)),
    "the audit's last word is nothing": ("audited", gone(Audited, 1)),
    "was redriven 1 times, the audit tells less": ("audited", [*GOOD, Redrive("ok", "orders", "store-1")]),
    "messages: 9, and at most 4 is allowed": ("bounded", [*GOOD, Memory("messages", 9, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_each_breach_is_named(text: str) -> None:
    invariant, events = BAD[text]
    assert any(found == invariant and text in what for found, what in breaches(*events)), breaches(*events)


def test_a_crash_excuses_what_was_heard_and_a_redrive_what_was_refused() -> None:
    again = Call("erp", "a", "key-a")
    assert breaches(*GOOD, Crash(), again) == []
    refused = [Call("x", "a", "q"), Answer("x", "q", "rejected"), Redrive("invoke", "orders", "store-1")]
    assert breaches(*refused, Call("x", "a", "q"), *GOOD) == []
    twice = [*refused, Call("x", "a", "q"), Answer("x", "q", "rejected"), Call("x", "a", "q")]
    assert breaches(*twice, *GOOD) == [], "the order may have been carried out twice, or late"
    told = [*refused, Redrive("ok", "orders", "store-1"), *twice[3:]]
    assert breaches(*told, *GOOD)[0][0] == "once", "nobody has taken it up again"


def test_a_lane_goes_on_when_what_held_it_was_taken_up_again() -> None:
    first, refused, later, *good = HELD
    assert breaches(first, refused, Redrive("invoke", "orders", "store-1"), later, *good) == []
    assert breaches(first, refused, first, later, *good)[0][0] == "once", "it was asked again by itself"
    assert breaches(first, refused, Crash(), first, later, *good) == []


def test_a_restored_store_begins_its_lanes_again() -> None:
    assert ("order" in dict(breaches(*LATE))) and "order" not in dict(breaches(*LATE[:10], Restored(), *LATE[10:]))


def test_what_waits_while_something_stands_in_its_way_is_no_breach() -> None:
    waiting = [*life("a", 1)[:2], *life("a", 1, state="waiting")[-3:]]
    assert breaches(*waiting, whole=False, n=0)[0] == ("accounted", "orders: the desk counts 0 pending, there are 1")
    assert check([*waiting, Drained(whole=False)]).breaches == []


def test_events_survive_their_way_through_files(tmp_path: Path) -> None:
    events = told(*GOOD, Crash(), Restored(), Redrive("invoke", "orders", "r", last=True), Count("f", 0, 0, 0, 0, 0))
    assert {event.kind for event in events} == set(KINDS)
    for n, event in enumerate(events):
        event.at = float(n)
    one, two = Recorder(tmp_path / "one"), Recorder(tmp_path / "two")
    for n, event in enumerate(events):
        (one if n % 2 else two).add(event)
    one.close()
    two.close()
    with (tmp_path / "two").open("ab") as file:
        file.write(b'{"kind": "cra')  # it was killed while it wrote
    assert [to_line(event) for event in read([tmp_path / "one", tmp_path / "two"])] == [to_line(e) for e in events]
    with pytest.raises(ValueError, match="not an event"):
        from_line(b'{"kind": "nonsense"}')


def test_a_tier_writes_the_cells_it_ran(tmp_path: Path) -> None:
    assert len(FAULTS) == 17 and len(INVARIANTS) == 7 and len(CELLS) == 119
    finding = Finding("seed 7", "once", "twice")
    result = TierResult("demo", 3, 1.5, [finding], {"kills": 3}, {("kill", "once"): 2, ("deploy", "order"): 0})
    text = result.write(tmp_path).read_text()
    assert '"text": "twice"' in text and str(finding) == "[once] seed 7: twice"
    assert run_cells([result.plain(), {"cells": [["kill", "once"]]}]) == {("kill", "once"): 3}
    assert bound(300) == 0.01 and bound(0) == 1.0
    with pytest.raises(ValueError, match="unknown cells"):
        TierResult("demo", 1, 0.0, [], {}, {("kill", "nonsense"): 1}).write(tmp_path)
