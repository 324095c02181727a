"""Function signatures such as `<s-nn?:s>`: which arguments a function takes, and which the context may supply."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import re2  # type: ignore[import-untyped]

from .errors import MappingError
from .limits import watched
from .values import LISTS, UNDEFINED, Exact, Function, Undefined

PLURALS = {"a": "arrays", "b": "booleans", "f": "functions", "n": "numbers", "o": "objects", "s": "strings"}
LETTERS: dict[type, str] = {
    str: "s", int: "n", float: "n", Decimal: "n", Exact: "n", bool: "b", type(None): "l", dict: "o", Undefined: "m",
    **dict.fromkeys(LISTS, "a"),
}  # fmt: skip
#: parameters that a signature may have
MOST = 64
PATTERNS = {"a": "[asnblfom]", "f": "f", "j": "[asnblom]", "x": "[asnblfom]"}


def letter(value: Any) -> str:
    """The signature's letter for a value's type; `m` for a missing one."""
    found = LETTERS.get(value.__class__)
    if found is not None:
        return found
    if isinstance(value, Function) or callable(value):
        return "f"
    return "a" if isinstance(value, list) else "o" if isinstance(value, dict) else "m"


class Parameter:
    """One parameter: its type letter, the pattern it matches, and whether the context stands in for it."""

    __slots__ = ("context", "pattern", "subtype", "type")

    def __init__(self, type_: str, pattern: str) -> None:
        self.type = type_
        self.pattern = pattern
        self.subtype: str | None = None
        self.context: str | None = None


class Signature:
    """A parsed signature. `validate` answers the arguments as the function wants them, or raises T041x."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parameters: list[Parameter] = []
        self._read(text)
        self.contextual = any(one.context for one in self.parameters)
        #: letters of arguments seen before, and how they fall to the parameters
        self._seen: dict[str, tuple[str, ...]] = {}
        self._whole = re2.compile("^" + "".join(f"({one.pattern})" for one in self.parameters) + "$")

    def _read(self, text: str) -> None:
        at = 1
        found = self.parameters
        while at < len(text) and text[at] != ":":
            symbol = text[at]
            if len(found) > MOST:
                raise MappingError("S0503", position=at, value=MOST)
            last = found[-1] if found else Parameter("", "")
            if symbol in "snblo":
                found.append(Parameter(symbol, f"[{symbol}m]"))
            elif symbol in PATTERNS:
                found.append(Parameter(symbol, PATTERNS[symbol]))
            elif symbol == "-":
                last.context = last.pattern
                last.pattern += "?"
            elif symbol in "?+":
                last.pattern += symbol
            elif symbol == "(":
                end = closing(text, at, "(", ")")
                choice = text[at + 1 : end]
                if "<" in choice:
                    raise MappingError("S0402", position=at, value=choice)
                found.append(Parameter(f"({choice})", f"[{choice}m]"))
                at = end
            elif symbol == "<":
                if last.type not in ("a", "f"):
                    raise MappingError("S0401", position=at, value=last.type)
                end = closing(text, at, "<", ">")
                last.subtype = text[at + 1 : end]
                at = end
            at += 1

    def validate(self, args: tuple[Any, ...], context: Any) -> list[Any]:
        supplied = "".join(map(letter, args))
        groups = self._seen.get(supplied)
        if groups is None:
            match = self._whole.match(supplied)
            if match is None:
                raise self._mismatch(args, supplied)
            groups = match.groups()
            if len(self._seen) < 256:
                self._seen[supplied] = groups
        checked: list[Any] = []
        at = 0
        for parameter, part in zip(self.parameters, groups, strict=True):
            if not part:
                if parameter.context is None:
                    checked.append(args[at] if at < len(args) else UNDEFINED)
                    at += 1
                elif re.fullmatch(parameter.context, letter(context)):
                    checked.append(context)
                else:
                    raise MappingError("T0411", value=context, index=at + 1)
                continue
            for single in part:
                value = args[at]
                if parameter.type == "a":
                    value = self._array(parameter, single, part, value, at)
                checked.append(value)
                at += 1
        return checked

    def _array(self, parameter: Parameter, single: str, part: str, value: Any, at: int) -> Any:
        """An array argument: a single value becomes an array, and the items' type is checked."""
        if single == "m":
            return UNDEFINED
        fits = True
        if parameter.subtype is not None:
            if single != "a":
                fits = part == parameter.subtype
            elif value:
                first = letter(value[0])
                fits = first == parameter.subtype[0] and all(letter(one) == first for one in watched(value))
        if not fits:
            raise MappingError("T0412", value=value, index=at + 1, type=PLURALS.get(str(parameter.subtype), "values"))
        return value if single == "a" else [value]

    def _mismatch(self, args: tuple[Any, ...], supplied: str) -> MappingError:
        pattern = "^"
        good = 0
        for parameter in self.parameters:
            pattern += parameter.pattern
            match = re2.match(pattern, supplied)
            if match is None:
                break
            good = match.end()
        return MappingError("T0410", value=args[good] if good < len(args) else UNDEFINED, index=good + 1)


def closing(text: str, start: int, opening: str, ending: str) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 1
    at = start
    while at < len(text):
        at += 1
        symbol = text[at : at + 1]
        if symbol == ending:
            depth -= 1
            if depth == 0:
                break
        elif symbol == opening:
            depth += 1
    return at
