"""Sorting: the order-by operator and `$sort`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .comparing import comparable, measured, plain
from .errors import MappingError
from .values import UNDEFINED

U = UNDEFINED

Term = tuple[Callable[[Any], Any], bool]


def ordered(items: list[Any], terms: tuple[Term, ...]) -> list[Any]:
    """Sort stably by each term in turn; UNDEFINED comes last whatever the direction."""
    if len(items) <= 1:
        return items
    try:
        found = quick(items, terms)
    except MappingError:
        found = None
    return merge_sort(items, comparator(terms)) if found is None else found


def quick(items: list[Any], terms: tuple[Term, ...]) -> list[Any] | None:
    """Python's own sort, if every term is all numbers or all strings."""
    order = list(range(len(items)))
    for term, descending in reversed(terms):
        keys = [term(item) for item in items]
        kinds = {comparable(key) for key in keys}
        if not kinds <= {"s", "u"} and not kinds <= {"n", "u"}:
            return None
        there = [at for at in order if keys[at] is not U]
        missing = [at for at in order if keys[at] is U]
        plain_keys = [plain(key) for key in keys]
        if any(key != key for key in plain_keys):
            return None
        there.sort(key=plain_keys.__getitem__, reverse=descending)
        order = there + missing
    return [items[at] for at in order]


def comparator(terms: tuple[Term, ...]) -> Callable[[Any, Any], bool]:
    """Whether the first of two items must come after the second."""

    def after(one: Any, two: Any) -> bool:
        for term, descending in terms:
            left, right = term(one), term(two)
            if left is U or right is U:
                if left is U and right is U:
                    continue
                return left is U
            kind, other = comparable(left), comparable(right)
            if not kind or not other:
                raise MappingError("T2008", value=right if kind else left)
            if kind != other:
                raise MappingError("T2007", value=left, value2=right)
            left, right = measured(left, right)
            if left != right:
                return bool((left > right) is not descending)
        return False

    return after


def merge_sort(items: list[Any], after: Callable[[Any, Any], bool]) -> list[Any]:
    """A stable merge sort that asks `after` in a fixed order, so that a comparing function sees what it expects."""
    if len(items) <= 1:
        return items
    middle = len(items) // 2
    left, right = merge_sort(items[:middle], after), merge_sort(items[middle:], after)
    merged_items: list[Any] = []
    one = two = 0
    while one < len(left) and two < len(right):
        if after(left[one], right[two]):
            merged_items.append(right[two])
            two += 1
        else:
            merged_items.append(left[one])
            one += 1
    merged_items.extend(left[one:])
    merged_items.extend(right[two:])
    return merged_items
