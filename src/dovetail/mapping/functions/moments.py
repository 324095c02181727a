"""Points in time by XPath date/time picture. Time is milliseconds since 1970-01-01 UTC, years may be any."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import re2  # type: ignore[import-untyped]

from ..errors import MappingError
from ..values import UNDEFINED
from . import integers

U = UNDEFINED
DAY = 86_400_000
DAYS = ("", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
PRESENTATION = {
    "Y": "1", "M": "1", "D": "1", "d": "1", "F": "n", "W": "1", "w": "1", "X": "1", "x": "1", "H": "1", "h": "1",
    "P": "n", "m": "01", "s": "01", "f": "1", "Z": "01:01", "z": "01:01", "C": "n", "E": "n",
}  # fmt: skip
ISO = "[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01].[f001][Z01:01t]"
FURTHEST = 8_640_000_000_000_000


# the calendar ----------------------------------------


def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; months count from 1 and may overflow."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def date_of(days: int) -> tuple[int, int, int]:
    """Year, month and day of a day since 1970-01-01."""
    era, of_era = divmod(days + 719468, 146097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)
    return year_of_era + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def weekday(days: int) -> int:
    """1 for Monday to 7 for Sunday."""
    return (days + 3) % 7 + 1


@functools.lru_cache(maxsize=4096)
def first_week(year: int, month: int) -> int:
    """The day on which week 1 starts: the week with the first Thursday."""
    first = days_of(year, month, 1)
    day = weekday(first)
    return first + 8 - day if day > 4 else first - day + 1


class Moment:
    """A point in time, cut into the components of a picture."""

    __slots__ = ("day", "days", "millis", "month", "rest", "year")

    def __init__(self, millis: int) -> None:
        self.millis = millis
        self.days, self.rest = divmod(millis, DAY)
        self.year, self.month, self.day = date_of(self.days)

    def component(self, letter: str) -> Any:
        found = READ.get(letter)
        return found(self) if found is not None else ""

    def week(self, month: int, following: tuple[int, int], before: tuple[int, int], most: int) -> int:
        week = (self.days - first_week(self.year, month)) / 7 + 1
        if week > most and self.days >= first_week(*following):
            return 1
        if week < 1:
            week = (self.days - first_week(*before)) / 7 + 1
        return math.floor(week)

    def week_of_year(self) -> int:
        return self.week(1, (self.year + 1, 1), (self.year - 1, 1), 52)

    def week_of_month(self) -> int:
        return self.week(self.month, (self.year, self.month + 1), (self.year, self.month - 1), 4)

    def week_year(self) -> int:
        at = self.millis
        if at < first_week(self.year, 1) * DAY:
            return self.year - 1
        return self.year + 1 if at >= first_week(self.year + 1, 1) * DAY else self.year

    def week_month(self) -> int:
        at = self.millis
        if at < first_week(self.year, self.month) * DAY:
            return (self.month - 2) % 12 + 1
        return self.month % 12 + 1 if at >= first_week(self.year, self.month + 1) * DAY else self.month


READ: dict[str, Any] = {
    "Y": lambda at: at.year,
    "M": lambda at: at.month,
    "D": lambda at: at.day,
    "d": lambda at: at.days - days_of(at.year, 1, 1) + 1,
    "F": lambda at: weekday(at.days),
    "W": Moment.week_of_year,
    "w": Moment.week_of_month,
    "X": Moment.week_year,
    "x": Moment.week_month,
    "H": lambda at: at.rest // 3_600_000,
    "h": lambda at: at.rest // 3_600_000 % 12 or 12,
    "P": lambda at: "pm" if at.rest >= 43_200_000 else "am",
    "m": lambda at: at.rest // 60_000 % 60,
    "s": lambda at: at.rest // 1000 % 60,
    "f": lambda at: at.rest % 1000,
    "C": lambda at: "ISO",
    "E": lambda at: "ISO",
}


# pictures ----------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a picture: literal text, or a component with its presentation."""

    literal: str | None = None
    component: str = ""
    names: str | None = None
    modifier: str = ""
    integer: integers.Picture | None = None
    most: int | None = None
    modulus: int = -1
    width: int | None = None


