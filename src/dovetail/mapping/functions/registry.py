"""The table of built-in functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..values import Native
from . import (
    aggregate,
    arrays,
    dates,
    encoding,
    higher,
    meta,
    numbers,
    objects,
    pictures,
    strings,
)  # fmt: skip
from .declare import Declared, build

FAMILIES = (strings, numbers, pictures, aggregate, arrays, objects, higher, dates, encoding, meta)
DECLARED: dict[str, Declared] = {one.name: one for family in FAMILIES for one in family.FUNCTIONS}
BUILTINS: dict[str, Native] = {name: build(one) for name, one in DECLARED.items()}


def native(name: str, given: Callable[..., Any] | Native) -> Native:
    """A registered function: a declared one, or a plain callable whose arguments are passed as they are."""
    if isinstance(given, Native):
        return given
    try:
        parameters = inspect.signature(given).parameters.values()
        count = sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
    except (TypeError, ValueError):
        count = 1
    return Native(name, given, None, arity=count)
