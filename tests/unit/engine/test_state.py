"""Steps that remember: memory, decisions and what is made of them move together, through crashes and over time."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.control.live import Live
from dovetail.engine.memo import pack
from dovetail.engine.state import Remembered
from dovetail.errors import Unavailable
from dovetail.sdk import Rejected, Retry, Step, Waiting
from dovetail.store.base import State, Work
from dovetail.testkit.steps import FakeBuild

CATALOG = Catalog.builtin()
WORDS = {name: CATALOG.step(name) for name in CATALOG.names("step")}


@pytest.fixture(params=["sqlite", "memory"])
async def any_rig(request: pytest.FixtureRequest, rig: Any) -> Any:
    rig.kind = request.param
    return rig


def step(flow: str = "f", **text: Any) -> Step:
    """A step of its text."""
    return FakeBuild(words=WORDS, flow=flow).make(text)


class Seen:
    """What comes out behind the steps: (value, variables) by message number."""

    def __init__(self, rig: Any, flaky: float = 0.0) -> None:
        self.rig, self.dice, self.flaky = rig, random.Random(1), flaky
        self.lives: dict[int, Any] = {}  # the engine that said it first
        self.found: dict[int, tuple[Any, dict[str, Any]]] = {}
        self.step = rig.call("seen", rig.Op(self._see))

    async def _see(self, call: Any) -> None:
        await asyncio.sleep(0)
        if self.dice.random() < self.flaky:
            raise Retry("busy")
        first = self.lives.setdefault(call.message.ref, self.rig.engine)
        again = call.message.ref in self.found  # it may come again only when a crash came between effect and record
        assert not again or first is not self.rig.engine or self.flaky, "the same message twice"
        self.found[call.message.ref] = (json.loads(call.message.body), call.message.variables)

    @property
    def values(self) -> list[Any]:
        return [value for _, (value, _) in sorted(self.found.items())]


async def test_a_group_is_complete_by_count(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    rig.flow("f", step(aggregate="k", count=3), seen.step)
    await rig.start()
    refs = await rig.put("f", *({"k": n % 2, "n": n} for n in range(7)))
    await rig.ended("f", 9)
    assert [[value["n"] for value in group] for group in seen.values] == [[0, 2, 4], [1, 3, 5]]
    known = seen.found[max(seen.found)][1]["group"]
    assert (known["key"], known["count"], known["completed"]) == ("1", 3, "count")
    assert len(known["members"]) == 3
    row = rig.progress("f", refs[2])
    assert row.state is State.DONE and row.reason == "aggregated as number 2 of group 0"
    assert rig.check("f") == {"done": 9}
    await rig.quiet("f")
    assert len(rig.store.memory.heads(1, "aggregate", "", 10)) == 1, "one message waits for its group"
    assert rig.store.progress.counts()[1, "remembers:aggregate"] == 1


async def test_a_group_outlives_crashes_and_is_complete_by_time(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    rig.flow("f", step(aggregate="k", within="5m", take="n", into='{"sum": $sum($), "of": $vars.group.completed}'),
             seen.step)  # fmt: skip
    await rig.start()
    for n in range(1, 5):
        await rig.put("f", {"k": "a", "n": n})
        await rig.ended("f", n)
        await rig.restart()
        assert not seen.found
    await rig.ended("f", 5)
    assert seen.values == [{"sum": 10, "of": "within"}]
    assert rig.store.memory.next_due(1) is None
    assert rig.check("f") == {"done": 5}


async def test_an_idle_group_and_a_full_one(rig: Any) -> None:
    seen = Seen(rig)
    rig.flow("f", step(aggregate="k", idle="10s", most=3), seen.step)
    await rig.start()
    started = rig.clock.monotonic()
    await rig.put("f", *({"k": 1} for _ in range(4)))
    await rig.ended("f", 5)
    assert [len(group) for group in seen.values] == [3]
    await asyncio.sleep(8)
    await rig.put("f", {"k": 1})
    await rig.ended("f", 7)
    assert [known["group"]["completed"] for _, known in seen.found.values()] == ["full", "idle"]
    assert rig.clock.monotonic() - started >= 18


async def test_a_condition_on_the_group_and_a_mapping_that_fails(rig: Any) -> None:
    seen = Seen(rig)
    rig.flow("f", step(aggregate="k", until="$sum(n) >= 10", into="$sum(n) / bad"), seen.step)
    await rig.start()
    await rig.put("f", {"k": 1, "n": 4}, {"k": 1, "n": 7})
    await rig.ended("f", 3)
    [dead] = [row for row, progress in rig.rows("f").values() if progress.state is State.DEAD]
    assert json.loads(rig.store.journal.original(dead.seq)) == [{"k": 1, "n": 4}, {"k": 1, "n": 7}]
    assert rig.check("f") == {"done": 2, "dead": 1}


async def test_what_is_folded_outlives_crashes_and_reads_the_list_once(
    any_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, reads, members = any_rig, list[str](), Remembered.members
    monkeypatch.setattr(Remembered, "members", lambda group: (reads.append(group.key), members(group))[1])
    seen = Seen(rig)
    rig.flow("f", step(aggregate="k", take="n", fold="$sum([$vars.so_far, $])", until="$ >= 100"), seen.step)
    await rig.start()
    for first in (1, 6):
        await rig.put("f", *({"k": "a", "n": n * 5} for n in range(first, first + 5)), {"k": "b", "n": "no number"})
        await rig.ended("f", 6 if first == 1 else 14)
        await rig.restart()
    assert seen.values == [[5, 10, 15, 20, 25, 30], [35, 40, 45]]
    assert reads == ["a", "a"]
    assert rig.check("f") == {"done": 12, "dead": 2}


async def test_a_member_that_cannot_be_taken_in_fails_alone(rig: Any) -> None:
    seen = Seen(rig)
    rig.flow("f", step(aggregate="k", count=2), seen.step)
    await rig.start()
    await rig.put("f", {"k": 1}, {"k": {"not": "a key"}}, {}, {"k": 1})
    await rig.ended("f", 5)
    assert len(seen.values) == 1 and rig.check("f") == {"done": 3, "dead": 2}


async def test_nobody_is_counted_twice_when_a_message_is_run_again(rig: Any) -> None:
    """An effect stands before the group: the message comes to the group again and again until its row is flushed."""
    seen, tries = Seen(rig), Counter[int]()

    async def busy(call: Any) -> None:
        tries[call.message.ref] += 1
        if tries[call.message.ref] < 3:
            raise Retry("busy")

    rig.flow("f", rig.call("before", rig.Op(busy)), step(aggregate="k", count=5), seen.step)
    await rig.start()
    await rig.put("f", *({"k": 1, "n": n} for n in range(5)))
    await rig.ended("f", 6)
    assert sorted(value["n"] for value in seen.values[0]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_delay_ends_when_its_time_has_come(rig: Any, jump: float) -> None:
    seen = Seen(rig)
    rig.flow("f", step(delay="10m"), seen.step)
    await rig.start()
    started = rig.clock.monotonic()
    [ref] = await rig.put("f", {"n": 1})
    await asyncio.sleep(100)
    row = rig.progress("f", ref)
    assert row.state is State.WAITING and row.reason.startswith("delayed until 20") and row.attempt == 0
    rig.clock.jump = jump
    await asyncio.sleep(100)
    assert not seen.found
    await rig.ended("f", 1)
    assert 600 <= rig.clock.monotonic() - started < 662
    assert rig.memo("f", ref).history == []


async def test_a_delay_goes_on_after_a_crash_where_it_was(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    rig.flow("f", step(delay={"until": "at"}), seen.step)
    await rig.start()
    started = rig.clock.monotonic()
    await rig.put("f", {"at": rig.clock.now_ms() + 600_000}, {"at": "2001-01-01T00:00:00Z"}, {"at": "soon"})
    await rig.ended("f", 2)
    assert len(seen.found) == 1
    for _ in range(3):
        await asyncio.sleep(100)
        await rig.restart()
    await rig.until(lambda: len(seen.found) == 2)
    assert 600 <= rig.clock.monotonic() - started < 662
    await rig.ended("f", 3)
    assert rig.check("f") == {"done": 2, "dead": 1}


def waiting(rig: Any, seen: Seen, **more: Any) -> None:
    rig.flow("f", step(wait="paid", key="k", **{"as": "payment"}, **more), seen.step)
    rig.flow("s", step("s", signal="paid", key="k", value="n", remember="10m"))


async def test_an_event_wakes_those_who_wait_for_it(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    waiting(rig, seen, timeout="10m")
    await rig.start()
    one, two, other = await rig.put("f", {"k": "a"}, {"k": "a"}, {"k": "b"})
    await rig.until(lambda: rig.states("f") == {"waiting": 3})
    assert rig.progress("f", one).reason == "waits for paid a"
    await rig.restart()
    [told] = await rig.put("s", {"k": "a", "n": 7})
    await rig.ended("f", 2)
    assert {ref: known["payment"] for ref, (_, known) in seen.found.items()} == {one: 7, two: 7}
    assert rig.state("f", other) is State.WAITING
    await rig.ended("f", 3)
    assert rig.state("f", other) is State.DEAD and rig.progress("f", other).reason.startswith("timeout: paid b")
    await rig.put("s", {"k": "b", "n": 8})
    await rig.ended("s", 2)
    await rig.redrive("f", other)
    await rig.until(lambda: rig.state("f", other) is State.DONE)
    assert seen.found[other][1]["payment"] == 8, "an event that came too late is good enough for a redrive"
    assert [effect.message for effect in rig.memo("s", told).effects.values()] == ["paid a: 2 waited for it"]
    assert rig.states("f") == {"done": 3}


async def test_an_event_that_came_first_is_remembered(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    waiting(rig, seen, timeout="10m")
    await rig.start()
    await rig.put("s", {"k": "a", "n": 1})
    await rig.ended("s", 1)
    await rig.restart()
    await rig.put("f", {"k": "a"})
    await rig.ended("f", 1)
    assert [known["payment"] for _, known in seen.found.values()] == [1]
    await asyncio.sleep(620)
    await rig.flushed()
    assert rig.store.memory.heads(0, "event:paid", "", 10) == [], "it is forgotten when its time is over"
    [late] = await rig.put("f", {"k": "a"})
    await rig.until(lambda: rig.state("f", late) is State.WAITING)


async def test_a_dead_letter_hears_the_event_that_came_for_it_and_no_other(any_rig: Any) -> None:
    rig = any_rig
    seen, broken = Seen(rig), [True]
    wait = step(wait="paid", key="k", timeout="10m", **{"as": "payment"})

    async def act(message: Any, context: Any) -> Any:
        try:
            return await wait.act(message, context)
        except Waiting:
            if broken and message.value["n"] == 2:  # it fails elsewhere, and has said that it waits
                raise Rejected("broken") from None
            raise

    rig.flow("f", rig.Act("wait", act), seen.step)
    rig.flow("s", step("s", signal="paid", key="k", value="n", remember="0s"))
    await rig.start()
    [late] = await rig.put("f", {"k": "a", "n": 1})
    await rig.ended("f", 1)
    [failed] = await rig.put("f", {"k": "a", "n": 2})
    await rig.ended("f", 2)
    await rig.put("s", {"k": "a", "n": 7})
    await rig.ended("s", 1)
    broken.clear()
    await rig.redrive("f", late)
    await rig.ended("f", 3)
    await rig.redrive("f", failed)
    await rig.until(lambda: rig.state("f", failed) is State.DONE)
    assert {ref: known["payment"] for ref, (_, known) in seen.found.items()} == {failed: 7}
    assert rig.state("f", late) is State.DEAD
    await rig.flushed()
    assert rig.store.memory.heads(0, "event:paid", "", 10) == []


async def test_an_event_that_comes_while_the_message_is_being_moved_leaves_it_moved(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    waiting(rig, seen)
    engine = await rig.start()
    [seq] = await rig.put("f", {"k": "a"})
    await rig.until(lambda: rig.states("f") == {"waiting": 1})
    memo, row = rig.memo("f", seq), rig.progress("f", seq)
    memo.redriven = 3
    rig.disk_takes = lambda: 1.0
    moving = asyncio.ensure_future(Live(engine).carry_out(Work(progress=[replace(row, memo=pack(memo))])))
    await asyncio.sleep(0.5)
    assert rig.memo("f", seq).redriven == 0, "it is on its way to the disk"
    engine.signals.tell("paid", "a", {"value": 1})
    await moving
    await rig.until(lambda: rig.state("f", seq) is State.DONE)
    assert rig.memo("f", seq).redriven == 3


async def test_no_event_is_missed_whenever_it_comes(any_rig: Any) -> None:
    """Events and those who wait for them come at the same time, on a slow disk: each finds the other."""
    rig = any_rig
    dice = random.Random(7)
    rig.disk_takes = lambda: dice.choice((0.0, 0.001, 0.02))
    seen = Seen(rig)
    waiting(rig, seen)
    await rig.start()
    for n in range(60):
        first, second = ("f", "s") if dice.random() < 0.5 else ("s", "f")
        rig.deliver(first, {"k": n, "n": n})
        await asyncio.sleep(dice.choice((0.0, 0.0005, 0.001, 0.01, 0.05)))
        rig.deliver(second, {"k": n, "n": n})
    await rig.ended("f", 60)
    assert rig.check("f") == {"done": 60}
    assert all(value["n"] == known["payment"] for value, known in seen.found.values())


async def test_an_event_that_comes_while_the_message_is_still_busy(rig: Any) -> None:
    """One branch has said that it waits, another still calls: the message has no row that an event could change."""
    seen, calling = Seen(rig), asyncio.Event()

    async def slow(call: Any) -> None:
        calling.set()
        await asyncio.sleep(5)

    wait, call = step(wait="paid", key="k"), rig.call("slow", rig.Op(slow))

    async def both(message: Any, context: Any) -> None:
        ends = await asyncio.gather(wait.act(message, context), call.act(message, context), return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    rig.flow("f", rig.Act("both", both), seen.step)
    rig.flow("s", step("s", signal="paid", key="k"))
    await rig.start()
    started = rig.clock.monotonic()
    await rig.put("f", {"k": 1})
    await calling.wait()
    await rig.put("s", {"k": 1})
    await rig.ended("f", 1)
    assert rig.clock.monotonic() - started < 20


async def test_what_was_decided_is_not_decided_again(any_rig: Any) -> None:
    """The steps before an effect that fails, and hangs as the process dies, are run again."""
    rig = any_rig
    crossed, hanging, tries = Counter[str](), asyncio.Event(), Counter[int]()
    rig.hook = lambda name: crossed.update([name])

    async def act(call: Any) -> None:
        tries[call.message.ref] += 1
        if tries[call.message.ref] == 1:
            raise Retry("busy")
        if tries[call.message.ref] == 2:
            hanging.set()
            await asyncio.Event().wait()

    rig.flow("f", step(delay="100s"), step(dedupe="k"), step(signal="paid", key="k"), rig.call("c", rig.Op(act)))
    await rig.start()
    started = rig.clock.monotonic()
    await rig.put("f", {"k": 1})
    await hanging.wait()
    await rig.restart()
    await rig.ended("f", 1)
    assert crossed["before_tell_commit"] == 1, "it is told once"
    assert crossed["before_wait_commit"] == 1 and rig.clock.monotonic() - started < 162, "it is delayed once"
    assert rig.check("f") == {"done": 1}


async def test_a_decision_stands_with_the_memory_before_the_message_moves(rig: Any) -> None:
    """A crash between the commit of the decision and the end of the message."""
    hanging = asyncio.Event()
    crossed = Counter[str]()
    rig.hook = lambda name: crossed.update([name])

    async def act(call: Any) -> None:
        if not hanging.is_set():
            hanging.set()
            await asyncio.Event().wait()

    rig.flow("f", step(signal="paid", key="k"), rig.call("c", rig.Op(act)))
    await rig.start()
    await rig.put("f", {"k": 1})
    await hanging.wait()
    await rig.flushed()
    await rig.restart()
    await rig.ended("f", 1)
    assert crossed["before_tell_commit"] == 1, "it is told once"


async def test_no_event_is_missed_through_crashes(any_rig: Any) -> None:
    """Senders repeat what they were not told about; each order goes on once, with its own event."""
    rig = any_rig
    dice = random.Random(5)
    rig.disk_takes = lambda: dice.choice((0.0, 0.001, 0.02))
    seen = Seen(rig, flaky=0.1)
    again = {"dedupe": lambda message: message.value["k"]}
    rig.flow("f", step(wait="paid", key="k", **{"as": "payment"}), step(delay="1s"), seen.step, **again)
    rig.flow("s", step("s", dedupe="k"), step("s", signal="paid", key="k", value="n"), **again)
    await rig.start()
    for _ in range(10):
        for n in dice.sample(range(40), 12):
            rig.deliver(dice.choice("fs"), {"k": n, "n": n})
            await asyncio.sleep(dice.choice((0.0, 0.0005, 0.005, 0.03)))
        await rig.restart()
    for flow in "fs":
        await rig.put(flow, *({"k": n, "n": n} for n in range(40)))
    await rig.until(lambda: rig.states("f") == {"done": 40} and rig.states("s") == {"done": 40})
    assert sorted(value["n"] for value in seen.values) == list(range(40))
    assert all(value["n"] == known["payment"] for value, known in seen.found.values())


async def test_steps_for_those_who_waited_in_vain(rig: Any) -> None:
    seen = Seen(rig)
    rig.flow("f", step(wait="paid", key="k", timeout="5m", on_timeout=[{"publish": "cancelled"}]), seen.step)
    rig.flow("c", seen.step, topic="cancelled")
    await rig.start()
    [ref] = await rig.put("f", {"k": "a"})
    await rig.ended("c", 1)
    await rig.ended("f", 1)
    assert rig.state("f", ref) is State.DISCARDED and rig.progress("f", ref).reason == "paid a did not come within 5m"


async def test_two_sides_join_in_either_order(rig: Any) -> None:
    seen = Seen(rig)
    more = {"into": '{"o": $.k, "p": $vars.joined.n}'}
    rig.flow("f", step(join="paid", key="k", within="5m", **more), seen.step)
    rig.flow("left", step("left", join="paid", key="k", within="5m", unmatched="pass"), seen.step)
    rig.flow("s", step("s", signal="paid", key="k"))
    await rig.start()
    await rig.put("s", {"k": 1, "n": 10})
    await rig.ended("s", 1)
    await rig.put("f", {"k": 1}, {"k": 2}, {"k": 3})
    await rig.put("left", {"k": 3})
    await rig.until(lambda: rig.states("f")["waiting"] == 2)
    await rig.put("s", {"k": 2, "n": 20})
    await rig.ended("f", 3)
    await rig.ended("left", 1)
    assert seen.values == [{"o": 1, "p": 10}, {"o": 2, "p": 20}, {"k": 3}]
    assert rig.check("f") == {"done": 2, "discarded": 1}


async def test_a_decision_that_nobody_makes(rig: Any) -> None:
    seen = Seen(rig)
    late = {"after": "1m", "topic": "late"}
    rig.flow("f", step(approve="finance", deadline="5m", escalate=late, otherwise=[{"publish": "refused"}]), seen.step)
    rig.flow("late", seen.step, topic="late")
    rig.flow("refused", seen.step, topic="refused")
    await rig.start()
    started = rig.clock.monotonic()
    [ref] = await rig.put("f", {"n": 1})
    await rig.ended("late", 1)
    assert 60 <= rig.clock.monotonic() - started < 122
    await rig.restart()
    await rig.ended("f", 1)
    assert 300 <= rig.clock.monotonic() - started < 362
    assert rig.state("f", ref) is State.DISCARDED
    assert rig.progress("f", ref).reason == "nobody of finance decided within 5m"
    await rig.ended("refused", 1)
    assert [value.get("by") for value in seen.values] == ["finance", None]


async def test_only_the_first_of_an_id_goes_on(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    rig.flow("f", step(dedupe="id", window="10m", time="at"), seen.step)
    await rig.start()
    [first] = await rig.put("f", {"id": 1, "at": rig.clock.now_ms()})
    await rig.ended("f", 1)
    await rig.restart()
    [again, old] = await rig.put("f", {"id": 1, "at": rig.clock.now_ms()}, {"id": 2, "at": 5})
    await rig.ended("f", 3)
    assert rig.state("f", again) is State.DISCARDED and rig.progress("f", again).reason.endswith(f"-{first:x}")
    assert rig.progress("f", old).reason.startswith("late: it is of 1970-01-01")
    await asyncio.sleep(700)
    assert rig.store.memory.heads(1, "dedupe", "", 10) == [], "ids are forgotten after the window"
    await rig.put("f", {"id": 1, "at": rig.clock.now_ms()})
    await rig.ended("f", 4)
    assert len(seen.found) == 2


async def test_messages_go_on_in_the_order_of_their_numbers(any_rig: Any) -> None:
    rig = any_rig
    dice = random.Random(3)
    seen = Seen(rig)
    rig.flow("f", step(resequence="n", by="k", timeout="1h"), seen.step)
    await rig.start()
    wanted = [{"k": k, "n": n} for k in "ab" for n in range(1, 21)]
    dice.shuffle(wanted)
    for part in (wanted[:15], wanted[15:30], wanted[30:]):
        await rig.put("f", *part)
        await rig.restart()
    await rig.until(lambda: len(seen.found) == 40)
    for k in "ab":
        assert [value["n"] for value in seen.values if value["k"] == k] == list(range(1, 21))
    await rig.until(lambda: rig.states("f") == {"done": 80})
    rig.check("f")


@pytest.mark.parametrize("gap", ["skip", "fail"])
async def test_a_number_that_does_not_come_is_given_up(rig: Any, gap: str) -> None:
    seen = Seen(rig)
    rig.flow("f", step(resequence="n", timeout="10m", gap=gap, capacity=3), seen.step)
    await rig.start()
    started = rig.clock.monotonic()
    await rig.put("f", {"n": 1}, {"n": 3}, {"n": 4}, {"n": 4})
    await rig.ended("f", 7 if gap == "skip" else 5)
    if gap == "fail":
        await rig.until(lambda: rig.states("f")["dead"] == 3)
    assert rig.clock.monotonic() - started >= 600
    [late] = await rig.put("f", {"n": 2})
    await rig.until(lambda: rig.state("f", late) is State.DEAD)
    assert rig.progress("f", late).reason.startswith("late: number 2 was here before, or was given up")
    await rig.put("f", {"n": 6}, {"n": 7}, {"n": 8}, {"n": 9})
    expected = [1, 3, 4, 6, 7, 8, 9] if gap == "skip" else [1]
    await rig.until(lambda: [value["n"] for value in seen.values] == expected)
    if gap == "fail":
        await rig.until(lambda: rig.states("f")["dead"] == 8)
        dead = [row.seq for row, progress in rig.rows("f").values() if "did not come" in progress.reason]
        await rig.redrive("f", *dead)
        await rig.until(lambda: [value["n"] for value in seen.values] == [1, 3, 4, 6, 7, 8, 9])
    rig.check("f")


async def test_a_body_is_left_and_fetched_in_another_flow(any_rig: Any) -> None:
    rig = any_rig
    seen = Seen(rig)
    rig.flow("f", step(claim_check="in", keep="5m", leave='{"id": id}'), rig.publish("p", "t"))
    rig.flow("g", seen.step, step("g", claim_check="out", into="$merge([$vars.claim, {'n': n}])"),
             step("g", publish="u"), topic="t")  # fmt: skip
    last = Seen(rig)
    rig.flow("h", last.step, topic="u")
    await rig.start()
    await rig.put("f", {"id": 1, "text": "x" * 1000, "n": 12345678901234567890})
    await rig.ended("f", 1)
    await rig.restart()
    await rig.ended("h", 1)
    assert seen.values == [{"id": 1}]
    assert last.values == [{"id": 1, "text": "x" * 1000, "n": 12345678901234567890}] or "n" not in seen.values[0]
    await asyncio.sleep(400)
    assert rig.store.memory.heads(0, "claims", "", 10) == []


async def test_what_several_subscribers_make_of_a_topic_is_their_own(rig: Any) -> None:
    one, two = Seen(rig), Seen(rig)
    rig.flow("p", rig.publish("p", "t"))
    rig.flow("one", step("one", aggregate={}, count=2), one.step, topic="t")
    rig.flow("two", step("two", aggregate={}, count=4), two.step, topic="t")
    await rig.start()
    await rig.put("p", 1, 2, 3, 4)
    await rig.until(lambda: len(one.found) == 2 and len(two.found) == 1)
    assert one.values == [[1, 2], [3, 4]] and two.values == [[1, 2, 3, 4]]


async def test_soak(any_rig: Any) -> None:
    """Groups and delays under failures, crashes and a slow disk: nobody is lost and nobody is in two groups."""
    rig = any_rig
    dice = random.Random(11)
    rig.disk_takes = lambda: dice.choice((0.0, 0.0, 0.002, 0.05))
    seen = Seen(rig, flaky=0.2)

    def sometimes(message: Any) -> None:
        if dice.random() < 0.05:
            raise Rejected("no luck")

    rig.flow("f", step(delay="2s"), rig.call("before", rig.Op(flaky(dice))), step(aggregate="k", count=4, within="20s"),
             rig.Apply("luck", sometimes), seen.step, retry_for=1e6, crash_limit=100)  # fmt: skip
    await rig.start()
    sent = 0
    for _ in range(12):
        batch = [{"k": n % 5, "n": n} for n in range(sent, sent + dice.randrange(1, 25))]
        rig.deliver("f", *batch)
        sent += len(batch)
        await asyncio.sleep(dice.choice((0.001, 0.01, 0.5, 3.0)))
        await rig.restart()

    def over() -> bool:
        return set(rig.states("f")) <= {"done", "dead"} and rig.store.memory.next_due(1) is None

    await rig.until(over)
    rows = [row for row, _ in rig.rows("f").values()]
    whole = [row for row in rows if not row.start]
    single = [json.loads(rig.store.journal.original(row.seq))["n"] for row in whole]
    groups = [json.loads(rig.store.journal.original(row.seq)) for row in rows if row.start]
    members = Counter(value["n"] for group in groups for value in group)
    assert members == Counter(single), "every member once, in one group"
    assert single and all(rig.state("f", row.seq) is State.DONE for row in whole)
    rig.check("f")


def flaky(dice: random.Random) -> Any:
    async def act(call: Any) -> None:
        await asyncio.sleep(dice.choice((0.0, 0.01, 1.0)))
        if dice.random() < 0.2:
            raise Retry("busy")

    return act


async def test_of_two_that_wait_side_by_side_the_earlier_time_counts(rig: Any) -> None:
    seen = Seen(rig)
    late = {"wait": "b", "key": "k", "timeout": "1m"}
    rig.flow("f", step(parallel=[{"wait": "a", "key": "k"}, late]), seen.step)
    await rig.start()
    [ref] = await rig.put("f", {"k": 1})
    await rig.until(lambda: rig.state("f", ref) is State.DEAD, 100.0)
    assert rig.progress("f", ref).reason == "timeout: b 1 did not come within 1m"


async def test_a_group_is_complete_in_time_although_the_store_was_away_for_long(rig: Any) -> None:
    """Nobody looks for its time before the store knows of it, and then somebody does."""
    away, gate = asyncio.Event(), asyncio.Event()

    async def act(message: Any, context: Any) -> None:
        await gate.wait()

    def hook(name: str) -> None:
        if away.is_set():
            raise Unavailable("no space")

    rig.flow("f", rig.Act("a", act), step(aggregate="k", within="90s"))
    rig.store_hook = hook
    await rig.start()
    await rig.put("f", {"k": 1})
    await rig.until(lambda: rig.engine.flows["f"].running == 1)
    away.set()
    gate.set()
    await asyncio.sleep(80)
    away.clear()
    await rig.until(lambda: rig.states("f") == {"done": 2}, 60.0)