@functools.lru_cache(maxsize=256)
def analyse(picture: str) -> tuple[Part, ...]:
    """Read a picture; raises D3132 and D3135."""
    parts: list[Part] = []
    start = at = 0

    def literal(end: int) -> None:
        if end > start:
            parts.append(Part(literal=picture[start:end].replace("]]", "]")))

    while at < len(picture):
        if picture[at] != "[":
            at += 1
            continue
        literal(at)
        if picture[at + 1 : at + 2] == "[":
            parts.append(Part(literal="["))
            at += 2
            start = at
            continue
        end = picture.find("]", at)
        if end < 0:
            raise MappingError("D3135")
        part = marker("".join(picture[at + 1 : end].split()))
        if part.integer is not None and part.component in "YMDdFWwXxHhmsf" and parts and parts[-1].integer is not None:
            before = parts[-1]
            assert before.integer is not None
            parts[-1] = replace(before, width=before.integer.mandatory)
        parts.append(part)
        at = start = end + 1
    literal(at)
    return tuple(parts)


def marker(text: str) -> Part:
    """One `[...]`: component, presentation, width."""
    component = text[:1]
    presentation, comma, widths = text[1:].rpartition(",")
    if not comma:
        presentation, widths = text[1:], ""
    least, most = width_of(widths)
    modifier = ""
    if len(presentation) > 1 and presentation[-1] in "atco":
        presentation, modifier = presentation[:-1], presentation[-1]
    presentation = presentation or PRESENTATION.get(component, "")
    if not presentation:
        raise MappingError("D3132", value=component)
    part = Part(component=component, modifier=modifier, most=most)
    if presentation[0] in "nN":
        names = "lower" if presentation[0] == "n" else "title" if presentation[1:2] == "n" else "upper"
        part = replace(part, names=names)
    elif component in "YMDdFWwXxHhmsf":
        part = numeric(part, presentation, modifier, least)
    if component in "Zz":
        part = replace(part, integer=integers.analyse(presentation))
    return part


def width_of(text: str) -> tuple[int | None, int | None]:
    least, _, most = text.partition("-")
    return number_of(least), number_of(most)


def number_of(text: str) -> int | None:
    found = re.match(r"[0-9]{1,4}", text)
    return int(found.group()) if found else None


def numeric(part: Part, presentation: str, modifier: str, least: int | None) -> Part:
    integer = integers.analyse(f"{presentation};{modifier}" if modifier else presentation)
    if least is not None and integer.mandatory < least:
        integer = replace(integer, mandatory=least)
    modulus = -1
    if part.component == "Y":
        if part.most is not None:
            modulus = part.most
            integer = replace(integer, mandatory=part.most)
        elif integer.mandatory + integer.optional >= 2:
            modulus = integer.mandatory + integer.optional
    return replace(part, integer=integer, modulus=modulus)


# formatting ----------------------------------------


def format_moment(state: Any, millis: Any, picture: Any, timezone: Any) -> str:
    """A point in time as text; raises D3133 and D3134 for pictures that ask for what there is not."""
    offset = 0 if timezone is U else zone_of(timezone)
    hours, minutes = math.floor(offset / 100), int(math.fmod(offset, 100))
    if not math.isfinite(millis) or abs(millis) > FURTHEST:
        raise MappingError("D3110", value=millis)
    at = Moment(math.floor(millis) + (60 * hours + minutes) * 60_000)
    if picture is not U and len(picture) > 1000:
        raise MappingError("U1001", value="The date/time picture is too long")
    parts = analyse(ISO if picture is U else picture)
    return "".join(
        [part.literal if part.literal is not None else shown(state, at, part, hours, minutes) for part in parts]
    )


def zone_of(timezone: str) -> int:
    found = re.match(r"\s*[-+]?[0-9]{1,6}", timezone)
    if not found:
        raise MappingError("D3110", value=timezone)
    return int(found.group())


def shown(state: Any, at: Moment, part: Part, hours: int, minutes: int) -> str:
    letter = part.component
    if letter in "Zz":
        return zone_text(state, part, hours, minutes)
    value = at.component(letter)
    if letter in "YMDdFWwXxHhms":
        if letter == "Y" and part.modulus != -1:
            value = abs(value) % 10 ** min(part.modulus, 20) * (-1 if value < 0 else 1)
        if part.names is not None:
            return name_text(value, part)
    if part.integer is not None:
        return integers.formatted(state, value, part.integer)
    if letter == "P" and part.names == "upper":
        return str(value).upper()
    return str(value)


