"""What generated code calls when its inline fast path does not fit: the language's operators on any value."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .errors import MappingError
from .functions.text import to_text
from .values import (
    DECIMALS,
    EMPTY,
    FLAT,
    LISTS,
    NUMBERS,
    SAFE,
    UNDEFINED,
    Cons,
    Exact,
    Function,
    Kept,
    Seq,
    is_number,
    normal,
    settle,
)  # fmt: skip

U = UNDEFINED
#: numbers that come as amounts from the input
AMOUNTS = frozenset((int, Decimal))
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
    for item in value:
        one = item.get(key, U) if item.__class__ is dict else lookup(item, key)
        if one is not U:
            if one.__class__ in LISTS:
                found.extend(one)
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
    for item in value:
        one = item.get(key, U) if item.__class__ is dict else normal(lookup(item, key))
        if one is not U:
            if one.__class__ in FLAT:
                found.extend(one)
            else:
                found.append(one)
    return found


def collect(value: Any, key: str) -> list[Any] | None:
    """The field of every item, not flattened; None when the value is no list."""
    if value.__class__ not in LISTS:
        return None
    found = []
    for item in value:
        one = item.get(key, U) if item.__class__ is dict else normal(lookup(item, key))
        if one is not U:
            found.append(one)
    return found


def last_field(value: Any, key: str) -> Any:
    """The last step of a path: the field of every item, settled."""
    if value.__class__ not in LISTS:
        return value.get(key, U) if isinstance(value, dict) else U
    try:
        found = [item.get(key, U) for item in value]
    except AttributeError:
        found = collect(value, key) or []
    else:
        if NESTED.isdisjoint(map(type, found)):
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
    for one in results:
        if one.__class__ in FLAT:
            break
    else:
        return results
    found: list[Any] = []
    for one in results:
        if one.__class__ in FLAT:
            found.extend(one)
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
    elif kind in LISTS and all(one.__class__ in NUMBERS for one in test):
        places = test
    else:
        if truth(test):
            found.append(item)
        return
    for place in places:
        at = math.floor(place)
        if (at + count if at < 0 else at) == index:
            found.append(item)


# truth and comparison ----------------------------------------


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
        return any(map(truth, value))
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
            return all(key in right and equal(value, right[key]) for key, value in left.items())
        if one not in LISTS:
            return bool(left == right) if one is not type(U) else False
    if one in LISTS:
        return two in LISTS and len(left) == len(right) and all(map(same, left, right))
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
        return any(one is left for one in items_of(right))
    return any(equal(left, one) for one in items_of(right))


# arithmetic ----------------------------------------


def operands(left: Any, right: Any) -> tuple[Any, Any] | None:
    """Both sides as numbers; None when one is missing."""
    if left is not U:
        if left.__class__ not in NUMBERS or left != left:
            raise MappingError("T2001", value=left)
        left = number(left)
    if right is not U:
        if right.__class__ not in NUMBERS or right != right:
            raise MappingError("T2002", value=right)
        right = number(right)
    if left is U or right is U:
        return None
    if left.__class__ is Exact or right.__class__ is Exact:
        return exact(left), exact(right)
    return left, right


def rounded(value: Any) -> Any:
    """An integer beyond what a double holds becomes a double; a double beyond range becomes infinite."""
    if value.__class__ is int and not -SAFE <= value <= SAFE:
        return double(value)
    return Exact(value) if value.__class__ is Decimal else value


def double(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def narrow(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Integers that no double holds take part as doubles."""
    return rounded(pair[0]), rounded(pair[1])


def add(left: Any, right: Any) -> Any:
    if AMOUNTS.issuperset((left.__class__, right.__class__)):
        quick = float(left) + float(right)
        if -SAFE <= quick <= SAFE:
            return quick
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    return rounded(one + two)


def subtract(left: Any, right: Any) -> Any:
    if AMOUNTS.issuperset((left.__class__, right.__class__)):
        quick = float(left) - float(right)
        if -SAFE <= quick <= SAFE:
            return quick
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    return rounded(one - two)


