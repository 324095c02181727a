"""The schedule: when it ticks, what it makes up for, and what a clock that is set does to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dovetail.connectors.schedule import ScheduleSource
from dovetail.sdk import ProjectError
from dovetail.testkit import loop
from dovetail.testkit.clock import VirtualClock
from dovetail.testkit.fakes import CollectingDeliver, FakeConnecting
from dovetail.testkit.source_suite import SourceCase, running

START = int(datetime(2026, 3, 28, 4, 59, 30, tzinfo=UTC).timestamp() * 1000)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Bench:
    """A schedule under a clock; `marks` outlive a restart."""

    def __init__(self, clock: VirtualClock, **config: Any) -> None:
        self.clock = clock
        self.context = FakeConnecting(clock=clock)
        self.door = CollectingDeliver()
        make = ScheduleSource.Config(**config)
        self.case = SourceCase(
            lambda: ScheduleSource(make, "flow"), self.context, lambda n: None, lambda n: b"", lambda: 0
        )

    async def run(self, count: int) -> list[str]:
        """Run until `count` more ticks have come: their times."""
        before = len(self.door.messages)
        async with running(self.case, self.door):
            await self.door.count(before + count, timeout=400 * DAY)
        return [message.value["scheduled_at"] for message in self.door.messages[before:]]


def virtual(test: Callable[[VirtualClock], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time from START."""

    def run() -> None:
        loop.run(test, clock=VirtualClock(START))  # type: ignore[arg-type]

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@virtual
async def test_cron_follows_its_time_zone_through_daylight_saving(clock: VirtualClock) -> None:
    bench = Bench(clock, cron="30 2 * * *", timezone="Europe/Berlin")
    assert await bench.run(3) == [
        "2026-03-29T03:00:00+02:00",  # 02:30 does not exist on this day
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]


@virtual
async def test_an_interval_ticks_at_once_and_steadily(clock: VirtualClock) -> None:
    bench = Bench(clock, every="30s")
    assert await bench.run(3) == ["2026-03-28T04:59:30+00:00", "2026-03-28T05:00:00+00:00", "2026-03-28T05:00:30+00:00"]


@virtual
async def test_an_interval_goes_on_where_it_was_after_a_restart(clock: VirtualClock) -> None:
    bench = Bench(clock, every="1h")
    await bench.run(1)
    clock.advance(20 * MINUTE)
    assert await bench.run(1) == ["2026-03-28T05:59:30+00:00"]


@pytest.mark.parametrize(
    ("missed", "ticks"),
    [
        ("once", ["2026-03-30T05:00:00+00:00", "2026-03-31T05:00:00+00:00"]),
        ("all", ["2026-03-28T05:00:00+00:00", "2026-03-29T05:00:00+00:00", "2026-03-30T05:00:00+00:00"]),
        ("skip", ["2026-03-31T05:00:00+00:00", "2026-04-01T05:00:00+00:00"]),
    ],
)
@pytest.mark.parametrize("kind", ["cron", "every"])
def test_missed_ticks_are_made_up_for_as_told(kind: str, missed: str, ticks: list[str]) -> None:
    async def main(clock: VirtualClock) -> None:
        settings = {"cron": "0 5 * * *"} if kind == "cron" else {"every": "1d"}
        bench = Bench(clock, missed=missed, **settings)
        if kind == "every":
            bench.context.mark("tick", START + 30_000 - int(DAY * 1000))
        else:
            async with running(bench.case, bench.door):  # it is deployed, and stopped before its first tick
                pass
        clock.advance(2 * DAY + 10 * MINUTE)
        assert await bench.run(len(ticks)) == ticks

    loop.run(main, clock=VirtualClock(START))


@virtual
async def test_a_tick_a_moment_late_is_not_missed(clock: VirtualClock) -> None:
    bench = Bench(clock, cron="0 5 * * *", missed="skip")
    async with running(bench.case, bench.door):
        pass
    clock.advance(60.0)
    assert await bench.run(1) == ["2026-03-28T05:00:00+00:00"]


@virtual
async def test_a_clock_that_is_set_back_repeats_nothing(clock: VirtualClock) -> None:
    for settings, gap in (({"cron": "0 * * * *"}, 3600), ({"every": "1h"}, 3600)):
        bench = Bench(clock, **settings)
        async with running(bench.case, bench.door):
            await bench.door.count(2, timeout=DAY)
            clock.set_wall(clock.now_ms() - 90 * 60_000)
            await bench.door.count(4, timeout=DAY)
        assert len({message.value["scheduled_at"] for message in bench.door.messages}) == 4
        assert len(set(bench.door.ids)) == 4
        assert gap == 3600


@virtual
async def test_positions_grow_though_the_clock_was_set_back_and_the_process_ended(clock: VirtualClock) -> None:
    """Each end comes between a tick's acceptance and its being remembered: the next may be taken for it, no more."""
    bench = Bench(clock, every="1h")
    bench.context.positions = bench.door.marks
    await bench.run(3)
    clock.set_wall(clock.now_ms() - 30 * 3_600_000)
    await bench.run(2)
    await bench.run(2)
    numbers = [int(str(id).partition(":")[2]) for id in bench.door.ids]
    assert numbers == sorted(set(numbers)) and len(numbers) == 7
    assert len(bench.door.deliveries) <= 7 + 2


@virtual
async def test_a_clock_that_is_set_forward_hastens_no_interval(clock: VirtualClock) -> None:
    bench = Bench(clock, every="1h")
    async with running(bench.case, bench.door):
        await bench.door.count(1)
        clock.set_wall(clock.now_ms() + 7 * 3_600_000)
        before = clock.monotonic()
        await bench.door.count(2, timeout=DAY)
        assert clock.monotonic() - before == pytest.approx(HOUR)


@virtual
async def test_a_clock_that_is_set_forward_is_noticed_by_cron(clock: VirtualClock) -> None:
    bench = Bench(clock, cron="0 5 * * *")
    async with running(bench.case, bench.door):
        clock.set_wall(clock.now_ms() + 5 * 3_600_000)
        before = clock.monotonic()
        await bench.door.count(1, timeout=DAY)
        assert clock.monotonic() - before <= 31.0
    assert bench.door.messages[0].value == {"scheduled_at": "2026-03-28T05:00:00+00:00"}


@virtual
async def test_a_crash_between_acceptance_and_mark_doubles_nothing(clock: VirtualClock) -> None:
    bench = Bench(clock, cron="0 5 * * *")
    async with running(bench.case, bench.door):
        pass
    marks = dict(bench.context.marks)
    await bench.run(1)
    bench.context.marks.clear()
    bench.context.marks.update(marks)
    assert await bench.run(1) == ["2026-03-29T05:00:00+00:00"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "either a 'cron' expression or an interval 'every'"),
        ({"cron": "0 6 * * *", "every": "1h"}, "either a 'cron' expression or an interval 'every'"),
        ({"cron": "0 25 * * *"}, "'0 25 * * *' is no cron expression that ever comes due"),
        ({"cron": "0 0 31 2 *"}, "'0 0 31 2 *' is no cron expression that ever comes due"),
        ({"cron": "0 6 * * *", "timezone": "Berlin"}, "there is no time zone 'Berlin'"),
        ({"every": "1ms"}, "must be at least 100ms"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        ScheduleSource.Config.parse(config)
    assert message in str(caught.value)
