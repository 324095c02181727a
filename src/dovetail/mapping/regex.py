"""Regular expressions: JavaScript's notation on a linear engine.

RE2 runs every pattern that it can express in time linear in the text. Look-around and back-references are beyond it;
such a pattern runs on Python's engine, on short texts only, and only if its repeats cannot make it explode.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import re2  # type: ignore[import-untyped]

from .backtracking import Ways, ways
from .errors import MappingError
from .limits import running, spend
from .values import UNDEFINED, Function, is_function

U = UNDEFINED
#: longest text that any pattern may search
SHORT = 5000
#: longest text that any harmless pattern may search on Python's engine, which starts quicker
TINY = 256
#: characters times instructions of a pattern that a search may meet for each second of the limit
WORK = 200_000_000
_alone = re.compile("[\ud800-\udfff]")


class Regex(Function):
    """A regular expression literal. As a function it answers the first match with `next` to go on, or UNDEFINED."""

    __slots__ = ("engine", "pattern", "position", "short", "start", "ways")

    def __init__(self, pattern: str, flags: str, position: int = 0, start: int = 0) -> None:
        self.arity = 2
        self.pattern = pattern
        self.position = position
        self.start = start
        try:
            self.engine, self.ways, self.short = compiled(pattern, flags)
        except MappingError as error:
            raise MappingError(error.code, position=position, start=start, **error.details) from None

    def weigh(self, text: str) -> int:
        """Charge a search, which cannot be interrupted; refuse one that could outlast the limit. Answers the charge."""
        state = running.state
        seconds = 1.0 if state is None else state.limits.seconds
        cost = 1
        if self.ways is not None:
            most = self.ways.longest(seconds)
            if len(text) > most:
                raise MappingError("S0304", value=f"/{self.pattern}/ on a text of more than {most} characters")
            cost += len(text)
        elif len(text) > SHORT:
            most = int(WORK * seconds / self.engine.programsize)
            if len(text) > most:
                raise MappingError("U1001", value=f"/{self.pattern[:40]}/ on a text of more than {most} characters")
            cost += len(text) * self.engine.programsize >> 14
        spend(cost)
        return cost

    def found(self, text: str) -> bool:
        return self._search(text, 0) is not None

    def _search(self, text: str, at: int) -> Any:
        self.weigh(text)
        if self.short is not None and len(text) <= TINY:
            return self.short.search(text, at)
        try:
            return self.engine.search(text, at)
        except UnicodeEncodeError:
            return self.engine.search(_alone.sub("\ufffd", text), at)

    def run(self, text: Any = U, at: Any = 0) -> Any:
        """Called as a function: one match."""
        if text.__class__ is not str:
            raise MappingError("T0410", value=text, index=1)
        return self._next(text, 0 if at is U else int(at))

    def _next(self, text: str, at: int) -> Any:
        found = self._search(text, at) if at <= len(text) else None
        if found is None:
            return U
        made = described(found)

        def following() -> Any:
            if found.end() >= len(text):
                return U
            after = self._next(text, found.end())
            if after is not U and after["match"] == "":
                raise MappingError("D1004", value=self.pattern)
            return after

        from .values import Native

        made["next"] = Native("next", following, None, arity=0)
        return made

    def each(self, text: str) -> Iterator[dict[str, Any]]:
        """All matches in turn; a match of nothing behind the first is refused, as it would never end."""
        if self.short is not None and len(text) <= TINY:
            every = self.short.finditer(text)
        else:
            every = self.engine.finditer(text if text.isascii() else _alone.sub("\ufffd", text))
        for count, found in enumerate(every):
            empty = found.end() == found.start()
            if count and empty:
                raise MappingError("D1004", value=self.pattern)
            yield described(found)
            if found.end() >= len(text):
                return
            if empty:
                raise MappingError("D1004", value=self.pattern)


def described(found: Any) -> dict[str, Any]:
    groups = [U if one is None else one for one in found.groups()]
    return {"match": found.group(), "start": found.start(), "end": found.end(), "groups": groups}


def matches(state: Any, matcher: Any, text: str, name: str) -> Iterator[dict[str, Any]]:
    """The matches of a regular expression, or of a function that behaves like one."""
    if isinstance(matcher, Regex):
        cost = matcher.weigh(text)
        for one in matcher.each(text):
            state.left -= cost
            if state.left < 0:
                state.tick()
            yield one
        return
    from .invoke import invoke

    found = invoke(state, matcher, (text,), U)
    while found is not U:
        if not isinstance(found, dict) or not (
            isinstance(found.get("start"), int | float)
            or isinstance(found.get("end"), int | float)
            or isinstance(found.get("groups"), list)
            or is_function(found.get("next"))
        ):
            raise MappingError("T1010", token=name)
        yield {"groups": [], "match": "", **found}
        following = found.get("next", U)
        found = invoke(state, following, (), U) if is_function(following) else U


@functools.lru_cache(maxsize=512)
def compiled(pattern: str, flags: str) -> tuple[Any, Ways | None, Any]:
    """The engine for a pattern, how it backtracks if it is Python's, and a quicker one for tiny texts.

    Raises S0303 or S0304.
    """
    translated = translate(pattern, "m" in flags)
    options = re2.Options()
    options.case_sensitive = "i" not in flags
    options.log_errors = False
    options.max_mem = 8 << 20
    lead = "(?m)" if "m" in flags else ""
    try:
        linear = re2.compile(lead + translated.replace("\\Z", "\\z"), options)
        return linear, None, quick(translated, flags)
    except re2.error as error:
        problem = str(error)
    try:
        engine = re.compile(translated, (re.I if "i" in flags else 0) | (re.M if "m" in flags else 0))
    except (re.error, OverflowError, RecursionError) as error:
        raise MappingError("S0303", value=str(error)) from None
    found = ways(translated, "m" in flags)
    if found is None:
        raise MappingError("S0304", value=f"/{pattern}/ ({problem})")
    return engine, found, None


def quick(translated: str, flags: str) -> Any:
    """Python's engine, where a pattern cannot take long on a tiny text and means the same."""
    if "i" in flags or "x{" in translated:
        return None
    try:
        found = ways(translated, "m" in flags)
        if found is None or found.longest(1.0) < 4 * TINY:
            return None
        return re.compile(translated, re.M if "m" in flags else 0)
    except (re.error, OverflowError, RecursionError):
        return None


