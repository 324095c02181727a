"""Text: cutting, joining, searching, replacing."""

from __future__ import annotations

import math
import re
from typing import Any

from ..errors import MappingError
from ..invoke import HOLE, invoke
from ..limits import PIECE, pieces, watched
from ..regex import Regex, matches
from ..values import LISTS, UNDEFINED, Seq
from .declare import Declared, function
from .text import to_text

U = UNDEFINED
FUNCTIONS: list[Declared] = []
_blanks = re.compile(r"[ \t\n\r]+")


def quick_string(value: Any) -> Any:
    kind = value.__class__
    return value if kind is str else str(value) if kind is int else HOLE


@function(
    FUNCTIONS,
    "<x-b?:s>",
    ("$string(5)", "5"),
    ('$string({"a": [1, 2.5]})', '{"a":[1,2.5]}'),
    stateful=True,
    arity=1,
    quick=quick_string,
)
def string(state: Any, value: Any, prettify: Any = U) -> Any:
    """The value as text: a string as it is, anything else as JSON; indented when `prettify` is true."""
    return U if value is U else to_text(state, value, prettify is True)


@function(
    FUNCTIONS,
    "<s-nn?:s>",
    ('$substring("Hello World", 3, 5)', "lo Wo"),
    ('$substring("Hello", -2)', "lo"),
    stateful=True,
)
def substring(state: Any, text: Any, start: Any = U, length: Any = U) -> Any:
    """`length` characters of `text` from `start`, which counts from 0, or from the end if negative."""
    if text is U:
        return U
    charged(state, text)
    count = len(text)
    begin = 0 if start is U else start
    if count + begin < 0:
        begin = 0
    if length is U:
        return text[whole(begin) :]
    if length <= 0:
        return ""
    end = begin + length if begin >= 0 else count + begin + length
    return text[whole(begin) : max(whole(end), 0)]


def charged(state: Any, text: str) -> str:
    """A text that is about to be read through."""
    if len(text) > 256:
        state.chars(len(text))
    return text


def whole(value: Any) -> int:
    """A position as an integer, cut towards zero."""
    if value != value or value in (math.inf, -math.inf):
        return 0 if value != value else (2**53 if value > 0 else -(2**53))
    return int(value)


@function(FUNCTIONS, "<s-s:s>", ('$substringBefore("a-b-c", "-")', "a"), stateful=True)
def substringBefore(state: Any, text: Any, mark: Any = U) -> Any:
    """The part of `text` before the first `mark`, all of it if there is none."""
    if text is U or mark is U:
        return text
    charged(state, text)
    return text.partition(mark)[0] if mark else ""


@function(FUNCTIONS, "<s-s:s>", ('$substringAfter("a-b-c", "-")', "b-c"), stateful=True)
def substringAfter(state: Any, text: Any, mark: Any = U) -> Any:
    """The part of `text` after the first `mark`, all of it if there is none."""
    if text is U or mark is U or not mark:
        return text
    charged(state, text)
    at = text.find(mark)
    return text if at < 0 else text[at + len(mark) :]


@function(FUNCTIONS, "<s-:s>", ('$lowercase("ÅB")', "åb"), stateful=True)
def lowercase(state: Any, text: Any) -> Any:
    """`text` in lower case."""
    return U if text is U else charged(state, text).lower()


@function(FUNCTIONS, "<s-:s>", ('$uppercase("åb")', "ÅB"), stateful=True)
def uppercase(state: Any, text: Any) -> Any:
    """`text` in upper case."""
    return U if text is U else charged(state, text).upper()


@function(FUNCTIONS, "<s-:n>", ('$length("Hello")', 5))
def length(text: Any) -> Any:
    """The number of characters."""
    return U if text is U else len(text)


@function(FUNCTIONS, "<s-:s>", ('$trim("  a \\n b ")', "a b"), stateful=True)
def trim(state: Any, text: Any) -> Any:
    """`text` without blanks at its ends, and with single blanks inside."""
    if text is U:
        return U
    return _blanks.sub(" ", charged(state, text)).removeprefix(" ").removesuffix(" ")


