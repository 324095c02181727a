"""The exam that every sink sits: a check is an async function of one `SinkCase`, listed in `CHECKS`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from dovetail.sdk import Call, Done, Failed, Rejected, Repeat, Sink


@dataclass
class SinkCase:
    """A sink with its system behind it.

    `open` gives the sink, ready to be written to. `call(n)` is the n-th of several calls that succeed, each with its
    own key. `written` is what can be seen at the system. `refused` is a call that it refuses for good, if there is
    one.
    """

    open: Callable[[], AbstractAsyncContextManager[Sink]]
    call: Callable[[int], Call]
    written: Callable[[], Any]
    refused: Call | None = None


Check = Callable[[SinkCase], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


@check
async def it_declares_itself(case: SinkCase) -> None:
    async with case.open() as sink:
        assert sink.name and sink.target
        assert isinstance(sink.repeat, Repeat)


@check
async def every_key_has_its_outcome(case: SinkCase) -> None:
    async with case.open() as sink:
        calls = [case.call(n) for n in range(5)]
        outcomes = await sink.write(calls)
        assert set(outcomes) == {call.key for call in calls}
        assert all(isinstance(outcome, Done) for outcome in outcomes.values())


@check
async def nothing_to_write_is_no_work(case: SinkCase) -> None:
    async with case.open() as sink:
        before = case.written()
        assert dict(await sink.write([])) == {}
        assert case.written() == before


@check
async def a_batch_is_the_same_as_one_by_one(case: SinkCase) -> None:
    async with case.open() as sink:
        await sink.write([case.call(n) for n in range(5)])
        together = case.written()
    async with case.open() as sink:
        for n in range(5):
            await sink.write([case.call(n)])
        assert case.written() == together


@check
async def a_safe_repeat_is_one_effect(case: SinkCase) -> None:
    async with case.open() as sink:
        await sink.write([case.call(0), case.call(1)])
        once = case.written()
        if sink.repeat.safe:
            await sink.write([case.call(1), case.call(0)])
            assert case.written() == once, f"{sink.repeat} is not true of it"


@check
async def one_that_is_refused_takes_no_other_along(case: SinkCase) -> None:
    async with case.open() as sink:
        if case.refused is None:
            return
        outcomes = await sink.write([case.call(0), case.refused, case.call(1)])
        bad = outcomes[case.refused.key]
        assert isinstance(bad, Failed) and isinstance(bad.error, Rejected) and str(bad.error).strip()
        assert isinstance(outcomes[case.call(0).key], Done)
        assert isinstance(outcomes[case.call(1).key], Done)


@check
async def a_cancelled_write_leaves_it_usable(case: SinkCase) -> None:
    async with case.open() as sink:
        task = asyncio.ensure_future(sink.write([case.call(0)]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None, "it must not turn a cancellation into an error"
        assert isinstance((await sink.write([case.call(1)]))[case.call(1).key], Done)
