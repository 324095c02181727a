"""The audit tells every change of state, the counts agree with the rows, and clocks may jump."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from dovetail.errors import InDoubt, Paused, Rejected, Retry, Throttled, Unavailable
from dovetail.sdk import Done, Dropping, Failed, Message, Repeat
from dovetail.store.base import ENDED, State


def told(rig: Any, flow: str) -> dict[int, list[tuple[str, int]]]:
    """By message: the states and attempts that the audit tells."""
    number = rig.engine.flows[flow].number
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for event in rig.audit():
        if event[0] == "state":
            for of, seq, state, attempt in event[1]:
                if of == number:
                    found[seq].append((State(state).word, attempt))
    return found


async def test_every_change_is_told_in_its_transaction(rig: Any) -> None:
    def step(message: Message) -> None:
        if message.value == "drop":
            raise Dropping("rule")
        if message.value == "die":
            raise Rejected("no")

    failed: list[int] = []

    async def act(call: Any) -> None:
        if call.message.value == "retry" and not failed:
            failed.append(1)
            raise Retry("busy")

    rig.flow("f", rig.Apply("a", step), rig.call("c", rig.Op(act)))
    await rig.start()
    good, drop, die, retry = await rig.put("f", "good", "drop", "die", "retry")
    await rig.ended("f", 4)
    events = told(rig, "f")
    assert events[good][-1] == ("done", 1)
    assert events[drop] == [("discarded", 1)]
    assert events[die] == [("dead", 1)]
    assert [pair for pair in events[retry] if pair[0] != "running"] == [("waiting", 1), ("done", 2)]
    assert events[retry].count(("running", 2)) >= 1
    accepted = [event for event in rig.audit() if event[0] == "accepted"]
    assert accepted == [("accepted", rig.engine.flows["f"].stream, good, retry)]
    assert rig.check("f") == {"done": 2, "discarded": 1, "dead": 1}


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_clock_jump_fires_no_timer_early_or_twice(rig: Any, jump: float) -> None:
    calls: list[float] = []

    async def act(call: Any) -> None:
        calls.append(rig.clock.monotonic())
        if len(calls) < 4:
            raise Retry("busy", after=100.0)

    rig.flow("f", rig.call("c", rig.Op(act)), retry_for=3600.0, retry_cap=100.0)
    await rig.start()
    await rig.put("f", 1)
    for n in range(1, 4):
        await rig.until(lambda n=n: len(calls) == n)
        rig.clock.jump += jump
    await rig.ended("f", 1)
    gaps = [later - earlier for earlier, later in pairwise(calls)]
    assert len(calls) == 4 and all(99.9 <= gap <= 101.0 for gap in gaps), gaps
    assert rig.check("f") == {"done": 1}


class World:
    """A target that fails in every way, by the seed."""

    def __init__(self, rig: Any, seed: int) -> None:
        self.rig, self.dice = rig, random.Random(seed)
        self.applied: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # target -> key -> times
        self.calm = False
        self.busy: set[tuple[str, str]] = set()

    def op(self, name: str, repeat: Repeat) -> Any:
        applied = self.applied[name]

        async def act(call: Any) -> None:
            await asyncio.sleep(self.dice.choice((0.0, 0.001, 0.3, 2.0)))
            luck = self.dice.random() if not self.calm else 1.0
            if luck < 0.08:
                raise Retry("busy", after=self.dice.choice((None, 3.0)))
            if luck < 0.10:
                raise Throttled("slowly", after=2.0)
            if luck < 0.12:
                raise Rejected("no")
            if luck < 0.13:
                raise Paused("locked", after=5.0)
            if repeat is not Repeat.IDEMPOTENT or not applied[call.key]:
                applied[call.key] += 1
            if luck < 0.16:
                raise InDoubt("reset after sending")
            if luck < 0.17:
                raise RuntimeError("a bug of the client")

        return self.rig.Op(act, repeat=repeat, target=name, query=lambda call: _known(applied, call))

    async def write(self, calls: Any) -> dict[str, Any]:
        applied = self.applied["files"]
        found: dict[str, Any] = {}
        for call in calls:
            if not self.calm and self.dice.random() < 0.1:
                found[call.key] = Failed(self.dice.choice([Retry("busy"), Rejected("no"), InDoubt("cut")]))
            else:
                applied[call.key] += 1
                found[call.key] = Done()
        return found


def _known(applied: dict[str, int], call: Any) -> Any:
    from dovetail.sdk import Reply

    return Reply(b"1") if applied.get(call.key) else None


def _world(rig: Any, seed: int) -> World:
    world = World(rig, seed)
    unsafe, asked, safe = Repeat.NONE, Repeat.QUERYABLE, Repeat.IDEMPOTENT

    def rule(message: Message) -> None:
        if message.value["n"] % 17 == 0:
            raise Dropping("every seventeenth")

    policy = {"retry_for": 600.0, "retry_cap": 20.0, "concurrency": 1 + seed % 9}
    rig.flow(
        "orders", rig.Apply("rule", rule), rig.call("a", world.op("safe", safe)), rig.publish("p", "t"),
        rig.call("b", world.op("none", unsafe)), rig.call("q", world.op("asked", asked)),
        key=lambda m: m.value["k"], dedupe=lambda m: m.value["n"], **policy,
    )  # fmt: skip
    rig.flow(
        "lines", rig.Cut("s", lambda m: [({"k": m.value["k"], "n": i}, f"x{i % 2}") for i in range(m.value["n"] % 4)]),
        rig.call("c", world.op("lines", safe)), rig.send("w", rig.Drain(world.write)), topic="t",
        key=lambda m: m.value["k"] and m.value["k"] + "!", **policy,
    )  # fmt: skip
    rig.flow("plain", rig.Apply("x", lambda m: None), topic="t", contract=_small, **policy)
    return world


def _small(message: Message) -> None:
    if message.value["n"] % 13 == 0:
        raise Rejected("too large", code="contract")


def _all_ended(rig: Any) -> bool:
    return all(set(rig.states(flow)) <= {state.word for state in ENDED} for flow in rig.flows)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_the_books_balance_after_everything(rig: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random faults of targets and of the disk, crashes, drains and redrives; then calm. Whatever was accepted has
    ended, counts and rows agree, effects at a target that dedupes (or is asked) were applied once."""
    monkeypatch.setattr("dovetail.engine.lanes.Lanes.depth", 2)
    monkeypatch.setattr("dovetail.engine.flow.FlowRun.window", 16 + seed * 8)
    world = _world(rig, seed)
    dice, accepted, n = random.Random(seed + 1000), set(), 0
    if seed % 2:
        rig.disk_takes = lambda: dice.choice((0.0, 0.0005, 0.02))
    await rig.start()
    for _ in range(25):
        action = dice.random()
        if action < 0.6:
            count = dice.randint(1, 25)
            batch = [{"n": n + i, "k": dice.choice(("a", "b", "c", None))} for i in range(count)]
            n += count
            receipts = await rig.deliver("orders", *batch)
            accepted |= {receipt.ref for receipt in receipts if receipt.error is None}
        elif action < 0.7:
            await rig.restart()
        elif action < 0.75:
            await rig.engine.drain(dice.choice((0.0, 1.0, 60.0)))
            await rig.start()
        elif action < 0.85:
            left = [dice.randint(1, 3)]

            def away(name: str, left: list[int] = left) -> None:
                if name == "store_before_commit" and left[0]:
                    left[0] -= 1
                    raise Unavailable("no space")

            rig.store_hook = away
        else:
            await _redrive_some(rig, dice)
        await asyncio.sleep(dice.choice((0.0, 0.01, 1.0, 30.0)))
        for flow in rig.flows.values():
            running = rig.engine.flows[flow.name]
            assert running.running == sum(journey.busy for journey in running.active.values())
            assert len(running.active) <= running.window + 256
    world.calm = True
    await rig.until(lambda: _all_ended(rig))
    for flow in rig.flows:
        rig.check(flow)
        await rig.quiet(flow)
    assert accepted <= set(rig.rows("orders"))
    assert rig.engine.failure is None
    assert not [event for event, _ in rig.log.events if event in ("task_failed", "after_commit_failed", "timer_failed")]
    for name in ("safe", "none", "asked", "lines"):
        assert set(world.applied[name].values()) <= {0, 1}, name


async def _redrive_some(rig: Any, dice: random.Random) -> None:
    await rig.flushed()
    for flow in rig.flows:
        dead = [seq for seq in rig.rows(flow) if rig.state(flow, seq) is State.DEAD]
        for seq in dice.sample(dead, min(3, len(dead))):
            await rig.redrive(flow, seq)
