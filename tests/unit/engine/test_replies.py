"""Callers who wait for the flow's answer get one, once, and leave nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

from dovetail.errors import Rejected, Retry, Unavailable
from dovetail.sdk import Dropping, Message
from dovetail.store.base import State


def replying(rig: Any) -> Any:
    def run(batch: Any, context: Any) -> None:
        for message in batch:
            context.reply(message.with_value({"got": message.value}), 201)

    return rig.Whole("r", run)


async def test_the_answer_comes_when_the_outcome_is_on_disk(rig: Any) -> None:
    rig.flow("f", replying(rig), rig.call("c", rig.Op()))
    await rig.start()
    [receipt] = await rig.deliver("f", {"n": 1}, wait_for_reply=True)
    assert rig.state("f", receipt.ref) is State.DONE
    assert (receipt.reply.value, receipt.status, receipt.error) == ({"got": {"n": 1}}, 201, None)
    await rig.quiet("f")


async def test_no_answer_is_an_empty_receipt_and_a_dead_letter_an_error(rig: Any) -> None:
    def step(message: Message) -> None:
        if message.value == "dead":
            raise Rejected("no", code="bad")
        if message.value == "dropped":
            raise Dropping("rule")

    rig.flow("f", rig.Apply("a", step))
    await rig.start()
    done, dead, dropped = [
        (await rig.deliver("f", value, wait_for_reply=True))[0] for value in ("done", "dead", "dropped")
    ]
    assert (done.reply, done.error, dropped.reply, dropped.error) == (None, None, None, None)
    assert (dead.error.status, dead.error.code, dead.error.message) == (422, "dead_letter", "bad: no")
    assert dead.ref
    await rig.quiet("f")


async def test_a_batch_is_settled_once(rig: Any) -> None:
    rig.flow("f", replying(rig), dedupe=lambda m: m.value)
    await rig.start()
    receipts = await rig.deliver("f", "a", "b", "a", [], wait_for_reply=True)
    assert [bool(receipt.reply) for receipt in receipts] == [True, True, False, False]
    assert (receipts[2].duplicate, receipts[3].error.code) == (True, "no_id")
    [again] = await rig.deliver("f", "a", wait_for_reply=True)
    assert again.duplicate
    await rig.quiet("f")


async def test_the_answer_survives_a_retry_in_this_life(rig: Any) -> None:
    failed: list[int] = []

    async def act(call: Any) -> None:
        if not failed:
            failed.append(1)
            raise Retry("busy")

    rig.flow("f", rig.call("c", rig.Op(act)), replying(rig))
    await rig.start()
    [receipt] = await rig.deliver("f", {"n": 1}, wait_for_reply=True)
    assert receipt.reply.value == {"got": {"n": 1}}
    await rig.quiet("f")


async def test_an_answer_before_a_split(rig: Any) -> None:
    gate = asyncio.Event()

    async def act(call: Any) -> None:
        await gate.wait()

    rig.flow("f", replying(rig), rig.Cut("s", lambda m: [(1, None)]), rig.call("c", rig.Op(act)))
    await rig.start()
    [receipt] = await rig.deliver("f", {"n": 1}, wait_for_reply=True)
    assert receipt.reply.value == {"got": {"n": 1}}
    gate.set()
    await rig.ended("f", 2)
    await rig.quiet("f")


async def test_without_an_answer_the_whole_is_waited_for(rig: Any) -> None:
    rig.flow("f", rig.Cut("s", lambda m: [(1, None)]), rig.call("c", rig.Op()))
    await rig.start()
    [receipt] = await rig.deliver("f", {"n": 1}, wait_for_reply=True)
    assert rig.state("f", receipt.ref) is State.DONE and receipt.reply is None
    await rig.quiet("f")


async def test_a_drain_tells_those_who_wait_that_their_message_stands(rig: Any) -> None:
    rig.flow("f", rig.call("c", rig.Op(_busy)))
    await rig.start()
    told = rig.deliver("f", 1, wait_for_reply=True)
    await rig.until(lambda: rig.states("f")["waiting"] == 1)
    await rig.engine.drain()
    [receipt] = await told
    assert receipt.ref and receipt.reply is None and receipt.error is None
    assert not rig.engine._waiters


async def _busy(call: Any) -> None:
    raise Retry("busy", after=600.0)


async def test_more_callers_than_can_wait(rig: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("dovetail.engine.engine.Engine.most_waiters", 3)
    rig.flow("f", rig.call("c", rig.Op(_busy)), max_attempts=2)
    await rig.start()
    told = [rig.deliver("f", n, wait_for_reply=True) for n in range(5)]
    await rig.until(lambda: told[1].done())
    assert [one.done() for one in told] == [True, True, False, False, False]
    [receipt] = told[0].result()
    assert receipt.ref and receipt.error is None and receipt.reply is None
    await rig.ended("f", 5)
    assert all(one.done() for one in told)
    await rig.quiet("f")


async def test_who_waits_while_the_store_goes_away(rig: Any) -> None:
    rig.flow("f", replying(rig))
    await rig.start()

    def away(name: str) -> None:
        if name == "store_before_commit":
            raise Unavailable("no space")

    rig.store_hook = away
    [receipt] = await rig.deliver("f", 1, wait_for_reply=True)
    assert isinstance(receipt.error, Unavailable)
    assert not rig.engine._waiters
    rig.store_hook = lambda name: None
