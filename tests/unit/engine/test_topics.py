"""Topics: every subscriber reads for itself, by its own key and contract, from its own place."""

from __future__ import annotations

import asyncio
from typing import Any

from dovetail.errors import Rejected, Retry
from dovetail.sdk import Message
from dovetail.store.base import State


async def test_each_subscriber_has_its_own_cursor(rig: Any) -> None:
    seen: dict[str, list[Any]] = {"a": [], "b": []}
    rig.flow("p", rig.publish("p", "t"))
    rig.flow("a", rig.Apply("s", lambda m: seen["a"].append(m.value)), topic="t")
    rig.flow("b", rig.call("c", rig.Op(_fail_once(3))), rig.Apply("s", lambda m: seen["b"].append(m.value)), topic="t")
    await rig.start()
    await rig.put("p", *range(10))
    await rig.ended("a", 10)
    await rig.ended("b", 10)
    assert seen["a"] == list(range(10)) and sorted(seen["b"]) == list(range(10))
    await rig.restart()
    await rig.put("p", *range(10, 15))
    await rig.ended("a", 15)
    await rig.ended("b", 15)
    assert seen["a"] == list(range(15)) and sorted(seen["b"]) == list(range(15))
    for flow in "pab":
        assert rig.check(flow) == {"done": 15}
        await rig.quiet(flow)


def _fail_once(value: Any) -> Any:
    failed: list[Any] = []

    async def act(call: Any) -> None:
        if call.message.value == value and not failed:
            failed.append(value)
            raise Retry("busy")

    return act


async def test_a_new_subscriber_begins_at_the_end_or_at_the_start(rig: Any) -> None:
    rig.flow("p", rig.publish("p", "t"))
    await rig.start()
    await rig.put("p", *range(5))
    await rig.ended("p", 5)
    seen: dict[str, list[Any]] = {"late": [], "all": []}
    rig.flow("late", rig.Apply("s", lambda m: seen["late"].append(m.value)), topic="t")
    rig.flow("all", rig.Apply("s", lambda m: seen["all"].append(m.value)), topic="t", from_start=True)
    await rig.restart()
    await rig.ended("all", 5)
    await rig.put("p", 5)
    await rig.ended("late", 1)
    await rig.ended("all", 6)
    assert seen == {"late": [5], "all": [0, 1, 2, 3, 4, 5]}
    await rig.restart()
    await rig.put("p", 6)
    await rig.ended("late", 2)
    await rig.ended("all", 7)
    assert seen == {"late": [5, 6], "all": [0, 1, 2, 3, 4, 5, 6]}


async def test_a_subscriber_of_an_empty_topic_misses_nothing_after_a_crash(rig: Any) -> None:
    """It subscribed, and before it claimed anything messages were published and the process died."""
    rig.flow("p", rig.publish("p", "t"))
    rig.flow("g", rig.Apply("s", lambda m: None), topic="t")
    await rig.start()
    rig.engine.flows["g"].backlog.behind = True  # as it is while it recovers
    rig.engine.flows["g"].pump_soon = lambda: None
    await rig.put("p", 1, 2)
    await rig.ended("p", 2)
    await rig.restart()
    await rig.ended("g", 2)
    assert rig.check("g") == {"done": 2}


async def test_looking_at_a_flow_does_not_subscribe_it(rig: Any) -> None:
    rig.flow("p", rig.publish("p", "t"))
    await rig.start()
    await rig.put("p", 1)
    await rig.ended("p", 1)
    await rig.engine.drain()
    rig.flow("g", rig.Apply("s", lambda m: None), topic="t", from_start=False)
    engine = await rig.start(wait=False)
    assert engine.known("g") is not None
    assert rig.store.register.claim(engine.flows["g"].number) == (0, 0)
    await engine.stop()


