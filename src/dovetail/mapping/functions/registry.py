"""The table of built-in functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..errors import MappingError
from ..signature import Signature
from ..values import Native
from . import (
    aggregate,
    arrays,
    calendar,
    dates,
    encoding,
    higher,
    meta,
    numbers,
    objects,
    pictures,
    platform,
    strings,
)
from .declare import Declared, build

FAMILIES = (strings, numbers, pictures, aggregate, arrays, objects, higher, dates, calendar, encoding, platform, meta)
DECLARED: dict[str, Declared] = {one.name: one for family in FAMILIES for one in family.FUNCTIONS}
BUILTINS: dict[str, Native] = {name: build(one) for name, one in DECLARED.items()}
_NAMES = frozenset(BUILTINS)


def builtin_names() -> frozenset[str]:
    """The names of the language's functions, without `$`."""
    return _NAMES


def native(name: str, given: Callable[..., Any] | Native) -> Native:
    """A registered function: one made by `define`, or a plain callable whose arguments are passed as they are."""
    return given if isinstance(given, Native) else define(name, given)


def define(name: str, run: Callable[..., Any], signature: str | None = None) -> Native:
    """A function for `compile(functions=...)`, called as `$name`.

    run: takes JSON values (`UNDEFINED` for what is missing) and answers one. signature: JSONata's notation, such as
    `<s-n?:s>`; arguments are then checked before the call. What `run` raises becomes a MappingError (D4003).
    """
    try:
        parameters = inspect.signature(run).parameters.values()
        count = sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
    except (TypeError, ValueError):
        count = 1

    @functools.wraps(run)
    def guarded(*args: Any) -> Any:
        try:
            return run(*args)
        except MappingError:
            raise
        except Exception as error:
            raise MappingError("D4003", value=f"${name} failed: {type(error).__name__}: {error}") from error

    return Native(name, guarded, None if signature is None else Signature(signature), arity=count)
