"""Numbers by XPath decimal picture, such as `#,##0.00`."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ..errors import MappingError
from ..values import DECIMALS, UNDEFINED
from .integers import even
from .numbers import round_
from .text import digits_text

DEFAULTS = {
    "decimal-separator": ".", "grouping-separator": ",", "exponent-separator": "e", "infinity": "Infinity",
    "minus-sign": "-", "NaN": "NaN", "percent": "%", "per-mille": "‰", "zero-digit": "0", "digit": "#",
    "pattern-separator": ";",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters of a picture, and the ten digits."""

    decimal: str
    grouping: str
    exponent: str
    minus: str
    percent: str
    mille: str
    zero: str
    digit: str
    separator: str
    digits: str

    @property
    def active(self) -> str:
        return self.digits + self.decimal + self.exponent + self.grouping + self.digit + self.separator


@dataclass(frozen=True, slots=True)
class Sub:
    """One analysed sub-picture."""

    text: str
    prefix: str
    suffix: str
    groups: tuple[int, ...]
    regular: int
    fraction_groups: tuple[int, ...]
    least_integer: int
    least_fraction: int
    most_fraction: int
    scaling: int
    least_exponent: int


def format_number(state: Any, value: Any, picture: Any, options: Any) -> str:
    """A number by a picture; raises D3080 to D3093 for a picture that is wrong."""
    settings = dict(DEFAULTS)
    if options is not UNDEFINED:
        for key, one in options.items():
            if one.__class__ is str:
                settings[key] = one
    if len(picture) > 1000:
        raise MappingError("U1001", value="The picture is too long")
    signs, subs = analysed(picture, tuple(settings.items()))
    return shown(value, subs[0] if value >= 0 else subs[1], signs)


@functools.lru_cache(maxsize=256)
def analysed(picture: str, settings: tuple[tuple[str, str], ...]) -> tuple[Signs, list[Sub]]:
    named = dict(settings)
    zero = named["zero-digit"][:1] or "0"
    signs = Signs(
        named["decimal-separator"], named["grouping-separator"], named["exponent-separator"], named["minus-sign"],
        named["percent"], named["per-mille"], zero, named["digit"], named["pattern-separator"],
        "".join(chr(ord(zero) + step) for step in range(10)),
    )  # fmt: skip
    parts = picture.split(signs.separator) if signs.separator else list(picture)
    if len(parts) > 2:
        raise MappingError("D3080")
    subs = [sub_picture(one, signs) for one in parts]
    if len(subs) == 1:
        subs.append(replace(subs[0], prefix=signs.minus + subs[0].prefix))
    return signs, subs


def sub_picture(text: str, signs: Signs) -> Sub:
    """Cut a sub-picture into its parts, check them, and read what they ask for."""
    edges = [at for at, one in enumerate(text) if one in signs.active and one != signs.exponent]
    prefix = text[: edges[0]] if edges else ""
    suffix = text[edges[-1] + 1 :] if edges else ""
    active = text[len(prefix) : len(text) - len(suffix)]
    at = text.find(signs.exponent, len(prefix))
    if at < 0 or at > len(text) - len(suffix):
        mantissa, exponent = active, None
    else:
        mantissa, exponent = active[:at], active[at + 1 :]
    point = mantissa.find(signs.decimal)
    integer = mantissa if point < 0 else mantissa[:point]
    fraction = suffix if point < 0 else mantissa[point + 1 :]
    problem = fault(text, active, mantissa, integer, fraction, exponent, signs)
    if problem:
        raise MappingError(problem)
    return sizes(text, prefix, suffix, integer, fraction, exponent, signs)


def fault(
    text: str, active: str, mantissa: str, integer: str, fraction: str, exponent: str | None, signs: Signs
) -> str | None:
    """The last rule of XPath F&O 4.7.3 that a sub-picture breaks."""
    found = None
    point = text.find(signs.decimal)
    if text.count(signs.decimal) > 1:
        found = "D3081"
    if text.count(signs.percent) > 1:
        found = "D3082"
    if text.count(signs.mille) > 1:
        found = "D3083"
    if signs.percent in text and signs.mille in text:
        found = "D3084"
    if not any(one in signs.digits or one == signs.digit for one in mantissa):
        found = "D3085"
    if any(one not in signs.active for one in active):
        found = "D3086"
    if point >= 0:
        if signs.grouping in (text[point - 1 : point], text[point + 1 : point + 2]):
            found = "D3087"
    elif integer[-1:] == signs.grouping:
        found = "D3088"
    if signs.grouping * 2 in text:
        found = "D3089"
    at = integer.find(signs.digit)
    if at >= 0 and any(one in signs.digits for one in integer[:at]):
        found = "D3090"
    at = fraction.rfind(signs.digit)
    if at >= 0 and any(one in signs.digits for one in fraction[at:]):
        found = "D3091"
    if exponent is not None:
        if exponent and (signs.percent in text or signs.mille in text):
            found = "D3092"
        if not exponent or any(one not in signs.digits for one in exponent):
            found = "D3093"
    return found


