"""A source's positions: known again after any crash, in constant space; nothing is passed that was not kept."""

from __future__ import annotations

from typing import Any

import pytest

from dovetail.engine.journey import effect_key, origin_of
from dovetail.engine.opening import Opening
from dovetail.errors import Rejected, Unavailable
from dovetail.sdk import Message, Position, Refused, hand_over

pytestmark = pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)


def places(*numbers: int, partition: str = "p") -> list[Position]:
    return [Position(partition, number) for number in numbers]


def values(*numbers: int) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


async def test_what_comes_again_is_not_run_again(rig: Any) -> None:
    op = rig.Op()
    rig.flow("f", rig.call("c", op))
    await rig.start()
    receipts = await rig.deliver("f", *values(1, 2), positions=places(1, 2))
    assert [(receipt.duplicate, bool(receipt.id)) for receipt in receipts] == [(False, True)] * 2
    await rig.restart()
    receipts = await rig.deliver("f", *values(1, 2, 3), positions=places(1, 2, 3))
    assert [(receipt.duplicate, bool(receipt.id)) for receipt in receipts] == [(True, False)] * 2 + [(False, True)]
    await rig.until(lambda: rig.states("f")["done"] == 3)
    assert sorted({call.message.value["n"] for call in op.calls}) == [1, 2, 3]
    assert rig.check("f") == {"done": 3}
    stream = rig.engine.flows["f"].stream
    assert rig.store.register.position(stream, "p") == 3 and rig.store.register.positions(stream, 9)[0] == 1


async def test_effects_are_named_by_the_position_on_any_store(rig: Any) -> None:
    op = rig.Op()
    rig.flow("f", rig.call("c", op))
    await rig.start()
    await rig.put("f", *values(1), positions=places(7))
    await rig.ended("f", 1)
    assert [call.key for call in op.calls] == [effect_key("f", origin_of("f", "p:7"), "c", "")]


async def test_a_delivery_that_was_not_kept_is_not_passed(rig: Any) -> None:
    """The store takes nothing of the first delivery; a second one that came meanwhile would have raised the mark."""
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    fails = [Unavailable("no space")]

    def away(name: str) -> None:
        if name == "store_before_commit" and fails:
            raise fails.pop()

    rig.store_hook = away
    first = rig.deliver("f", *values(1), positions=places(1))
    second = rig.deliver("f", *values(2), positions=places(2))
    other = rig.deliver("f", *values(9), positions=places(1, partition="other"))
    assert isinstance((await second)[0].error, Unavailable), "one delivery of a partition at a time"
    assert isinstance((await first)[0].error, Unavailable) and isinstance((await other)[0].error, Unavailable)
    await rig.until(lambda: rig.engine.closed() is None)
    await rig.put("f", *values(1), positions=places(1))
    await rig.put("f", *values(2), positions=places(2))
    await rig.ended("f", 2)
    assert rig.check("f") == {"done": 2}


async def test_a_patient_source_loses_nothing_while_the_store_comes_and_goes(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    count = [0]

    def away(name: str) -> None:
        if name == "store_before_commit":
            count[0] += 1
            if count[0] in (2, 3, 6, 9, 10, 13):
                raise Unavailable("no space")

    rig.store_hook = away
    deliver = rig.engine.flows["f"].definition.source.deliver
    for start in range(0, 40, 8):
        numbers = range(start, start + 8)
        batch = [rig_message(rig, n) for n in numbers]
        receipts = await hand_over(deliver, batch, positions=places(*numbers))
        assert not any(receipt.error or receipt.duplicate for receipt in receipts)
    rig.store_hook = lambda name: None
    await rig.ended("f", 40)
    assert rig.check("f") == {"done": 40}


def rig_message(rig: Any, number: int) -> Any:
    return Message(rig.json.encode({"n": number}), codec=rig.json)


async def test_a_bad_row_is_parked_once(rig: Any) -> None:
    def contract(message: Any) -> None:
        if message.value["n"] == 2:
            raise Rejected("not two", code="contract")

    rig.flow("f", rig.Apply("a", lambda m: None), contract=contract)
    await rig.start()
    known = Refused("unreadable", status=422, code="row")
    for _ in range(2):
        receipts = await rig.deliver(
            "f",
            *values(1, 2, 3, 4),
            positions=places(1, 2, 3, 4),
            park_refused=True,
            refusals=[None, None, known, None],
        )
        assert [receipt.parked for receipt in receipts] == [False, True, True, False]
        await rig.restart()
    await rig.until(lambda: rig.states("f")["done"] == 2)
    assert rig.check("f") == {"done": 2, "dead": 2}


async def test_a_conflict_is_not_passed_before_it_is_parked(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None), dedupe=lambda m: m.value["id"])
    await rig.start()
    await rig.put("f", {"id": "a", "n": 1})
    commits: list[str] = []

    def away_for_the_parking(name: str) -> None:
        commits.append(name)
        if commits.count("store_before_commit") == 2:
            raise Unavailable("no space")

    rig.store_hook = away_for_the_parking
    rows = [{"id": "b", "n": 1}, {"id": "a", "n": 2}, {"id": "c", "n": 1}]
    receipts = await rig.deliver("f", *rows, positions=places(1, 2, 3), park_refused=True)
    assert [type(receipt.error).__name__ for receipt in receipts] == ["NoneType", "Unavailable", "NoneType"]
    await rig.until(lambda: rig.engine.closed() is None)
    [receipt] = await rig.deliver("f", rows[1], positions=places(2), park_refused=True)
    assert (receipt.parked, receipt.error.code) == (True, "conflict")
    await rig.ended("f", 3)
    assert rig.check("f") == {"done": 3, "dead": 1}


@pytest.mark.parametrize("bad", [Position("", 1), Position("p", -1), Position("p", 1 << 63), Position("\udc80", 1)])
async def test_a_position_that_cannot_be_written_down_is_refused(rig: Any, bad: Position) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    [receipt] = await rig.deliver("f", *values(1), positions=[bad])
    assert receipt.error.code in ("no_position", "no_id")
    [receipt] = await rig.deliver("f", *values(1), positions=[bad], park_refused=True)
    assert receipt.parked
    known = Refused("unreadable", status=422, code="row")
    [receipt] = await rig.deliver("f", *values(1), positions=[bad], park_refused=True, refusals=[known])
    assert receipt.parked and rig.check("f") == {"dead": 2}


async def test_a_source_can_ask_how_far_it_has_come(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    context = Opening(rig.engine, "f")
    assert context.position("p") is None
    await rig.put("f", *values(1, 2), positions=places(4, 2))
    assert context.position("p") == 4
    assert Opening(rig.engine, "nobody").position("p") is None
