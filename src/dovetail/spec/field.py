"""One setting, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()


@dataclass(slots=True)
class Field:
    """A declared setting. `attribute` is its name in Python, `name` its name in text.

    `main`: the setting that a bare value sets. `kind`: what the value names (`expression`, `operation`, …), so that it
    can be cross-checked.
    `min` and `max` bound a number's value, a text's or a list's length.
    """

    help: str
    default: Any = REQUIRED
    example: Any = None
    secret: bool = False
    main: bool = False
    kind: str = ""
    name: str = ""
    min: Any = None
    max: Any = None
    pattern: str = ""
    attribute: str = ""

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


def field(
    *,
    help: str,
    default: Any = REQUIRED,
    example: Any = None,
    secret: bool = False,
    main: bool = False,
    kind: str = "",
    name: str = "",
    min: Any = None,
    max: Any = None,
    pattern: str = "",
) -> Any:
    """Declare a setting of a `Spec`. The default is written as in text (`"30s"`), and checked like text.

    A name that Python reserves is written with a trailing underscore (`for_`) and read without.
    """
    if not help.strip():
        raise TypeError("a field needs its help")
    return Field(help, default, example, secret, main, kind, name, min, max, pattern)
