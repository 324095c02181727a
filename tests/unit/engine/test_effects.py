"""Effects: recorded once, repeated only as their operation allows, known again after every crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dovetail.engine.journey import effect_key
from dovetail.engine.memo import forget_answers, message_id, unpack
from dovetail.errors import InDoubt, Rejected, Retry
from dovetail.sdk import Done, Failed, Message, Repeat, Reply
from dovetail.store.base import State


def once(*errors: Exception | None) -> Any:
    left = list(errors)

    async def act(call: Any) -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return act


@pytest.mark.parametrize("repeat", list(Repeat))
async def test_a_done_effect_is_not_repeated_by_a_retry(rig: Any, repeat: Repeat) -> None:
    first, second = rig.Op(repeat=repeat), rig.Op(once(Retry("busy"), Retry("busy")), target="other")
    rig.flow("f", rig.call("a", first), rig.call("b", second))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert (len(first.calls), len(second.calls)) == (1, 3)
    assert {call.key for call in second.calls} == {effect_key("f", message_id(rig.store.uid, seq), "b", "")}
    assert rig.effect_states("f", seq) == {"a": "done", "b": "done"}
    assert not first.queries


@pytest.mark.parametrize("repeat", list(Repeat))
async def test_a_done_effect_is_not_repeated_by_a_redrive_with_another_version(rig: Any, repeat: Repeat) -> None:
    first, second = rig.Op(repeat=repeat), rig.Op(once(Rejected("no")), target="other")
    rig.flow("f", rig.call("a", first), rig.call("b", second))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    key = second.calls[0].key
    rig.flow("f", rig.Apply("new", lambda m: None), rig.call("a", first), rig.call("b", second), number=2)
    await rig.restart()
    await rig.redrive("f", seq)
    await rig.ended("f", 2)
    assert len(first.calls) == 1
    assert [call.key for call in second.calls] == [key, key]
    assert rig.check("f") == {"done": 1}
    assert rig.memo("f", seq).version == 2


@pytest.mark.parametrize("repeat", list(Repeat))
async def test_a_done_effect_is_not_repeated_after_a_crash(rig: Any, repeat: Repeat) -> None:
    """The first call is done and recorded, the second hangs when the process dies."""
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        if not hang.is_set():
            await hang.wait()

    first, second = rig.Op(repeat=repeat), rig.Op(act, target="other")
    rig.flow("f", rig.call("a", first), rig.call("b", second))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: second.calls)
    await rig.flushed()
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.state("f", seq) is State.DONE)
    assert (len(first.calls), len(second.calls)) == (1, 2)
    assert [call.attempt for call in second.calls] == [1, 2]
    assert len({call.key for call in second.calls}) == 1


async def _crash_in_the_call(rig: Any, repeat: Repeat, unsafe: str, query: Any = None) -> tuple[Any, int]:
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        await hang.wait()

    op = rig.Op(act, repeat=repeat, query=query)
    rig.flow("f", rig.call("a", op), unsafe=unsafe)
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: op.calls)
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.state("f", seq) >= State.DONE)
    return op, seq


@pytest.mark.parametrize("repeat", [Repeat.TRANSACTIONAL, Repeat.IDEMPOTENT, Repeat.NATURAL])
async def test_in_doubt_and_safe_is_made_again_under_the_same_key(rig: Any, repeat: Repeat) -> None:
    op, seq = await _crash_in_the_call(rig, repeat, "park")
    assert len(op.calls) == 2 and len({call.key for call in op.calls}) == 1
    assert rig.state("f", seq) is State.DONE


async def test_in_doubt_and_unsafe_is_parked(rig: Any) -> None:
    op, seq = await _crash_in_the_call(rig, Repeat.NONE, "park")
    assert len(op.calls) == 1
    row = rig.progress("f", seq)
    assert (row.state, row.reason[:9]) == (State.DEAD, "in_doubt:")
    assert rig.effect_states("f", seq) == {"a": "intended"}
    assert rig.watch.breakers == []
    await rig.redrive("f", seq)
    await rig.ended("f", 2)
    assert len(op.calls) == 1, "a redrive does not make it any surer"
    assert rig.check("f") == {"dead": 1}


async def test_in_doubt_and_unsafe_is_repeated_where_the_flow_says_so(rig: Any) -> None:
    op, seq = await _crash_in_the_call(rig, Repeat.NONE, "retry")
    assert len(op.calls) == 2
    assert rig.state("f", seq) is State.DONE


@pytest.mark.parametrize("known", [True, False])
async def test_in_doubt_and_queryable_is_asked(rig: Any, known: bool) -> None:
    op, seq = await _crash_in_the_call(rig, Repeat.QUERYABLE, "park", lambda call: Reply(b"1") if known else None)
    assert (len(op.calls), len(op.queries)) == (1 if known else 2, 1)
    assert op.queries[0].key == op.calls[0].key
    assert rig.state("f", seq) is State.DONE
    assert rig.effect_states("f", seq) == {"a": "done"}


async def test_many_doubts_do_not_open_the_breaker(rig: Any) -> None:
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        if call.message.value < 10:
            await hang.wait()

    op = rig.Op(act, repeat=Repeat.NONE)
    rig.flow("f", rig.call("a", op))
    await rig.start()
    await rig.put("f", *range(10))
    await rig.until(lambda: len(op.calls) == 10)
    await rig.restart()
    await rig.put("f", 10)
    await rig.until(lambda: rig.states("f") == {"dead": 10, "done": 1})
    assert rig.watch.breakers == []


async def test_a_timeout_is_a_doubt(rig: Any) -> None:
    async def drip(call: Any) -> None:
        for _ in range(1000):
            await asyncio.sleep(0.5)

    ops = {repeat: rig.Op(drip, repeat=repeat, target=repeat.value) for repeat in (Repeat.NONE, Repeat.NATURAL)}
    for repeat, op in ops.items():
        rig.flow(repeat.value, rig.call("a", op, timeout=3.0), max_attempts=2)
    await rig.start()
    began = rig.clock.monotonic()
    [none] = await rig.put("none", {"n": 1})
    [natural] = await rig.put("natural", {"n": 1})
    await rig.ended("none", 1)
    assert 3.0 <= rig.clock.monotonic() - began <= 3.3
    assert rig.progress("none", none).reason == "timeout: no complete answer within 3 s"
    assert rig.effect_states("none", none) == {"a": "in_doubt"}
    await rig.until(lambda: rig.state("natural", natural) is State.IN_DOUBT)
    await rig.ended("natural", 1)
    assert len(ops[Repeat.NATURAL].calls) == 2
    assert rig.progress("natural", natural).reason.startswith("timeout")


async def test_a_client_that_swallows_its_cancellation_answers_late_and_harms_nobody(rig: Any) -> None:
    async def stubborn(call: Any) -> None:
        try:
            await asyncio.sleep(1000.0)
        except asyncio.CancelledError:
            return

    async def polite(call: Any) -> None:
        async with asyncio.timeout(5.0):
            await asyncio.sleep(1.0)

    rig.flow("f", rig.call("a", rig.Op(stubborn), timeout=3.0), rig.call("b", rig.Op(polite)))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert rig.effect_states("f", seq) == {"a": "done", "b": "done"}


UNSAFE = (Repeat.NONE, Repeat.QUERYABLE)
BOUNDARIES = [
    (name, repeat)
    for name in ("before_intent_commit", "after_intent_before_send", "after_send_before_record",
                 "after_outcome_before_commit")
    for repeat in Repeat
    if repeat in UNSAFE or name != "before_intent_commit"  # what is safe to repeat has no intent on record
]  # fmt: skip


@pytest.mark.parametrize(("name", "repeat"), BOUNDARIES)
async def test_a_crash_at_each_boundary(rig: Any, name: str, repeat: Repeat) -> None:
    """The process stops dead at a boundary; a target that dedupes by key applies the effect once."""
    applied: dict[str, int] = {}
    made = 0

    async def act(call: Any) -> None:
        nonlocal made
        made += 1
        applied[call.key] = 1

    stopped = asyncio.Event()

    def hook(at: str) -> None:
        if at == name and not stopped.is_set():
            stopped.set()
            rig.store_hook = frozen  # nothing reaches the disk any more
            raise asyncio.CancelledError

    def frozen(at: str) -> None:
        raise OSError("the process is gone")

    op = rig.Op(act, repeat=repeat, query=lambda call: Reply(b"1") if call.key in applied else None)
    rig.flow("f", rig.call("a", op))
    rig.hook = hook
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(stopped.is_set)
    rig.hook = lambda at: None
    await rig.crash()
    rig.store_hook = lambda at: None
    await rig.start()
    await rig.until(lambda: rig.state("f", seq) >= State.DONE)
    state = rig.state("f", seq)
    if repeat is Repeat.NONE and name in ("after_intent_before_send", "after_send_before_record"):
        assert state is State.DEAD and made <= 1, "nobody knows, so nobody guesses"
    elif repeat in UNSAFE:
        assert state is State.DONE and made == 1
    else:
        assert state is State.DONE and len(applied) == 1
    rig.check("f")


async def test_the_answer_is_the_same_after_a_retry(rig: Any) -> None:
    replies = {
        "bytes": lambda: Reply(b"\x00raw"), "none": lambda: Reply(value=None), "number": lambda: Reply(value=7),
        "plain": lambda: Reply(value={"a": [1, 2**70, "x"]}), "json": lambda: Reply(b'{"n": 12.50}', codec=rig.json),
        "empty": lambda: Reply(b"", status=204),
    }  # fmt: skip
    seen: dict[str, list[Any]] = {name: [] for name in replies}
    second = rig.Op(once(*[Retry("busy")] * len(replies)), target="other")

    async def step(message: Message, context: Any) -> None:
        name = message.value

        async def act(call: Any) -> Reply:
            return replies[name]()

        reply = await context.call("a", rig.Op(act), message)
        seen[name].append((reply.value, reply.status))
        await context.call("b", second, message)

    rig.flow("f", rig.Act("s", step), concurrency=1)
    await rig.start()
    await rig.put("f", *replies)
    await rig.ended("f", len(replies))
    assert rig.check("f") == {"done": len(replies)}
    for name, told in seen.items():
        assert len(told) >= 2 and all(answer == told[0] for answer in told), name


async def test_branches_name_their_effects_apart(rig: Any) -> None:
    op = rig.Op(once(None, Retry("busy")))

    async def step(message: Message, context: Any) -> None:
        for label in ("x", "y"):
            await context.branch(label).call("a", op, message)

    rig.flow("f", rig.Act("s", step))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert len(op.calls) == 3 and len({call.key for call in op.calls}) == 2
    assert len(rig.memo("f", seq).effects) == 2


# --- sinks ----------------------------------------------------------------------------------------------------------


def sink(rig: Any, outcomes: Any, **more: Any) -> Any:
    """A sink that answers for each message as `outcomes(value, how often it was written)` says."""
    counts: dict[str, int] = {}

    async def write(calls: Any) -> dict[str, Any]:
        found = {}
        for call in calls:
            counts[call.key] = counts.get(call.key, 0) + 1
            outcome = outcomes(call.message.value, counts[call.key])
            if outcome is not None:
                found[call.key] = outcome
        return found

    return rig.Drain(write, **more)


def batch_step(rig: Any, drain: Any) -> Any:
    from dovetail.sdk import Result, Step

    class Send(Step):
        async def run(self, batch: Any, context: Any) -> Result:
            result = Result()
            outcomes = await context.write(self.id, drain, batch)
            for message, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Failed):
                    result.failed.append((message, outcome.error))
                else:
                    result.out.append(message)
            return result

    return Send(None, rig.named("s"))


@pytest.mark.parametrize("repeat", [Repeat.IDEMPOTENT, Repeat.NONE])
async def test_a_partly_failed_batch(rig: Any, repeat: Repeat) -> None:
    def outcomes(value: int, time: int) -> Any:
        if value == 1:
            return Failed(Rejected("never"))
        if value == 2 and time == 1:
            return Failed(Retry("busy"))
        if value == 3:
            return None if time == 1 else Done()
        return Done()

    drain = sink(rig, outcomes, repeat=repeat)
    rig.flow("f", batch_step(rig, drain))
    await rig.start()
    seqs = await rig.put("f", *range(6))
    await rig.ended("f", 6)
    doubted = repeat is Repeat.NONE
    assert [rig.state("f", seq) for seq in seqs] == [
        State.DONE, State.DEAD, State.DONE, State.DEAD if doubted else State.DONE, State.DONE, State.DONE
    ]  # fmt: skip
    assert rig.effect_states("f", seqs[2]) == {"s": "done"}, "what was proved not to be written is written again"
    assert rig.effect_states("f", seqs[3]) == {"s": "in_doubt" if doubted else "done"}
    written = [call.message.ref for calls in drain.batches for call in calls]
    assert written.count(seqs[0]) == 1 and written.count(seqs[2]) == 2
    assert rig.watch.breakers == []
    rig.check("f")
    await rig.quiet("f")


async def test_an_exception_speaks_for_the_batch_but_is_one_call(rig: Any) -> None:
    tries = 0

    async def write(calls: Any) -> dict[str, Any]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Retry("busy", code="connect")
        return {call.key: Done() for call in calls}

    rig.flow("f", batch_step(rig, rig.Drain(write)))
    await rig.start()
    await rig.put("f", *range(20))
    await rig.ended("f", 20)
    assert rig.watch.breakers == [], "one failed call"
    assert rig.check("f") == {"done": 20}
    assert rig.watch.heard["effect:failed"] == 20 and rig.watch.heard["effect:done"] == 20


async def test_a_crash_in_an_unsafe_write_is_a_doubt(rig: Any) -> None:
    started = asyncio.Event()

    async def write(calls: Any) -> dict[str, Any]:
        started.set()
        await asyncio.Event().wait()
        return {}

    drain = rig.Drain(write, repeat=Repeat.NONE)
    rig.flow("f", batch_step(rig, drain))
    await rig.start()
    await rig.put("f", 1, 2)
    await started.wait()
    await rig.restart()
    await rig.until(lambda: rig.states("f") == {"dead": 2})
    assert len(drain.batches) == 1


# --- publishing -----------------------------------------------------------------------------------------------------


async def test_a_message_publishes_once_whatever_happens_to_it_later(rig: Any) -> None:
    op = rig.Op(once(Retry("busy"), InDoubt("cut"), Rejected("no")))
    rig.flow("f", rig.publish("p", "t"), rig.call("c", op), rig.publish("q", "t"))
    rig.flow("g", rig.Apply("a", lambda m: None), topic="t")
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert rig.state("f", seq) is State.DEAD
    await rig.ended("g", 1)
    await rig.redrive("f", seq)
    await rig.ended("f", 2)
    await rig.ended("g", 2)
    await rig.quiet("g")
    assert rig.check("g") == {"done": 2}
    assert rig.effect_states("f", seq) == {"p": "done", "c": "done", "q": "done"}


async def test_a_published_message_stands_with_its_senders_move(rig: Any) -> None:
    """The sender dies behind its publication: the topic has it with the row that tells of it, and not a second time."""
    hang = asyncio.Event()

    async def step(message: Message, context: Any) -> None:
        context.publish("p", "t", message)
        await hang.wait()

    rig.flow("f", rig.Act("s", step))
    rig.flow("g", rig.Apply("a", lambda m: None), topic="t")
    await rig.start()
    await rig.put("f", {"n": 1})
    await rig.until(lambda: rig.engine.flows["f"].running)
    await rig.flushed()
    await rig.ended("g", 1)
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 1})
    assert rig.check("g") == {"done": 1} and rig.check("f") == {"done": 1}


async def test_a_refusal_stands_until_the_message_is_redriven(rig: Any) -> None:
    """What was refused once is refused for the attempts to come, so that a handler that has run is not contradicted."""
    open_door = False

    async def refuse(call: Any) -> None:
        if not open_door:
            raise Rejected("not wanted", code="http_422")

    async def busy(call: Any) -> None:
        if len(later.calls) < 3:
            raise Retry("busy")

    first, later = rig.Op(refuse), rig.Op(busy, target="later")

    async def act(message: Message, context: Any) -> None:
        try:
            await context.call("a", first, message)
        except Rejected as error:
            caught.append((error.code, error.message))
        await context.call("b", later, message)
        if message.value == 2 and not open_door:
            raise Rejected("no")

    caught: list[tuple[str, str]] = []
    rig.flow("f", rig.Act("s", act))
    await rig.start()
    await rig.put("f", 1)
    await rig.ended("f", 1)
    assert len(first.calls) == 1 and len(later.calls) == 3
    assert caught == [("http_422", "not wanted")] * 3
    [seq] = await rig.put("f", 2)
    await rig.until(lambda: rig.state("f", seq) is State.DEAD)
    open_door = True
    await rig.redrive("f", seq)
    await rig.until(lambda: rig.state("f", seq) is State.DONE)
    assert len(first.calls) == 3, "it is asked again when somebody has mended what was wrong"


async def test_a_recorded_answer_has_the_headers_of_the_first_time(rig: Any) -> None:
    json = rig.codecs.by_name("json")
    headers = {"Location": "/orders/7", "Set-Cookie": "secret", "Date": "now", "X-Long": "x" * 5000, "X-Late": "1"}
    first = rig.Op(lambda call: answered(Reply(b"1", codec=json, status=201, headers=headers)))
    seen: list[dict[str, str]] = []

    async def act(message: Message, context: Any) -> None:
        reply = await context.call("a", first, message)
        seen.append(dict(reply.headers))
        if len(seen) < 3:
            raise Retry("again")

    rig.flow("f", rig.Act("s", act))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: len(seen) == 2)
    await rig.flushed()
    await rig.restart()
    await rig.ended("f", 1)
    assert len(first.calls) == 1
    assert seen == [{"Location": "/orders/7"}] * 3, "the same each time: no cookies, and what fits"
    [effect] = rig.memo("f", seq).effects.values()
    assert effect.headers == seen[0]
    [forgotten] = unpack(forget_answers(rig.progress("f", seq).memo)).effects.values()
    assert not forgotten.headers


async def answered(reply: Reply) -> Reply:
    return reply
