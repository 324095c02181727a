"""Sorting: the order-by operator and `$sort`."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Sequence
from typing import Any

from .comparing import comparable, measured, plain
from .errors import MappingError
from .limits import spend, watched
from .values import UNDEFINED

U = UNDEFINED

Term = tuple[Callable[[Any], Any], bool]
#: items, and characters of them, that Python sorts in one go
HEAP = 1 << 16
LETTERS = 1 << 22


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
        keys = [term(item) for item in watched(items)]
        kinds = {comparable(key) for key in watched(keys)}
        if not kinds <= {"s", "u"} and not kinds <= {"n", "u"}:
            return None
        there = [at for at in watched(order) if keys[at] is not U]
        missing = [at for at in watched(order) if keys[at] is U]
        plain_keys = [plain(key) for key in watched(keys)]
        if any(key != key for key in watched(plain_keys)):
            return None
        order = [*in_order(there, plain_keys.__getitem__, descending, [keys[at] for at in watched(there)]), *missing]
    return [items[at] for at in watched(order)]


def in_order(items: list[Any], key: Callable[[Any], Any], reverse: bool, keys: Sequence[Any]) -> list[Any]:
    """Python's stable sort, with looks at the clock: many items are dealt out to heaps that are sorted one by one.

    keys: the same as `key` gives, in the order of `items`; used to weigh texts.
    """
    spend(len(items))
    if keys and keys[0].__class__ is str and weight(keys) > LETTERS:
        return merge_sort(items, descending(key) if reverse else ascending(key))
    if len(items) <= HEAP:
        return sorted(items, key=key, reverse=reverse)
    marks = sorted({key(one) for one in items[:: HEAP >> 6]})
    marks = marks[:: len(marks) // (len(items) // (HEAP >> 1)) or 1]
    # heaps by turns lie between two marks and hold what is equal to one, and so is in order
    heaps: list[list[Any]] = [[] for _ in range(2 * len(marks) + 1)]
    for one in watched(items):
        value = key(one)
        heaps[bisect.bisect_left(marks, value) + bisect.bisect_right(marks, value)].append(one)
    found: list[Any] = []
    for place in range(len(heaps) - 1, -1, -1) if reverse else range(len(heaps)):
        heap = heaps[place]
        if not place % 2:
            spend(len(heap))
            heap = sorted(heap, key=key, reverse=reverse) if len(heap) <= 2 * HEAP else in_order(heap, key, reverse, ())
        found.extend(heap)
    return found


def weight(texts: Collection[str]) -> int:
    """How many characters there are in texts, each as often as it occurs."""
    return sum(map(len, watched(texts)))


def ascending(key: Callable[[Any], Any]) -> Callable[[Any, Any], bool]:
    def after(one: Any, two: Any) -> bool:
        left, right = key(one), key(two)
        spend(1 + (min(len(left), len(right)) >> 12))
        return bool(left > right)

    return after


def descending(key: Callable[[Any], Any]) -> Callable[[Any, Any], bool]:
    rising = ascending(key)
    return lambda one, two: key(one) != key(two) and not rising(one, two)


def comparator(terms: tuple[Term, ...]) -> Callable[[Any, Any], bool]:
    """Whether the first of two items must come after the second."""

    def after(one: Any, two: Any) -> bool:
        spend(1)
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
    spend(middle)
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
