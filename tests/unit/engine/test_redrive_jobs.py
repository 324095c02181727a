"""A redrive as a job: part by part, at its rate, paused and gone on with; never twice, wherever the process dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from dovetail.control.answers import RedriveOrder, Search
from dovetail.control.desk import Control
from dovetail.control.job import JobOrder
from dovetail.control.live import Live
from dovetail.engine.engine import Engine
from dovetail.engine.memo import message_id
from dovetail.errors import Refused, Rejected, Unavailable
from dovetail.sdk import Call, Message
from dovetail.store.base import State

Rig = Any  # the fixture's class


class Work:
    """Dead letters of a flow that has been mended since, and a server that carries out jobs."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.broken = True
        self.runs: list[tuple[float, int]] = []  # second, value; of those that went well
        rig.flow("f", rig.Apply("work", self._apply), key=lambda message: f"k{message.value % 3}")

    def _apply(self, message: Message) -> None:
        if self.broken:
            raise Rejected("not yet")
        self.runs.append((self.rig.clock.monotonic(), message.value))

    async def die(self, count: int) -> list[int]:
        """So many dead letters; from now on they would go well."""
        await self.start()
        seqs = await self.rig.put("f", *range(count))
        await self.rig.ended("f", count)
        await self.rig.flushed()
        self.broken = False
        return seqs

    async def start(self) -> Engine:
        engine = await self.rig.start()
        self.control = Control(self.rig.store, self.rig.clock, Live(engine), project="p", path="store.db")
        engine.attend(self.control.jobs.run(self.rig.log))
        return engine

    async def again(self) -> None:
        """As after `kill -9`."""
        await self.rig.crash()
        await self.start()

    async def order(self, **order: Any) -> str:
        answer = await self.control.jobs.order(RedriveOrder(by="ann", **order))
        return answer.job.id

    async def change(self, id: str, action: str) -> None:
        await self.control.jobs.change(id, JobOrder(by="bob", action=action))

    def line(self, id: str) -> Any:
        return next(line for line in self.control.jobs.lines() if line.id == id)

    async def over(self, id: str) -> Any:
        """The job when all was sent on and has ended."""
        await self.rig.until(lambda: self.line(id).state == "done")
        total = self.line(id).sent
        await self.rig.until(lambda: len(self.runs) >= total)
        await self.rig.flushed()
        return await self.control.jobs.show(id)

    def redriven(self) -> Counter[int]:
        return Counter(event[2] for event in self.rig.audit() if event[0] == "redriven")


@pytest.fixture
def work(rig: Rig) -> Work:
    return Work(rig)


ALL = Search(flow="f")


async def test_a_job_sends_on_what_was_chosen_when_it_was_ordered(rig: Rig, work: Work) -> None:
    seqs = await work.die(250)
    id = await work.order(search=ALL, note="mended")
    job = await work.over(id)
    assert (job.state, job.selected, job.sent, job.skipped, job.left) == ("done", 250, 250, 0, 0)
    assert (job.done, job.failed, job.under_way) == (250, 0, 0)
    assert (job.by, job.note) == ("ann", "mended")
    assert work.redriven() == Counter(seqs)
    for lane in range(3):
        values = [value for _, value in work.runs if value % 3 == lane]
        assert values == sorted(values), "order of a key"
    assert rig.check("f") == {"done": 250}
    events = [event for event in rig.audit() if event[0] == "redrive_job"]
    assert [tuple(event) for event in events] == [
        ("redrive_job", 1, "ordered", "ann", 250, "mended"), ("redrive_job", 1, "done", "ann", 250),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["before_redrive_commit", "after_redrive_commit", "store_before_commit"])
@pytest.mark.parametrize("nth", [2, 4])
async def test_wherever_it_dies_nothing_is_repeated_or_left_out(rig: Rig, work: Work, name: str, nth: int) -> None:
    seqs = await work.die(300)
    met, died = 0, asyncio.Event()

    def hook(at: str) -> None:
        nonlocal met
        met += at == name
        if at == name and met >= nth:
            died.set()
            raise Unavailable("the process ends here")

    rig.hook = rig.store_hook = hook
    id = await work.order(search=ALL)
    await died.wait()
    rig.hook = rig.store_hook = lambda at: None
    await work.again()
    job = await work.over(id)
    assert (job.sent, job.done, job.skipped) == (300, 300, 0)
    assert work.redriven() == Counter(seqs)
    await rig.until(lambda: rig.states("f") == {"done": 300})


