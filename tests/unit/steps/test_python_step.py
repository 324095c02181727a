"""The python step: how its function is called, what its result means, how its deadline ends."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pytest

from dovetail.sdk import Dropping, Message, Paused, ProjectError, Rejected, Retry, Threads
from dovetail.steps.python import Python
from dovetail.testkit.steps import FakeBuild, FakeContext, message


@dataclass
class Line:
    sku: str
    quantity: int


class Order(msgspec.Struct):
    id: int
    lines: list[Line]


class Loose(TypedDict):
    id: int


async def run(function: Any, value: Any, timeout: str = "5s", **attributes: Any) -> Message:
    build = FakeBuild(words={"python": Python}, functions={"f:f": function})
    result = await build.make({"python": "f:f", "timeout": timeout}).run([message(value, **attributes)], FakeContext())
    if result.failed:
        raise result.failed[0][1]
    if result.dropped:
        raise Dropping(result.dropped[0][1])
    return result.out[0]


async def test_it_gets_what_its_parameters_say() -> None:
    def all_of_it(order: Order, headers: dict[str, str], variables: dict[str, Any], whole: Message) -> Any:
        return [order.lines[0].quantity, headers["h"], variables["v"], whole.id]

    out = await run(
        all_of_it, {"id": 1, "lines": [{"sku": "a", "quantity": 2}]}, headers={"h": "x"}, variables={"v": 3}
    )
    assert out.value == [2, "x", 3, "m-1"]


async def test_records_come_back_as_plain_data() -> None:
    def first(order: Order) -> Line:
        return order.lines[0]

    def price(value: dict[str, Any]) -> dict[str, Any]:
        return {"price": Decimal("1.10"), "lines": [Line("a", 1)]}

    assert (await run(first, {"id": 1, "lines": [{"sku": "a", "quantity": 2}]})).value == {"sku": "a", "quantity": 2}
    assert (await run(price, {})).body == b'{"price":1.10,"lines":[{"sku":"a","quantity":1}]}'


async def test_a_body_of_another_shape_fails_with_the_place() -> None:
    def takes(order: Order) -> None: ...

    def takes_dict(value: Loose) -> None: ...

    with pytest.raises(Rejected, match=r"quantity"):
        await run(takes, {"id": 1, "lines": [{"sku": "a", "quantity": "two"}]})
    with pytest.raises(Rejected, match="id"):
        await run(takes_dict, {})


async def test_none_leaves_the_message_and_a_message_takes_its_place() -> None:
    def check(value: Any) -> None: ...

    def tag(whole: Message) -> Message:
        return whole.with_headers({"tag": "1"})

    assert (await run(check, {"n": 1})).value == {"n": 1}
    assert (await run(tag, {})).headers == {"tag": "1"}


@pytest.mark.parametrize("error", [Rejected("no"), Retry("later"), Dropping("not ours")])
async def test_an_error_of_the_sdk_says_what_happens(error: Exception) -> None:
    def fails(value: Any) -> None:
        raise error

    async def fails_later(value: Any) -> None:
        raise error

    for function in (fails, fails_later):
        with pytest.raises(type(error), match=str(error)):
            await run(function, {})


async def test_any_other_exception_is_a_rejection_with_its_line() -> None:
    def broken(value: Any) -> Any:
        return value["missing"]

    with pytest.raises(Rejected, match=r"f:f raised KeyError: 'missing' \(test_python_step.py, line \d+\)"):
        await run(broken, {})


async def test_what_is_no_data_is_a_rejection() -> None:
    def strange(value: Any) -> Any:
        return {"file": threading.Lock()}

    with pytest.raises(Rejected, match="returned what is not plain data"):
        await run(strange, {})


async def test_an_async_function_is_cancelled_at_its_deadline() -> None:
    cancelled = False

    async def hangs(value: Any) -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        finally:
            cancelled = True

    with pytest.raises(Retry, match=r"not finished after 0.05 s"):
        await run(hangs, {}, timeout="50ms")
    assert cancelled


async def test_an_async_function_may_time_out_by_itself() -> None:
    async def own(value: Any) -> None:
        raise TimeoutError("mine")

    with pytest.raises(Rejected, match="TimeoutError: mine"):
        await run(own, {})


async def test_a_plain_function_is_left_behind_at_its_deadline() -> None:
    end = threading.Event()

    def hangs(value: Any) -> None:
        end.wait()

    with pytest.raises(Retry, match=r"not finished after 0.05 s"):
        await run(hangs, {}, timeout="50ms")
    end.set()


def one(value: Any, other: Any) -> None: ...


def nothing() -> None: ...


def stars(*values: Any) -> None: ...


@pytest.mark.parametrize("function", [one, nothing, stars])
def test_a_function_that_cannot_be_called_with_a_message_is_refused(function: Any) -> None:
    build = FakeBuild(words={"python": Python}, functions={"f:f": function})
    with pytest.raises(ProjectError, match=r"^f:f: "):
        build.make({"python": "f:f"})


# --- threads ----------------------------------------------------------------------------------------------------------


async def test_threads_are_bounded_and_a_full_house_pauses() -> None:
    threads, end = Threads(2), threading.Event()
    busy = [asyncio.ensure_future(threads.run(end.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Paused, match="all 2 threads are busy"):
        await threads.run(lambda: 1, timeout=0.05)
    end.set()
    assert await asyncio.gather(*busy) == [True, True]
    assert await threads.run(lambda: 1, timeout=5) == 1


async def test_threads_are_used_again() -> None:
    threads, seen = Threads(3), set()
    for _ in range(20):
        seen.add(await threads.run(threading.get_ident))
    assert len(seen) <= 3


async def test_a_cancelled_caller_goes_on_at_once() -> None:
    threads, started, end = Threads(1), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        end.wait()

    task = asyncio.ensure_future(threads.run(work))
    other = asyncio.ensure_future(threads.run(work))
    await asyncio.sleep(0)
    task.cancel()
    other.cancel()
    await asyncio.wait([task, other])
    assert task.cancelled() and other.cancelled()
    end.set()
    assert await threads.run(lambda: "free") == "free"
