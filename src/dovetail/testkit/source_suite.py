"""The exam that every source sits: a check is an async function of one `SourceCase`, listed in `CHECKS`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dovetail.sdk import Delivery, Position, Refused, Source
from dovetail.testkit.fakes import CollectingDeliver, FakeConnecting


@dataclass
class SourceCase:
    """A source with its system behind it, new for each check.

    `make` gives the source anew, as a starting process would; `context` is what it opens with, and its durable
    memory. `feed(n)` lets the n-th item appear outside, and `expected(n)` is the body that it must become. `owed` is
    how many items the system still has that nobody acknowledged; a source that answers callers counts those who have
    no answer. `redelivers`: what was not acknowledged comes again by itself (a queue, a folder), or from the caller.
    `waits_for_room`: it can wait before it reads.
    """

    make: Callable[[], Source]
    context: FakeConnecting
    feed: Callable[[int], None]
    expected: Callable[[int], bytes]
    owed: Callable[[], int]
    redelivers: bool = True
    waits_for_room: bool = True


Check = Callable[[SourceCase], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


@asynccontextmanager
async def running(case: SourceCase, door: CollectingDeliver) -> AsyncIterator[Source]:
    """The source between open and close, as the engine runs it."""
    source = case.make()
    await source.open(case.context)
    task = asyncio.ensure_future(source.run(door))
    await asyncio.sleep(0)
    try:
        yield source
        assert not task.done(), f"run ended by itself: {task}"
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=60)
        assert task.cancelled(), f"run did not end when it was cancelled: {task}"
        await source.close()


async def settled(case: SourceCase, number: int = 0) -> None:
    """Wait until the system is owed no more than `number` acknowledgements."""
    async with asyncio.timeout(60):
        while case.owed() > number:  # noqa: ASYNC110 - a folder gives no signal
            await asyncio.sleep(0.01)


@check
async def it_opens_and_closes_more_than_once(case: SourceCase) -> None:
    source = case.make()
    await source.close()
    await source.open(case.context)
    await source.close()
    await source.close()
    again = case.make()
    await again.open(case.context)
    await again.close()


@check
async def what_comes_is_delivered_and_acknowledged(case: SourceCase) -> None:
    door = CollectingDeliver()
    async with running(case, door):
        for n in range(3):
            case.feed(n)
        messages = await door.count(3)
        await settled(case)
    assert sorted(message.body for message in messages) == sorted(case.expected(n) for n in range(3))
    assert all(message.time_ms > 0 for message in messages), "a message says when it came"


@check
async def nothing_is_acknowledged_before_its_receipt(case: SourceCase) -> None:
    door = CollectingDeliver()
    door.hold()
    async with running(case, door):
        case.feed(0)
        await door.until(lambda: bool(door.deliveries))
        for _ in range(20):
            await asyncio.sleep(0)
        assert case.owed() == 1, "acknowledged before it was accepted: a crash now loses it"
        door.release()
        await settled(case)


@check
async def it_reads_only_when_there_is_room(case: SourceCase) -> None:
    if not case.waits_for_room:
        return
    door = CollectingDeliver()
    door.shut()
    async with running(case, door):
        case.feed(0)
        await door.until(lambda: door.asked or bool(door.deliveries))
        assert not door.deliveries, "delivered without asking for room"
        door.reopen()
        await door.count(1)


@check
async def what_could_not_be_kept_comes_again(case: SourceCase) -> None:
    if not case.redelivers:
        return
    door = CollectingDeliver()
    door.unavailable = 2
    async with running(case, door):
        case.feed(0)
        await door.count(1)
        await settled(case)
    assert [message.body for message in door.messages] == [case.expected(0)]


@check
async def a_refused_message_holds_nobody_up(case: SourceCase) -> None:
    door = CollectingDeliver()
    door.refuse = lambda message: Refused("not wanted") if message.body == case.expected(0) else None
    async with running(case, door):
        case.feed(0)
        await door.until(lambda: bool(door.deliveries))
        await settled(case)
        case.feed(1)
        messages = await door.count(1)
    assert [message.body for message in messages] == [case.expected(1)]


@check
async def positions_grow_from_delivery_to_delivery(case: SourceCase) -> None:
    """A lower number that comes later is taken for a repeat, and a second delivery before the first is settled is
    turned away."""
    door = CollectingDeliver()
    door.hold()
    async with running(case, door):
        for n in range(3):
            case.feed(n)
        await door.until(lambda: bool(door.deliveries))
        for _ in range(20):
            await asyncio.sleep(0)
        waiting = [position.partition for one in door.deliveries for position in _first_of_each(one)]
        assert len(waiting) == len(set(waiting)), "two deliveries of a partition are under way"
        door.release()
        await door.count(3)
    highest: dict[str, int] = {}
    for delivery in door.deliveries:
        for position in delivery.positions or ():
            assert position.number > highest.get(position.partition, -1), f"{position} comes too late"
        highest |= {position.partition: position.number for position in delivery.positions or ()}


def _first_of_each(delivery: Delivery) -> list[Position]:
    return list({position.partition: position for position in delivery.positions or ()}.values())


@check
async def a_restart_loses_nothing_and_doubles_nothing(case: SourceCase) -> None:
    if not case.redelivers:
        return
    door = CollectingDeliver()
    door.hold()
    async with running(case, door):
        case.feed(0)
        await door.until(lambda: bool(door.deliveries))
    door.release()  # the engine kept it, and the source never heard of it
    async with running(case, door):
        case.feed(1)
        await door.count(2)
        await settled(case)
    assert sorted(message.body for message in door.messages) == sorted([case.expected(0), case.expected(1)])
