"""Text → tokens. The parser asks for one at a time and says whether an operator may come (a `/` is then a division)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .errors import MappingError

OPERATORS = frozenset(".[]{}(),@#;:?+-*/%|=<>^&!~")
PAIRS = frozenset(("..", ":=", "!=", ">=", "<=", "**", "~>", "?:", "??"))
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}

_blank = re.compile(r"[ \t\n\r\v]*")
_number = re.compile(r"(?:0|[1-9][0-9]*)(\.[0-9]+)?([Ee][-+]?[0-9]+)?")
_name = re.compile(r"[^ \t\n\r\v.\[\]{}(),@#;:?+\-*/%|=<>^&!~]*")
_pair = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_hex = re.compile(r"[0-9a-fA-F]{4}")
_plain = {quote: re.compile(rf"[^\\{quote}]+") for quote in "\"'"}


class Token(NamedTuple):
    """`start` and `position` are the token's beginning and end in the text."""

    type: str
    value: Any
    position: int
    start: int


def whole(text: str) -> str:
    """Join surrogate pairs written as two `\\u` escapes into the character they mean."""
    return _pair.sub(lambda m: m.group().encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


class Lexer:
    """Reads one expression from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next(self, infix: bool = False) -> Token | None:
        """The next token, or None at the end. With `infix` a `/` is an operator, not a regular expression."""
        text = self.text
        self._skip()
        at = self.at
        if at >= len(text):
            return None
        letter = text[at]
        if letter == "/" and not infix:
            self.at += 1
            return self._token("regex", self._regex(), at)
        if text[at : at + 2] in PAIRS:
            self.at += 2
            return self._token("operator", text[at : at + 2], at)
        if letter in OPERATORS:
            self.at += 1
            return self._token("operator", letter, at)
        if letter in "\"'":
            return self._token("string", self._string(letter), at)
        match = _number.match(text, at)
        if match is not None:
            return self._token("number", self._numeral(match), at)
        if letter == "`":
            return self._token("name", self._quoted(), at)
        return self._word(at)

    def _token(self, kind: str, value: Any, start: int) -> Token:
        return Token(kind, value, self.at, start)

    def _skip(self) -> None:
        text = self.text
        while True:
            found = _blank.match(text, self.at)
            assert found is not None
            self.at = found.end()
            if not text.startswith("/*", self.at):
                return
            end = text.find("*/", self.at + 2)
            if end < 0:
                raise MappingError("S0106", position=self.at, start=self.at)
            self.at = end + 2

    def _string(self, quote: str) -> str:
        text, start = self.text, self.at
        self.at += 1
        parts: list[str] = []
        plain = _plain[quote]
        while self.at < len(text):
            run = plain.match(text, self.at)
            if run is not None:
                parts.append(run.group())
                self.at = run.end()
                continue
            letter = text[self.at]
            self.at += 1
            if letter == quote:
                return whole("".join(parts))
            parts.append(self._escape())
        raise MappingError("S0101", position=len(text), start=start)

    def _escape(self) -> str:
        text = self.text
        letter = text[self.at : self.at + 1]
        if letter in ESCAPES and letter:
            self.at += 1
            return ESCAPES[letter]
        if letter == "u":
            match = _hex.match(text, self.at + 1)
            if match is None:
                raise MappingError("S0104", position=self.at, start=self.at - 1)
            self.at = match.end()
            return chr(int(match.group(), 16))
        raise MappingError("S0103", position=self.at, start=self.at - 1, token=letter)

    def _numeral(self, match: re.Match[str]) -> int | float:
        text = match.group()
        value: int | float
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise MappingError("S0102", position=self.at, start=self.at, token=text)
        if match.group(1) is None and match.group(2) is None:
            value = int(text)
        else:
            value = int(number) if number.is_integer() and abs(number) <= 2**53 else number
        self.at = match.end()
        return value

    def _quoted(self) -> str:
        end = self.text.find("`", self.at + 1)
        if end < 0:
            raise MappingError("S0105", position=len(self.text), start=self.at)
        name = self.text[self.at + 1 : end]
        self.at = end + 1
        return name

    def _word(self, start: int) -> Token | None:
        match = _name.match(self.text, start)
        assert match is not None
        word = match.group()
        self.at = match.end()
        if word.startswith("$"):
            return self._token("variable", word[1:], start)
        if word in ("or", "in", "and"):
            return self._token("operator", word, start)
        if word in WORDS:
            return self._token("value", WORDS[word], start)
        return self._token("name", word, start)

    def _regex(self) -> tuple[str, str]:
        """Pattern and flags; a `/` within brackets or behind a backslash does not end it."""
        text, start = self.text, self.at
        depth = slashes = 0
        while self.at < len(text):
            letter = text[self.at]
            if letter == "/" and depth == 0 and slashes % 2 == 0:
                before = text[start : self.at]
                if not before:
                    raise MappingError("S0301", position=self.at, start=start - 1)
                self.at += 1
                flags = self.at
                while text[self.at : self.at + 1] in ("i", "m"):
                    self.at += 1
                return before, text[flags : self.at]
            if slashes == 0:
                if letter in "([{":
                    depth += 1
                elif letter in ")]}":
                    depth -= 1
            slashes = slashes + 1 if letter == "\\" else 0
            self.at += 1
        raise MappingError("S0302", position=len(text), start=start - 1)