@function(FUNCTIONS, "<s-ns?:s>", ('$pad("foo", 5)', "foo  "), ('$pad("7", -3, "0")', "007"), stateful=True)
def pad(state: Any, text: Any, width: Any = U, fill: Any = U) -> Any:
    """`text` filled up to `width` characters: behind, or in front if `width` is negative."""
    if text is U or width is U:
        return text
    fill = " " if fill is U or fill == "" else fill
    size = math.trunc(width)
    missing = abs(size) - len(text)
    if missing <= 0:
        return text
    state.chars(abs(size))
    filling = (fill * (missing // len(fill) + 1))[:missing]
    return text + filling if size > 0 else filling + text


@function(
    FUNCTIONS, "<s-(sf):b>", ('$contains("abracadabra", "bra")', True), ('$contains("Ab", /^a/i)', True), stateful=True
)
def contains(state: Any, text: Any, pattern: Any = U) -> Any:
    """Whether `text` contains a string or a match of a regular expression."""
    if text is U or pattern is U:
        return U
    charged(state, text)
    if pattern.__class__ is str:
        return pattern in text
    if isinstance(pattern, Regex):
        return pattern.found(text)
    return first(matches(state, pattern, text, "contains")) is not None


def first(found: Any) -> Any:
    return next(iter(found), None)


@function(
    FUNCTIONS, "<s-f<s:o>n?:a<o>>",
    ('$match("ababbabbcc", /a(b+)/).groups[0]', ["b", "bb", "bb"]), ('$match("ab12", /[0-9]+/).index', 2),
    stateful=True,
)  # fmt: skip
def match(state: Any, text: Any, pattern: Any = U, limit: Any = U) -> Any:
    """The matches of a regular expression: objects with `match`, `index` and `groups`; at most `limit`."""
    if text is U:
        return U
    if limit is not U and limit < 0:
        raise MappingError("D3040", value=limit, index=3)
    charged(state, text)
    found = Seq()
    if limit is not U and limit <= 0:
        return found
    for one in matches(state, pattern, text, "match"):
        if limit is not U and len(found) >= limit:
            break
        found.append({"match": one["match"], "index": one.get("start", U), "groups": one.get("groups", U)})
    return found


@function(
    FUNCTIONS, "<s-(sf)(sf)n?:s>",
    ('$replace("John Smith", "John", "Mr")', "Mr Smith"),
    ('$replace("265USD", /([0-9]+)USD/, "$$$1")', "$265"),
    ('$replace("a1b2", /[0-9]/, function($m){ $string($number($m.match) + 1) })', "a2b3"),
    stateful=True,
)  # fmt: skip
def replace(state: Any, text: Any, pattern: Any = U, replacement: Any = U, limit: Any = U) -> Any:
    """`text` with matches of `pattern` replaced by a string (`$1`: a group) or a function's answer; at most `limit`."""
    if text is U:
        return U
    if pattern == "" or pattern is U:
        raise MappingError("D3010", value=pattern, index=2)
    if limit is not U and limit < 0:
        raise MappingError("D3011", value=limit, index=4)
    if limit is not U and limit <= 0:
        return text
    charged(state, text)
    most = -1 if limit is U else math.ceil(limit)
    if pattern.__class__ is str:
        put = to_text(state, replacement) if replacement is not U else ""
        if len(put) > len(pattern):
            state.chars(len(text) + text.count(pattern) * len(put))
        return text.replace(pattern, put, most)
    return _replace_matches(state, text, pattern, replacement, most)


def _replace_matches(state: Any, text: str, pattern: Any, replacement: Any, most: int) -> str:
    parts: list[str] = []
    at = size = 0
    for done, one in enumerate(matches(state, pattern, text, "replace")):
        if done == most:
            break
        put = expand(replacement, one) if replacement.__class__ is str else invoke(state, replacement, (one,), U)
        if put.__class__ is not str:
            raise MappingError("D3012", value=put)
        parts.append(text[at : one["start"]])
        parts.append(put)
        size += len(put)
        if size > 4096:
            state.chars(size)
            size = 0
        at = one["start"] + len(one["match"])
    parts.append(text[at:])
    return "".join(parts)


_digits = re.compile(r"\s*[-+]?[0-9]+")


def expand(template: str, one: dict[str, Any]) -> str:
    """A replacement text with `$0`, `$1` and `$$` filled in from a match."""
    made: list[str] = []
    groups = one["groups"]
    at = 0
    index = template.find("$")
    while index >= 0:
        made.append(template[at:index])
        at = index + 1
        sign = template[at : at + 1]
        if sign == "$" or sign == "0":
            made.append("$" if sign == "$" else one["match"])
            at += 1
        else:
            at = _group(template, groups, at, made)
        index = template.find("$", at)
    made.append(template[at:])
    return "".join(made)


def _group(template: str, groups: list[Any], at: int, made: list[str]) -> int:
    most = len(str(len(groups))) if groups else 1
    number = _leading(template[at : at + most])
    if number is not None and most > 1 and number > len(groups):
        number = _leading(template[at : at + most - 1])
    if number is None:
        made.append("$")
        return at
    if 0 < number <= len(groups) and groups[number - 1] is not U:
        made.append(groups[number - 1])
    return at + len(str(number))


def _leading(text: str) -> int | None:
    found = _digits.match(text)
    return int(found.group()) if found else None


@function(
    FUNCTIONS, "<s-(sf)n?:a<s>>",
    ('$split("so many words", " ")', ["so", "many", "words"]), ('$split("a1b22c", /[0-9]+/, 2)', ["a", "b"]),
    stateful=True,
)  # fmt: skip
def split(state: Any, text: Any, separator: Any = U, limit: Any = U) -> Any:
    """`text` cut at each separator, a string or a regular expression; the first `limit` parts."""
    if text is U:
        return U
    if limit is not U and limit < 0:
        raise MappingError("D3020", value=limit, index=3)
    if limit is not U and limit <= 0:
        return []
    charged(state, text)
    if separator is U:
        return [text]
    if separator.__class__ is str:
        state.cells(text.count(separator) if separator else len(text))
        parts = text.split(separator) if separator else list(text)
        return parts if limit is U else parts[: math.floor(limit)]
    parts = []
    at = 0
    for one in matches(state, separator, text, "split"):
        if limit is not U and len(parts) >= limit:
            return parts
        parts.append(text[at : one["start"]])
        at = one["end"]
    if limit is not U and len(parts) >= limit:
        return parts
    state.cells(len(parts))
    parts.append(text[at:])
    return parts


def quick_join(texts: Any, separator: Any = "") -> Any:
    """Short lists of texts in one."""
    if texts.__class__ not in LISTS or separator.__class__ is not str or len(texts) > 64:
        return texts if texts.__class__ is str and separator.__class__ is str else HOLE
    try:
        joined = separator.join(texts)
    except TypeError:
        return HOLE
    return joined if len(joined) <= 256 else HOLE


@function(
    FUNCTIONS,
    "<a<s>s?:s>",
    ('$join(["a", "b", "c"], "-")', "a-b-c"),
    stateful=True,
    quick=quick_join,
    quick_arity=(1, 2),
)
def join(state: Any, texts: Any, separator: Any = U) -> Any:
    """The texts of an array in one, with `separator` between them."""
    if texts is U:
        return U
    between = "" if separator is U else separator
    size = sum(map(len, watched(texts))) + len(between) * len(texts)
    if size > 256:
        state.chars(size)
    if len(texts) <= PIECE:
        return between.join(texts)
    return between.join([between.join(piece) for piece in pieces(texts)])