async def test_a_store_that_takes_nothing_for_a_while_holds_it_up(rig: Rig, work: Work) -> None:
    seqs = await work.die(150)
    refusals = 3

    def hook(at: str) -> None:
        nonlocal refusals
        if at == "before_redrive_commit" and refusals:
            refusals -= 1
            raise Unavailable("full")

    id = await work.order(search=ALL, rate=1000.0)
    rig.hook = hook
    job = await work.over(id)
    assert (job.sent, job.done, refusals) == (150, 150, 0)
    assert work.redriven() == Counter(seqs)


async def test_the_rate_holds_over_a_restart(rig: Rig, work: Work) -> None:
    await work.die(20)
    began = rig.clock.monotonic()
    id = await work.order(search=ALL, rate=2.0)
    await rig.until(lambda: rig.watch.heard["f:done"] == 7)
    await work.again()
    await work.over(id)
    assert sorted(value for _, value in work.runs) == list(range(20))
    times = sorted(time - began for time, _ in work.runs)
    for n in range(len(times)):
        for later in range(n + 3, len(times)):
            assert times[later] - times[n] >= (later - n - 1.01) / 2, "two a second"
    assert times[-1] >= 9.0


async def test_paused_nothing_goes_on_and_resumed_it_does(rig: Rig, work: Work) -> None:
    await work.die(10)
    id = await work.order(search=ALL, rate=1.0)
    await rig.until(lambda: len(work.runs) == 3)
    await work.change(id, "pause")
    sent = work.line(id).sent
    assert sent < 10
    await asyncio.sleep(3600)
    assert (work.line(id).state, work.line(id).sent, len(work.runs)) == ("paused", sent, sent)
    await work.again()
    await asyncio.sleep(3600)
    assert len(work.runs) == sent, "it stays so over a restart"
    resumed = rig.clock.monotonic()
    await work.change(id, "resume")
    job = await work.over(id)
    assert (job.done, job.left) == (10, 0)
    after = [time - resumed for time, _ in work.runs[sent:]]
    assert after[-1] >= len(after) - 1.01, "no burst for the time that it was paused"
    assert [event[2:4] for event in rig.audit() if event[0] == "redrive_job"][1:3] == [
        ("paused", "bob"), ("running", "bob"),
    ]  # fmt: skip


async def test_cancelled_the_rest_stay_dead_letters(rig: Rig, work: Work) -> None:
    await work.die(10)
    id = await work.order(search=ALL, rate=1.0)
    await rig.until(lambda: len(work.runs) == 3)
    await work.change(id, "cancel")
    job = await work.control.jobs.show(id)
    await asyncio.sleep(3600)
    assert (job.state, job.left) == ("cancelled", 10 - job.sent)
    assert rig.states("f") == {"done": job.sent, "dead": 10 - job.sent}
    for action in ("pause", "resume", "cancel"):
        with pytest.raises(Refused, match="is cancelled"):
            await work.change(id, action)
    again = await work.order(search=ALL)
    assert (await work.over(again)).selected == job.left


async def test_what_changed_meanwhile_is_skipped_and_what_fails_again_is_told(rig: Rig, work: Work) -> None:
    seqs = await work.die(4)
    work.broken = True
    id = await work.order(search=ALL, rate=1.0)
    await rig.until(lambda: rig.watch.heard["f:dead"] >= 5)
    await work.change(id, "pause")
    work.broken = False
    await rig.redrive("f", seqs[3])
    await rig.until(lambda: len(work.runs) == 1)
    await rig.flushed()
    await work.change(id, "resume")
    await rig.until(lambda: work.line(id).state == "done")
    await rig.until(lambda: rig.state("f", seqs[2]) is State.DONE)
    job = await work.control.jobs.show(id)
    assert (job.sent, job.skipped, job.under_way) == (3, 1, 0)
    assert job.failed >= 1 and job.failed + job.done == 3
    last = message_id(rig.store.uid, seqs[3])
    assert [(skip.id, skip.why) for skip in job.skips] == [(last, f"{last} is not a dead letter: it is done")]


