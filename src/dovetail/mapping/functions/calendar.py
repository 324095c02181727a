"""Arithmetic on points in time, given and answered as ISO 8601 texts."""

from __future__ import annotations

import math
from typing import Any

from ..errors import MappingError
from ..values import UNDEFINED
from . import moments
from .declare import Declared, function

U = UNDEFINED
FUNCTIONS: list[Declared] = []
MILLIS = {
    "milliseconds": 1,
    "seconds": 1000,
    "minutes": 60_000,
    "hours": 3_600_000,
    "days": moments.DAY,
    "weeks": 7 * moments.DAY,
}
MONTHS = {"months": 1, "quarters": 3, "years": 12}


def unit_of(unit: Any) -> str:
    name = unit if unit.endswith("s") else unit + "s"
    if name not in MILLIS and name not in MONTHS:
        raise MappingError("D4002", value=f"There is no unit {unit}; use one of {', '.join((*MILLIS, *MONTHS))}")
    return str(name)


def written(state: Any, millis: int, like: str) -> str:
    """A point in time in the form of the text it came from: a date stays a date."""
    if len(like) == 10 and millis % moments.DAY == 0:
        return moments.format_moment(state, millis, "[Y0001]-[M01]-[D01]", U)
    return moments.format_moment(state, millis, U, U)


def moved(millis: int, months: int) -> int:
    """Months later, on the same day or the month's last."""
    days, rest = divmod(millis, moments.DAY)
    year, month, day = moments.date_of(days)
    first = moments.days_of(year, month + months, 1)
    last = moments.days_of(year, month + months + 1, 1) - first
    return (first + min(day, last) - 1) * moments.DAY + rest


@function(
    FUNCTIONS,
    "<sns:s>",
    ('$dateAdd("2026-01-31", 1, "month")', "2026-02-28"),
    ('$dateAdd("2026-03-01T10:00:00Z", -90, "minutes")', "2026-03-01T08:30:00.000Z"),
    stateful=True,
)
def dateAdd(state: Any, text: Any, amount: Any = U, unit: Any = U) -> Any:
    """A date or timestamp moved by an amount of milliseconds, seconds, minutes, hours, days, weeks, months or years."""
    if U in (text, unit) or amount is U:
        return U
    name, count = unit_of(unit), math.floor(amount)
    if abs(count) > 1_000_000_000_000:
        raise MappingError("D3110", value=amount)
    millis = moments.parse_iso(text)
    if name in MONTHS:
        if abs(count) > 1_000_000:
            raise MappingError("D3110", value=amount)
        return written(state, moved(millis, count * MONTHS[name]), text)
    return written(state, millis + count * MILLIS[name], text)


@function(
    FUNCTIONS,
    "<sss:n>",
    ('$dateDiff("2026-01-31", "2026-03-01", "days")', 29),
    ('$dateDiff("2025-06-15", "2026-06-14", "years")', 0),
)
def dateDiff(start: Any, end: Any = U, unit: Any = U) -> Any:
    """How many whole units lie between two dates or timestamps; negative if the second is earlier."""
    if U in (start, end, unit):
        return U
    name = unit_of(unit)
    one, two = moments.parse_iso(start), moments.parse_iso(end)
    if name in MILLIS:
        return int((two - one) / MILLIS[name])
    sign = 1 if two >= one else -1
    first, second = (one, two) if sign > 0 else (two, one)
    (year, month, _), (later, other, _) = moments.date_of(first // moments.DAY), moments.date_of(second // moments.DAY)
    months = (later - year) * 12 + other - month
    if moved(first, months) > second:
        months -= 1
    return sign * (months // MONTHS[name])


@function(
    FUNCTIONS,
    "<ss:s>",
    ('$dateStart("2026-03-18", "month")', "2026-03-01"),
    ('$dateStart("2026-03-18T10:20:30Z", "hour")', "2026-03-18T10:00:00.000Z"),
    stateful=True,
)
def dateStart(state: Any, text: Any, unit: Any = U) -> Any:
    """The first moment of the second, minute, hour, day, week (Monday), month, quarter or year around a timestamp."""
    if U in (text, unit):
        return U
    name = unit_of(unit)
    millis = moments.parse_iso(text)
    days = millis // moments.DAY
    year, month, _ = moments.date_of(days)
    if name == "weeks":
        return written(state, (days - moments.weekday(days) + 1) * moments.DAY, text)
    if name in MONTHS:
        first = {"months": month, "quarters": (month - 1) // 3 * 3 + 1, "years": 1}[name]
        return written(state, moments.days_of(year, first, 1) * moments.DAY, text)
    return written(state, millis - millis % MILLIS[name], text)