async def test_the_subscribers_own_key_orders_it(rig: Any) -> None:
    seen: list[Any] = []
    busy: set[str] = set()

    async def act(call: Any) -> None:
        own = call.message.value["own"]
        assert call.message.key == own and own not in busy
        busy.add(own)
        await asyncio.sleep(0.01)
        busy.discard(own)
        seen.append(call.message.value)

    rig.flow("p", rig.publish("p", "t"), key=lambda m: m.value["n"])
    rig.flow("g", rig.call("c", rig.Op(act)), topic="t", key=lambda m: m.value["own"])
    rig.flow("h", rig.Apply("s", lambda m: None), topic="t", key=lambda m: None)
    await rig.start()
    await rig.put("p", *({"n": n, "own": f"k{n % 3}"} for n in range(60)))
    await rig.ended("g", 60)
    await rig.ended("h", 60)
    for key in range(3):
        numbers = [value["n"] for value in seen if value["own"] == f"k{key}"]
        assert numbers == sorted(numbers)
    await rig.quiet("g")


async def test_the_subscribers_key_holds_over_retries_redrives_and_restarts(rig: Any) -> None:
    fail: dict[Any, Exception] = {1: Retry("busy", after=60.0)}
    seen: list[int] = []

    async def act(call: Any) -> None:
        n = call.message.value
        if n in fail:
            raise fail[n]
        seen.append(n)

    rig.flow("p", rig.publish("p", "t"), key=lambda m: f"publisher{m.value}")
    rig.flow("g", rig.call("c", rig.Op(act)), topic="t", key=lambda m: "own")
    await rig.start()
    await rig.put("p", 1, 2)
    await rig.until(lambda: rig.states("g") == {"waiting": 1, "held": 1})
    await rig.restart()
    fail[1] = Rejected("no")
    await rig.until(lambda: rig.states("g") == {"dead": 1, "done": 1})
    fail[1] = Retry("busy", after=60.0)
    first = min(rig.rows("g"))
    await rig.redrive("g", first)
    await rig.until(lambda: rig.state("g", first) is State.WAITING and rig.progress("g", first).attempt == 1)
    await rig.put("p", 3)
    await rig.until(lambda: rig.states("g")["held"] == 1)
    await rig.restart()
    fail.clear()
    await rig.until(lambda: rig.states("g") == {"done": 3})
    assert seen == [2, 1, 3]
    assert rig.check("g") == {"done": 3}
    await rig.quiet("g")


async def test_the_subscribers_contract_refuses_for_it_alone(rig: Any) -> None:
    def contract(message: Message) -> None:
        if message.value == 1:
            raise Rejected("one is not allowed", code="contract", detail=[{"path": ""}])

    def key(message: Message) -> Any:
        return [] if message.value == 2 else None

    ran: list[Any] = []
    rig.flow("p", rig.publish("p", "t"))
    rig.flow("g", rig.Apply("s", lambda m: ran.append(m.value)), topic="t", contract=contract, key=key)
    rig.flow("h", rig.Apply("s", lambda m: None), topic="t")
    await rig.start()
    await rig.put("p", 0, 1, 2, 3)
    await rig.ended("g", 4)
    await rig.ended("h", 4)
    assert ran == [0, 3]
    assert rig.check("g") == {"done": 2, "dead": 2}
    assert rig.check("h") == {"done": 4}
    reasons = [rig.progress("g", seq).reason for seq in sorted(rig.rows("g"))]
    assert reasons[1] == "contract: one is not allowed" and reasons[2].startswith("no_id: ")
    await rig.quiet("g")
    await rig.redrive("g", sorted(rig.rows("g"))[1])
    await rig.ended("g", 5)
    assert ran == [0, 3, 1], "a person has looked at it"


async def test_the_backlog_on_disk_is_held_against_the_contract_too(rig: Any) -> None:
    def contract(message: Message) -> None:
        if message.value % 2:
            raise Rejected("odd", code="contract")

    rig.flow("p", rig.publish("p", "t"))
    await rig.start()
    await rig.put("p", *range(20))
    await rig.ended("p", 20)
    rig.flow("g", rig.Apply("s", lambda m: None), topic="t", from_start=True, contract=contract)
    await rig.restart()
    await rig.ended("g", 20)
    assert rig.check("g") == {"done": 10, "dead": 10}
    await rig.quiet("g")


async def test_a_topic_that_nobody_reads(rig: Any) -> None:
    rig.flow("p", rig.publish("p", "nobody"))
    await rig.start()
    await rig.put("p", *range(30))
    await rig.ended("p", 30)
    assert rig.store.progress.counts()[-rig.store.register.number("stream", "topic:nobody"), "accepted"] == 30
    assert rig.check("p") == {"done": 30}