async def test_bodies_are_mended_and_two_jobs_go_side_by_side(rig: Rig, work: Work) -> None:
    seqs = await work.die(6)
    ids = [message_id(rig.store.uid, seq) for seq in seqs]
    slow = await work.order(ids=ids[:3], rate=0.1, map="$ + 100")
    quick = await work.order(ids=[f"f:{id}" for id in [*ids[3:], ids[3], "77"]])
    assert (await work.over(quick)).sent == 3
    assert work.line(slow).left > 0
    await work.over(slow)
    await rig.until(lambda: len(work.runs) == 6)
    assert {value for _, value in work.runs} == {3, 4, 5, 100, 101, 102}


async def test_jobs_that_are_over_are_forgotten_at_last(rig: Rig, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail.control.jobs.KEPT", 2)
    seqs = await work.die(5)
    for seq in seqs:
        id = await work.order(ids=[message_id(rig.store.uid, seq)])
        await work.over(id)
    assert [line.id for line in work.control.jobs.lines()] == ["5", "4", "3"]
    with pytest.raises(Refused, match="no redrive job '1'"):
        await work.control.jobs.show("1")


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"by": " ", "search": ALL}, "say who"),
        ({"by": "ann"}, "either ids or a search"),
        ({"by": "ann", "ids": ["77"]}, "there is no message 77"),
        ({"by": "ann", "search": Search(flow="f", text="nowhere")}, "no dead letter"),
        ({"by": "ann", "search": ALL, "rate": -1.0}, "rate must"),
    ],
)
async def test_orders_that_make_no_sense_make_no_job(rig: Rig, work: Work, order: dict[str, Any], why: str) -> None:
    await work.die(1)
    with pytest.raises(Refused, match=why):
        await work.control.jobs.order(RedriveOrder(**order))
    assert work.control.jobs.lines() == []


async def test_as_new_everything_is_done_again_under_new_keys(rig: Rig, work: Work) -> None:
    async def answer(call: Call) -> None:
        return None

    op = rig.Op(answer)
    rig.flow("f", rig.call("call", op), rig.Apply("work", work._apply), key=lambda message: "k")
    await work.die(3)
    id = await work.order(search=ALL, as_new=True, rate=1.0)
    job = await work.over(id)
    assert (job.sent, job.done, job.failed) == (3, 3, 0)
    assert rig.check("f") == {"discarded": 3, "done": 3}
    assert [value for _, value in work.runs] == [0, 1, 2]
    assert len(op.calls) == len({call.key for call in op.calls}) == 6


async def test_as_new_on_a_topic_is_for_the_flow_that_it_failed_in(rig: Rig, work: Work) -> None:
    seen: list[int] = []
    rig.flow("sender", rig.publish("publish", "news"))
    rig.flow("f", rig.Apply("work", work._apply), topic="news")
    rig.flow("other", rig.Apply("see", lambda message: seen.append(message.value)), topic="news", number=7)
    await work.start()
    await rig.put("sender", 1, 2)
    await rig.ended("f", 2)
    await rig.ended("other", 2)
    await rig.flushed()
    work.broken = False
    id = await work.order(search=ALL, as_new=True)
    await work.over(id)
    await rig.until(lambda: rig.states("f") == {"discarded": 2, "done": 2})
    await rig.until(lambda: rig.states("other") == {"done": 2, "discarded": 2})
    assert seen == [1, 2]
    for flow in ("f", "other"):
        rig.check(flow)


@pytest.mark.parametrize("name", ["before_redrive_commit", "after_redrive_commit"])
async def test_as_new_wherever_it_dies_there_is_one_new_message_for_each(rig: Rig, work: Work, name: str) -> None:
    await work.die(150)
    died = asyncio.Event()
    met = 0

    def hook(at: str) -> None:
        nonlocal met
        met += at == name
        if at == name and met >= 2:
            died.set()
            raise Unavailable("the process ends here")

    rig.hook = hook
    id = await work.order(search=ALL, as_new=True)
    await died.wait()
    rig.hook = lambda at: None
    await work.again()
    await work.over(id)
    await rig.until(lambda: rig.states("f") == {"discarded": 150, "done": 150})
    assert {value for _, value in work.runs} == set(range(150))
