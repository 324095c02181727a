"""Numbers: casting, rounding, powers."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from ..arithmetic import double, rounded, tidy
from ..comparing import number as usable
from ..errors import MappingError
from ..invoke import HOLE
from ..values import DECIMALS, NUMBERS, UNDEFINED, Exact
from .declare import Declared, function
from .text import double_text

U = UNDEFINED
WIDE = Context(prec=1000)
POWERS = tuple(10.0**step for step in range(10))
FUNCTIONS: list[Declared] = []
_decimal = re.compile(r"-?[0-9]+(\.[0-9]+)?([Ee][-+]?[0-9]+)?")
_integer = re.compile(r"-?[0-9]+")
_based = re.compile(r"(0[xX][0-9A-Fa-f]+)|(0[oO][0-7]+)|(0[bB][01]+)")


@function(FUNCTIONS, "<(nsb)-:n>", ('$number("5.25")', 5.25), ('$number("0x12")', 18), ("$number(true)", 1))
def number(value: Any) -> Any:
    """The number that a string shows (also hexadecimal `0x`, octal `0o`, binary `0b`); true is 1 and false 0."""
    kind = value.__class__
    if kind is str:
        return parsed(value)
    if value is U or kind in NUMBERS:
        return value
    if kind is bool:
        return int(value)
    raise MappingError("D3030", value=value, index=1)


def parsed(text: str) -> Any:
    """The number in a text: an integer of any size stays one, a fraction becomes a double."""
    if _integer.fullmatch(text):
        if len(text) > 400:
            raise MappingError("D3030", value=text, index=1)
        value = int(text)
        if math.isfinite(double(value)):
            return value
    elif _decimal.fullmatch(text):
        found = float(text)
        if math.isfinite(found):
            return tidy(found)
    elif _based.fullmatch(text) and len(text) < 300:
        return rounded(int(text, 0))
    raise MappingError("D3030", value=text, index=1)


@function(FUNCTIONS, "<n-:n>", ("$abs(-5)", 5))
def abs_(value: Any) -> Any:
    """The absolute value."""
    return U if value is U else rounded(abs(value)) if value.__class__ is Exact else abs(value)


@function(FUNCTIONS, "<n-:n>", ("$floor(5.8)", 5), ("$floor(-5.3)", -6))
def floor(value: Any) -> Any:
    """The largest integer that is not greater."""
    return value if value is U or value.__class__ is int else integral(value, math.floor)


@function(FUNCTIONS, "<n-:n>", ("$ceil(5.2)", 6), ("$ceil(-5.8)", -5))
def ceil(value: Any) -> Any:
    """The smallest integer that is not less."""
    return value if value is U or value.__class__ is int else integral(value, math.ceil)


def integral(value: Any, cut: Any) -> Any:
    if value != value or value in (math.inf, -math.inf):
        return value
    return rounded(cut(value))


def quick_round(value: Any, precision: Any = 0) -> Any:
    """Rounding of what is clearly above or below the middle."""
    if value.__class__ is not float or precision.__class__ is not int or not 0 <= precision < 10:
        return value if value.__class__ is int and precision.__class__ is int and precision >= 0 else HOLE
    if precision == 0:
        return round(value) if -1e15 < value < 1e15 else HOLE
    power = POWERS[precision]
    scaled = value * power
    if not -1e9 < scaled < 1e9:
        return HOLE
    whole = math.floor(scaled)
    over = scaled - whole
    if 0.499999 < over < 0.500001:
        return HOLE
    if over > 0.5:
        whole += 1
    found = whole / power
    return int(found) if found.is_integer() else found


@function(
    FUNCTIONS,
    "<n-n?:n>",
    ("$round(123.456, 2)", 123.46),
    ("$round(2.5)", 2),
    ("$round(125, -1)", 120),
    quick=quick_round,
    quick_arity=(1, 2),
)
def round_(value: Any, precision: Any = U) -> Any:
    """The value with `precision` decimals (0 by default, negative for tens and hundreds), halves to even."""
    if value is U or (value.__class__ is int and (precision is U or precision >= 0)):
        return value
    if value.__class__ is float and not math.isfinite(value):
        return value
    places = 0 if precision is U else math.trunc(precision)
    exact = value if value.__class__ in DECIMALS else Decimal(double_text(value) if value.__class__ is float else value)
    if value.__class__ is Exact and abs(places) <= 400:
        return Exact(exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN, context=WIDE))
    if places > 400 or int(exact.as_tuple().exponent) >= -places:
        return tidy(value) if value.__class__ is float else value
    if places < -400:
        return 0
    result = exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN, context=WIDE)
    return tidy(float(result))


@function(FUNCTIONS, "<n-:n>", ("$sqrt(4)", 2))
def sqrt(value: Any) -> Any:
    """The square root."""
    if value is U:
        return U
    value = usable_or_infinite(value)
    if value < 0:
        raise MappingError("D3060", value=value, index=1)
    return tidy(math.sqrt(value))


def usable_or_infinite(value: Any) -> float:
    return float(value) if value.__class__ in DECIMALS else double(value)


@function(FUNCTIONS, "<n-n:n>", ("$power(2, 8)", 256), ("$power(2, 0.5)", 1.4142135623730951))
def power(value: Any, exponent: Any = U) -> Any:
    """`value` raised to `exponent`."""
    if value is U:
        return U
    if exponent is U:
        raise MappingError("D3061", value=value, exp=exponent, index=1)
    try:
        result = math.pow(usable(value), usable(exponent))
    except (ValueError, OverflowError, ZeroDivisionError):
        raise MappingError("D3061", value=value, exp=exponent, index=1) from None
    if not math.isfinite(result):
        raise MappingError("D3061", value=value, exp=exponent, index=1)
    return tidy(result)


@function(FUNCTIONS, "<:n>", stateful=True)
def random(state: Any) -> Any:
    """A random number from 0 up to but not including 1, drawn from the environment's dice."""
    return state.environment.random()
