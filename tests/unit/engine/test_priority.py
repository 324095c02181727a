"""Urgent messages go first, in memory, on disk and at a target; a key's order holds, and the others keep a share."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from dovetail.engine.priority import BACKGROUND, NORMAL, SHARES, URGENT, Turns
from dovetail.errors import Retry
from dovetail.sdk import Message
from dovetail.store.base import State

BY = {"u": URGENT, "n": NORMAL, "b": BACKGROUND}


def of(message: Message) -> int:
    return BY[message.value["p"]]


def key(message: Message) -> Any:
    return message.value.get("k")


class Line:
    """An operation that lets its calls end one at a time and notes their order; each call waits for `step`."""

    def __init__(self, rig: Any) -> None:
        self.order: list[Any] = []
        self._free = asyncio.Event()
        self.op = rig.Op(self._act)

    async def _act(self, call: Any) -> None:
        self.order.append(call.message.value["n"])
        await self._free.wait()

    def go(self) -> None:
        self._free.set()


def many(count: int, p: str, **more: Any) -> list[dict[str, Any]]:
    return [{"p": p, "n": f"{p}{n}", **more} for n in range(count)]


@pytest.fixture
async def line(rig: Any) -> Line:
    return Line(rig)


async def test_urgent_ones_overtake_in_memory(rig: Any, line: Line) -> None:
    rig.flow("f", rig.call("c", line.op), priority=of, concurrency=1)
    await rig.start()
    await rig.put("f", *many(50, "b"))
    await rig.until(lambda: line.order)
    await rig.put("f", *many(3, "n"), *many(3, "u"))
    line.go()
    await rig.ended("f", 56)
    assert line.order[:7] == ["b0", "u0", "u1", "u2", "n0", "n1", "n2"]
    assert rig.check("f") == {"done": 56}


async def test_urgent_ones_overtake_a_backlog_on_disk(rig: Any, line: Line) -> None:
    rig.flow("f", rig.call("c", line.op), priority=of, concurrency=1)
    await rig.start()
    await rig.put("f", *many(3000, "b"))
    await rig.until(lambda: line.order and rig.engine.flows["f"].backlog.behind)
    await rig.put("f", *many(2, "n"), *many(2, "u"))
    await rig.until(lambda: len(rig.engine.flows["f"].overtaking) == 4)
    line.go()
    await rig.until(lambda: len(line.order) > 5)
    assert line.order[:5] == ["b0", "u0", "u1", "n0", "n1"]
    await rig.ended("f", 3004)
    assert Counter(line.order) == Counter(value["n"] for value in [*many(3000, "b"), *many(2, "n"), *many(2, "u")])
    assert rig.check("f") == {"done": 3004}
    await rig.quiet("f")
    assert not len(rig.engine.flows["f"].overtaking)


async def test_urgent_ones_overtake_a_backlog_on_disk_after_a_crash(rig: Any, line: Line) -> None:
    rig.flow("f", rig.call("c", line.op), priority=of, concurrency=1)
    await rig.start()
    await rig.put("f", *many(4000, "b"))
    await rig.until(lambda: line.order and rig.engine.flows["f"].backlog.behind)
    urgent = await rig.put("f", *many(5, "u"))
    await rig.crash()
    store = await rig.open()
    assert not any(store.progress.get(rig.engine.flows["f"].number, seq) for seq in urgent), "nobody had begun them"
    await store.close(clean=False)
    line.order.clear()
    line.go()
    await rig.start()
    await rig.until(lambda: {f"u{n}" for n in range(5)} <= set(line.order))
    running = rig.engine.flows["f"]
    assert len(line.order) < 2 * running.window, "the suspects first, but not the whole backlog"
    await rig.ended("f", 4005)
    assert set(Counter(line.order).values()) <= {1, 2}
    assert rig.check("f") == {"done": 4005}


async def test_those_that_were_overtaking_at_a_crash_run_first(rig: Any, line: Line) -> None:
    rig.flow("f", rig.call("c", line.op), priority=of, concurrency=3)
    await rig.start()
    await rig.put("f", *many(3000, "b"))
    await rig.until(lambda: len(line.order) == 3 and rig.engine.flows["f"].backlog.behind)
    await rig.put("f", *many(2, "u"))
    await rig.until(lambda: rig.states("f")["running"] == 2)
    await rig.crash()
    line.order.clear()
    line.go()
    await rig.start()
    assert line.order[:3] == ["u0", "u1", "b0"]
    await rig.ended("f", 3002)
    assert rig.check("f") == {"done": 3002}


@pytest.mark.parametrize("crash", [False, True])
async def test_a_key_keeps_its_order_when_its_last_one_is_urgent(rig: Any, line: Line, crash: bool) -> None:
    rig.flow("f", rig.call("c", line.op), priority=of, key=key, concurrency=2)
    await rig.start()
    await rig.put("f", *many(1500, "b"))
    mine = [{"p": "b", "n": n, "k": "mine"} for n in range(70)]
    await rig.put("f", *mine, *many(1500, "b", q=1))
    await rig.until(lambda: len(line.order) == 2 and rig.engine.flows["f"].backlog.behind)
    await rig.put("f", {"p": "u", "n": 70, "k": "mine"}, {"p": "u", "n": "other", "k": "other"})
    if crash:
        await rig.until(lambda: len(rig.engine.flows["f"].overtaking))
        await rig.crash()
        line.order.clear()
    line.go()
    if crash:
        await rig.start()
    await rig.until(lambda: 70 in line.order)
    done = [n for n in line.order if isinstance(n, int)]
    assert done == list(range(71)), "the earlier ones of the key came with it, in order"
    assert line.order.index(70) < 1400, "and the rest of the backlog waits"
    assert "other" in line.order
    await rig.ended("f", 3072)
    assert rig.check("f") == {"done": 3072}
    await rig.quiet("f")


async def test_messages_from_before_the_flow_said_anything_keep_their_key_s_order(rig: Any, line: Line) -> None:
    rig.flow("f", rig.call("c", line.op), key=key, concurrency=1)
    await rig.start()
    await rig.put("f", *[{"p": "b", "n": n, "k": "mine" if n == 2500 else f"k{n}"} for n in range(3000)])
    await rig.until(lambda: line.order)
    rig.flow("f", rig.call("c", line.op), key=key, priority=of, number=2, concurrency=1)
    await rig.crash()
    line.go()
    await rig.start()
    await rig.put("f", {"p": "u", "n": "urgent", "k": "mine"}, {"p": "u", "n": "free"})
    await rig.ended("f", 3002)
    assert line.order.index("urgent") > line.order.index(2500)
    assert line.order.index("free") < line.order.index(2500), "without a key nothing holds it back"
    assert rig.check("f") == {"done": 3002}


async def test_those_before_an_urgent_one_of_the_same_key_are_as_urgent(rig: Any, line: Line) -> None:
    rig.flow("f", rig.call("c", line.op), priority=of, key=key, concurrency=1)
    await rig.start()
    await rig.put("f", *many(40, "b"), {"p": "b", "n": "before", "k": "mine"}, {"p": "u", "n": "urgent", "k": "mine"})
    await rig.until(lambda: line.order)
    line.go()
    await rig.ended("f", 42)
    assert line.order.index("urgent") <= 3 and line.order.index("before") < line.order.index("urgent")


async def test_background_keeps_its_share_of_a_flow(rig: Any, line: Line) -> None:
    rig.flow("f", rig.call("c", line.op), priority=of, concurrency=1)
    await rig.start()
    await rig.put("f", *many(1, "n", k=1), *many(20, "b"), *many(400, "u"), *many(100, "n"))
    await rig.until(lambda: line.order)
    line.go()
    await rig.ended("f", 521)
    first = Counter(str(n)[0] for n in line.order[1:211])
    assert [first[word] for word in "unb"] == [10 * share for share in SHARES]


async def test_background_keeps_its_share_on_disk(rig: Any, line: Line) -> None:
    """Urgent messages that come without end do not keep the backlog from being read."""
    rig.flow("f", rig.call("c", line.op), priority=of, concurrency=1)
    await rig.start()
    await rig.put("f", *many(1500, "b"), *many(3000, "u"))
    await rig.until(lambda: line.order)
    line.go()
    await rig.until(lambda: line.order.count("u1000") == 1)
    assert sum(n[0] == "b" for n in line.order) >= 1000 // 16 - 1
    await rig.ended("f", 4500)
    assert rig.check("f") == {"done": 4500}


async def test_two_flows_share_a_rate(rig: Any) -> None:
    rig.rates["erp"] = 5.0
    at: dict[str, list[float]] = {"low": [], "high": []}

    def op(name: str) -> Any:
        async def act(call: Any) -> None:
            at[name].append(rig.clock.monotonic())

        return rig.Op(act)

    rig.flow("low", rig.call("c", op("low")), priority=lambda m: BACKGROUND)
    rig.flow("high", rig.call("c", op("high")), priority=lambda m: URGENT)
    await rig.start()
    await rig.put("low", *({"n": n} for n in range(300)))
    await rig.until(lambda: len(at["low"]) == 10)
    began = rig.clock.monotonic()
    await rig.put("high", *({"n": n} for n in range(105)))
    await rig.until(lambda: len(at["high"]) == 105)
    seconds = rig.clock.monotonic() - began
    between = sum(began <= moment for moment in at["low"])
    assert 105 / 5 <= seconds <= 105 / 5 * 1.25, "nearly the whole rate is theirs"
    assert 105 // 16 - 2 <= between <= 105 // 16 + 3, "but a share stays"
    await rig.ended("low", 300)
    everything = sorted([*at["low"], *at["high"]])
    gaps = [later - earlier for earlier, later in pairwise(everything)]
    assert min(gaps) > 0.2 - 1e-6, "and nobody calls more often than allowed"
    assert rig.check("low") == {"done": 300} and rig.check("high") == {"done": 105}


async def test_an_urgent_message_passes_those_of_its_flow_that_wait_for_the_rate(rig: Any, line: Line) -> None:
    rig.rates["erp"] = 1.0
    line.go()
    rig.flow("f", rig.call("c", line.op), priority=of)
    await rig.start()
    await rig.put("f", *many(30, "b"))
    await rig.until(lambda: rig.engine.flows["f"].gated_by == "erp")
    await rig.put("f", *many(1, "u"))
    made = len(line.order)
    await rig.ended("f", 31)
    assert line.order.index("u0") <= made + 1


async def test_a_long_silence_sends_those_who_wait_for_the_rate_away(rig: Any, line: Line) -> None:
    rig.rates["erp"] = 1.0
    line.go()
    rig.flow("f", rig.call("c", line.op), priority=of)
    await rig.start()
    await rig.put("f", *many(3, "b"))
    await rig.until(lambda: line.order)
    rig.engine.targets["erp"].rate.hold(600.0)
    await rig.until(lambda: not rig.engine.flows["f"].running)
    began = rig.clock.monotonic()
    await rig.ended("f", 3)
    assert rig.clock.monotonic() - began > 500
    assert rig.check("f") == {"done": 3}


async def test_what_a_message_gives_rise_to_is_as_urgent(rig: Any) -> None:
    rig.flow("f", rig.publish("p", "t"), rig.Cut("s", lambda m: [(m.value, None)]), priority=of)
    rig.flow("g", rig.Apply("a", lambda m: None), topic="t", from_start=True)
    await rig.start()
    await rig.put("f", *many(1, "u"), *many(1, "b"))
    await rig.ended("f", 4)
    await rig.ended("g", 2)
    rows = [row for row, _ in (*rig.rows("f").values(), *rig.rows("g").values())]
    assert sorted(row.priority for row in rows) == [URGENT] * 3 + [BACKGROUND] * 3


async def test_what_a_flow_without_a_word_accepts_costs_no_index(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    await rig.start()
    await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert [row.priority for row, _ in rig.rows("f").values()] == [0]
    assert not rig.store.journal.first(rig.engine.flows["f"].stream, NORMAL, 0)


async def test_a_retry_keeps_the_message_s_priority(rig: Any) -> None:
    fails = [True]
    order: list[str] = []

    async def act(call: Any) -> None:
        if call.message.value["n"] == "u0" and fails.pop() if fails else False:
            raise Retry("busy", after=5.0)
        order.append(call.message.value["n"])
        await asyncio.sleep(1.0)

    rig.flow("f", rig.call("c", rig.Op(act)), priority=of, concurrency=1)
    await rig.start()
    await rig.put("f", *many(1, "u"), *many(30, "b"))
    await rig.ended("f", 31)
    assert order.index("u0") < 10
    assert rig.state("f", 1) is State.DONE


def test_turns_are_shared_as_promised() -> None:
    turns, waiting = Turns(), ([1], [1], [1])
    given: Counter[int] = Counter()
    for _ in range(2100):
        rank = turns.of(waiting)
        assert rank is not None
        turns.took(rank, 1)
        given[rank] += 1
    assert [given[rank] for rank in range(3)] == [100 * share for share in SHARES]


def test_a_rank_in_which_nobody_waited_has_saved_nothing_up() -> None:
    turns = Turns()
    for _ in range(1000):
        turns.took(0, 1)
    turns.came(2)
    given = []
    for _ in range(42):
        rank = turns.of(([1], [], [1]))
        assert rank is not None
        turns.took(rank, 1)
        given.append(rank)
    assert 2 <= given.count(2) <= 3
