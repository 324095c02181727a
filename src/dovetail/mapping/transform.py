"""The transform operator `|pattern|update,delete|`: a function that copies its argument and changes the copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import MappingError
from .invoke import invoke
from .limits import watched
from .signature import Signature
from .values import LISTS, UNDEFINED, Native, is_function

U = UNDEFINED
SIGNATURE = Signature("<(oa):o>")
Code = Callable[[Any], Any]


def copy(state: Any, value: Any) -> Any:
    """A deep copy of JSON data; numbers and texts as they are, functions too."""
    kind = value.__class__
    if kind is dict:
        state.cells(len(value))
        return {key: copy(state, one) for key, one in watched(value.items())}
    if kind in LISTS:
        state.cells(len(value))
        return [copy(state, one) for one in watched(value)]
    return value


def transformer(state: Any, clone: Any, pattern: Code, update: Code, delete: Code | None, places: Any) -> Native:
    """The function that a transform stands for. `places` are the numbers of the nodes for errors."""

    def run(value: Any) -> Any:
        if value is U:
            return U
        if not is_function(clone):
            raise MappingError("T2013", value=clone)
        result = invoke(state, clone, (value,), None)
        matches = pattern(result)
        if matches is U:
            return result
        for match in watched(matches) if matches.__class__ in LISTS else (matches,):
            change(state, match, update)
            if delete is not None:
                remove(match, delete)
        return result

    return Native("transform", run, SIGNATURE, arity=1)


def reaches(state: Any, value: Any, target: Any) -> bool:
    """Whether `target` is somewhere inside `value`."""
    stack = [value]
    while stack:
        one = stack.pop()
        if one is target:
            return True
        if one.__class__ is dict:
            state.charge(one)
            stack.extend(one.values())
        elif one.__class__ in LISTS:
            state.charge(one)
            stack.extend(one)
    return False


def change(state: Any, match: Any, update: Code) -> None:
    changes = update(match)
    if changes is U:
        return
    if changes.__class__ is not dict:
        raise MappingError("T2011", value=changes)
    if match.__class__ is dict:
        # an update made of the match itself would close a circle: it becomes a copy
        match.update(copy(state, changes) if reaches(state, changes, match) else changes)


def remove(match: Any, delete: Code) -> None:
    names = delete(match)
    if names is U:
        return
    found = names if names.__class__ in LISTS else [names]
    if not all(one.__class__ is str for one in watched(found)):
        raise MappingError("T2012", value=names)
    if match.__class__ is dict:
        for name in watched(found):
            match.pop(name, None)