def multiply(left: Any, right: Any) -> Any:
    if AMOUNTS.issuperset((left.__class__, right.__class__)):
        quick = float(left) * float(right)
        if -SAFE <= quick <= SAFE:
            return quick
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    return rounded(one * two)


def divide(left: Any, right: Any) -> Any:
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    if one.__class__ is Exact:
        if two == 0:
            raise MappingError("D1001", value="division by zero")
        return Exact(one / two)
    if two == 0:
        if one == 0:
            return math.nan
        return math.copysign(math.inf, one) * math.copysign(1.0, two)
    if one.__class__ is int and two.__class__ is int and one % two == 0:
        return one // two
    return one / two


def modulo(left: Any, right: Any) -> Any:
    pair = operands(left, right)
    if pair is None:
        return U
    one, two = narrow(pair)
    if two == 0:
        return math.nan
    if one.__class__ is Exact:
        return Exact(one % two)
    if one.__class__ is int and two.__class__ is int:
        rest = abs(one) % abs(two)
        return -rest if one < 0 else rest
    return math.fmod(one, two)


def negate(value: Any) -> Any:
    if value is U:
        return U
    if value.__class__ not in NUMBERS or value != value:
        raise MappingError("D1002", value=value)
    return rounded(-number(value))


def tidy(value: float) -> Any:
    """A computed double as JSON writes it: whole numbers without a fraction."""
    if value.is_integer() and -SAFE <= value <= SAFE:
        return int(value)
    return value


def spread(state: Any, left: Any, right: Any) -> Any:
    """`left..right` as a list, UNDEFINED if it is empty."""
    one, two = whole(left, "T2003"), whole(right, "T2004")
    if one is U or two is U or one > two:
        return U
    count = two - one + 1
    if count > 10_000_000:
        raise MappingError("D2014", value=count)
    state.cells(count)
    return list(range(one, two + 1))


def whole(value: Any, code: str) -> Any:
    if value is U or value.__class__ is int:
        return value
    if is_number(value) and math.isfinite(value) and value == int(value):
        return int(value)
    raise MappingError(code, value=value)


# text and lists ----------------------------------------


def text(state: Any, value: Any) -> str:
    """An operand of `&`."""
    return "" if value is U else to_text(state, value)


def long(state: Any, joined: str) -> str:
    """Charge a string that has grown long."""
    state.chars(len(joined))
    return joined


def extend(found: list[Any], value: Any) -> None:
    """Put a value into an array constructor."""
    if value.__class__ in LISTS:
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
        found.extend(two)
    else:
        found.append(two)
    return found


def wildcard(value: Any) -> Any:
    """`*`: every field, arrays flattened."""
    found: list[Any] = Seq()
    values: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    arrays = False
    for one in values:
        if one.__class__ in LISTS:
            flatten(one, found)
            arrays = True
        else:
            found.append(one)
    # what an array was put into is an array, no sequence: one item does not stand for itself
    return list(found) if arrays else found


def flatten(value: Any, found: list[Any]) -> None:
    for one in value:
        if one.__class__ in LISTS:
            flatten(one, found)
        else:
            found.append(one)


def descendants(state: Any, value: Any) -> Any:
    """`**`: the value and everything below it."""
    if value is U:
        return U
    found: list[Any] = []
    stack = [value]
    while stack:
        one = stack.pop()
        if one.__class__ in LISTS:
            stack.extend(reversed(one))
            continue
        found.append(one)
        if isinstance(one, dict):
            stack.extend(reversed(one.values()))
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
    for one in value[1:]:
        data = append(data, one)
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
        entry[1].extend(item)
    elif item is not U:
        entry[1].append(item)


def check_key(key: str) -> None:
    if key in ("_jsonata_lambda", "_jsonata_function"):
        raise MappingError("D1013", value=key)


def refuse(code: str, value: Any = U) -> Any:
    raise MappingError(code, value=value)


# order-by ----------------------------------------

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
