"""Objects: keys, lookup, merging, splitting."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .. import comparing, runtime
from ..limits import FEW, spend, watched
from ..transform import copy
from ..values import LISTS, UNDEFINED, Exact, Lambda, Seq
from .declare import Declared, function

U = UNDEFINED
FUNCTIONS: list[Declared] = []


@function(FUNCTIONS, "<x-:a<s>>", ('$keys({"a": 1, "b": 2})', ["a", "b"]))
def keys(value: Any) -> Any:
    """The names of an object's fields, or of all the objects of an array together."""
    found = Seq()
    if value.__class__ in LISTS:
        spend(1)
        found.extend(dict.fromkeys(name for one in watched(value) for name in keys(one)))
    elif isinstance(value, dict):
        if len(value) > FEW:
            spend(len(value))
        found.extend(value)
    return found


@function(FUNCTIONS, "<x-s:x>", ('$lookup({"a": 1}, "a")', 1))
def lookup(value: Any, key: Any = U) -> Any:
    """The field of that name, of an object or of all the objects of an array."""
    return U if key is U else runtime.lookup(value, key)


@function(FUNCTIONS, "<x-:a<o>>", ('$spread({"a": 1, "b": 2})', [{"a": 1}, {"b": 2}]), stateful=True)
def spread(state: Any, value: Any) -> Any:
    """An object as an array of objects with one field each."""
    if value.__class__ in LISTS:
        spend(1)
        parts: list[Any] = []
        for one in watched(value):
            runtime.extend(state, parts, spread(state, one))
        return parts if value else U
    if isinstance(value, dict):
        state.cells(len(value))
        return Seq({name: one} for name, one in watched(value.items()))
    return "" if isinstance(value, Lambda) else value


@function(FUNCTIONS, "<a<o>:o>", ('$merge([{"a": 1}, {"b": 2}, {"a": 3}])', {"a": 3, "b": 2}), stateful=True)
def merge(state: Any, objects: Any) -> Any:
    """All the fields of an array of objects in one object; later ones win."""
    if objects is U:
        return U
    merged: dict[str, Any] = {}
    for one in watched(objects):
        if isinstance(one, dict):
            state.cells(len(one))
            merged.update(one)
    return merged


@function(FUNCTIONS, "<x:b>", ("$exists(nothing)", False), ("$exists(null)", True))
def exists(value: Any) -> Any:
    """Whether there is a value; null is one."""
    return value is not U


@function(FUNCTIONS, "<(oa)-:o>", ('$clone({"a": [1]})', {"a": [1]}), stateful=True)
def clone(state: Any, value: Any) -> Any:
    """A deep copy."""
    return U if value is U else copy(state, value)


@function(FUNCTIONS, "<x-:b>", ("$boolean([0, 1])", True), ('$boolean("")', False))
def boolean(value: Any) -> Any:
    """The value as a boolean: empty texts, arrays and objects, 0, null and functions are false."""
    return U if value is U else comparing.truth(value)


@function(FUNCTIONS, "<x-:b>", ("$not(0)", True))
def not_(value: Any) -> Any:
    """The opposite of `$boolean`."""
    return U if value is U else not comparing.truth(value)


@function(FUNCTIONS, "<x:s>", ("$type([])", "array"), ("$type(null)", "null"))
def type_(value: Any) -> Any:
    """The value's type: null, number, string, boolean, array, object or function."""
    if value is U:
        return U
    kind = value.__class__
    if kind is float:
        comparing.number(value)
        return "number" if value == value else "object"
    found = TYPES.get(kind)
    if found is None:
        found = "array" if kind in LISTS else "object" if isinstance(value, dict) else "function"
    return found


TYPES: dict[type, str] = {
    type(None): "null", int: "number", Decimal: "number", Exact: "number", str: "string", bool: "boolean",
}  # fmt: skip