def name_text(value: int, part: Part) -> str:
    if part.component in "Mx":
        name = MONTHS[value - 1]
    elif part.component == "F":
        name = DAYS[value]
    else:
        raise MappingError("D3133", value=part.component)
    name = name.upper() if part.names == "upper" else name.lower() if part.names == "lower" else name
    return name[: part.most] if part.most is not None else name


def zone_text(state: Any, part: Part, hours: int, minutes: int) -> str:
    picture = part.integer
    assert picture is not None
    offset = hours * 100 + minutes
    digits = picture.mandatory
    if picture.regular:
        text = integers.formatted(state, offset, picture)
    elif digits in (1, 2):
        text = integers.formatted(state, hours, picture)
        if minutes:
            text += ":" + integers.formatted(state, minutes, integers.analyse("00"))
    elif digits in (3, 4):
        text = integers.formatted(state, offset, picture)
    else:
        raise MappingError("D3134", value=digits)
    text = "+" + text if offset >= 0 else text
    text = "GMT" + text if part.component == "z" else text
    return "Z" if offset == 0 and part.modifier == "t" else text


# parsing ----------------------------------------

_iso = re.compile(
    r"(\d{4})(?:-([01]\d))?(?:-([0-3]\d))?(?:T([0-2]\d):([0-5]\d):([0-5]\d))?(\.\d+)?([+-][0-2]\d:?[0-5]\d|Z)?", re.A
)


