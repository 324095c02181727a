"""Truth, equality and order of any two values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .errors import MappingError
from .limits import spend, watched
from .values import DECIMALS, LISTS, NUMBERS, UNDEFINED, Exact, Function

U = UNDEFINED


def truth(value: Any) -> bool:
    """The boolean that a value stands for (`$boolean`); UNDEFINED is false."""
    kind = value.__class__
    if kind is bool:
        return bool(value)
    if kind is str:
        return bool(value)
    if kind is int:
        return bool(value != 0)
    if kind in NUMBERS:
        return bool(number(value)) and value == value
    if kind in LISTS:
        spend(1)
        return any(map(truth, watched(value)))
    return bool(value) if isinstance(value, dict) else False


def number(value: Any) -> Any:
    """A number as arithmetic uses it; raises D1001 for infinity."""
    if value.__class__ is Decimal:
        value = float(value)
    elif value.__class__ is Exact:
        return value
    if value.__class__ is float and value - value != 0.0 and value == value:
        raise MappingError("D1001", value=value)
    return value


def equal(left: Any, right: Any) -> bool:
    """`=` on any two values."""
    one, two = left.__class__, right.__class__
    if one in DECIMALS or two in DECIMALS:
        if one not in NUMBERS or two not in NUMBERS:
            return False
        if one is Exact or two is Exact:
            return bool(exact(left) == exact(right))
        return float(left) == float(right)
    if one is two:
        if one is dict:
            if len(left) != len(right):
                return False
            spend(1)
            return all(key in right and equal(value, right[key]) for key, value in watched(left.items()))
        if one not in LISTS:
            return bool(left == right) if one is not type(U) else False
    if one in LISTS:
        if two not in LISTS or len(left) != len(right):
            return False
        spend(1)
        return all(map(same, watched(left), right))
    return bool((one is int or one is float) and (two is int or two is float) and left == right)


def same(left: Any, right: Any) -> bool:
    """Equality inside arrays, where nothing equals nothing."""
    return left is right or equal(left, right)


def different(left: Any, right: Any) -> bool:
    return left is not U and right is not U and not equal(left, right)


def compare(operator: str, left: Any, right: Any) -> Any:
    """`<`, `<=`, `>`, `>=` on any two values."""
    one, two = comparable(left), comparable(right)
    if not one or not two:
        raise MappingError("T2010", value=left if not one or one == "u" else right)
    if one == "u" or two == "u":
        return U
    if one != two:
        raise MappingError("T2009", value=left, value2=right)
    if one == "n":
        left, right = measured(left, right)
    if operator == "<":
        return left < right
    if operator == "<=":
        return left <= right
    if operator == ">":
        return left > right
    return left >= right


def comparable(value: Any) -> str:
    return "s" if value.__class__ is str else "n" if value.__class__ in NUMBERS else "u" if value is U else ""


def measured(left: Any, right: Any) -> tuple[Any, Any]:
    """Two values of one type, ready for Python's comparison."""
    if left.__class__ is Exact or right.__class__ is Exact:
        return exact(left), exact(right)
    return plain(left), plain(right)


def plain(value: Any) -> Any:
    return float(value) if value.__class__ is Decimal else value


def exact(value: Any) -> Exact:
    """A number as a decimal: every digit of an int or Decimal, the shortest digits of a double."""
    if value.__class__ is float:
        if value - value != 0.0:
            raise MappingError("D1001", value=value)
        return Exact(repr(value))
    return Exact(value)


def includes(left: Any, right: Any) -> bool:
    """`left in right`: objects and arrays are in only if they are the very same."""
    if left is U or right is U:
        return False
    kind = left.__class__
    if kind in LISTS or isinstance(left, dict | Function):
        return any(one is left for one in (watched(right) if right.__class__ in LISTS else (right,)))
    return any(equal(left, one) for one in (watched(right) if right.__class__ in LISTS else (right,)))
