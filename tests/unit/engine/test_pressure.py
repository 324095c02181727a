"""A backlog lives on disk: memory stays small, the order is kept, and nothing is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

from dovetail.engine.backlog import Backlog
from dovetail.engine.flow import FlowRun
from dovetail.sdk import Message
from dovetail.store.base import State


def watch_memory(rig: Any, flow: str) -> dict[str, int]:
    most = {"messages": 0, "bytes": 0}

    def hook(name: str) -> None:
        running = rig.engine.flows[flow]
        most["messages"] = max(most["messages"], len(running.active))
        most["bytes"] = max(most["bytes"], running._bytes)

    rig.store_hook = hook
    return most


async def test_fifty_thousand_pending(rig: Any) -> None:
    gate = asyncio.Event()

    async def act(call: Any) -> None:
        await gate.wait()

    op = rig.Op(act)
    rig.flow("f", rig.call("c", op, timeout=1e9))
    await rig.start()
    most = watch_memory(rig, "f")
    seqs: list[int] = []
    for start in range(0, 50_000, 5_000):
        seqs += await rig.put("f", *range(start, start + 5_000))
    flow = rig.engine.flows["f"]
    assert len(op.calls) == 128 == flow.running
    assert len(flow.active) <= FlowRun.window
    gate.set()
    await rig.ended("f", 50_000)
    assert [call.message.ref for call in op.calls] == seqs, "the feeder goes by the order of acceptance"
    assert most["messages"] <= FlowRun.window
    assert rig.check("f") == {"done": 50_000}
    await rig.quiet("f")
    await rig.put("f", 1)
    await rig.ended("f", 50_001)


async def test_nothing_runs_before_the_disk_says_that_it_may_be_in_flight(rig: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(Backlog, "claim_ahead", 0)
    monkeypatch.setattr(FlowRun, "window", 8)
    early: list[int] = []

    gate = asyncio.Event()

    async def step(message: Message, context: Any) -> None:
        await gate.wait()

    def hook(name: str) -> None:
        if name == "before_run":
            flow = rig.engine.flows["f"]
            busy = (journey.seq for journey in flow.active.values() if journey.busy)
            early.extend(seq for seq in busy if seq > flow.backlog.claimed)

    rig.hook = hook
    rig.flow("f", rig.Act("a", step), concurrency=3)
    await rig.start()
    rig.disk_takes = lambda: 0.01
    for start in range(0, 600, 100):
        await rig.put("f", *range(start, start + 100))
    gate.set()
    await rig.ended("f", 600)
    assert not early
    await rig.quiet("f")


async def test_giant_bodies_are_bound_by_bytes(rig: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(FlowRun, "window_bytes", 1 << 20)
    gate = asyncio.Event()

    async def act(call: Any) -> None:
        await gate.wait()

    op = rig.Op(act)
    rig.flow("f", rig.call("c", op, timeout=1e9))
    await rig.start()
    most = watch_memory(rig, "f")
    body = 100_000
    for _ in range(10):
        await rig.put("f", *([b'"%b"' % (b"x" * body)] * 10))
    assert len(op.calls) < 20
    gate.set()
    await rig.ended("f", 100)
    assert most["bytes"] <= (1 << 20) + (1 << 19) + body
    assert rig.check("f") == {"done": 100}
    await rig.quiet("f")


async def test_giant_bodies_that_come_back_from_a_wait_or_a_crash(rig: Any, monkeypatch: Any) -> None:
    from dovetail.errors import Retry

    monkeypatch.setattr(FlowRun, "window_bytes", 1 << 20)
    down = True

    async def act(message: Message, context: Any) -> None:
        if down:
            raise Retry("later", after=30.0)

    rig.flow("f", rig.Act("a", act))
    await rig.start()
    body = 100_000
    for _ in range(10):
        await rig.put("f", *([b'"%b"' % (b"x" * body)] * 10))
    await rig.until(lambda: rig.states("f") == {"waiting": 100})
    most = watch_memory(rig, "f")
    down = False
    await rig.ended("f", 100)
    assert most["bytes"] <= 3 * (1 << 20) + 2 * body
    await rig.quiet("f")


async def test_a_message_larger_than_the_window_goes_through(rig: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(FlowRun, "window_bytes", 1000)
    rig.flow("f", rig.call("c", rig.Op()), key=lambda m: "k")
    await rig.start()
    await rig.put("f", *["x" * 5000] * 20)
    await rig.ended("f", 20)
    assert rig.check("f") == {"done": 20}
    await rig.quiet("f")


async def test_a_slow_flow_does_not_hold_another(rig: Any) -> None:
    gate = asyncio.Event()

    async def act(call: Any) -> None:
        await gate.wait()

    rig.flow("slow", rig.call("c", rig.Op(act), timeout=1e9))
    rig.flow("quick", rig.call("c", rig.Op(target="other")))
    await rig.start()
    await rig.put("slow", *range(3000))
    await rig.put("quick", *range(3000))
    await rig.ended("quick", 3000)
    assert rig.states("slow")["done"] == 0
    gate.set()
    await rig.ended("slow", 3000)
    await rig.quiet("slow")


async def test_a_backlog_of_many_keys_and_a_redrive_of_all(rig: Any) -> None:
    from dovetail.errors import Rejected

    down = True

    async def act(message: Message, context: Any) -> None:
        if down:
            raise Rejected("no")

    rig.flow("f", rig.Act("a", act), key=lambda m: str(m.value % 50))
    await rig.start()
    seqs = await rig.put("f", *range(2000))
    await rig.ended("f", 2000)
    assert rig.check("f") == {"dead": 2000}
    down = False
    for start in range(0, 2000, 500):
        await rig.redrive("f", *seqs[start : start + 500])
    await rig.ended("f", 4000)
    assert rig.check("f") == {"done": 2000}
    assert all(rig.state("f", seq) is State.DONE for seq in seqs[:5])
    await rig.quiet("f")
