"""Retries are durable, spaced, counted before any code runs, and they end."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from dovetail.clock import SystemIds
from dovetail.engine.definition import Policy
from dovetail.engine.policies.retry import exhausted, next_sleep
from dovetail.errors import Paused, Rejected, Retry, Throttled
from dovetail.sdk import Message, Repeat
from dovetail.store.base import State


def failing(*errors: Exception | None) -> Any:
    """An act that raises these, one a call, and then does well."""
    left = list(errors)

    async def act(call: Any) -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return act


def test_jitter_is_decorrelated_and_bounded() -> None:
    policy, ids, sleep = Policy(retry_base=1.0, retry_cap=900.0), SystemIds(), 0.0
    seen = []
    for _ in range(2000):
        following = next_sleep(policy, sleep, None, ids)
        assert 1.0 <= following <= min(900.0, max(1.0, 3 * sleep))
        seen.append(following)
        sleep = following
    assert max(seen) > 300 and len(set(seen)) > 1000
    assert next_sleep(policy, 1.0, 120.0, ids) == 120.0
    for nonsense in (float("inf"), 1e300):
        assert next_sleep(policy, 1.0, nonsense, ids) == policy.retry_for
    for nothing in (float("nan"), -5.0, 0.0):
        assert 1.0 <= next_sleep(policy, 1.0, nothing, ids) <= 3.0


def test_when_it_is_over() -> None:
    policy = Policy(retry_for=60.0, max_attempts=3)
    assert not exhausted(policy, 2, 1000, 60_999)
    assert exhausted(policy, 2, 1000, 61_000)
    assert exhausted(policy, 3, 0, 0)
    assert not exhausted(policy, 1, 0, 10**12), "the first failure starts the horizon"


async def test_a_retry_is_on_disk_and_counted_before_the_code_runs(rig: Any) -> None:
    attempts: list[tuple[int, Any]] = []

    async def act(call: Any) -> None:
        row = rig.store.progress.get(rig.engine.flows["f"].number, call.message.ref)
        attempts.append((call.attempt, row and (row.state, row.attempt)))
        if call.attempt < 3:
            raise Retry("busy", code="http_503")

    rig.flow("f", rig.call("c", rig.Op(act)))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: rig.state("f", seq) is State.WAITING)
    waiting = rig.progress("f", seq)
    assert waiting.attempt == 1
    assert waiting.next_at - rig.engine.steady_ms() + 1 >= 1000
    await rig.flushed()
    assert not rig.engine.flows["f"].active
    await rig.ended("f", 1)
    assert attempts == [(1, None), (2, (State.RUNNING, 2)), (3, (State.RUNNING, 3))]
    assert [(a.number, a.code, a.step) for a in rig.memo("f", seq).history] == [
        (1, "http_503", "c"), (2, "http_503", "c")
    ]  # fmt: skip
    assert rig.check("f") == {"done": 1}
    await rig.quiet("f")


async def test_retry_after_is_honoured_and_survives_a_restart(rig: Any) -> None:
    op = rig.Op(failing(Retry("busy", after=300.0)))
    rig.flow("f", rig.call("c", op))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: rig.state("f", seq) is State.WAITING)
    told = rig.clock.monotonic()
    await rig.restart()
    assert rig.state("f", seq) is State.WAITING, "what waits was not in flight"
    assert rig.memo("f", seq).crashes == 0
    await rig.ended("f", 1)
    assert 299.0 <= rig.clock.monotonic() - told <= 362.0
    assert [call.attempt for call in op.calls] == [1, 2]


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
async def test_a_clock_that_is_set_moves_no_time_over_a_restart(rig: Any, jump: float) -> None:
    op = rig.Op(failing(Retry("busy", after=300.0)))
    rig.flow("f", rig.call("c", op))
    await rig.start()
    await rig.put("f", {"n": 1})
    await rig.until(lambda: rig.states("f")["waiting"])
    told = rig.clock.monotonic()
    rig.clock.jump = jump
    await rig.restart()
    await rig.ended("f", 1)
    assert 299.0 <= rig.clock.monotonic() - told <= 362.0


async def test_what_a_target_asked_for_outlives_a_restart_and_a_change_of_its_rate(rig: Any) -> None:
    op = rig.Op(failing(Throttled("slowly", after=300.0)))
    rig.flow("f", rig.call("c", op))
    await rig.start()
    await rig.put("f", 1)
    await rig.until(lambda: rig.states("f")["waiting"])
    told = rig.clock.monotonic()
    await rig.restart()
    rig.engine.targets["erp"]  # it is known from before
    rig.engine.targets.limit({"erp": 100.0})
    await rig.put("f", 2)
    await rig.until(lambda: len(op.calls) == 2)
    assert rig.clock.monotonic() - told >= 299.0


@pytest.mark.parametrize("after", [1e30, float("inf"), float("nan"), -1.0])
async def test_an_absurd_retry_after_harms_nobody(rig: Any, after: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail.engine.targets.LONGEST_WORD", 200.0)
    rig.flow("f", rig.call("c", rig.Op(failing(Retry("busy", after=after)))), retry_for=100.0)
    rig.flow("g", rig.call("c", rig.Op(failing(Throttled("slowly", after=after)), target="other")))
    rig.flow("h", rig.call("c", rig.Op(failing(Paused("locked", after=after)), target="third")))
    await rig.start()
    for flow in "fgh":
        await rig.put(flow, {"n": 1})
    await rig.ended("f", 1)
    await rig.ended("g", 1)
    await rig.ended("h", 1)
    assert rig.check("f") == rig.check("g") == rig.check("h") == {"done": 1}


async def test_attempts_end_in_a_dead_letter_with_its_history(rig: Any) -> None:
    detail = {"body": {"n": 2**80, "text": "\udcff"}, "list": [1, (2, {3})]}
    op = rig.Op(failing(*[Retry("busy", code="http_503", detail=detail) for _ in range(9)]))
    rig.flow("f", rig.call("c", op), max_attempts=4)
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    row, memo = rig.progress("f", seq), rig.memo("f", seq)
    assert (row.state, row.attempt, row.reason) == (State.DEAD, 4, "http_503: busy")
    assert [attempt.number for attempt in memo.history] == [1, 2, 3, 4]
    assert memo.history[0].detail == {"body": {"n": str(2**80), "text": "?"}, "list": [1, [2, "{3}"]]}
    assert rig.effect_states("f", seq) == {"c": "failed"}
    assert rig.check("f") == {"dead": 1}
    await rig.quiet("f")


async def test_the_horizon_ends_it_too(rig: Any) -> None:
    op = rig.Op(failing(*[Retry("busy") for _ in range(500)]))
    rig.flow("f", rig.call("c", op), retry_for=14400.0, retry_cap=60.0)
    await rig.start()
    began = rig.clock.monotonic()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert 14400.0 <= rig.clock.monotonic() - began <= 15000.0
    memo = rig.memo("f", seq)
    assert len(memo.history) == 25, "the first and the last ones; those between are dropped"
    assert memo.history[0].number == 1
    assert memo.history[-1].number == rig.progress("f", seq).attempt


async def test_what_never_works_dies_at_once(rig: Any) -> None:
    def boom(message: Message) -> None:
        raise {1: ValueError("odd \udc80"), 2: Rejected("no", code="http_400"), 3: RecursionError("deep")}[
            message.value
        ]

    rig.flow("f", rig.Apply("a", boom))
    await rig.start()
    seqs = await rig.put("f", 1, 2, 3)
    await rig.ended("f", 3)
    assert [rig.progress("f", seq).reason for seq in seqs] == [
        "exception: ValueError: odd ?", "http_400: no", "exception: RecursionError: deep"
    ]  # fmt: skip
    assert rig.check("f") == {"dead": 3}


async def test_a_paused_target_costs_no_attempt(rig: Any) -> None:
    op = rig.Op(failing(*[Paused("no credentials", after=30.0) for _ in range(4)]))
    rig.flow("f", rig.call("c", op), max_attempts=1)
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert [call.attempt for call in op.calls] == [1] * 5
    assert rig.state("f", seq) is State.DONE
    await rig.quiet("f")


@pytest.mark.parametrize("patience", [0, 16])
async def test_a_pause_costs_no_attempt_over_a_clean_restart(
    rig: Any, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dovetail.engine.flow.FlowRun.patience", patience)
    op = rig.Op(failing(*[Paused("no credentials", after=30.0) for _ in range(4)]), target="erp")
    first = rig.Op(target="other")
    rig.flow("f", rig.call("a", first), rig.call("c", op), max_attempts=1)
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: op.calls)
    await rig.flushed()
    await rig.engine.drain()
    await rig.start()
    assert rig.memo("f", seq).crashes == 0
    await rig.ended("f", 1)
    assert {call.attempt for call in op.calls} == {1}
    assert len(first.calls) == 1
    assert rig.state("f", seq) is State.DONE


@pytest.mark.parametrize("patience", [0, 16])
async def test_a_value_changed_in_place_is_not_changed_again_after_a_pause(
    rig: Any, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dovetail.engine.flow.FlowRun.patience", patience)

    def add(message: Message) -> None:
        message.value["n"] += 1

    seen: list[int] = []

    async def act(call: Any) -> None:
        seen.append(call.message.value["n"])
        if len(seen) < 3:
            raise Paused("no credentials", after=1.0)

    rig.flow("f", rig.Apply("a", add), rig.call("c", rig.Op(act)))
    await rig.start()
    await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert seen == [2, 2, 2]


async def test_throttling_holds_the_calls_but_not_the_breaker(rig: Any) -> None:
    times: list[float] = []

    async def act(call: Any) -> None:
        times.append(rig.clock.monotonic())
        if len(times) < 30:
            raise Throttled("slowly", after=10.0)

    rig.flow("f", rig.call("c", rig.Op(act)), concurrency=1)
    await rig.start()
    await rig.put("f", *range(5))
    await rig.ended("f", 5)
    assert all(later - earlier >= 9.999 for earlier, later in pairwise(times[:30]))
    assert rig.watch.breakers == []
    assert rig.check("f") == {"done": 5}


async def test_a_rate_spaces_the_calls(rig: Any) -> None:
    times: list[float] = []

    async def act(call: Any) -> None:
        times.append(rig.clock.monotonic())

    rig.rates["erp"] = 10.0
    rig.flow("f", rig.call("c", rig.Op(act)))
    await rig.start()
    await rig.put("f", *range(100))
    await rig.ended("f", 100)
    assert all(later - earlier >= 0.0999 for earlier, later in pairwise(times))
    assert times[-1] - times[0] <= 20.0
    assert rig.check("f") == {"done": 100}


async def test_a_used_up_retry_budget_starves_nobody(rig: Any) -> None:
    """More retries are due than may be made, no new message comes in, and the breaker never opened."""
    tries: dict[int, int] = {}

    async def act(call: Any) -> None:
        tries[call.message.ref] = tries.get(call.message.ref, 0) + 1
        if tries[call.message.ref] < 4:
            raise Throttled("slowly", after=0.5)

    rig.flow("f", rig.call("c", rig.Op(act)), max_attempts=10, concurrency=4)
    await rig.start()
    await rig.put("f", *range(20))
    await rig.ended("f", 20)
    assert rig.check("f") == {"done": 20}
    assert set(tries.values()) == {4}
    await rig.quiet("f")


async def test_the_breaker(rig: Any) -> None:
    down = True
    times: list[float] = []

    async def act(call: Any) -> None:
        times.append(rig.clock.monotonic())
        if down:
            raise Retry("away", code="connect")

    op = rig.Op(act)
    rig.flow("f", rig.call("c", op), concurrency=4, max_attempts=20)
    await rig.start()
    await rig.put("f", *range(200))
    await rig.until(lambda: ("erp", "open") in rig.watch.breakers)
    at_opening = len(times)
    assert 5 <= at_opening <= 8
    began = rig.clock.monotonic()
    await asyncio.sleep(3600.0)
    spans = [later - earlier for earlier, later in pairwise(times[at_opening:])]
    assert 10 <= len(spans) <= 25, "one probe each time the breaker lets one through"
    assert max(spans) <= 300.0 * 1.2 + 61.0
    states = rig.states("f")
    assert states["waiting"] <= len(times) + 16, "nobody was begun but for the probes and a first look"
    await rig.flushed()
    assert [event[1:3] for event in rig.audit() if event[0] == "breaker"] == rig.watch.breakers
    down = False
    await rig.ended("f", 200)
    assert rig.check("f") == {"done": 200}
    assert rig.watch.breakers[-1] == ("erp", "closed")
    assert rig.clock.monotonic() - began < 3600.0 * 3
    calls = len(times) / 200
    assert calls <= 1.2, "an outage does not multiply the calls"
    await rig.quiet("f")


async def test_half_failures_open_it(rig: Any) -> None:
    n = 0

    async def act(call: Any) -> None:
        nonlocal n
        n += 1
        if n % 2:
            raise Retry("now and then")

    rig.flow("f", rig.call("c", rig.Op(act)), concurrency=1)
    await rig.start()
    await rig.put("f", *range(12))
    await rig.until(lambda: ("erp", "open") in rig.watch.breakers)
    assert n == 5
    await rig.ended("f", 12)
    assert rig.check("f") == {"done": 12}


async def test_rejections_do_not_open_it(rig: Any) -> None:
    rig.flow("f", rig.call("c", rig.Op(failing(*[Rejected("no") for _ in range(50)]))))
    await rig.start()
    await rig.put("f", *range(50))
    await rig.ended("f", 50)
    assert rig.watch.breakers == []
    assert rig.check("f") == {"dead": 50}


async def test_a_probe_that_ends_oddly_gives_its_place_back(rig: Any) -> None:
    """The probe of an open breaker is a call (or a write) that raises what nobody expected."""
    errors = [Retry("away")] * 5 + [ValueError("a bug in the client")] * 2

    async def write(calls: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return {call.key: None for call in calls}

    async def good(calls: Any) -> Any:
        from dovetail.sdk import Done

        await write(calls)
        return {call.key: Done() for call in calls}

    rig.flow("f", rig.send("s", rig.Drain(good, target="erp")), concurrency=1)
    await rig.start()
    await rig.put("f", *range(10))
    await rig.ended("f", 10)
    assert rig.check("f") == {"done": 8, "dead": 2}
    await rig.quiet("f")


async def test_messages_that_need_no_paused_target_are_not_slowed_down_for_ever(rig: Any) -> None:
    """Only the first one calls a target whose breaker opens; nobody ever probes it again."""
    at_once: list[int] = []
    running = 0

    async def act(message: Message, context: Any) -> None:
        nonlocal running
        if message.value == 0:
            await context.call("c", op, message)
            return
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.1)
        running -= 1

    op = rig.Op(failing(*[Paused("locked", after=10.0) for _ in range(100)]))
    rig.flow("f", rig.Act("a", act), concurrency=16)
    await rig.start()
    await rig.put("f", *range(200))
    await rig.ended("f", 190)
    assert max(at_once) > 4


async def test_a_target_that_is_away_holds_nobody_who_does_not_need_it(rig: Any) -> None:
    """Half of the messages, and half of the keys, need a target that is locked for an hour."""
    locked = True

    async def act(call: Any) -> None:
        if locked:
            raise Paused("no credentials", after=30.0)

    op, fine = rig.Op(act), rig.Op(target="other")

    async def step(message: Message, context: Any) -> None:
        await context.call("c", op if message.value % 2 else fine, message)

    rig.flow("f", rig.Act("a", step), key=lambda m: str(m.value % 40), max_attempts=1)
    await rig.start()
    await rig.put("f", *range(4000))
    began = rig.clock.monotonic()
    await rig.ended("f", 2000)
    assert rig.clock.monotonic() - began < 60.0
    assert [call.message.value for call in fine.calls if call.message.value % 40 == 2] == list(range(2, 4000, 40))
    await asyncio.sleep(3600.0)
    assert len(op.calls) < 200
    locked = False
    await rig.ended("f", 4000)
    assert rig.check("f") == {"done": 4000}, "no attempt was lost"
    await rig.quiet("f")


async def test_a_try_is_told_which_attempt_is_the_last(rig: Any) -> None:
    told: list[tuple[int, bool]] = []
    op = rig.Op(failing(*[Retry("busy") for _ in range(100)]), repeat=Repeat.NATURAL)

    async def act(message: Message, context: Any) -> Message:
        try:
            await context.call("c", op, message)
        except Paused:
            raise
        except Retry:
            last = context.last_attempt(message)
            told.append((op.calls[-1].attempt, last))
            if not last:
                raise
            return message.with_value({"caught": True})
        return message

    rig.flow("f", rig.Act("a", act), max_attempts=3)
    rig.flow("g", rig.Act("a", act), retry_for=30.0)
    rig.flow("h", rig.Act("a", act), retry_for=0.0)
    await rig.start()
    for flow, ended in (("f", 3), ("g", None), ("h", 1)):
        told.clear()
        await rig.put(flow, {"n": 1})
        rig.clock.jump += 100_000.0
        await rig.ended(flow, 1)
        assert [last for _, last in told] == [False] * (len(told) - 1) + [True]
        assert ended is None or told[-1][0] == ended
        assert rig.check(flow) == {"done": 1}


async def test_a_cancellation_that_slips_out_of_a_client_is_a_failure(rig: Any) -> None:
    async def act(call: Any) -> None:
        raise asyncio.CancelledError

    async def step(message: Message, context: Any) -> None:
        if message.value == 1:
            raise asyncio.CancelledError

    op = rig.Op(act, repeat=Repeat.NONE)
    rig.flow("f", rig.call("c", op))
    rig.flow("g", rig.Act("a", step), max_attempts=2)
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.put("g", 1, 2)
    await rig.ended("f", 1)
    await rig.ended("g", 2)
    assert rig.progress("f", seq).reason.startswith("in_doubt") or rig.progress("f", seq).reason.startswith("cancelled")
    assert rig.effect_states("f", seq) == {"c": "in_doubt"}
    assert rig.check("g") == {"done": 1, "dead": 1}
    await rig.quiet("g")


async def test_a_step_that_loses_doubles_or_invents_messages(rig: Any) -> None:
    from dovetail.sdk import Result

    def odd(batch: Any, context: Any) -> Result:
        result = Result()
        for message in batch:
            if message.value == "lost":
                continue
            if message.value == "stranger":
                result.out.append(Message(b"1"))
                continue
            result.out.append(message)
            if message.value == "double":
                result.out.append(message)
        return result

    op = rig.Op()
    rig.flow("f", rig.Whole("w", odd), rig.call("c", op))
    rig.flow("g", rig.Whole("w", odd))
    await rig.start()
    for flow in "fg":
        lost, stranger, double, good = await rig.put(flow, "lost", "stranger", "double", "good")
        await rig.ended(flow, 4)
        assert [rig.progress(flow, seq).reason[:5] for seq in (lost, stranger)] == ["lost:", "lost:"]
        assert rig.state(flow, double) is rig.state(flow, good) is State.DONE
        assert rig.check(flow) == {"done": 2, "dead": 2}
        await rig.quiet(flow)
    assert len(op.calls) == 2