def parse_iso(text: str) -> int:
    """An ISO 8601 timestamp; raises D3110."""
    found = _iso.fullmatch(text)
    if found is None:
        raise MappingError("D3110", value=text)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    numbers = [
        int(one or default) for one, default in zip((month, day, hour, minute, second), (1, 1, 0, 0, 0), strict=True)
    ]
    most = (31, 29 if leap(int(year)) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not 1 <= numbers[0] <= 12 or not 1 <= numbers[1] <= most[numbers[0] - 1] or numbers[2] > 24:
        raise MappingError("D3110", value=text)
    if numbers[2] == 24 and (numbers[3] or numbers[4]):
        raise MappingError("D3110", value=text)
    days = days_of(int(year), numbers[0], numbers[1])
    millis = days * DAY + numbers[2] * 3_600_000 + numbers[3] * 60_000 + numbers[4] * 1000
    if fraction:
        millis += int((fraction[1:4] + "00")[:3])
    if zone and zone != "Z":
        sign = -1 if zone[0] == "-" else 1
        digits = zone[1:].replace(":", "")
        millis -= sign * (int(digits[:2]) * 60 + int(digits[2:])) * 60_000
    return millis


def leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


@functools.lru_cache(maxsize=256)
def pattern_of(picture: str) -> tuple[Any, tuple[Part, ...]]:
    """The regular expression that reads what a picture shows, on the linear engine unless it cannot backtrack."""
    parts = analyse(picture)
    pieces = []
    for part in parts:
        if part.literal is not None:
            pieces.append(re.escape(part.literal))
        elif part.component in "Zz":
            separator = part.integer.separators[0][1] if part.integer and part.integer.regular else None
            zone = "[-+][0-9]+" + (f"{re.escape(separator)}[0-9]+" if separator else "")
            pieces.append(("GMT" if part.component == "z" else "") + zone)
        elif part.component == "f":
            pieces.append("[0-9]+")
        elif part.integer is not None:
            pieces.append(integers.pattern(part.integer, part.width))
        elif part.component in "MxFP":
            pieces.append("[a-zA-Z]+")
        else:
            raise MappingError("D3133", value=part.component)
    pattern = "".join(f"({piece})" for piece in pieces)
    if separated(parts):
        return re.compile(pattern, re.I), parts
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(pattern, options), parts


def separated(parts: tuple[Part, ...]) -> bool:
    """Whether a text can be cut in one way only: between any two components stands a sign that is in neither."""
    open_ended = False
    for part in parts:
        if part.literal is not None:
            open_ended = open_ended and (not part.literal.isascii() or part.literal.isalnum())
            continue
        integer = part.integer
        if open_ended or (integer is not None and integer.primary == "words"):
            return False
        decimal = integer is not None and integer.primary == "decimal" and part.component not in "Zzf"
        open_ended = not decimal or part.width is None
    return True


def parse_moment(state: Any, text: str, picture: str) -> Any:
    """The point in time that a text shows, UNDEFINED if it does not look as the picture; raises D3136."""
    if len(picture) > 500 or len(text) > 2000:
        raise MappingError("U1001", value="The date/time text or picture is too long")
    pattern, parts = pattern_of(picture)
    found = pattern.fullmatch(text)
    if found is None:
        return U
    components: dict[str, Any] = {}
    for part, piece in zip(parts, found.groups(), strict=True):
        if part.literal is None:
            components[part.component] = read(part, piece)
    if not components:
        return U
    return assembled(components, state)


def read(part: Part, text: str) -> Any:
    if part.component in "Zz":
        return zone_minutes(part, text[3:] if part.component == "z" else text)
    if part.component == "f":
        return int((text + "00")[:3])
    if part.integer is not None:
        return integers.parsed(text, part.integer)
    if part.component == "P":
        return {"am": 0, "AM": 0, "pm": 1, "PM": 1}.get(text)
    names: Any = MONTHS if part.component in "Mx" else DAYS[1:]
    return next((place + 1 for place, name in enumerate(names) if name[: part.most or None] == text), None)


def zone_minutes(part: Part, text: str) -> int:
    separator = part.integer.separators[0][1] if part.integer and part.integer.regular else None
    if separator:
        hours, _, minutes = text.partition(separator)
        return int(hours) * 60 + int(minutes)
    if len(text) <= 3:
        return int(text) * 60
    return int(text[:3]) * 60 + int(text[3:])


DATE_BITS = {letter: 128 >> place for place, letter in enumerate("YXMxWwdD")}
TIME_BITS = {letter: 32 >> place for place, letter in enumerate("PHhmsf")}


def masks(components: dict[str, Any]) -> tuple[int, int]:
    """Which components of a date and of a time are there and not nought, as bits."""
    date = time = 0
    for letter, value in components.items():
        if value:
            if letter in DATE_BITS:
                date |= DATE_BITS[letter]
            elif letter in TIME_BITS:
                time |= TIME_BITS[letter]
    return date, time


def fits(bits: int, kind: int) -> bool:
    """Something of this kind is there, and nothing that it excludes."""
    return not (~kind & bits) and bool(kind & bits)


def assembled(found: dict[str, Any], state: Any) -> int:
    """Fill the gaps: what is greater than the components given comes from now, what is smaller is least."""
    date, time = masks(found)
    by_day = not fits(date, 0b10100001) and fits(date, 0b10000010)
    by_week_of_month = fits(date, 0b01010100)
    by_week = not by_week_of_month and fits(date, 0b01001000)
    half_day = not fits(time, 0b010111) and fits(time, 0b101111)
    order = "YD" if by_day else "XxwF" if by_week_of_month else "XWF" if by_week else "YMD"
    started = ended = False
    now: Moment | None = None
    for letter in order + ("Phmsf" if half_day else "Hmsf"):
        if found.get(letter) is not None:
            started = True
            if ended:
                raise MappingError("D3136")
        elif started:
            found[letter] = 1 if letter in "MDd" else 0
            ended = True
        else:
            now = now or Moment(state.environment.now_ms)
            found[letter] = now.component(letter)
    if by_week_of_month or by_week:
        raise MappingError("D3136")
    return total(found, by_day, half_day)


def total(found: dict[str, Any], by_day: bool, half_day: bool) -> int:
    for one in found.values():
        if one is None or one.__class__ is float:
            raise MappingError("D3136")
    month = found.get("M") or 0
    if by_day:
        days = days_of(found["Y"], 1, 1) + found["d"] - 1
    else:
        days = days_of(year_of(found["Y"]), month if month > 0 else 1, 1) + found["D"] - 1
    hour = found.get("H", 0)
    if half_day:
        hour = (0 if found["h"] == 12 else found["h"]) + (12 if found.get("P") == 1 else 0)
    millis = days * DAY + hour * 3_600_000 + found["m"] * 60_000 + found["s"] * 1000 + found["f"]
    zone = found.get("Z") or found.get("z") or 0
    return int(millis - zone * 60_000)


def year_of(year: int) -> int:
    """Years 0 to 99 mean 1900 to 1999, as everywhere in JavaScript."""
    return 1900 + year if 0 <= year <= 99 else year