async def test_what_one_subscriber_does_to_a_value_no_other_sees(rig: Any) -> None:
    seen: list[Any] = []

    def spoil(message: Message) -> None:
        message.value["n"] = "spoilt"

    rig.flow("p", rig.publish("p", "t"), rig.Apply("x", spoil))
    rig.flow("a", rig.Apply("s", spoil), topic="t")
    rig.flow("b", rig.Apply("s", lambda m: seen.append(m.value["n"])), topic="t")
    await rig.start()
    await rig.put("p", {"n": 1})
    await rig.ended("b", 1)
    assert seen == [1]


async def test_a_subscriber_that_splits_keeps_its_parts_to_itself(rig: Any) -> None:
    def cut(message: Message) -> list[tuple[Any, str | None]]:
        return [(item, None) for item in message.value]

    ops = {name: rig.Op(target=name) for name in "ab"}
    plain: list[Any] = []
    rig.flow("p", rig.publish("p", "t"))
    for name in "ab":
        rig.flow(name, rig.Cut("s", cut), rig.call("c", ops[name]), topic="t")
    rig.flow("g", rig.Apply("s", lambda m: plain.append(m.value)), topic="t", contract=lambda m: None)
    await rig.start()
    await rig.put("p", [1, 2, 3])
    await rig.until(lambda: rig.states("a")["done"] == 4 and rig.states("b")["done"] == 4)
    assert [sorted(call.message.value for call in op.calls) for op in ops.values()] == [[1, 2, 3]] * 2
    assert plain == [[1, 2, 3]]
    for flow in "abg":
        rig.check(flow)
        await rig.quiet(flow)


async def test_a_subscribers_message_stays_on_the_version_that_began_it(rig: Any) -> None:
    first, old, new = rig.Op(target="first"), rig.Op(_fail_once(1), target="old"), rig.Op(target="new")
    rig.flow("p", rig.publish("p", "t"))
    rig.flow("g", rig.call("a", first), rig.call("b", old), topic="t")
    await rig.start()
    await rig.put("p", 1)
    await rig.until(lambda: rig.states("g")["waiting"] == 1)
    rig.flow("g", rig.call("z", new), topic="t", number=2)
    await rig.restart()
    await rig.ended("g", 1)
    assert (len(first.calls), len(old.calls), len(new.calls)) == (1, 2, 0)
    await rig.put("p", 2)
    await rig.ended("g", 2)
    assert len(new.calls) == 1


async def test_a_row_that_tells_of_a_publication_is_never_written_without_it(rig: Any) -> None:
    """The row that records the call before it is put together after it; the process dies before the message ends."""
    hang, reached = asyncio.Event(), asyncio.Event()

    async def slow(call: Any) -> None:
        reached.set()
        await hang.wait()

    seen: list[Any] = []
    rig.flow("p", rig.call("a", rig.Op()), rig.publish("p", "t"), rig.call("b", rig.Op(slow)))
    rig.flow("s", rig.Apply("s", lambda m: seen.append(m.value)), topic="t")
    await rig.start()
    await rig.put("p", 1)
    await reached.wait()
    await rig.flushed()
    await rig.crash()
    hang.set()
    await rig.start()
    await rig.until(lambda: rig.states("p") == {"done": 1} and rig.states("s") == {"done": 1}, 1000.0)
    assert seen == [1]
    rig.check("p")
    rig.check("s")


async def test_parts_of_another_subscriber_are_none_of_a_flow_that_has_fewer_versions(rig: Any) -> None:
    """They name a version of the flow that made them."""
    rig.flow(
        "cuts", rig.Cut("c", lambda m: [(1, None), (2, None)]), rig.Apply("a", lambda m: None), topic="t", number=3
    )
    rig.flow("reads", rig.Apply("b", lambda m: None), topic="t")
    rig.flow("writes", rig.publish("p", "t"))
    await rig.start()
    await rig.put("writes", 1)
    await rig.until(lambda: rig.states("cuts") == {"done": 3})
    await rig.until(lambda: rig.states("reads") == {"done": 1, "discarded": 2})
