"""Integers by XPath picture: digits in any script, words, roman numerals, letters."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import MappingError

FEW = [
    "Zero",
    "One",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
    "Thirteen",
    "Fourteen",
    "Fifteen",
    "Sixteen",
    "Seventeen",
    "Eighteen",
    "Nineteen",
]
FEWTH = [
    "Zeroth",
    "First",
    "Second",
    "Third",
    "Fourth",
    "Fifth",
    "Sixth",
    "Seventh",
    "Eighth",
    "Ninth",
    "Tenth",
    "Eleventh",
    "Twelfth",
    "Thirteenth",
    "Fourteenth",
    "Fifteenth",
    "Sixteenth",
    "Seventeenth",
    "Eighteenth",
    "Nineteenth",
]
TENS = ["Twenty", "Thirty", "Forty", "Fifty", "Sixty", "Seventy", "Eighty", "Ninety", "Hundred"]
GREAT = ["Thousand", "Million", "Billion", "Trillion"]
ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
ROMAN_VALUES = {"M": 1000, "D": 500, "C": 100, "L": 50, "X": 10, "V": 5, "I": 1}
#: where each script's ten digits begin
ZEROS = (
    0x30, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6,
    0x0D66, 0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80,
    0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0,
    0xFF10,
)  # fmt: skip
#: longest text that is read as an integer
LONGEST = 10_000
#: more roman thousands than this are refused: the numeral's length grows with the number
ROMAN_MOST = 5_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """An analysed picture. `separators` are (digits to the right, sign) from the right; `regular` is their distance."""

    primary: str
    case: str = "lower"
    ordinal: bool = False
    zero: int = 0x30
    mandatory: int = 0
    optional: int = 0
    separators: tuple[tuple[int, str], ...] = field(default=())
    regular: int = 0
    token: str = ""


NAMED = {
    "A": ("letters", "upper"), "a": ("letters", "lower"), "I": ("roman", "upper"), "i": ("roman", "lower"),
    "W": ("words", "upper"), "Ww": ("words", "title"), "w": ("words", "lower"),
}  # fmt: skip


@functools.lru_cache(maxsize=256)
def analyse(picture: str) -> Picture:
    """Read a picture; raises D3131 for digits of several scripts."""
    primary, semicolon, modifier = picture.rpartition(";")
    if not semicolon:
        primary, modifier = picture, ""
    ordinal = modifier.startswith("o")
    named = NAMED.get(primary)
    if named is not None:
        return Picture(named[0], named[1], ordinal)
    return replace(digits_picture(primary), ordinal=ordinal)


def digits_picture(primary: str) -> Picture:
    zero: int | None = None
    mandatory = optional = position = 0
    separators: list[tuple[int, str]] = []
    for sign in reversed(primary):
        code = ord(sign)
        group = next((one for one in ZEROS if one <= code <= one + 9), None)
        if group is not None:
            mandatory += 1
            position += 1
            if zero is not None and group != zero:
                raise MappingError("D3131")
            zero = group
        elif sign == "#":
            optional += 1
            position += 1
        else:
            separators.append((position, sign))
    if zero is None:
        return Picture("sequence", token=primary)
    same = len({sign for _, sign in separators}) == 1
    distance = even([at for at, _ in separators]) if same else 0
    return Picture("decimal", "lower", False, zero, mandatory, optional, tuple(separators), distance)


def even(places: list[int]) -> int:
    """The distance at which separators repeat, 0 if they do not."""
    if not places:
        return 0
    factor = functools.reduce(math.gcd, places)
    return factor if all(step * factor in places for step in range(1, len(places) + 1)) else 0


def format_integer(state: Any, value: int, picture: Any) -> str:
    return formatted(state, value, checked(picture))


def checked(picture: Any) -> Picture:
    if picture.__class__ is not str:
        picture = ""
    if len(picture) > 1000:
        raise MappingError("U1001", value="The picture is too long")
    return analyse(picture)


def formatted(state: Any, value: int, picture: Picture) -> str:
    """An integer by an analysed picture."""
    number = abs(value)
    if picture.primary == "letters":
        text = letters(number, "A" if picture.case == "upper" else "a")
    elif picture.primary == "roman":
        text = roman(number)
        text = text.upper() if picture.case == "upper" else text
    elif picture.primary == "words":
        text = words(number, False, picture.ordinal)
        text = text.upper() if picture.case == "upper" else text.lower() if picture.case == "lower" else text
    elif picture.primary == "decimal":
        text = decimal(state, number, picture)
    else:
        raise MappingError("D3130", value=picture.token)
    return "-" + text if value < 0 else text


def decimal(state: Any, number: int, picture: Picture) -> str:
    if picture.mandatory > 256 and state is not None:
        state.chars(picture.mandatory)
    text = str(number).rjust(picture.mandatory, "0")
    if picture.zero != 0x30:
        text = "".join(chr(ord(one) - 0x30 + picture.zero) for one in text)
    if picture.regular:
        sign = picture.separators[0][1]
        for step in range((len(text) - 1) // picture.regular, 0, -1):
            at = len(text) - step * picture.regular
            text = text[:at] + sign + text[at:]
    else:
        for position, sign in reversed(picture.separators):
            at = max(len(text) - position, 0)
            text = text[:at] + sign + text[at:]
    return text + suffix(text) if picture.ordinal else text


def suffix(text: str) -> str:
    """st, nd, rd or th."""
    teen = len(text) > 1 and text[-2] == "1"
    return "th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1:], "th")


def letters(number: int, first: str) -> str:
    found = ""
    while number > 0:
        number, place = divmod(number - 1, 26)
        found = chr(ord(first) + place) + found
    return found


def roman(number: int) -> str:
    if number > ROMAN_MOST:
        raise MappingError("U1001", value="The number is too large for roman numerals")
    found = ""
    for size, sign in ROMAN:
        count, number = divmod(number, size)
        found += sign * count
    return found


def words(number: int, joined: bool, ordinal: bool) -> str:
    """A number in English; `joined` if words stand before it."""
    if number < 20:
        return (" and " if joined else "") + (FEWTH if ordinal else FEW)[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        head = (" and " if joined else "") + TENS[tens - 2]
        if rest:
            return f"{head}-{words(rest, False, ordinal)}"
        return head[:-1] + "ieth" if ordinal else head
    if number < 1000:
        size, rest = divmod(number, 100)
        head = (", " if joined else "") + FEW[size] + " Hundred"
    else:
        magnitude = min((len(str(number)) - 1) // 3, len(GREAT))
        size, rest = divmod(number, 1000**magnitude)
        head = f"{', ' if joined else ''}{words(size, False, False)} {GREAT[magnitude - 1]}"
    if rest:
        return head + words(rest, True, ordinal)
    return head + "th" if ordinal else head


def _word_values() -> dict[str, int]:
    values = {word.lower(): value for value, word in enumerate(FEW)}
    values.update((word.lower(), value) for value, word in enumerate(FEWTH))
    for place, word in enumerate(TENS):
        values[word.lower()] = values[word.lower()[:-1] + "ieth"] = (place + 2) * 10
    values["hundredth"] = 100
    for place, word in enumerate(GREAT):
        values[word.lower()] = values[word.lower() + "th"] = 1000 ** (place + 1)
    return values


WORD_VALUES = _word_values()
_between = re.compile(r",\s|\sand\s|[\s\\-]")


def words_value(text: str) -> Any:
    segments = [0]
    for part in _between.split(text):
        value = WORD_VALUES.get(part)
        if value is None:
            return math.nan
        if value < 100:
            top = segments.pop()
            if top >= 1000:
                segments.append(top)
                top = 0
            segments.append(top + value)
        else:
            segments.append(segments.pop() * value)
    return sum(segments)


def roman_value(text: str) -> Any:
    total, most = 0, 1
    for sign in reversed(text):
        value = ROMAN_VALUES.get(sign)
        if value is None:
            return math.nan
        if value < most:
            total -= value
        else:
            most = value
            total += value
    return total


def letters_value(text: str, first: str) -> int:
    total = 0
    for sign in text[:64]:
        total = total * 26 + ord(sign) - ord(first) + 1
    return total


def parse_integer(text: str, picture: Any) -> Any:
    """The integer that a text shows; raises D3130 for a picture of a numbering sequence."""
    if len(text) > LONGEST:
        raise MappingError("U1001", value=f"The text of an integer is longer than {LONGEST} characters")
    found = parsed(text, checked(picture))
    if found.__class__ is float:
        raise MappingError("D3030", value=text)
    return found


def parsed(text: str, picture: Picture) -> Any:
    if picture.primary == "letters":
        return letters_value(text, "A" if picture.case == "upper" else "a")
    if picture.primary == "roman":
        return roman_value(text if picture.case == "upper" else text.upper())
    if picture.primary == "words":
        return words_value(text.lower())
    if picture.primary == "decimal":
        return digits_value(text, picture)
    raise MappingError("D3130", value=picture.token)


_leading = re.compile(r"\s*[-+]?[0-9]+")


def digits_value(text: str, picture: Picture) -> Any:
    digits = text[:-2] if picture.ordinal else text
    if picture.regular:
        digits = digits.replace(",", "")
    else:
        for _, sign in picture.separators:
            digits = digits.replace(sign, "")
    if picture.zero != 0x30:
        digits = "".join(chr(max(ord(one) - picture.zero + 0x30, 0) % 0x110000) for one in digits)
    if len(digits) < 20 and digits.isascii() and digits.isdigit():
        return int(digits)
    found = _leading.match(digits)
    return int(found.group()) if found and len(found.group()) < 400 else math.nan


def pattern(picture: Picture, width: int | None) -> str:
    """The regular expression of what a picture shows, for parsing dates."""
    upper = picture.case == "upper"
    if picture.primary == "letters":
        return "[A-Z]+" if upper else "[a-z]+"
    if picture.primary == "roman":
        return "[MDCLXVI]+" if upper else "[mdclxvi]+"
    if picture.primary == "words":
        return "(?:" + "|".join([*sorted(WORD_VALUES, key=len, reverse=True), "and", "[\\-, ]"]) + ")+"
    if picture.primary == "decimal":
        return "[0-9]" + (f"{{{width}}}" if width else "+") + ("(?:th|st|nd|rd)" if picture.ordinal else "")
    raise MappingError("D3130", value=picture.token)
