"""One observer made of several, without a price where only one of them listens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dovetail.engine.observer import Observer

HOOKS = tuple(name for name, value in vars(Observer).items() if callable(value) and not name.startswith("_"))


def combine(*observers: Observer) -> Observer:
    """An observer that passes everything on to each of `observers`, in order; silent hooks of theirs are left out."""
    whole = Observer()
    for name in HOOKS:
        listeners = [
            getattr(each, name) for each in observers if getattr(type(each), name) is not getattr(Observer, name)
        ]
        if listeners:
            setattr(whole, name, listeners[0] if len(listeners) == 1 else _each(listeners))
    return whole


def _each(listeners: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def tell(*what: Any) -> None:
        for listener in listeners:
            listener(*what)

    if len(listeners) != 2:
        return tell
    first, second = listeners

    def tell_both(*what: Any) -> None:
        first(*what)
        second(*what)

    return tell_both
