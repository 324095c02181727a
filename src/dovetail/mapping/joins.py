"""Tuple streams, on which `@$v`, `#$i` and `%` work: each tuple carries its item and what was bound on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .limits import PIECE, grown, watched
from .ordering import Term, ordered
from .runtime import append, grouped, pick, select
from .values import LISTS, UNDEFINED

U = UNDEFINED
Tuple = dict[str, Any]


class Tuples(list[Tuple]):
    """A stream that leaves its path, to be taken up by the path around it."""

    __slots__ = ()


def stream(items: Any) -> Tuples:
    return Tuples({"@": item} for item in watched(items))


def items_in(tuples: Tuples) -> list[Any]:
    return [one["@"] for one in watched(tuples)]


def join(
    state: Any, step: Callable[[Tuple], Any], tuples: Tuples, focus: str | None, index: str | None, label: str | None
) -> Tuples:
    """Evaluate a step on every tuple; each result makes a tuple with what was bound before and what is bound here."""
    found = Tuples()
    for before in watched(tuples):
        results = step(before)
        if results is U:
            continue
        if results.__class__ is Tuples:
            state.cells(len(results))
            found.extend({**before, **one} for one in watched(results))
            continue
        if results.__class__ not in LISTS:
            results = (results,)
        state.cells(len(results))
        for place, result in enumerate(watched(results)):
            made = dict(before)
            if focus is not None:
                made[focus] = result
            else:
                made["@"] = result
            if index is not None:
                made[index] = place
            if label is not None:
                made[label] = before["@"]
            found.append(made)
    return found


def sort_tuples(tuples: Tuples, terms: tuple[Term, ...], index: str | None) -> Tuples:
    found = Tuples(ordered(tuples, terms))
    if index is not None:
        number_tuples(found, index)
    return found


def number_tuples(tuples: Tuples, name: str) -> None:
    for place, one in enumerate(watched(tuples)):
        one[name] = place


def pick_tuple(tuples: Tuples, index: int) -> Tuples:
    found = pick(list(tuples), index)
    return Tuples([found] if found.__class__ is dict else [])


def filter_tuples(state: Any, tuples: Tuples, test: Callable[[Tuple], Any]) -> Tuples:
    found = Tuples()
    for place, one in enumerate(watched(tuples)):
        select(test(one), place, len(tuples), one, found)
    return found


def group_joined(state: Any, tuples: Tuples, pairs: tuple[tuple[Any, Any], ...]) -> dict[str, Any]:
    """`path{key: value}` on a stream: a group's variables hold what its tuples held, together."""
    groups: dict[str, list[Any]] = {}
    for one in watched(tuples):
        for place, (key, _) in enumerate(pairs):
            grouped(groups, key(one), place, one)
    made: dict[str, Any] = {}
    for name, entry in watched(groups.items()):
        value = pairs[entry[0]][1](reduced(entry[1]))
        if value is not U:
            made[name] = value
    return made


def reduced(tuples: Any) -> Tuple:
    if tuples.__class__ is dict:
        return dict(tuples)
    merged = dict(tuples[0])
    own: set[str] = set()
    most = PIECE
    for one in watched(tuples[1:]):
        for name, value in one.items():
            before = merged.get(name, U)
            if name not in own:
                merged[name] = append(before, value)
                if before is not U and value is not U:
                    own.add(name)
            elif value.__class__ in LISTS:
                before.extend(value)
                if len(before) > most:
                    most = grown(before, most)
            elif value is not U:
                before.append(value)
    return merged
