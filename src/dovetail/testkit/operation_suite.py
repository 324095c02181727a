"""The exam that every operation sits: a check is an async function of one `OperationCase`, listed in `CHECKS`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from dovetail.sdk import Call, MessageError, Operation, Rejected, Repeat


@dataclass
class OperationCase:
    """An operation with its system behind it.

    `open` gives the operation, ready to be called, for as long as the exam lasts. `call(n)` is the n-th of several
    calls that succeed, each with its own key. `effects` is what can be seen at the system: the same after a repeat
    that is safe, another after another call (an operation that only reads leaves it out). `refused` are calls that
    the system refuses for good.
    """

    open: Callable[[], AbstractAsyncContextManager[Operation]]
    call: Callable[[int], Call]
    effects: Callable[[], Any] | None = None
    refused: Sequence[Call] = field(default=())


Check = Callable[[OperationCase], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


@check
async def it_declares_itself(case: OperationCase) -> None:
    async with case.open() as operation:
        assert operation.name and operation.target
        assert isinstance(operation.repeat, Repeat)


@check
async def it_answers(case: OperationCase) -> None:
    async with case.open() as operation:
        reply = await operation.call(case.call(0))
        assert isinstance(reply.body, bytes)
        assert reply.codec.decode(reply.body) == reply.value, "the journaled bytes must give the same value again"


@check
async def a_safe_repeat_is_one_effect(case: OperationCase) -> None:
    async with case.open() as operation:
        await operation.call(case.call(0))
        once = case.effects() if case.effects else None
        if operation.repeat.safe:
            await operation.call(case.call(0))
            assert (case.effects() if case.effects else None) == once, f"{operation.repeat} is not true of it"


@check
async def another_call_is_another_effect(case: OperationCase) -> None:
    async with case.open() as operation:
        before = case.effects() if case.effects else None
        await operation.call(case.call(0))
        first = case.effects() if case.effects else None
        await operation.call(case.call(1))
        if case.effects:
            assert before != first != case.effects()


@check
async def a_queryable_operation_can_be_asked(case: OperationCase) -> None:
    async with case.open() as operation:
        if operation.repeat is not Repeat.QUERYABLE:
            return
        assert await operation.query(case.call(0)) is None
        made = await operation.call(case.call(0))
        found = await operation.query(case.call(0))
        assert found is not None and found.value == made.value


@check
async def what_is_refused_for_good_says_so(case: OperationCase) -> None:
    async with case.open() as operation:
        for call in case.refused:
            try:
                await operation.call(call)
            except MessageError as error:
                assert isinstance(error, Rejected), f"{error!r} would be tried again, in vain"
                assert str(error).strip()
            else:
                raise AssertionError(f"{call} was not refused")


@check
async def many_calls_at_once_do_not_disturb_each_other(case: OperationCase) -> None:
    async with case.open() as operation:
        alone = [(await operation.call(case.call(n))).value for n in range(8)]
        if operation.repeat.safe:
            together = await asyncio.gather(*(operation.call(case.call(n)) for n in range(8)))
            assert [reply.value for reply in together] == alone


@check
async def a_cancelled_call_leaves_it_usable(case: OperationCase) -> None:
    async with case.open() as operation:
        task = asyncio.ensure_future(operation.call(case.call(0)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None, "it must not turn a cancellation into an error"
        await operation.call(case.call(1))
