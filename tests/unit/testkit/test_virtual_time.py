"""The virtual loop: waiting costs nothing, a seed decides the order, real time stays out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dovetail.testkit.clock import SeededIds, VirtualClock
from dovetail.testkit.loop import Deadlock, run


def order(seed: int) -> list[str]:
    """Which of five tasks comes when, three times each."""
    seen: list[str] = []

    async def worker(name: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(name)

    async def main(clock: VirtualClock) -> None:
        await asyncio.gather(*(worker(name) for name in "abcde"))

    run(main, seed)
    return seen


def test_a_year_passes_at_once() -> None:
    async def main(clock: VirtualClock) -> float:
        start = clock.now_ms()
        await asyncio.sleep(365 * 86400)
        return (clock.now_ms() - start) / 86_400_000

    assert run(main) == pytest.approx(365)


def test_timers_come_in_their_order_and_at_their_time() -> None:
    async def main(clock: VirtualClock) -> list[float]:
        times: list[float] = []

        async def at(seconds: float) -> None:
            await asyncio.sleep(seconds)
            times.append(round(clock.monotonic(), 6))

        await asyncio.gather(*(at(seconds) for seconds in (3.0, 0.1, 2.5)))
        return times

    assert run(main) == [0.1, 2.5, 3.0]


def test_a_seed_is_an_order_and_the_same_seed_the_same() -> None:
    assert len({tuple(order(seed)) for seed in range(10)}) > 1
    assert all(order(seed) == order(seed) for seed in range(10))


def test_waiting_for_what_never_comes_is_told() -> None:
    async def main(clock: VirtualClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run(main)


async def in_a_thread(clock: VirtualClock) -> None:
    await asyncio.to_thread(print)


async def in_an_executor(clock: VirtualClock) -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


@pytest.mark.parametrize("main", [in_a_thread, in_an_executor])
def test_threads_are_refused(main: Callable[[VirtualClock], Coroutine[Any, Any, None]]) -> None:
    with pytest.raises(RuntimeError, match="a virtual loop has no threads"):
        run(main)


def test_the_wall_clock_can_be_set_without_time_passing() -> None:
    clock = VirtualClock(1000)
    clock.advance(2)
    assert (clock.now_ms(), clock.monotonic()) == (3000, 2)
    clock.set_wall(500)
    assert (clock.now_ms(), clock.monotonic()) == (500, 2)
    clock.advance(1)
    assert (clock.now_ms(), clock.monotonic()) == (1500, 3)


def test_ids_come_out_the_same_for_the_same_seed() -> None:
    one, same, other = SeededIds(1), SeededIds(1), SeededIds(2)
    names = [one.token() for _ in range(100)]
    assert names == [same.token() for _ in range(100)]
    assert len(set(names)) == 100 and other.token() != names[0]
    assert len(names[0]) == 16 and 2 <= one.uniform(2, 3) <= 3
