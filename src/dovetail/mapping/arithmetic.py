"""Arithmetic on any two values: doubles as JSONata's, integers kept while a double holds them, decimals on demand."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from .comparing import exact, number
from .errors import MappingError
from .limits import PIECE, pieces
from .values import NUMBERS, SAFE, UNDEFINED, Exact, is_number

U = UNDEFINED
#: numbers that come as amounts from the input
AMOUNTS = frozenset((int, Decimal))


def operands(left: Any, right: Any) -> tuple[Any, Any] | None:
    """Both sides as numbers; None when one is missing."""
    if left is not U:
        if left.__class__ not in NUMBERS or left != left:
            raise MappingError("T2001", value=left)
        left = number(left)
    if right is not U:
        if right.__class__ not in NUMBERS or right != right:
            raise MappingError("T2002", value=right)
        right = number(right)
    if left is U or right is U:
        return None
    if left.__class__ is Exact or right.__class__ is Exact:
        return exact(left), exact(right)
    return left, right


def rounded(value: Any) -> Any:
    """An integer beyond what a double holds becomes a double; a double beyond range becomes infinite."""
    if value.__class__ is int and not -SAFE <= value <= SAFE:
        return double(value)
    return Exact(value) if value.__class__ is Decimal else value


def double(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def narrow(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Integers that no double holds take part as doubles."""
    return rounded(pair[0]), rounded(pair[1])


def add(left: Any, right: Any) -> Any:
    if AMOUNTS.issuperset((left.__class__, right.__class__)):
        quick = float(left) + float(right)
        if -SAFE <= quick <= SAFE:
            return quick
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    return rounded(one + two)


def subtract(left: Any, right: Any) -> Any:
    if AMOUNTS.issuperset((left.__class__, right.__class__)):
        quick = float(left) - float(right)
        if -SAFE <= quick <= SAFE:
            return quick
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    return rounded(one - two)


def multiply(left: Any, right: Any) -> Any:
    if AMOUNTS.issuperset((left.__class__, right.__class__)):
        quick = float(left) * float(right)
        if -SAFE <= quick <= SAFE:
            return quick
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    return rounded(one * two)


def divide(left: Any, right: Any) -> Any:
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    if one.__class__ is Exact:
        if two == 0:
            raise MappingError("D1001", value="division by zero")
        return Exact(one / two)
    if two == 0:
        if one == 0:
            return math.nan
        return math.copysign(math.inf, one) * math.copysign(1.0, two)
    if one.__class__ is int and two.__class__ is int and one % two == 0:
        return one // two
    return one / two


def modulo(left: Any, right: Any) -> Any:
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    if two == 0:
        return math.nan
    if one.__class__ is Exact:
        return Exact(one % two)
    if one.__class__ is int and two.__class__ is int:
        rest = abs(one) % abs(two)
        return -rest if one < 0 else rest
    return math.fmod(one, two)


def negate(value: Any) -> Any:
    if value is U:
        return U
    if value.__class__ not in NUMBERS or value != value:
        raise MappingError("D1002", value=value)
    return rounded(-number(value))


def tidy(value: float) -> Any:
    """A computed double as JSON writes it: whole numbers without a fraction."""
    if value.is_integer() and -SAFE <= value <= SAFE:
        return int(value)
    return value


def proper(value: float) -> Any:
    """As `tidy`, for a number that becomes a result or part of one: JSON has no infinity."""
    if value - value != 0.0:
        raise MappingError("D1001", value=str(value))
    return tidy(value)


def spread(state: Any, left: Any, right: Any) -> Any:
    """`left..right` as a list, UNDEFINED if it is empty."""
    one, two = whole(left, "T2003"), whole(right, "T2004")
    if one is U or two is U or one > two:
        return U
    count = two - one + 1
    if count > 10_000_000:
        raise MappingError("D2014", value=count)
    state.cells(count)
    if count <= PIECE:
        return list(range(one, two + 1))
    found: list[int] = []
    for piece in pieces(range(one, two + 1)):
        found.extend(piece)
    return found


def whole(value: Any, code: str) -> Any:
    if value is U or value.__class__ is int:
        return value
    if is_number(value) and math.isfinite(value) and value == int(value):
        return int(value)
    raise MappingError(code, value=value)
