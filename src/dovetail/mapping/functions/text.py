"""Values as text: `$string`, `&`, and numbers as JSON writes them."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from ..errors import MappingError
from ..limits import watched
from ..values import LISTS, SAFE, UNDEFINED, Exact

_half = re.compile("[\ud800-\udfff]")


def quoted(text: str) -> str:
    """A string in JSON; half a character, which no bytes can say, is written as its escape."""
    said: str = encode_basestring(text)
    return said if said.isascii() else _half.sub(lambda match: f"\\u{ord(match.group()):04x}", said)


def number_text(value: Any) -> str:
    """A number as JSONata prints it: up to 15 significant digits of a double, every digit of an int or Decimal."""
    if value.__class__ is int:
        return str(value)
    if value.__class__ is Decimal:
        return decimal_text(value)
    if value.__class__ is Exact:
        return f"{value:f}"
    if value - value != 0.0:
        raise MappingError("D1001", value=value)
    if not value.is_integer():
        value = float(f"{value:.15g}")
    return double_text(value)


def double_text(value: float) -> str:
    """The shortest text that reads back as this double, in JavaScript's notation."""
    if value == 0:
        return "0"
    if value.is_integer() and abs(value) <= SAFE:
        return str(int(value))
    text = repr(value)
    figures, mark, power = text.partition("e")
    if not mark:
        return text if not text.endswith(".0") else digits_text(Decimal(text))
    exponent = int(power)
    if exponent >= 21 or exponent <= -7:  # both languages write these with an exponent
        return f"{figures}e{'+' if exponent > 0 else ''}{exponent}"
    return digits_text(Decimal(text))


def decimal_text(value: Decimal) -> str:
    """Every significant digit of a Decimal."""
    if not value.is_finite():
        raise MappingError("D1001", value=str(value))
    return digits_text(value) if value else "0"


def digits_text(value: Decimal) -> str:
    sign, figures, exponent = value.as_tuple()
    digits = "".join(map(str, figures)).rstrip("0") or "0"
    point = len(figures) + int(exponent)
    digits = digits if digits != "0" else "0"
    head = "-" if sign else ""
    if 0 < point <= 21:
        if len(digits) <= point:
            return head + digits + "0" * (point - len(digits))
        return f"{head}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{head}0.{'0' * -point}{digits}"
    power = point - 1
    mark = "+" if power > 0 else "-"
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return f"{head}{digits[0]}{fraction}e{mark}{abs(power)}"


def to_text(state: Any, value: Any, pretty: bool = False, *, quote: bool = False) -> str:
    """A value as a string; `quote` also for strings. Objects and arrays become JSON."""
    kind = value.__class__
    if kind is str:
        return quoted(value) if quote else str(value)
    if kind is float and not math.isfinite(value):
        raise MappingError("D3001", value=value)
    if kind in SIMPLE:
        return str(SIMPLE[kind](value))
    parts: list[str] = []
    _write(state, value, parts, "\n" if pretty else "")
    text = "".join(parts)
    if kind is not dict and kind not in LISTS:
        text = "" if text == '""' else text
    if state is not None and len(text) > 256:
        state.chars(len(text))
    return text


SIMPLE: dict[type, Any] = {
    int: number_text, float: number_text, Decimal: number_text, Exact: number_text,
    bool: lambda value: "true" if value else "false", type(None): lambda value: "null",
}  # fmt: skip


def _write(state: Any, value: Any, parts: list[str], line: str) -> None:
    """Append a value's JSON; `line` is the line break and indentation, empty when compact."""
    kind = value.__class__
    if kind is str:
        parts.append(quoted(value))
    elif kind in SIMPLE:
        parts.append(SIMPLE[kind](value))
    elif kind is dict:
        _charge(state, 1)
        _write_object(state, value, parts, line)
    elif kind in LISTS:
        _charge(state, 1)
        _write_array(state, value, parts, line)
    else:
        parts.append("null" if value is UNDEFINED else '""')


def _charge(state: Any, count: int) -> None:
    if state is not None:
        state.left -= count
        if state.left < 0:
            state.tick()


def _write_object(state: Any, value: dict[str, Any], parts: list[str], line: str) -> None:
    inner = line + "  " if line else ""
    between = "{"
    for key, one in watched(value.items()) if state is not None else value.items():
        if one is UNDEFINED:
            continue
        parts.append(between + inner + quoted(key) + (": " if line else ":"))
        _write(state, one, parts, inner)
        between = ","
    parts.append("{}" if between == "{" else line + "}")


def _write_array(state: Any, value: list[Any], parts: list[str], line: str) -> None:
    inner = line + "  " if line else ""
    between = "["
    for one in value if state is None else watched(value):
        parts.append(between + inner)
        _write(state, one, parts, inner)
        between = ","
    parts.append("[]" if between == "[" else line + "]")
