"""What generated code calls when its inline fast path does not fit: the language's operators on any value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .comparing import number, truth
from .errors import MappingError
from .functions.text import to_text
from .limits import FEW, PIECE, grown, spend, watched
from .values import (
    EMPTY,
    FLAT,
    LISTS,
    NUMBERS,
    UNDEFINED,
    Cons,
    Kept,
    Seq,
    normal,
    settle,
)  # fmt: skip

U = UNDEFINED
#: what a field may be that is not simply an item of its sequence
NESTED = LISTS | {type(U)}


# names ----------------------------------------


def lookup(value: Any, key: str) -> Any:
    """The field of an object, or of every object in a list as a sequence (not yet settled)."""
    if isinstance(value, dict):
        return value.get(key, U)
    if not isinstance(value, list):
        return U
    found = Seq()
    most = PIECE
    spend(1)
    for item in value if len(value) <= FEW else watched(value):
        one = item.get(key, U) if item.__class__ is dict else lookup(item, key)
        if one is not U:
            if one.__class__ in LISTS:
                found.extend(one)
                if len(found) > most:
                    most = grown(found, most)
            else:
                found.append(one)
    return found


def field(value: Any, key: str) -> Any:
    """The field of one context, which may itself be a list."""
    return normal(lookup(value, key))


def fields(value: Any, key: str) -> Any:
    """The field of every item, flattened; the items of a value that is no list are that value alone."""
    if value.__class__ not in LISTS:
        return value.get(key, U) if isinstance(value, dict) else U
    found: list[Any] = []
    most = PIECE
    for item in value if len(value) <= FEW else watched(value):
        one = item.get(key, U) if item.__class__ is dict else normal(lookup(item, key))
        if one is not U:
            if one.__class__ in FLAT:
                found.extend(one)
                if len(found) > most:
                    most = grown(found, most)
            else:
                found.append(one)
    return found


def collect(value: Any, key: str) -> list[Any] | None:
    """The field of every item, not flattened; None when the value is no list."""
    if value.__class__ not in LISTS:
        return None
    found = []
    for item in value if len(value) <= FEW else watched(value):
        one = item.get(key, U) if item.__class__ is dict else normal(lookup(item, key))
        if one is not U:
            found.append(one)
    return found


def last_field(value: Any, key: str) -> Any:
    """The last step of a path: the field of every item, settled."""
    if value.__class__ not in LISTS:
        return value.get(key, U) if isinstance(value, dict) else U
    try:
        found = [item.get(key, U) for item in (value if len(value) <= FEW else watched(value))]
    except AttributeError:
        found = collect(value, key) or []
    else:
        if NESTED.isdisjoint(map(type, found if len(found) <= FEW else watched(found))):
            return Seq(found) if len(found) > 1 else found[0] if found else U
        found = [one for one in found if one is not U]
    return last(found)


def kept_field(value: Any, key: str) -> Any:
    """The last step of a path marked `[]`."""
    found = collect(value, key)
    if found is None:
        found = [value[key]] if isinstance(value, dict) and key in value else []
    return last_kept(found)


def kept_one(value: Any) -> Any:
    """The outcome of a single-context path marked `[]`."""
    return U if value is U else last_kept([value])


def flat(results: list[Any]) -> list[Any]:
    """The results of a step, each sequence spread out."""
    for one in results if len(results) <= FEW else watched(results):
        if one.__class__ in FLAT:
            break
    else:
        return results
    found: list[Any] = []
    most = PIECE
    for one in results if len(results) <= FEW else watched(results):
        if one.__class__ in FLAT:
            found.extend(one)
            if len(found) > most:
                most = grown(found, most)
        else:
            found.append(one)
    return found


def flat_last(results: list[Any]) -> list[Any]:
    """As `flat`, for the last step before a group: one plain array alone is what is grouped."""
    if len(results) == 1 and results[0].__class__ is Cons:
        return list(results[0])
    return flat(results)


def last(results: list[Any]) -> Any:
    """The results of the last step: one plain array stays itself, anything else is a sequence."""
    if len(results) == 1:
        one = results[0]
        if one.__class__ is Seq or one.__class__ is Kept:
            return settle(list(one))
        return one
    return settle(flat(results))


def last_kept(results: list[Any]) -> Any:
    """As `last`, marked `[]`."""
    if len(results) == 1 and results[0].__class__ is list:
        return results[0]
    if len(results) == 1 and results[0].__class__ is Cons:
        return Kept(results)
    found = flat(results)
    return Kept(found) if found else U


def keep(items: list[Any]) -> Any:
    """Items marked `[]`."""
    return Kept(items) if items else U


def keep_value(value: Any) -> Any:
    """A value marked `[]` that is not a path: only a sequence is marked."""
    return Kept(value) if value.__class__ is Seq and value else value


def items_of(value: Any) -> Any:
    """What a filter or a group goes over: a list's items, or the value alone."""
    return value if value.__class__ in LISTS else (value,)


