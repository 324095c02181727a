"""Start, stop, drain, crash: what was in flight is found again, and only what kills takes a mark."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dovetail.engine.flow import FlowRun
from dovetail.errors import Retry, Unavailable
from dovetail.sdk import Connection, Message, Repeat
from dovetail.store.base import State


class Link(Connection):
    def __init__(self) -> None:
        super().__init__("erp", None, {})
        self.calls: list[str] = []

    async def open(self, context: Any) -> None:
        self.calls.append("open")

    async def close(self) -> None:
        self.calls.append("close")


async def test_start_and_stop_are_a_contract(rig: Any) -> None:
    link = rig.connections["erp"] = Link()
    step = rig.Whole("w", lambda batch, context: None)
    rig.flow("f", step)
    engine = await rig.start()
    await engine.start()
    source = rig.flows["f"].source
    await rig.put("f", 1)
    await rig.ended("f", 1)
    assert link.calls == ["open"] and source.calls == ["open", "run"] and step.calls == ["open", "run"]
    await engine.drain()
    assert link.calls[1] == source.calls[2] == step.calls[2] == "close"
    await engine.stop()
    await engine.drain()
    again = await rig.start()
    assert rig.store.clean
    await again.stop()
    await again.stop()


async def test_stop_before_start(rig: Any) -> None:
    rig.connections["erp"] = Link()
    rig.flow("f", rig.Apply("a", lambda m: None))
    engine = await rig.start(wait=False)
    await engine.stop()
    await engine.drain()
    engine = await rig.start(wait=False)
    await engine.drain()
    await rig.start()
    await rig.put("f", 1)
    await rig.ended("f", 1)


async def test_an_engine_without_flows(rig: Any) -> None:
    engine = await rig.start()
    await engine.start()
    await engine.drain()
    await rig.start()
    assert rig.store.clean


async def test_steps_are_open_before_the_first_message_of_a_recovery(rig: Any) -> None:
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        await hang.wait()

    step = rig.Whole("w", lambda batch, context: None)
    rig.flow("f", step, rig.call("c", rig.Op(act)))
    await rig.start()
    await rig.put("f", 1)
    await rig.until(lambda: rig.engine.flows["f"].running)
    await rig.crash()
    hang.set()
    step.calls.clear()
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 1})
    assert step.calls == ["open", "run"]


async def test_a_drain_waits_for_what_runs(rig: Any) -> None:
    async def act(call: Any) -> None:
        await asyncio.sleep(5.0)

    first, second = rig.Op(act, repeat=Repeat.NONE), rig.Op(act, repeat=Repeat.NONE)
    rig.flow("f", rig.call("a", first), rig.call("b", second))
    await rig.start()
    seqs = await rig.put("f", *range(20))
    await rig.until(lambda: first.calls)
    told = rig.deliver("f", 99)
    await rig.engine.drain(60.0)
    assert (await told)[0].error is None
    assert len(first.calls) >= 20 and len(second.calls) == len(first.calls)
    await rig.start()
    assert rig.store.clean
    await rig.until(lambda: rig.states("f") == {"done": 21})
    assert all(rig.memo("f", seq).crashes == 0 for seq in seqs)
    rig.check("f")


async def test_a_drain_does_not_wait_for_ever(rig: Any) -> None:
    async def act(call: Any) -> None:
        await asyncio.Event().wait()

    rig.flow("f", rig.call("a", rig.Op(act, repeat=Repeat.NONE), timeout=1e6))
    await rig.start()
    [seq] = await rig.put("f", 1)
    await rig.until(lambda: rig.engine.flows["f"].running)
    await rig.flushed()
    began = rig.clock.monotonic()
    await rig.engine.drain(10.0)
    assert 10.0 <= rig.clock.monotonic() - began < 11.0
    await rig.start()
    await rig.until(lambda: rig.state("f", seq) is State.DEAD)
    assert rig.memo("f", seq).crashes == 1, "it was abandoned, as by a crash"
    assert rig.progress("f", seq).reason.startswith("in_doubt")


async def test_messages_at_a_closing_door_are_told(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    door = rig.flows["f"].source.deliver
    await rig.engine.drain()
    rig.flows["f"].source.deliver = door
    [receipt] = await rig.deliver("f", 1)
    assert receipt.error.code == "unavailable"


async def test_only_what_kills_takes_the_mark(rig: Any) -> None:
    """The third of five messages in flight kills the process whenever it runs, three times over."""
    killed = asyncio.Event()
    ran: list[int] = []

    async def act(message: Message, context: Any) -> None:
        ran.append(message.value)
        if message.value == 3:
            killed.set()
            await asyncio.Event().wait()
        if not recovered:
            await asyncio.Event().wait()

    recovered = False
    rig.flow("f", rig.Act("a", act))
    await rig.start()
    seqs = await rig.put("f", 1, 2, 3, 4, 5)
    await rig.until(lambda: len(ran) == 5)
    recovered = True
    for _ in range(2):
        await rig.crash()
        killed.clear()
        ran.clear()
        await rig.open_and_crash_when(killed)
        assert ran[-1] == 3 and not {4, 5} & set(ran), "it runs alone"
    ran.clear()
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 4, "dead": 1})
    assert ran == [4, 5]
    assert rig.progress("f", seqs[2]).reason.startswith("poison: the process died 3 times")
    assert [rig.memo("f", seq).crashes for seq in seqs] == [0, 0, 3, 0, 0], "who survives is cleared"
    rig.check("f")
    await rig.quiet("f")


async def test_a_start_that_fails_forgets_nothing(rig: Any) -> None:
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        await hang.wait()

    rig.flow("f", rig.call("c", rig.Op(act)))
    await rig.start()
    [seq] = await rig.put("f", 1)
    await rig.until(lambda: rig.engine.flows["f"].running)
    await rig.crash()
    hang.set()
    engine = await rig.start(wait=False)
    await engine.drain()
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 1})
    assert rig.memo("f", seq).crashes == 0


async def test_a_clean_end_leaves_no_marks(rig: Any) -> None:
    rig.flow("f", rig.call("c", rig.Op(_retry_once())))
    await rig.start()
    seqs = await rig.put("f", *range(5))
    await rig.until(lambda: rig.states("f")["waiting"])
    await rig.engine.drain()
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 5})
    assert [rig.memo("f", seq).crashes for seq in seqs if rig.progress("f", seq).memo] in ([0], [0] * 5)


def _retry_once() -> Any:
    seen: set[int] = set()

    async def act(call: Any) -> None:
        if call.message.ref not in seen and call.message.value == 0:
            seen.add(call.message.ref)
            raise Retry("busy", after=30.0)

    return act


async def test_an_end_while_the_store_is_asked_once_more_is_no_clean_one(rig: Any, monkeypatch: Any) -> None:
    rig.flow("f", rig.call("c", rig.Op()))
    await rig.start()
    asked, answer = asyncio.Event(), asyncio.Event()

    async def full(work: Any) -> None:
        if rig.watch.heard["store:away"]:
            asked.set()
            await answer.wait()
        raise Unavailable("the disk is full")

    monkeypatch.setattr(rig.engine.store, "commit", full)
    rig.engine.writer.note(("something", 1))
    await asked.wait()
    await rig.engine.drain()
    await rig.start()
    assert not rig.engine.store.clean, "what was being written is lost"


async def test_what_waits_for_its_turn_takes_no_mark(rig: Any) -> None:
    """One key: the head was in flight, the others were behind it in memory."""
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        await hang.wait()
        if call.message.value == 0:
            await asyncio.sleep(20.0)

    rig.flow("f", rig.call("c", rig.Op(act)), key=lambda m: "k")
    await rig.start()
    seqs = await rig.put("f", *range(10))
    await rig.until(lambda: rig.engine.flows["f"].running)
    await rig.flushed()
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 10})
    marks = [rig.memo("f", seq).crashes for seq in seqs]
    assert marks == [0] * 10
    rig.check("f")
    await rig.quiet("f")


async def test_what_kills_now_and_then_is_no_neighbour_either(rig: Any) -> None:
    """A message whose first step fails now and then, and whose second one kills: surviving the first says nothing."""
    there, runs = asyncio.Event(), 0

    async def act(call: Any) -> None:
        nonlocal runs
        runs += 1
        if runs % 3 == 0:
            raise Retry("not now", after=0.01)
        there.set()
        await asyncio.Event().wait()

    rig.flow("f", rig.call("c", rig.Op(act)))
    await rig.start()
    [seq] = await rig.put("f", 1)
    lives = 0
    while True:
        await rig.until(lambda: there.is_set() or rig.state("f", seq) is State.DEAD)
        if rig.state("f", seq) is State.DEAD:
            break
        there.clear()
        lives += 1
        await rig.flushed()
        await rig.crash()
        await rig.start()
    assert lives == 6 and runs == 8
    assert rig.progress("f", seq).reason == "poison: the process died 6 times while this message was in flight"


async def test_a_suspect_that_hangs_does_not_hold_the_start_for_long(rig: Any) -> None:
    async def act(call: Any) -> None:
        await asyncio.sleep(25.0)

    rig.flow("f", rig.call("c", rig.Op(act)))
    await rig.start()
    await rig.put("f", *range(3))
    await rig.until(lambda: rig.engine.flows["f"].running)
    began = rig.clock.monotonic()
    await rig.restart()
    assert 5.0 <= rig.clock.monotonic() - began <= 20.0
    await rig.put("f", 4)
    await rig.until(lambda: rig.states("f") == {"done": 4})


async def test_what_could_not_even_begin_takes_no_mark(rig: Any) -> None:
    """The first message hangs and has the only place; the process dies again and again before another one begins."""
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        await hang.wait()

    rig.flow("f", rig.call("c", rig.Op(act)), concurrency=1)
    await rig.start()
    first, *others = await rig.put("f", *range(5))
    await rig.until(lambda: rig.engine.flows["f"].running)
    for _ in range(3):
        await rig.flushed()
        await rig.crash()
        await rig.start()
    assert rig.progress("f", first).reason.startswith("poison: the process died 3 times")
    hang.set()
    await rig.until(lambda: rig.states("f") == {"done": 4, "dead": 1})
    assert {rig.state("f", seq) for seq in others} == {State.DONE}
    rig.check("f")
    await rig.quiet("f")


async def test_crash_after_crash_brings_no_more_into_memory_than_a_window(rig: Any, monkeypatch: Any) -> None:
    """Messages that a start could not even begin, because the first one hangs, are in flight again at the next one."""
    monkeypatch.setattr(FlowRun, "window", 4)
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        await hang.wait()

    rig.flow("f", rig.call("c", rig.Op(act)), concurrency=1)
    await rig.start()
    seqs = await rig.put("f", *range(20))
    for life in range(2):
        await rig.flushed()
        await rig.crash()
        await rig.start()
        assert set(rig.engine.flows["f"].active) == set(seqs[:4]), life
    hang.set()
    await rig.until(lambda: rig.states("f") == {"done": 20})
    rig.check("f")
    await rig.quiet("f")


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_nothing_accepted_is_lost_by_a_crash_at_any_commit(rig: Any) -> None:
    """The store stops at the nth commit of a busy life; after the restart all that was told accepted is there."""
    rig.flow("p", rig.call("c", rig.Op(_sleepy())), rig.publish("p", "t"), key=lambda m: str(m.value % 3))
    rig.flow("g", rig.Cut("s", lambda m: [(1, None), (2, "k")]), rig.call("d", rig.Op(target="d")), topic="t")
    accepted: set[int] = set()
    for stop in range(2, 26, 1):
        await rig.start()
        commits = 0

        def hook(name: str, stop: int = stop) -> None:
            nonlocal commits
            commits += 1
            if commits >= stop:
                raise OSError("the process is gone")

        rig.store_hook = hook
        told = [rig.deliver("p", n, n + 1) for n in range(0, 10, 2)]
        await rig.until(lambda: rig.engine.failure is not None, 5000.0)
        for receipts in told:
            accepted |= {receipt.ref for receipt in await receipts if receipt.error is None}
        await rig.crash()
        rig.store_hook = lambda name: None
    await rig.start()
    await rig.until(lambda: set(rig.states("p")) == {"done"} and set(rig.states("g")) == {"done"})
    assert accepted <= set(rig.rows("p"))
    whole = rig.states("p")["done"]
    assert rig.states("g") == {"done": whole * 3}, "each published once, each split once"
    rig.check("p")
    rig.check("g")
    await rig.quiet("p")
    await rig.quiet("g")


def _sleepy() -> Any:
    async def act(call: Any) -> None:
        await asyncio.sleep(0.01)

    return act


async def test_a_store_that_fails_while_a_start_recovers_ends_the_start(rig: Any) -> None:
    """Nobody would ever tell those who wait for its commits: the start must end, and say why."""
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        await hang.wait()

    rig.flow("f", rig.call("c", rig.Op(act)))
    await rig.start()
    await rig.put("f", 1)
    await rig.until(lambda: rig.engine.flows["f"].running)
    await rig.crash()
    hang.set()

    def broken(name: str) -> None:
        raise OSError("the disk is gone")

    rig.store_hook = broken
    engine = await rig.start(wait=False)
    with pytest.raises(Exception, match="the disk is gone"):
        await asyncio.wait_for(engine.start(), 100.0)
    await engine.drain()
    rig.store_hook = lambda name: None
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 1})
