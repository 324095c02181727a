"""Functions that take functions."""

from __future__ import annotations

from typing import Any

from ..comparing import truth
from ..errors import MappingError
from ..invoke import arity, call
from ..limits import watched
from ..values import UNDEFINED, Seq
from .declare import Declared, function

U = UNDEFINED
FUNCTIONS: list[Declared] = []


def asked(state: Any, function_: Any, *args: Any) -> Any:
    """Call with as many of the arguments as the function takes, at least one."""
    state.left -= 1
    if state.left < 0:
        state.tick()
    return call(state, function_, *args[: max(1, arity(function_))])


@function(FUNCTIONS, "<af>", ("$map([1, 2], function($v, $i){ $v * 10 + $i })", [10, 21]), stateful=True, name="map")
def map_(state: Any, items: Any, function_: Any = U) -> Any:
    """The answers of a function for each item; it may take the item, its place and the array."""
    if items is U:
        return U
    found = Seq()
    for place, one in enumerate(items):
        answer = asked(state, function_, one, place, items)
        if answer is not U:
            found.append(answer)
    state.cells(len(found))
    return found


@function(FUNCTIONS, "<af>", ("$filter([1, 2, 3], function($v){ $v > 1 })", [2, 3]), stateful=True, name="filter")
def filter_(state: Any, items: Any, function_: Any = U) -> Any:
    """The items for which a function answers true."""
    if items is U:
        return U
    found = Seq()
    for place, one in enumerate(items):
        if truth(asked(state, function_, one, place, items)):
            found.append(one)
    return found


@function(FUNCTIONS, "<af?>", ("$single([1, 2, 3], function($v){ $v = 2 })", 2), stateful=True)
def single(state: Any, items: Any, function_: Any = U) -> Any:
    """The one item for which a function answers true; an error if there is none, or more than one."""
    if items is U:
        return U
    found = [
        one
        for place, one in enumerate(watched(items))
        if function_ is U or truth(asked(state, function_, one, place, items))
    ]
    if len(found) != 1:
        raise MappingError("D3138" if found else "D3139")
    return found[0]


@function(
    FUNCTIONS, "<afj?:j>", ("$reduce([1, 2, 3], function($a, $b){ $a + $b })", 6), stateful=True, name="reduce"
)  # fmt: skip
def reduce_(state: Any, items: Any, function_: Any = U, initial: Any = U) -> Any:
    """One value out of an array: the function is called with the value so far and the next item."""
    if items is U:
        return U
    takes = arity(function_)
    if takes < 2:
        raise MappingError("D3050", index=1)
    start = 1 if initial is U and items else 0
    result = items[0] if start else initial
    for place in range(start, len(items)):
        result = asked(state, function_, *(result, items[place], place, items)[: max(2, takes)])
    return result


@function(FUNCTIONS, "<o-f:a>", ('$each({"a": 1}, function($v, $k){ $k & $v })', "a1"), stateful=True)
def each(state: Any, value: Any, function_: Any = U) -> Any:
    """The answers of a function for each field; it may take the value, the name and the object."""
    found = Seq()
    for key, one in value.items() if isinstance(value, dict) else ():
        answer = asked(state, function_, one, key, value)
        if answer is not U:
            found.append(answer)
    return found


@function(FUNCTIONS, "<o-f?:o>", ('$sift({"a": 1, "b": 2}, function($v){ $v > 1 })', {"b": 2}), stateful=True)
def sift(state: Any, value: Any, function_: Any = U) -> Any:
    """The object with only the fields for which a function answers true; nothing if none is left."""
    if not isinstance(value, dict):
        return U
    found = {key: one for key, one in value.items() if truth(asked(state, function_, one, key, value))}
    return found or U