def steps_of(value: Any) -> Any:
    """What a step goes over: as `items_of`, and nothing where nothing is."""
    return value if value.__class__ in LISTS else () if value is U else (value,)


# predicates ----------------------------------------


def pick(value: Any, index: int) -> Any:
    """`value[2]`: one item, an empty sequence if there is none."""
    items = value if value.__class__ in LISTS else (value,)
    if index < 0:
        index += len(items)
    if 0 <= index < len(items):
        item = items[index]
        if item is not U:
            return item
    return EMPTY


def select(test: Any, index: int, count: int, item: Any, found: list[Any]) -> None:
    """Keep an item whose predicate is true, or names its place."""
    kind = test.__class__
    if kind in NUMBERS:
        places: Any = (number(test),) if test == test else ()
    elif kind in LISTS and all(one.__class__ in NUMBERS for one in watched(test)):
        places = test
    else:
        if truth(test):
            found.append(item)
        return
    for place in watched(places):
        at = math.floor(place)
        if (at + count if at < 0 else at) == index:
            found.append(item)


# text and lists ----------------------------------------


def text(state: Any, value: Any) -> str:
    """An operand of `&`."""
    return "" if value is U else to_text(state, value)


def long(state: Any, joined: str) -> str:
    """Charge a string that has grown long."""
    state.chars(len(joined))
    return joined


def extend(state: Any, found: list[Any], value: Any) -> None:
    """Put a value into an array constructor."""
    if value.__class__ in LISTS:
        if len(value) > FEW:
            state.cells(len(value))
        found.extend(value)
    elif value is not U:
        found.append(value)


def append(one: Any, two: Any) -> Any:
    """`$append`, also how grouped items are gathered."""
    if one is U:
        return two
    if two is U:
        return one
    found = list(one) if one.__class__ in LISTS else [one]
    if two.__class__ in LISTS:
        if len(two) > FEW:
            spend(len(two))
        found.extend(two)
    else:
        found.append(two)
    return found


def wildcard(value: Any) -> Any:
    """`*`: every field, arrays flattened."""
    found: list[Any] = Seq()
    values: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    arrays = False
    for one in watched(values):
        if one.__class__ in LISTS:
            flatten(one, found, PIECE)
            arrays = True
        else:
            found.append(one)
    # what an array was put into is an array, no sequence: one item does not stand for itself
    return list(found) if arrays else found


def flatten(value: Any, found: list[Any], most: int) -> int:
    """Put every item of nested lists into `found`, charging what goes beyond `most`; answers the new mark."""
    spend(1)
    for one in watched(value):
        if one.__class__ in LISTS:
            most = flatten(one, found, most)
        else:
            found.append(one)
    return grown(found, most) if len(found) > most else most


def descendants(state: Any, value: Any) -> Any:
    """`**`: the value and everything below it."""
    if value is U:
        return U
    found: list[Any] = []
    stack: list[Iterator[Any]] = [iter((value,))]
    most = PIECE
    while stack:
        for one in stack[-1]:
            if one.__class__ not in LISTS:
                found.append(one)
                if not isinstance(one, dict):
                    continue
                one = one.values()
            state.left -= len(one) + 1
            stack.append(iter(state.turns(one)))
            if len(found) > most:
                most = grown(found, most)
            break
        else:
            stack.pop()
    state.cells(len(found))
    return found[0] if len(found) == 1 else Seq(found)


# groups ----------------------------------------


def merged(value: Any) -> Any:
    """The context of a constructor with fixed keys when it stands on a list: all items together."""
    if value.__class__ not in LISTS:
        return value
    if not value:
        return U
    data = value[0]
    whole = False
    for one in watched(value[1:]):
        if one is U:
            continue
        if data is U:
            data = one
        elif whole and one.__class__ not in LISTS:
            data.append(one)
        elif whole:
            spend(len(one))
            data.extend(one)
        else:
            data = append(data, one)
            whole = True
    return data


def grouped(groups: dict[str, list[Any]], key: Any, place: int, item: Any) -> None:
    """Add an item to the group of its key."""
    if key is U:
        return
    if key.__class__ is not str:
        raise MappingError("T1003", value=key)
    check_key(key)
    entry = groups.get(key)
    if entry is None:
        groups[key] = [place, item, True]
        return
    if entry[0] != place:
        raise MappingError("D1009", value=key)
    if entry[2]:
        entry[2] = entry[1] is U or item is U
        entry[1] = append(entry[1], item)
    elif item.__class__ in LISTS:
        spend(len(item))
        entry[1].extend(item)
    elif item is not U:
        entry[1].append(item)


def check_key(key: str) -> None:
    if key in ("_jsonata_lambda", "_jsonata_function"):
        raise MappingError("D1013", value=key)
