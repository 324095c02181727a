"""Poison policies: what later messages of a key do when one of them became a dead letter."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dovetail.control.answers import DiscardOrder, ParkedKey, RedriveOrder, UnparkOrder
from dovetail.control.desk import Control
from dovetail.control.live import Live
from dovetail.engine.memo import message_id
from dovetail.errors import Refused, Rejected

Ledger = dict[Any, list[int]]


def desk(rig: Any) -> Control:
    return Control(rig.store, rig.clock, Live(rig.engine), project="p", path="store.db")


async def begin(rig: Any, poison: str, bad: set[tuple[Any, int]]) -> Ledger:
    """A flow that puts (key, n) into a ledger, and refuses what is bad."""
    seen: Ledger = {}

    async def act(call: Any) -> None:
        key, n = call.message.value
        if (key, n) in bad:
            raise Rejected("no")
        seen.setdefault(key, []).append(n)

    rig.flow("f", rig.call("c", rig.Op(act)), key=lambda m: m.value[0], poison=poison)
    await rig.start()
    return seen


async def parked(rig: Any, behind: int) -> ParkedKey:
    """Wait until one key is parked with so many behind it."""
    control = desk(rig)
    await rig.until(lambda: [lane.behind for lane in control.parked()] == [behind])
    [lane] = control.parked()
    return lane


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_a_parked_key_waits_on_disk_through_restarts_and_nobody_else_does(rig: Any) -> None:
    bad = {("a", 2)}
    seen = await begin(rig, "park_key", bad)
    seqs = await rig.put("f", *[("a", n) for n in range(200)], *[("b", n) for n in range(20)])
    lane = await parked(rig, 197)
    assert (lane.flow, lane.key, lane.state, lane.reason) == ("f", "a", "dead", "rejected: no")
    assert lane.failed == message_id(rig.store.uid, seqs[2])
    await rig.until(lambda: rig.states("f") == {"done": 22, "dead": 1, "held": 197})
    assert rig.engine.flows["f"].status()["in_memory"] == 0, "what is parked costs no memory"
    for n, clean in enumerate((True, False), 200):
        await (rig.engine.drain() if clean else rig.crash())
        await rig.start()
        await rig.put("f", ("a", n), ("b", n))
        await parked(rig, n - 2)
    await rig.until(lambda: rig.states("f") == {"done": 24, "dead": 1, "held": 199})
    status = next(flow for flow in desk(rig).status().flows if flow.flow == "f")
    assert status.parked == 1
    bad.clear()
    await rig.redrive("f", seqs[2])
    await rig.until(lambda: rig.states("f") == {"done": 224})
    assert seen == {"a": list(range(202)), "b": [*range(20), 200, 201]}
    assert desk(rig).parked() == []
    rig.check("f")
    await rig.quiet("f")


async def test_a_redrive_that_fails_again_leaves_the_key_parked(rig: Any) -> None:
    bad = {("a", 0)}
    seen = await begin(rig, "park_key", bad)
    seqs = await rig.put("f", *[("a", n) for n in range(5)])
    await parked(rig, 4)
    await rig.redrive("f", seqs[0])
    await rig.until(lambda: rig.watch.heard["f:dead"] == 2)
    await parked(rig, 4)
    await rig.restart()
    await parked(rig, 4)
    assert seen == {}
    bad.clear()
    await desk(rig).unpark(UnparkOrder(by="ann", flow="f", key="a", failed="redrive"))
    await rig.until(lambda: rig.states("f") == {"done": 5})
    assert seen == {"a": list(range(5))}
    rig.check("f")
    await rig.quiet("f")


async def test_one_that_runs_as_new_lets_its_key_go_and_comes_last(rig: Any) -> None:
    bad = {("a", 0)}
    seen = await begin(rig, "park_key", bad)
    await rig.put("f", *[("a", n) for n in range(5)])
    lane = await parked(rig, 4)
    bad.clear()
    await desk(rig).redrive(RedriveOrder(by="ann", ids=[lane.failed], as_new=True))
    await rig.until(lambda: rig.states("f") == {"done": 5, "discarded": 1})
    assert seen == {"a": [1, 2, 3, 4, 0]} and desk(rig).parked() == []
    await rig.quiet("f")


@pytest.mark.parametrize("failed", ["discard", "leave"])
async def test_the_others_go_on_in_order_without_the_failed_one(rig: Any, failed: str) -> None:
    seen = await begin(rig, "park_key", {("a", 0), ("a", 3)})
    await rig.put("f", *[("a", n) for n in range(8)])
    for behind in (7, 4):
        await parked(rig, behind)
        await desk(rig).unpark(UnparkOrder(by="ann", flow="f", key="a", failed=failed, reason="told the customer"))
    end = "discarded" if failed == "discard" else "dead"
    await rig.until(lambda: rig.states("f") == {"done": 6, end: 2})
    assert seen == {"a": [1, 2, 4, 5, 6, 7]}
    words = Counter(event[0] for event in rig.audit())
    assert words["parked"] == 2 and words["discarded" if failed == "discard" else "unparked"] == 2
    rig.check("f")
    await rig.quiet("f")


async def test_a_blocked_key_lets_nobody_pass_an_unsettled_dead_letter(rig: Any) -> None:
    seen = await begin(rig, "block", {("a", 0)})
    seqs = await rig.put("f", *[("a", n) for n in range(3)])
    lane = await parked(rig, 2)
    assert lane.strict
    with pytest.raises(Refused, match="redrive or discard"):
        await desk(rig).unpark(UnparkOrder(by="ann", flow="f", key="a", failed="leave"))
    with pytest.raises(Refused, match="is not parked"):
        await desk(rig).unpark(UnparkOrder(by="ann", flow="f", key="b", failed="leave"))
    with pytest.raises(Refused, match="why"):
        await desk(rig).discard(DiscardOrder(by="ann", reason="", ids=[lane.failed]))
    await desk(rig).discard(DiscardOrder(by="ann", reason="a test order", ids=[lane.failed]))
    await rig.until(lambda: rig.states("f") == {"done": 2, "discarded": 1})
    assert seen == {"a": [1, 2]}
    assert rig.progress("f", seqs[0]).reason == "discarded by ann: a test order"
    with pytest.raises(Refused, match="not a dead letter"):
        await desk(rig).discard(DiscardOrder(by="ann", reason="again", ids=[lane.failed]))
    rig.check("f")
    await rig.quiet("f")


async def test_skipping_is_what_a_flow_does_that_says_nothing(rig: Any) -> None:
    seen = await begin(rig, "skip", {("a", 0)})
    await rig.put("f", *[("a", n) for n in range(5)])
    await rig.until(lambda: rig.states("f") == {"done": 4, "dead": 1})
    assert seen == {"a": [1, 2, 3, 4]} and desk(rig).parked() == []
    await rig.quiet("f")


async def test_a_parent_whose_key_is_parked_lets_it_go_when_its_parts_are_done(rig: Any) -> None:
    """The failed one is redriven and splits: its end is that of its parts."""
    bad = {0}
    ran: list[Any] = []

    def refuse(message: Any) -> None:
        if message.value in bad:
            raise Rejected("no")

    cut = rig.Cut("s", lambda m: [(m.value, None), (m.value, None)])
    rig.flow("f", rig.Apply("a", refuse), cut, rig.Apply("b", lambda m: ran.append(m.value)), key=lambda m: "k",
             poison="park_key")  # fmt: skip
    await rig.start()
    seqs = await rig.put("f", 0, 1, 2)
    await parked(rig, 2)
    bad.clear()
    await rig.redrive("f", seqs[0])
    await rig.until(lambda: rig.states("f") == {"done": 9})
    assert ran == [0, 0, 1, 1, 2, 2] and desk(rig).parked() == []
    await rig.quiet("f")


async def test_a_hot_key_costs_about_a_commit_a_message(rig: Any) -> None:
    """What waits on disk comes back many at a time; each one's claim is written with the end of the one before it."""
    import asyncio

    gate = asyncio.Event()
    seen: list[int] = []

    async def act(message: Any, context: Any) -> None:
        await gate.wait()
        seen.append(message.value)

    rig.flow("f", rig.Act("a", act), key=lambda m: "k")
    await rig.start()
    await rig.put("f", *range(1000))
    await rig.until(lambda: rig.states("f")["held"] == 935)
    status = next(flow for flow in desk(rig).status().flows if flow.flow == "f")
    assert status.hot_keys == {"k": 999}
    before = rig.watch.heard["commit"]
    gate.set()
    await rig.ended("f", 1000)
    assert seen == list(range(1000))
    assert rig.watch.heard["commit"] - before <= 1100
    rig.check("f")
    await rig.quiet("f")
