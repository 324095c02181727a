"""Sums and their like over arrays of numbers."""

from __future__ import annotations

import functools
import math
import operator
from decimal import Decimal
from typing import Any

from ..arithmetic import divide, rounded, tidy
from ..comparing import exact
from ..invoke import HOLE
from ..limits import FEW, pieces, watched
from ..values import LISTS, UNDEFINED, Exact
from .declare import Declared, function

U = UNDEFINED
PLAIN = frozenset((int, float))
FUNCTIONS: list[Declared] = []


def added(numbers: Any) -> Any:
    """The numbers' sum, added from left to right as doubles; integers stay integers as long as a double holds them."""
    total: Any = 0
    if any(one.__class__ is Exact for one in watched(numbers)):
        return Exact(sum(map(exact, watched(numbers))))
    for one in watched(numbers):
        if one.__class__ is Decimal:
            one = float(one)
        total = total + one
    return rounded(total)


def quick_sum(numbers: Any) -> Any:
    """The sum of a list of ints and floats."""
    if numbers.__class__ not in LISTS:
        return HOLE
    total: Any = 0
    if len(numbers) <= FEW:
        if not PLAIN.issuperset(map(type, numbers)):
            return HOLE
        total = functools.reduce(operator.add, numbers, 0)
    else:
        for piece in pieces(numbers):
            if not PLAIN.issuperset(map(type, piece)):
                return HOLE
            total = functools.reduce(operator.add, piece, total)
    if total.__class__ is float:
        return tidy(total)
    return rounded(total)


@function(FUNCTIONS, "<a<n>:n>", ("$sum([5, 1, 3])", 9), quick=quick_sum)
def sum_(numbers: Any) -> Any:
    """The sum of an array of numbers."""
    if numbers is U:
        return U
    total = added(numbers)
    return tidy(total) if total.__class__ is float else total


@function(FUNCTIONS, "<a:n>", ("$count([1, 2, 3])", 3), ("$count(nothing)", 0))
def count(items: Any) -> Any:
    """The number of items of an array; 0 where nothing is."""
    return 0 if items is U else len(items)


@function(FUNCTIONS, "<a<n>:n>", ("$max([5, 3, 7])", 7))
def max_(numbers: Any) -> Any:
    """The greatest number of an array."""
    return U if numbers is U or not numbers else max(watched(numbers), key=ranked)


@function(FUNCTIONS, "<a<n>:n>", ("$min([5, 3, 7])", 3))
def min_(numbers: Any) -> Any:
    """The least number of an array."""
    return U if numbers is U or not numbers else min(watched(numbers), key=ranked)


def ranked(value: Any) -> Any:
    return float(value) if value.__class__ is Decimal else value


@function(FUNCTIONS, "<a<n>:n>", ("$average([5, 1, 3])", 3))
def average(numbers: Any) -> Any:
    """The mean of an array of numbers."""
    if numbers is U or not numbers:
        return U
    mean = divide(added(numbers), len(numbers))
    if mean.__class__ is not float:
        return mean
    return tidy(mean) if math.isfinite(mean) else mean
