"""One key's messages go one after the other, whatever happens to the first; other keys go on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from dovetail.errors import Rejected, Retry
from dovetail.sdk import Repeat
from dovetail.store.base import State


class Ledger:
    """What a target saw: (key, n) in order; each call ends by itself, or fails as it is told."""

    def __init__(self, rig: Any) -> None:
        self.rig = rig
        self.seen: dict[Any, list[int]] = defaultdict(list)
        self.under_way: set[Any] = set()
        self.fail: dict[Any, Exception] = {}
        self.gates: dict[Any, asyncio.Event] = {}
        self.op = rig.Op(self.act)

    async def act(self, call: Any) -> None:
        key, n = call.message.value["k"], call.message.value["n"]
        if key is not None:
            assert key not in self.under_way, "two of one key at once"
            for before in self.seen[key][-1:]:
                seq = before_seq(self.rig, key, before)
                assert self.rig.state("f", seq) >= State.DONE, "its predecessor has not ended on disk"
        self.under_way.add(key)
        try:
            if (key, n) in self.gates:
                await self.gates[key, n].wait()
            await asyncio.sleep(0.001)
            if (key, n) in self.fail:
                raise self.fail[key, n]
            self.seen[key].append(n)
        finally:
            self.under_way.discard(key)


def before_seq(rig: Any, key: Any, n: int) -> int:
    return int(rig.numbers[key, n])


async def put(rig: Any, *pairs: tuple[Any, int]) -> list[int]:
    seqs = await rig.put("f", *({"k": key, "n": n} for key, n in pairs))
    if not hasattr(rig, "numbers"):
        rig.numbers = {}
    rig.numbers |= dict(zip(pairs, seqs, strict=True))
    return list(seqs)


async def start(rig: Any, **policy: Any) -> Ledger:
    ledger = Ledger(rig)
    rig.numbers = {}
    rig.flow("f", rig.call("c", ledger.op), key=lambda m: m.value["k"], **policy)
    await rig.start()
    return ledger


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_the_next_begins_when_the_outcome_is_on_disk(rig: Any) -> None:
    ledger = await start(rig)
    pairs = [(n % 3, n) for n in range(90)] + [(None, n) for n in range(10)]
    await put(rig, *pairs)
    await rig.ended("f", 100)
    for key in range(3):
        assert ledger.seen[key] == list(range(key, 90, 3))
    assert rig.check("f") == {"done": 100}
    await rig.quiet("f")


async def test_a_head_that_waits_holds_its_key_on_disk_and_nobody_else(rig: Any) -> None:
    ledger = await start(rig)
    ledger.fail["a", 0] = Retry("later", after=3600.0)
    [head] = await put(rig, ("a", 0))
    await rig.until(lambda: rig.state("f", head) is State.WAITING)
    held = await put(rig, *[("a", n) for n in range(1, 600)])
    await put(rig, *[("b", n) for n in range(20)])
    await rig.ended("f", 20)
    await rig.until(lambda: rig.states("f") == {"waiting": 1, "held": 599, "done": 20}, 600.0)
    assert rig.engine.flows["f"].status()["in_memory"] == 0
    assert ledger.seen == {"a": [], "b": list(range(20))}
    assert rig.progress("f", held[0]).attempt == 0, "no attempt is counted for one that waits for its turn"
    del ledger.fail["a", 0]
    await rig.ended("f", 620)
    assert ledger.seen["a"] == list(range(600))
    assert rig.progress("f", held[-1]).attempt == 1
    assert rig.check("f") == {"done": 620}
    await rig.quiet("f")


async def test_a_restart_while_the_head_waits(rig: Any) -> None:
    ledger = await start(rig)
    ledger.fail["a", 0] = Retry("later", after=600.0)
    await put(rig, *[("a", n) for n in range(10)])
    await rig.until(lambda: rig.states("f")["held"] == 9)
    for clean in (True, False):
        await (rig.engine.drain() if clean else rig.crash())
        await rig.start()
        await put(rig, ("a", len(rig.numbers)), ("b", len(rig.numbers)))
    await rig.ended("f", 2)
    await rig.until(lambda: rig.states("f") == {"waiting": 1, "held": 11, "done": 2})
    ledger.fail.clear()
    await rig.ended("f", 14)
    assert ledger.seen["a"] == sorted(ledger.seen["a"]) and len(ledger.seen["a"]) == 12
    assert rig.check("f") == {"done": 14}
    await rig.quiet("f")


async def test_a_hot_key_is_bounded_in_memory_and_keeps_its_order(rig: Any) -> None:
    ledger = await start(rig)
    ledger.gates["a", 0] = asyncio.Event()
    await put(rig, *[("a", n) for n in range(1000)])
    await put(rig, ("b", 0))
    await rig.ended("f", 1)
    await rig.until(lambda: rig.states("f")["held"] > 900)
    flow = rig.engine.flows["f"]
    assert flow.status()["in_memory"] <= 65
    ledger.gates["a", 0].set()
    await rig.ended("f", 500)
    await put(rig, *[("a", n) for n in range(1000, 1100)])
    await rig.ended("f", 1101)
    assert ledger.seen["a"] == list(range(1100))
    assert rig.check("f") == {"done": 1101}
    await rig.quiet("f")


async def test_a_hot_key_is_never_read_into_memory_at_once(rig: Any) -> None:
    """A backlog of one key, read from disk, must not be turned into rows faster than they are written."""
    ledger = Ledger(rig)
    ledger.gates["a", 0] = asyncio.Event()
    rig.flow("f", rig.call("c", ledger.op), key=lambda m: m.value["k"])
    await rig.start()
    rig.engine.dispatching = False
    await put(rig, *[("a", n) for n in range(6000)])
    flow = rig.engine.flows["f"]
    assert len(flow.active) <= flow.window
    most = 0

    def hook(name: str) -> None:
        nonlocal most
        most = max(most, len(flow.active), len(rig.engine.writer.moves.progress))

    rig.store_hook = hook
    rig.engine.dispatching = True
    flow.pump_soon()
    await rig.until(lambda: rig.states("f")["held"] > 5900)
    assert most <= flow.window + flow.window // 2
    ledger.gates["a", 0].set()
    rig.store_hook = lambda name: None
    await rig.crash()
    await rig.start()
    await rig.until(lambda: len(ledger.seen["a"]) > 200)
    assert ledger.seen["a"][:200] == list(range(200))


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_one_held_while_the_lane_is_being_loaded_is_not_forgotten(rig: Any) -> None:
    """The last held message ends; while the lane looks for a next one, another arrives."""
    ledger = await start(rig)
    for round in range(30):
        ledger.gates["a", round * 10] = gate = asyncio.Event()
        await put(rig, ("a", round * 10))
        ledger.fail["a", round * 10] = Retry("later", after=0.01)
        gate.set()
        await rig.until(lambda r=round: rig.watch.heard["failed:retry"] > r)
        ledger.fail.clear()
        for n in range(1, 5):
            await put(rig, ("a", round * 10 + n))
            for _ in range((round + n) % 7):
                await asyncio.sleep(0)
    await rig.ended("f", 150)
    assert ledger.seen["a"] == sorted(ledger.seen["a"])
    await rig.quiet("f")


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_one_that_arrives_in_the_commit_a_load_waits_for(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane is asked for its next held message while that one is on its way to the disk, and only there."""
    ledger = await start(rig)
    ledger.fail["a", 0] = Retry("later", after=1.0)
    await put(rig, ("a", 0), ("a", 1))
    await rig.until(lambda: rig.states("f")["held"] == 1)
    ledger.fail.clear()
    ended, left = rig.watch.ended, [2, 3, 4]

    def another(*what: Any) -> None:
        ended(*what)
        if rig.watch.heard["f:done"] > 1 and left:
            rig.loop.call_soon(deliver)  # behind the load, and before its commit is put together

    def deliver() -> None:
        rig.deliver("f", {"k": "a", "n": left.pop(0)}).add_done_callback(number)

    def number(told: Any) -> None:
        rig.numbers["a", len(rig.numbers)] = told.result()[0].ref

    monkeypatch.setattr(rig.watch, "ended", another)
    await rig.ended("f", 5)
    assert ledger.seen["a"] == [0, 1, 2, 3, 4]
    await rig.quiet("f")


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_arrivals_at_every_moment_of_a_lane(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail.engine.lanes.Lanes.depth", 1)
    ledger = await start(rig)
    n = 0
    for burst in range(60):
        await put(rig, *[("a", n + i) for i in range(1 + burst % 4)])
        n += 1 + burst % 4
        for _ in range(burst % 23):
            await asyncio.sleep(0.0004)
    await rig.ended("f", n)
    assert ledger.seen["a"] == list(range(n))
    assert rig.check("f") == {"done": n}
    await rig.quiet("f")


async def test_a_dead_head_lets_the_next_begin(rig: Any) -> None:
    ledger = await start(rig)
    ledger.fail["a", 0] = Rejected("never")
    await put(rig, ("a", 0), ("a", 1))
    await rig.ended("f", 2)
    assert ledger.seen["a"] == [1]
    assert rig.check("f") == {"dead": 1, "done": 1}


async def test_a_redriven_message_stands_at_the_end_of_its_lane(rig: Any) -> None:
    ledger = await start(rig)
    ledger.fail["a", 0] = Rejected("never")
    [first] = await put(rig, ("a", 0))
    await rig.ended("f", 1)
    ledger.fail.clear()
    ledger.gates["a", 1] = asyncio.Event()
    await put(rig, ("a", 1), ("a", 2))
    await rig.redrive("f", first)
    await rig.until(lambda: rig.state("f", first) is State.HELD)
    await asyncio.sleep(1.0)
    assert ledger.seen["a"] == []
    ledger.gates["a", 1].set()
    await rig.ended("f", 4)
    assert ledger.seen["a"] == [1, 2, 0]
    assert rig.check("f") == {"done": 3}
    await rig.quiet("f")


async def test_a_redriven_message_waits_behind_a_head_that_waits_and_survives_a_restart(rig: Any) -> None:
    ledger = await start(rig)
    ledger.fail["a", 0] = Rejected("never")
    [first] = await put(rig, ("a", 0))
    await rig.ended("f", 1)
    ledger.fail = {("a", 1): Retry("later", after=900.0)}
    [second] = await put(rig, ("a", 1))
    await rig.until(lambda: rig.state("f", second) is State.WAITING)
    await rig.redrive("f", first)
    await rig.until(lambda: rig.state("f", first) is State.HELD)
    assert rig.progress("f", first).attempt == 0
    await rig.restart()
    await put(rig, ("a", 2))
    ledger.fail.clear()
    await rig.ended("f", 4)
    assert ledger.seen["a"] == [1, 0, 2]
    assert rig.check("f") == {"done": 3}
    await rig.quiet("f")


async def test_a_restart_does_not_take_what_came_back_for_the_head_that_waits(rig: Any) -> None:
    """Two are taken up while the head of their lane waits, and the process dies before either has its place."""
    ledger = await start(rig)
    ledger.fail |= {("a", 0): Rejected("never"), ("a", 1): Rejected("never")}
    earlier = await put(rig, ("a", 0), ("a", 1))
    await rig.ended("f", 2)
    ledger.fail = {("a", 2): Retry("later", after=900.0)}
    [head, _] = await put(rig, ("a", 2), ("a", 3))
    await rig.until(lambda: rig.states("f") == {"dead": 2, "waiting": 1, "held": 1})
    dead = asyncio.Event()

    def hook(name: str) -> None:
        if name == "after_retry_claim":
            dead.set()
            raise asyncio.CancelledError  # nothing more of this life is done

    rig.hook = hook
    await rig.redrive("f", *earlier)
    await dead.wait()
    assert rig.state("f", head) is State.WAITING
    rig.hook = lambda name: None
    ledger.fail.clear()
    await rig.restart()
    await rig.until(lambda: rig.states("f") == {"done": 4})
    assert ledger.seen["a"] == [2, 0, 1, 3]
    rig.check("f")
    await rig.quiet("f")


async def test_a_crash_between_the_end_of_a_head_and_the_load_of_the_next(rig: Any) -> None:
    ledger = await start(rig)
    ledger.fail["a", 0] = Retry("later", after=60.0)
    await put(rig, *[("a", n) for n in range(5)])
    await rig.until(lambda: rig.states("f")["held"] == 4)
    ledger.fail.clear()
    await rig.until(lambda: rig.states("f")["done"] == 1)
    await rig.restart()
    await rig.until(lambda: rig.states("f") == {"done": 5})
    assert ledger.seen["a"][-1] == 4 and sorted(set(ledger.seen["a"])) == [0, 1, 2, 3, 4]
    assert ledger.seen["a"] == sorted(ledger.seen["a"])
    rig.check("f")


async def test_an_unsafe_operation_keeps_the_order_too(rig: Any) -> None:
    ledger = Ledger(rig)
    ledger.op.repeat = Repeat.NONE
    rig.numbers = {}
    rig.flow("f", rig.call("c", ledger.op), key=lambda m: m.value["k"])
    await rig.start()
    await put(rig, *[(n % 2, n) for n in range(40)])
    await rig.ended("f", 40)
    assert ledger.seen == {0: list(range(0, 40, 2)), 1: list(range(1, 40, 2))}


@pytest.mark.parametrize("clean", [True, False])
async def test_a_restart_reads_those_who_stood_in_memory_before_those_who_stood_on_disk(rig: Any, clean: bool) -> None:
    """A long lane: 64 behind the head in memory, more on disk. After a restart all of them are on disk, some without a
    row: they come first."""
    ledger = await start(rig)
    ledger.gates["k", 0] = asyncio.Event()
    await put(rig, *(("k", n) for n in range(100)))
    await rig.until(lambda: rig.states("f")["held"] >= 35)
    if clean:
        draining = asyncio.ensure_future(rig.engine.drain())
        await asyncio.sleep(1.0)
        ledger.gates["k", 0].set()
        await draining
    else:
        ledger.gates["k", 0].set()
        await rig.crash()
    await rig.start()
    assert rig.store.clean is clean
    await rig.until(lambda: rig.states("f") == {"done": 100})
    assert list(dict.fromkeys(ledger.seen["k"])) == list(range(100))
    rig.check("f")
    await rig.quiet("f")
