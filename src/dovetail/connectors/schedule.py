"""Ticks of a clock: a cron expression or a steady interval.

Delivery promise: the last tick is remembered durably, so a tick is neither lost nor repeated by a restart: what was
missed while nothing ran is made up for as `missed` says. Each tick's time is its position, so that one accepted just
before a crash is known again.

Limits: a cron expression follows the wall clock in its time zone, daylight saving included: when the clock is set
forward, the ticks that were jumped over count as missed; when it is set back, none comes twice. An interval is
measured on a clock that nobody sets. Ticks come no more often than ten times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from dovetail.sdk import Connecting, Deliver, Duration, Message, Position, Source, Spec, field, hand_over

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATE = 60_000  # milliseconds after which a tick counts as missed
_NAP = 30.0  # seconds after which the wall clock is looked at again, because somebody may have set it


class ScheduleSource(Source):
    """A message at set times: by a cron expression, or at a steady interval. Its body is `{"scheduled_at": …}`."""

    class Config(Spec):
        cron: str | None = field(
            default=None, help="Minute, hour, day of month, month, day of week.", example="0 6 * * *"
        )
        every: Duration | None = field(
            default=None, help="The interval; the first tick comes at once.", example="30s", min="100ms"
        )
        timezone: str = field(
            default="UTC", help="The time zone of `cron` and of the times shown.", example="Europe/Berlin"
        )
        missed: Literal["once", "all", "skip"] = field(
            default="once",
            help="Ticks more than a minute late, because nothing ran: made up for with one, with each, or not at all.",
        )

        def rules(self) -> Iterable[tuple[str, str]]:
            """One kind of schedule, and one that can be read."""
            if (self.cron is None) == (self.every is None):
                yield "cron", "write either a 'cron' expression or an interval 'every'"
            if self.timezone not in available_timezones():
                yield "timezone", f"there is no time zone '{self.timezone}'; write one like Europe/Berlin or UTC"
            elif self.cron is not None:
                try:
                    next(CronSim(self.cron, _EPOCH))
                except (CronSimError, StopIteration):
                    yield (
                        "cron",
                        f"'{self.cron}' is no cron expression that ever comes due; write five fields: 0 6 * * 1-5",
                    )

    def __init__(self, config: Config, flow: str) -> None:
        super().__init__(config, flow)
        self._zone = ZoneInfo(config.timezone)

    async def open(self, context: Connecting) -> None:
        """Recall the last tick; a schedule that is new begins now."""
        self._context = context
        last = context.marked("tick")
        if last is None:  # an interval's first tick is due at once
            last = context.clock.now_ms() - (0 if self.config.every is None else round(self.config.every * 1000))
            context.mark("tick", last)
        self._last: int = last
        self._highest: int = max(last, context.marked("highest") or 0)  # position: ahead of a clock that was set back

    async def run(self, deliver: Deliver) -> None:
        """Tick until cancelled."""
        if self.config.cron is not None:
            await self._by_calendar(deliver)
        else:
            await self._by_interval(deliver)

    async def _by_calendar(self, deliver: Deliver) -> None:
        now = self._context.clock.now_ms
        while True:
            due = self._after(self._last)
            while (wait := due - now()) > 0:  # noqa: ASYNC110 - what is awaited is the time itself
                await asyncio.sleep(min(wait / 1000, _NAP))
            if self.config.missed == "all":
                await self._tick(deliver, due)
            else:
                await self._newest(deliver, max(due, self._before(now())))

    async def _by_interval(self, deliver: Deliver) -> None:
        clock, every = self._context.clock, round(self.config.every * 1000)
        turn = clock.monotonic()
        count, rest = divmod(max(0, clock.now_ms() - self._last), every)
        turn -= rest / 1000
        if self.config.missed == "all":
            for _ in range(count):
                await self._tick(deliver, self._last + every)
        elif count:
            await self._newest(deliver, self._last + count * every)
        while True:
            turn += every / 1000
            while (wait := turn - clock.monotonic()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(wait)
            if -wait > every / 1000:
                turn -= wait  # the process stood still: go on from here
            now, planned = clock.now_ms(), self._last + every
            await self._tick(deliver, planned if abs(now - planned) < every // 2 else now)

    def _after(self, tick: int) -> int:
        """The first tick behind `tick` by the calendar."""
        return _number(next(CronSim(self.config.cron, self._moment(tick))))

    def _before(self, now: int) -> int:
        """The newest tick up to `now` by the calendar."""
        return _number(next(CronSim(self.config.cron, self._moment(now + 1), reverse=True)))

    def _moment(self, number: int) -> datetime:
        return (_EPOCH + timedelta(milliseconds=number)).astimezone(self._zone)

    async def _newest(self, deliver: Deliver, tick: int) -> None:
        """Of the ticks that are due only the newest counts; a late one does not when missed ones are skipped."""
        if self.config.missed == "once" or self._context.clock.now_ms() - tick <= _LATE:
            await self._tick(deliver, tick)
        else:
            self._remember(tick)

    async def _tick(self, deliver: Deliver, tick: int) -> None:
        """Deliver one tick and remember it."""
        context = self._context
        message = Message(
            None, value={"scheduled_at": self._moment(tick).isoformat()}, codec=context.codecs.by_name("json"),
            source="schedule", type="dovetail.schedule.tick", time_ms=context.clock.now_ms(), subject=self.flow,
        )  # fmt: skip
        number = max(tick, self._highest + 1)  # a clock that was set back does not make ticks repeats
        [receipt] = await hand_over(deliver, [message], positions=[Position("ticks", number)])
        self._highest = max(number, (context.position("ticks") or 0) if receipt.duplicate else 0)
        if self._highest != tick:
            context.mark("highest", self._highest)
        self._remember(tick)

    def _remember(self, tick: int) -> None:
        self._last = tick
        self._context.mark("tick", tick)


def _number(moment: datetime) -> int:
    return int((moment - _EPOCH) / timedelta(milliseconds=1))