_piece = re.compile(r"\\u\{?([0-9a-fA-F]{4})\}?|\\c([A-Za-z])|\\.|\(\?<([A-Za-z_]\w*)>|\[\^?\]?|.", re.S)


def translate(pattern: str, multiline: bool = False) -> str:
    """JavaScript's notation → what RE2 and Python have in common."""
    made: list[str] = []
    inside = False
    for piece in _piece.finditer(pattern):
        text = piece.group()
        if piece.group(1):
            made.append(re.escape(chr(int(piece.group(1), 16))))
        elif piece.group(2):
            made.append(f"\\x{ord(piece.group(2).upper()) - 64:02x}")
        elif text == "\\/":
            made.append("/")
        elif text == "\\d":
            made.append("0-9" if inside else "[0-9]")
        elif text == "\\w":
            made.append("0-9A-Za-z_" if inside else "[0-9A-Za-z_]")
        elif text == "\\D" and not inside:
            made.append("[^0-9]")
        elif text == "\\W" and not inside:
            made.append("[^0-9A-Za-z_]")
        elif text == "\\s":
            made.append(SPACES if inside else f"[{SPACES}]")
        elif text == "\\S" and not inside:
            made.append(f"[^{SPACES}]")
        elif text == "\\0":
            made.append("\\x00")
        elif text[0] == "[" and not inside:
            if text in ("[]", "[^]"):
                made.append("[^\\x00-\\x{10ffff}]" if text == "[]" else "[\\x00-\\x{10ffff}]")
                continue
            inside = True
            made.append(text)
        elif text == "]" and inside:
            inside = False
            made.append(text)
        elif piece.group(3):
            made.append(f"(?P<{piece.group(3)}>")
        elif text == "." and not inside:
            made.append("[^\\n\\r\u2028\u2029]")
        elif text == "$" and not inside:
            made.append("$" if multiline else "\\Z")
        elif text[0] == "\\" and len(text) == 2 and text[1].isalpha() and text[1] not in "bBdDsSwWnrtvfxpPk":
            made.append(text[1])
        else:
            made.append(text)
    return "".join(made)


SPACES = "\\t\\n\\v\\f\\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
