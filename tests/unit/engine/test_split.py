"""A whole ends when all its parts have ended, once, whatever becomes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dovetail.control.answers import RedriveOrder
from dovetail.control.desk import Control
from dovetail.control.live import Live
from dovetail.engine.memo import message_id
from dovetail.errors import Rejected, Retry
from dovetail.sdk import Message
from dovetail.store.base import State


def parts(message: Message) -> list[tuple[Any, str | None]]:
    return [(item, None) for item in message.value["items"]]


def scripted(*plan: tuple[Any, list[Exception | None]]) -> Any:
    """An act that raises, for a value, what is planned for it, one a call."""
    left = {value: list(errors) for value, errors in plan}

    async def act(call: Any) -> None:
        errors = left.get(call.message.value)
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error

    return act


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_the_whole_ends_after_its_last_part(rig: Any) -> None:
    gate = asyncio.Event()

    async def act(call: Any) -> None:
        if call.message.value == 2:
            await gate.wait()

    op, before = rig.Op(act), rig.Op(target="other")
    rig.flow("f", rig.call("b", before), rig.Cut("s", parts), rig.call("c", op))
    await rig.start()
    [whole] = await rig.put("f", {"items": [1, 2, 3]})
    await rig.ended("f", 2)
    assert rig.state("f", whole) is State.SPLIT
    assert rig.progress("f", whole).parts == 1
    gate.set()
    await rig.ended("f", 4)
    assert rig.check("f") == {"done": 4}
    assert (len(op.calls), len(before.calls)) == (3, 1), "parts begin behind the step that made them"
    assert [row.parent for row, _ in rig.rows("f").values()] == [whole] * 3 + [0]
    await rig.quiet("f")


async def test_nothing_to_split_is_done(rig: Any) -> None:
    rig.flow("f", rig.Cut("s", parts), rig.call("c", rig.Op()))
    await rig.start()
    await rig.put("f", {"items": []})
    await rig.ended("f", 1)
    assert rig.check("f") == {"done": 1}
    await rig.quiet("f")


async def test_dead_and_retried_parts_end_too(rig: Any) -> None:
    op = rig.Op(scripted((1, [Rejected("no")]), (2, [Retry("busy"), Retry("busy")])))
    rig.flow("f", rig.Cut("s", parts), rig.call("c", op))
    await rig.start()
    [whole] = await rig.put("f", {"items": [1, 2, 3]})
    await rig.until(lambda: rig.states("f") == {"split": 1, "dead": 1, "done": 1, "waiting": 1})
    await rig.ended("f", 4)
    assert rig.state("f", whole) is State.DONE
    assert rig.check("f") == {"done": 3, "dead": 1}
    [dead] = [seq for seq in rig.rows("f") if rig.state("f", seq) is State.DEAD]
    await rig.redrive("f", dead)
    await rig.ended("f", 5)
    assert rig.check("f") == {"done": 4}
    await rig.quiet("f")


async def test_a_part_taken_up_again_does_not_count_twice(rig: Any) -> None:
    gate = asyncio.Event()
    failing = scripted((1, [Rejected("no")]))

    async def act(call: Any) -> None:
        await failing(call)
        if call.message.value == 2:
            await gate.wait()

    rig.flow("f", rig.Cut("s", parts), rig.call("c", rig.Op(act), timeout=1e6))
    await rig.start()
    [whole] = await rig.put("f", {"items": [1, 2]})
    await rig.ended("f", 1)
    [dead] = [seq for seq in rig.rows("f") if rig.state("f", seq) is State.DEAD]
    await rig.redrive("f", dead)
    await rig.ended("f", 2)
    assert rig.state("f", whole) is State.SPLIT, "its other part is still on its way"
    gate.set()
    await rig.ended("f", 4)
    assert rig.check("f") == {"done": 3}
    await rig.quiet("f")


async def test_parts_that_are_split_again(rig: Any) -> None:
    def inner(message: Message) -> list[tuple[Any, str | None]]:
        return [(message.value * 10 + n, None) for n in range(message.value)]

    op = rig.Op()
    rig.flow("f", rig.Cut("s", parts), rig.Cut("t", inner), rig.call("c", op))
    await rig.start()
    await rig.put("f", {"items": [1, 0, 3]})
    await rig.ended("f", 8)
    assert sorted(call.message.value for call in op.calls) == [10, 30, 31, 32]
    assert rig.check("f") == {"done": 8}
    await rig.quiet("f")


@pytest.mark.parametrize("clean", [True, False])
async def test_a_restart_in_the_middle(rig: Any, clean: bool) -> None:
    op = rig.Op(scripted(*[(n, [Retry("busy", after=60.0)]) for n in range(0, 40, 10)]))
    rig.flow("f", rig.Cut("s", parts), rig.Cut("t", lambda m: [(m.value, None)]), rig.call("c", op))
    await rig.start()
    await rig.put("f", {"items": list(range(40))})
    await rig.until(lambda: rig.states("f") == {"split": 5, "waiting": 4, "done": 72})
    await (rig.engine.drain() if clean else rig.crash())
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 81})
    assert rig.check("f") == {"done": 81}
    await rig.quiet("f")


async def test_a_keyed_whole_holds_its_key_until_its_parts_have_ended(rig: Any) -> None:
    seen: list[Any] = []

    async def act(call: Any) -> None:
        await asyncio.sleep(0.01)
        seen.append(call.message.value)

    rig.flow(
        "f", rig.Cut("s", lambda m: [(item, f"k{item % 2}") for item in m.value["items"]]), rig.call("c", rig.Op(act)),
        key=lambda m: "a",
    )  # fmt: skip
    await rig.start()
    await rig.put("f", *({"items": list(range(start, start + 6))} for start in (0, 10, 20)))
    await rig.ended("f", 21)
    assert [item // 10 for item in seen] == [0] * 6 + [1] * 6 + [2] * 6
    for odd in (0, 1):
        ordered = [item for item in seen if item % 2 == odd]
        assert ordered == sorted(ordered), "parts of one key go in order"
    await rig.quiet("f")


async def test_a_keyed_split_survives_a_restart(rig: Any) -> None:
    hang = asyncio.Event()
    seen: list[Any] = []

    async def act(call: Any) -> None:
        if call.message.value == 1 and not hang.is_set():
            await hang.wait()
        seen.append(call.message.value)

    rig.flow("f", rig.Cut("s", parts), rig.call("c", rig.Op(act), timeout=1e6), key=lambda m: "a")
    await rig.start()
    await rig.put("f", {"items": [0, 1]}, {"items": [2]})
    await rig.until(lambda: seen == [0])
    await rig.flushed()
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 5})
    assert seen[-2:] == [1, 2]
    await rig.quiet("f")


async def test_a_part_knows_its_own_key(rig: Any) -> None:
    keys: list[Any] = []
    rig.flow(
        "f", rig.Cut("s", lambda m: [(1, "x")]), rig.Apply("a", lambda m: keys.append(m.key)), rig.publish("p", "t"),
        key=lambda m: "whole",
    )  # fmt: skip
    rig.flow("g", rig.Apply("a", lambda m: keys.append(m.key)), topic="t")
    await rig.start()
    await rig.put("f", {})
    await rig.ended("g", 1)
    assert keys == ["x", "x"]


async def test_a_part_moves_with_its_step_to_another_version(rig: Any) -> None:
    op = rig.Op(scripted((1, [Rejected("no")]), (2, [Rejected("no")])))
    rig.flow("f", rig.Cut("s", parts), rig.call("c", op))
    await rig.start()
    await rig.put("f", {"items": [1]})
    await rig.ended("f", 2)
    [part] = [seq for seq in rig.rows("f") if rig.state("f", seq) is State.DEAD]
    ran: list[Any] = []
    rig.flow(
        "f", rig.Apply("n", ran.append), rig.Apply("o", ran.append), rig.Cut("s", parts), rig.call("c", op), number=2
    )
    await rig.restart()
    await rig.redrive("f", part)
    await rig.until(lambda: rig.state("f", part) is State.DONE)
    assert ran == []
    await rig.put("f", {"items": [2]})
    await rig.until(lambda: rig.states("f")["dead"] == 1)
    [part] = [seq for seq in rig.rows("f") if rig.state("f", seq) is State.DEAD]
    rig.flow("f", rig.call("c", op), number=3)
    await rig.restart()
    await rig.redrive("f", part)
    await rig.until(lambda: rig.state("f", part) is State.DEAD)
    assert "no step s" in rig.progress("f", part).reason
    rig.check("f")


async def test_a_part_whose_version_is_gone_does_not_hold_its_whole(rig: Any) -> None:
    op = rig.Op(scripted((1, [Retry("busy", after=5.0)])))
    rig.flow("f", rig.Cut("s", parts), rig.call("c", op), key=lambda m: "a")
    await rig.start()
    [whole, behind] = await rig.put("f", {"items": [1]}, {"items": []})
    await rig.until(lambda: rig.states("f")["waiting"] == 1)
    await rig.crash()
    rig.flow("f", rig.Cut("s", parts), rig.call("c", op), number=2, key=lambda m: "a")
    del rig.older["f"][1]
    await rig.start()
    await rig.until(lambda: not rig.states("f")["waiting"] and not rig.states("f")["held"])
    assert rig.state("f", whole) is State.DONE
    assert rig.state("f", behind) is State.DEAD, "it is of the same version"
    rig.check("f")
    await rig.quiet("f")


async def test_what_a_split_cannot_write_is_a_dead_letter(rig: Any) -> None:
    rig.flow("f", rig.Cut("s", lambda m: [(object(), None)]), rig.call("c", rig.Op()))
    await rig.start()
    [seq] = await rig.put("f", 1)
    await rig.ended("f", 1)
    assert rig.state("f", seq) is State.DEAD
    rig.check("f")
    await rig.quiet("f")


async def test_a_part_is_rehearsed_and_told_from_where_it_begins_in_the_version_it_runs_on(rig: Any) -> None:
    seen: list[tuple[str, Any, str | None]] = []

    def note(step: str) -> Any:
        return rig.Apply(step, lambda message: seen.append((step, message.value, message.key)))

    def fail(message: Message) -> None:
        raise Rejected("no")

    cut = rig.Cut("s", lambda message: [(item, f"k{item}") for item in message.value["items"]])
    rig.flow("f", cut, rig.Apply("bad", fail))
    await rig.start()
    await rig.put("f", {"items": [7]})
    await rig.ended("f", 2)
    [part] = [seq for seq, (row, _) in rig.rows("f").items() if row.parent]
    rig.flow("f", note("first"), note("second"), cut, note("third"), number=2)
    await rig.restart()
    live = Live(rig.engine)
    control = Control(rig.store, rig.clock, live, project="p", path="store.db")
    id = message_id(rig.store.uid, part)
    answer = await control.dry_run(RedriveOrder(by="ann", ids=[id], flow="f", version="current"))
    assert [run.ends for run in answer.runs] == ["done"] and seen == [("third", 7, "k7")]
    await rig.redrive("f", part, version="current")
    await rig.until(lambda: rig.state("f", part) is State.DONE)
    seen.clear()
    row = rig.store.journal.get(part)
    assert [trace.step for trace in await live.replay("f", row, rig.progress("f", part))] == ["third"]
    assert seen == [("third", 7, "k7")]
    rig.flow("f", note("other"), number=3)
    await rig.restart()
    told = await Live(rig.engine).rehearse("f", row, rig.progress("f", part), 3)
    assert (told.ends, told.code, told.why) == (
        "failed", "unloadable", "version 3 has no step s, behind which it begins"
    )  # fmt: skip