def sizes(text: str, prefix: str, suffix: str, integer: str, fraction: str, exponent: str | None, signs: Signs) -> Sub:
    """How many digits each part has at least and at most (XPath F&O 4.7.4)."""

    def digits(part: str, optional: bool = False) -> int:
        return sum(one in signs.digits or (optional and one == signs.digit) for one in part)

    groups = [digits(integer[at:], True) for at, one in enumerate(integer) if one == signs.grouping]
    fraction_groups = [digits(fraction[:at], True) for at, one in enumerate(fraction) if one == signs.grouping]
    least = scaling = digits(integer)
    least_fraction, most_fraction = digits(fraction), digits(fraction, True)
    if least == 0 and most_fraction == 0:
        if exponent is not None:
            least_fraction = most_fraction = 1
        else:
            least = 1
    if exponent is not None and least == 0 and signs.digit in integer:
        least = 1
    if least == 0 and least_fraction == 0:
        least_fraction = 1
    return Sub(
        text, prefix, suffix, tuple(groups), even(groups), tuple(fraction_groups), least, least_fraction, most_fraction,
        scaling, digits(exponent or ""),
    )  # fmt: skip


def shown(value: Any, sub: Sub, signs: Signs) -> str:
    number: Any = float(value) if value.__class__ in DECIMALS else value
    if signs.percent in sub.text:
        number = number * 100
    elif signs.mille in sub.text:
        number = number * 1000
    if number.__class__ is float and not math.isfinite(number):
        return sub.prefix + "Infinity" + sub.suffix
    exponent: int | None = None
    if sub.least_exponent:
        number, exponent = scaled(number, sub.scaling)
    rounded = round_(number, sub.most_fraction)
    whole, _, fraction = fixed(abs(rounded), sub.most_fraction, signs).partition(".")
    whole, fraction = whole.lstrip(signs.zero), fraction.rstrip(signs.zero)
    whole = signs.zero * (sub.least_integer - len(whole)) + whole
    fraction = fraction + signs.zero * (sub.least_fraction - len(fraction))
    whole = separated(whole, sub, signs)
    for place in sub.fraction_groups:
        if place <= len(fraction):
            fraction = fraction[:place] + signs.grouping + fraction[place:]
    made = whole + (signs.decimal + fraction if fraction and signs.decimal in sub.text else "")
    if exponent is not None:
        power = fixed(abs(exponent), 0, signs).rjust(sub.least_exponent, signs.zero)
        made += signs.exponent + (signs.minus if exponent < 0 else "") + power
    return sub.prefix + made + sub.suffix


def scaled(number: Any, scaling: int) -> tuple[Any, int]:
    """Mantissa and exponent with `scaling` digits before the point."""
    most, least, exponent = 10.0**scaling, 10.0 ** (scaling - 1), 0
    if number != 0:
        while abs(number) < least:
            number *= 10
            exponent -= 1
        while abs(number) > most:
            number /= 10
            exponent += 1
    return number, exponent


def fixed(value: Any, places: int, signs: Signs) -> str:
    """Digits with a fixed number of decimals, in the picture's script."""
    if abs(value) >= 1e21 and value.__class__ is float:
        text = digits_text(Decimal(repr(value)))
    else:
        text = f"{Decimal(value):.{places}f}"
    if signs.zero == "0":
        return text
    return "".join(signs.digits[ord(one) - 48] if "0" <= one <= "9" else one for one in text)


def separated(whole: str, sub: Sub, signs: Signs) -> str:
    if sub.regular:
        for step in range((len(whole) - 1) // sub.regular, 0, -1):
            at = len(whole) - step * sub.regular
            whole = whole[:at] + signs.grouping + whole[at:]
        return whole
    end = len(whole)
    for place in sub.groups:
        at = end - place
        whole = whole[: max(at, 0)] + signs.grouping + whole[max(at, 0) :] if at >= 0 else whole
        end += 1
    return whole
