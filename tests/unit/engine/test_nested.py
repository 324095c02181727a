"""Loops and gatherings in the engine: what was done and decided in them is the same after a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.errors import Retry
from dovetail.sdk import Repeat, Reply
from dovetail.store.base import State
from dovetail.testkit.steps import FakeBuild

CATALOG = Catalog.builtin()
WORDS = {name: CATALOG.step(name) for name in CATALOG.names("step")}


class Connected:
    """A connection with these operations."""

    def __init__(self, **operations: Any) -> None:
        self.operations = operations

    def operation(self, name: str) -> Any:
        return self.operations[name]

    async def open(self, context: Any) -> None:
        pass

    async def close(self) -> None:
        pass


def build(rig: Any, text: Any, **operations: Any) -> Any:
    """A step as a flow's text has it, with operations at `x`."""
    rig.connections["x"] = Connected(**operations)
    return FakeBuild(words=WORDS, connections=rig.connections).make(text)


async def test_rounds_are_computed_again_and_what_was_done_in_them_is_not(rig: Any) -> None:
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        if call.message.value == 2 and not hang.is_set():
            await hang.wait()

    op = rig.Op(act)
    steps = [{"call": "x.do", "body": "$vars.item"}, {"set": {"sum": "$vars.sum + $vars.item"}}]
    rig.flow("f", build(rig, {"loop": {"over": "items", "as": "item", "steps": steps}}, do=op))
    await rig.start()
    [seq] = await rig.put("f", {"items": [0, 1, 2, 3]})
    await rig.until(lambda: len(op.calls) == 3)
    await rig.flushed()
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.state("f", seq) is State.DONE)
    assert [call.message.value for call in op.calls] == [0, 1, 2, 2, 3]
    assert len({call.key for call in op.calls}) == 4
    rig.check("f")


async def test_a_loop_that_fails_later_undoes_its_rounds_from_the_last(rig: Any) -> None:
    undone: list[Any] = []

    async def undo(call: Any) -> None:
        undone.append((call.message.value, call.args.get("said")))

    async def do(call: Any) -> Reply:
        if call.message.value == 3:
            raise ValueError("a fault")
        return Reply(value={"n": call.message.value * 10})

    steps = [{
        "call": "x.do", "body": "$vars.item",
        "compensate": {"operation": "x.undo", "body": "$vars.item", "args": {"said": "$vars.reply.n"}},
    }]  # fmt: skip
    step = build(rig, {"loop": {"over": "items", "as": "item", "steps": steps}}, do=rig.Op(do), undo=rig.Op(undo))
    rig.flow("f", step)
    await rig.start()
    await rig.put("f", {"items": [1, 2, 3, 4]})
    await rig.ended("f", 1)
    assert undone == [(3, None), (2, 20), (1, 10)]


async def test_what_was_decided_outlives_the_process(rig: Any) -> None:
    hang, away = asyncio.Event(), [Retry("away")]

    async def quote(call: Any) -> Reply:
        if call.args["who"] == "ups" and away:
            raise away.pop()
        return Reply(value={"price": 7 if call.args["who"] == "ups" else 12})

    async def place(call: Any) -> None:
        if not hang.is_set():
            await hang.wait()

    ask, order = rig.Op(quote), rig.Op(place, target="orders")
    text = {
        "scatter_gather": {
            who: {"steps": [{"call": "x.ask", "args": {"who": f'"{who}"'}, "as": "q"}], "result": "$vars.q.price"}
            for who in ("dhl", "ups")
        },
        "need": 1,
        "merge": '{"best": $min($vars.gathered.answers.*), "missing": $keys($vars.gathered.errors)}',
    }
    rig.flow("f", build(rig, text, ask=ask), rig.call("place", order))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: order.calls)
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.state("f", seq) is State.DONE)
    assert [call.message.value for call in order.calls] == [{"best": 12, "missing": "ups"}] * 2
    assert [call.args["who"] for call in ask.calls].count("ups") == 1
    assert rig.effect_states("f", seq) == {
        "scatter_gather/dhl/call": "done", "scatter_gather/ups/call": "failed", "scatter_gather": "done",
        "place": "done",
    }  # fmt: skip


@pytest.mark.parametrize("repeat", [Repeat.NONE, Repeat.QUERYABLE])
async def test_a_branch_whose_time_is_over_is_not_left_out_while_it_is_in_doubt(rig: Any, repeat: Repeat) -> None:
    hangs = [asyncio.Event()]

    async def act(call: Any) -> Reply:
        if hangs:
            await hangs.pop().wait()
        return Reply(value={"n": 1})

    order = rig.Op(act, repeat=repeat, query=lambda call: Reply(value={"n": 1}))
    branches = {"order": {"steps": [{"call": "x.order"}], "timeout": "5s"}, "log": {"steps": [{"set": {"a": "1"}}]}}
    rig.flow("f", build(rig, {"scatter_gather": branches, "need": 1}, order=order))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert len(order.calls) == 1
    states = rig.effect_states("f", seq)
    if repeat is Repeat.NONE:
        assert rig.state("f", seq) is State.DEAD and states == {"scatter_gather/order/call": "intended"}
    else:
        assert rig.state("f", seq) is State.DONE and states["scatter_gather/order/call"] == "done"
