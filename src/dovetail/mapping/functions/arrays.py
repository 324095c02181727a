"""Arrays: appending, sorting, reversing, zipping."""

from __future__ import annotations

from typing import Any

from .. import comparing, ordering, runtime
from ..errors import MappingError
from ..invoke import call
from ..limits import FEW, pieces, watched
from ..values import LISTS, NUMBERS, UNDEFINED, Seq
from .declare import Declared, function

U = UNDEFINED
FUNCTIONS: list[Declared] = []


@function(FUNCTIONS, "<xx:a>", ("$append([1, 2], [3])", [1, 2, 3]), ("$append(1, 2)", [1, 2]), stateful=True)
def append(state: Any, one: Any, two: Any = U) -> Any:
    """Both arguments in one array; what is not an array is an array of one."""
    for value in (one, two):
        if value.__class__ in LISTS and len(value) > FEW:
            state.cells(len(value))
    return runtime.append(one, two)


@function(FUNCTIONS, "<a:a>", ("$reverse([1, 2, 3])", [3, 2, 1]), stateful=True)
def reverse(state: Any, items: Any) -> Any:
    """The array's items in opposite order."""
    if items is U or len(items) <= 1:
        return items
    state.cells(len(items))
    return list(items[::-1])  # a copy in one go is quicker than any look at the clock


@function(FUNCTIONS, "<a:a>", stateful=True)
def shuffle(state: Any, items: Any) -> Any:
    """The array's items in random order, drawn from the environment's dice."""
    if items is U or len(items) <= 1:
        return items
    state.cells(len(items))
    mixed = list(items)
    for place in watched(range(len(mixed) - 1, 0, -1)):
        other = int(state.environment.random() * (place + 1))
        mixed[place], mixed[other] = mixed[other], mixed[place]
    return mixed


@function(
    FUNCTIONS, "<af?:a>",
    ("$sort([3, 1, 2])", [1, 2, 3]),
    ('$sort([{"n": 2}, {"n": 1}], function($l, $r){ $l.n > $r.n }).n', [1, 2]),
    stateful=True,
)  # fmt: skip
def sort(state: Any, items: Any, after: Any = U) -> Any:
    """The array in order. The function says of two items whether the first must come after the second."""
    if items is U or len(items) <= 1:
        return items
    state.cells(len(items))
    if after is not U:
        return ordering.merge_sort(list(items), lambda one, two: comparing.truth(ask(state, after, one, two)))
    kinds: set[type] = set()
    for piece in pieces(items):
        kinds.update(map(type, piece))
    if not kinds <= NUMBERS and kinds != {str}:
        raise MappingError("D3070", index=1)
    return ordering.in_order(items, comparing.plain, False, items)


def ask(state: Any, after: Any, one: Any, two: Any) -> Any:
    state.left -= 1
    if state.left < 0:
        state.tick()
    return call(state, after, one, two)


@function(FUNCTIONS, "<x:x>", ("$distinct([1, 2, 1, 3])", [1, 2, 3]), stateful=True)
def distinct(state: Any, items: Any) -> Any:
    """The array without repeated items."""
    if items.__class__ not in LISTS or len(items) <= 1:
        return items
    found: list[Any] = Seq() if isinstance(items, Seq) else []
    seen: set[Any] = set()
    others: list[Any] = []
    for one in watched(items):
        if one.__class__ is str:
            if one in seen:
                continue
            seen.add(one)
        else:
            if any(comparing.same(one, other) for other in watched(others)):
                continue
            others.append(one)
        found.append(one)
    return found


@function(FUNCTIONS, "<a+>", ("$zip([1, 2, 3], [4, 5])", [[1, 4], [2, 5]]), stateful=True, arity=0)
def zip_(state: Any, *arrays: Any) -> Any:
    """Arrays of the first items, of the second items, and so on, as far as the shortest array goes."""
    if not all(one.__class__ in LISTS for one in arrays) or not arrays:
        return []
    state.cells(min(map(len, arrays)) * (len(arrays) + 1))
    return [list(group) for group in zip(watched(arrays[0]), *arrays[1:], strict=False)]
