"""Numbers by picture: `$formatNumber`, `$formatInteger`, `$parseInteger`, `$formatBase`."""

from __future__ import annotations

import math
from typing import Any

from ..errors import MappingError
from ..invoke import HOLE
from ..values import UNDEFINED
from . import decimals, integers
from .declare import Declared, function
from .numbers import quick_round, round_

U = UNDEFINED
FUNCTIONS: list[Declared] = []
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@function(
    FUNCTIONS, "<n-so?:s>",
    ('$formatNumber(12345.6, "#,###.00")', "12,345.60"), ('$formatNumber(0.14, "01%")', "14%"),
    stateful=True,
)  # fmt: skip
def formatNumber(state: Any, value: Any, picture: Any = U, options: Any = U) -> Any:
    """A number by an XPath decimal picture; `options` replace its characters, such as `decimal-separator`."""
    return U if value is U else decimals.format_number(state, value, picture, options)


@function(FUNCTIONS, "<n-n?:s>", ("$formatBase(255, 16)", "ff"))
def formatBase(value: Any, radix: Any = U) -> Any:
    """An integer in another number base, from 2 to 36."""
    if value is U:
        return U
    number = value if value.__class__ is int else nearest(value)
    base = 10 if radix is U else nearest(radix)
    if base < 2 or base > 36:
        raise MappingError("D3100", value=base)
    if not math.isfinite(number):
        raise MappingError("D1001", value=number)
    rest = abs(int(number))
    digits = ""
    while rest:
        rest, digit = divmod(rest, int(base))
        digits = DIGITS[digit] + digits
    return ("-" if number < 0 else "") + (digits or "0")


@function(
    FUNCTIONS, "<n-s:s>",
    ('$formatInteger(2789, "w")', "two thousand, seven hundred and eighty-nine"),
    ('$formatInteger(1999, "I")', "MCMXCIX"),
    stateful=True,
)  # fmt: skip
def formatInteger(state: Any, value: Any, picture: Any = U) -> Any:
    """An integer by an XPath picture: digits, words (`w`), roman (`I`), letters (`A`), ordinals (`;o`)."""
    return U if value is U else integers.format_integer(state, integral(value), picture)


def nearest(value: Any) -> Any:
    """A number rounded to an integer."""
    found = quick_round(value)
    return round_(value) if found is HOLE else found


def integral(value: Any) -> int:
    if not math.isfinite(value):
        raise MappingError("D1001", value=value)
    whole: int = math.floor(value)
    return whole


@function(
    FUNCTIONS, "<s-s:n>", ('$parseInteger("twelve thousand, four hundred and seventy-six", "w")', 12476), stateful=True
)
def parseInteger(state: Any, text: Any, picture: Any = U) -> Any:
    """The integer that a text shows, by the same pictures as `$formatInteger`."""
    return U if text is U else integers.parse_integer(text, picture)
