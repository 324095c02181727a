"""The door: what is accepted stands on disk, what is not is said, and nothing is lost while the store is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dovetail.engine.memo import message_id
from dovetail.errors import Refused, Rejected, StoreError, Unavailable
from dovetail.sdk import Delivery, Message, Receipt


async def test_a_receipt_comes_after_the_commit_and_before_the_run(rig: Any) -> None:
    order: list[str] = []
    rig.flow("f", rig.Apply("a", lambda m: order.append("run")))
    await rig.start()
    rig.store_hook = lambda name: order.append(name) if not order or order[-1] != "run" else None
    [receipt] = await rig.deliver("f", {"n": 1})
    assert order == ["store_before_commit", "store_after_commit"]
    assert receipt.id == message_id(rig.store.uid, receipt.ref)
    assert rig.store.journal.get(receipt.ref).body == b'{"n":1}'
    await rig.ended("f", 1)
    assert order[2] == "run"


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_a_repeat_is_a_duplicate_and_another_body_a_conflict(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None), dedupe=lambda m: m.value["id"])
    await rig.start()
    first, again = await rig.deliver("f", {"id": "a", "n": 1}, {"id": "a", "n": 1})
    assert (again.duplicate, again.ref, again.id) == (True, first.ref, first.id)
    [later, conflict, nothing] = await rig.deliver("f", {"id": "a", "n": 1}, {"id": "a", "n": 2}, {"id": None})
    assert (later.duplicate, later.ref) == (True, first.ref)
    assert (conflict.error.status, conflict.error.code, conflict.parked) == (409, "conflict", False)
    assert (nothing.error.status, nothing.error.code) == (422, "no_id")
    await rig.ended("f", 1)
    assert rig.check("f") == {"done": 1}


async def test_what_the_door_refuses(rig: Any) -> None:
    def contract(message: Message) -> None:
        if "n" not in message.value:
            raise Rejected("n is missing", code="contract", detail=[{"path": "n"}])

    rig.flow("f", rig.Apply("a", lambda m: None), contract=contract, key=lambda m: m.value.get("key"))
    await rig.start()
    receipts = await rig.deliver(
        "f", {}, b"{", {"n": 1, "key": ["x"]}, {"n": 1, "key": True}, {"n": 1, "key": "k" * 513}, {"n": 1, "key": 7}
    )
    assert [receipt.error and (receipt.error.status, receipt.error.code) for receipt in receipts] == [
        (422, "contract"), (422, "unreadable"), (422, "no_id"), (422, "no_id"), (422, "no_id"), None
    ]  # fmt: skip
    assert receipts[0].error.detail == {"errors": [{"path": "n"}]}
    await rig.ended("f", 1)
    assert rig.check("f") == {"done": 1}
    assert [row.key for row, _ in rig.rows("f").values()] == ["7"]


async def test_half_characters_are_refused_and_stop_nobody(rig: Any) -> None:
    def key(message: Message) -> Any:
        if message.value["n"] == 3:
            raise RuntimeError("boom \udc80")
        return {1: "\udc80", 2: "é"}[message.value["n"]]

    rig.flow("f", rig.Apply("a", lambda m: None), key=key)
    await rig.start()
    one, two, three = await rig.deliver("f", {"n": 1}, {"n": 2}, {"n": 3}, dedupe=["a", "b", "c"])
    assert (one.error.status, two.error, three.error.status) == (422, None, 422)
    [own] = await rig.deliver("f", {"n": 2}, dedupe=["\udc80"])
    assert own.error.status == 422
    await rig.ended("f", 1)
    assert rig.engine.failure is None


async def test_refused_without_a_caller_is_a_dead_letter(rig: Any) -> None:
    def contract(message: Message) -> None:
        raise Rejected("bad \udc80", code="contract", detail={"big": 2**70, "deep": [[[[[[[[[[1]]]]]]]]]]})

    rig.flow("f", rig.Apply("a", lambda m: None), contract=contract)
    await rig.start()
    known = Refused("unreadable row", status=422, code="row")
    receipts = await rig.deliver("f", {"n": 1}, b"x", park_refused=True, refusals=[None, known])
    assert [(receipt.parked, receipt.error.code) for receipt in receipts] == [(True, "contract"), (True, "row")]
    assert rig.check("f") == {"dead": 2}
    [first, second] = sorted(rig.rows("f"))
    assert rig.progress("f", first).reason == "contract: bad ?"
    assert rig.store.journal.original(second) == b"x"
    assert rig.memo("f", first).history[0].detail["errors"]["big"] == str(2**70)
    await rig.restart()
    assert rig.check("f") == {"dead": 2}


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_a_conflict_is_parked_before_its_source_is_told(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None), dedupe=lambda m: m.value["id"])
    await rig.start()
    await rig.put("f", {"id": "a", "n": 1})
    [receipt] = await rig.deliver("f", {"id": "a", "n": 2}, park_refused=True)
    assert (receipt.parked, receipt.error.code) == (True, "conflict")
    await rig.crash()
    await rig.start()
    assert rig.states("f")["dead"] == 1
    commits: list[str] = []

    def away_for_the_second(name: str) -> None:
        commits.append(name)
        if commits.count("store_before_commit") == 2:
            raise Unavailable("no space")

    rig.store_hook = away_for_the_second
    [receipt] = await rig.deliver("f", {"id": "a", "n": 3}, park_refused=True)
    assert (receipt.parked, receipt.error.code) == (False, "unavailable"), "nothing was kept, so it must come again"
    assert rig.states("f")["dead"] == 1


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_a_store_that_is_away_keeps_nothing_and_comes_back_by_itself(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    await rig.put("f", {"n": 1})
    await rig.ended("f", 1)

    def away(name: str) -> None:
        if name == "store_before_commit":
            raise Unavailable("no space")

    rig.store_hook = away
    [receipt] = await rig.deliver("f", {"n": 2})
    assert isinstance(receipt.error, Unavailable)
    [receipt] = await rig.deliver("f", {"n": 3})
    assert "store" in receipt.error.message, "the door is shut"
    rig.store_hook = lambda name: None
    await rig.until(lambda: rig.watch.heard["store:back"])
    await rig.put("f", {"n": 4})
    await rig.ended("f", 2)
    assert rig.check("f") == {"done": 2}


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_outcomes_decided_while_the_store_is_away_are_kept(rig: Any) -> None:
    gate = asyncio.Event()

    async def wait(call: Any) -> None:
        await gate.wait()

    op = rig.Op(wait)
    rig.flow("f", rig.call("c", op), rig.publish("p", "t"), key=lambda m: m.value["k"])
    rig.flow("g", rig.Apply("a", lambda m: None), topic="t")
    await rig.start()
    await rig.put("f", *({"k": n % 5, "n": n} for n in range(50)))
    await rig.until(lambda: len(op.calls) == 5)

    def away(name: str) -> None:
        if name == "store_before_commit":
            raise Unavailable("no space")

    rig.store_hook = away
    gate.set()
    await rig.until(lambda: rig.watch.heard["store:away"])
    await asyncio.sleep(5.0)
    assert len(op.calls) == 5, "no message of a key begins before its predecessor's outcome is on disk"
    rig.store_hook = lambda name: None
    await rig.ended("f", 50)
    await rig.ended("g", 50)
    assert len(op.calls) == 50
    assert rig.check("f") == rig.check("g") == {"done": 50}
    await rig.quiet("f")


async def test_a_store_that_fails_for_good_leaves_nobody_waiting(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()

    def broken(name: str) -> None:
        raise StoreError("the disk is gone")

    rig.store_hook = broken
    first, second = rig.deliver("f", {"n": 1}), rig.deliver("f", {"n": 2})
    assert isinstance((await first)[0].error, Unavailable)
    assert isinstance((await second)[0].error, Unavailable)
    await rig.engine.ended.wait()
    assert isinstance(rig.engine.failure, StoreError)
    assert isinstance((await rig.deliver("f", {"n": 3}))[0].error, Unavailable)
    rig.store_hook = lambda name: None
    await rig.engine.drain(5.0)


async def test_a_source_that_fails_in_its_settle_stops_nobody(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()

    def settle(receipts: list[Receipt]) -> None:
        raise RuntimeError("boom")

    rig.engine.flows["f"].definition.source.deliver(Delivery([Message(b"1")], settle))
    await rig.put("f", {"n": 2})
    await rig.ended("f", 2)
    assert [event for event, _ in rig.log.events] == ["settle_failed"]


async def test_a_door_that_is_full_says_so(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    first = rig.deliver("f", *range(20_001))
    [receipt] = await rig.deliver("f", {"n": 1})
    assert isinstance(receipt.error, Unavailable)
    await first
    await rig.engine.flows["f"].definition.source.deliver.room()
    await rig.put("f", {"n": 2})
    await rig.ended("f", 20_002)
    assert rig.check("f") == {"done": 20_002}


async def test_a_door_that_is_heavy_says_so(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail.engine.intake.Door.most_waiting_bytes", 100_000)
    monkeypatch.setattr("dovetail.engine.writer.Writer.most_bytes", 50_000)
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    told = [rig.deliver("f", "x" * 30_000) for _ in range(5)]
    errors = [(await one)[0].error for one in told]
    assert [error is None for error in errors] == [True] * 4 + [False]
    await rig.flows["f"].source.deliver.room()
    await rig.put("f", "x" * 30_000)
    await rig.ended("f", 5)
    assert (rig.engine.writer.waiting, rig.engine.writer.waiting_bytes) == (0, 0)


async def test_a_source_that_fails_is_started_again(rig: Any) -> None:
    runs: list[int] = []
    source = None

    class Flaky(type(_inlet(rig))):  # type: ignore[misc]
        async def run(self, deliver: Any) -> None:
            runs.append(len(runs))
            if len(runs) < 3:
                raise OSError("the folder is gone")
            await super().run(deliver)

    source = Flaky()
    rig.flow("f", rig.Apply("a", lambda m: None), source=source)
    await rig.start()
    await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert len(runs) == 3
    assert not rig.engine.ended.is_set()


def _inlet(rig: Any) -> Any:
    rig.flow("x", rig.Apply("a", lambda m: None))
    return rig.flows.pop("x").source
