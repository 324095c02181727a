"""Paths, query strings and headers with `{arguments}` in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

from dovetail.sdk import Rejected

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PATH_SAFE = "/:@!$&'()*+,;=-._~%?"


class Template:
    """Text with `{arguments}`."""

    def __init__(self, text: str) -> None:
        self._parts = _PLACE.split(text)  # literal, name, literal, …

    @property
    def constant(self) -> bool:
        """Whether it has no arguments."""
        return len(self._parts) == 1

    def fill(
        self, args: Mapping[str, Any], part: Callable[[str, str], str], literal: Callable[[str], str] = str
    ) -> str | None:
        """The text with its arguments; None when it is nothing but one argument, and that is missing or null.

        Raises `Rejected` for one that is missing elsewhere, or that is not text, a number or a yes/no.
        """
        parts = self._parts
        if len(parts) == 3 and not parts[0] and not parts[2] and args.get(parts[1]) is None:
            return None
        return "".join(
            part(text, plain(text, args)) if index % 2 else literal(text) for index, text in enumerate(parts)
        )


def plain(name: str, args: Mapping[str, Any]) -> str:
    """An argument as text."""
    value = args.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Decimal):
        return str(value)
    what = "is missing" if value is None else "must be text, a number or true or false"
    raise Rejected(f"the argument '{name}' {what}", code="argument")


def path_part(name: str, text: str) -> str:
    """An argument as one segment of a path; it can neither leave its place nor be empty."""
    if text in ("", ".", ".."):
        raise Rejected(f"the argument '{name}' is {text!r}, which cannot stand in a path", code="argument")
    return quote(text, safe="")


def query_part(name: str, text: str) -> str:
    """An argument as part of a query's value."""
    return quote(text, safe="")


def header_part(name: str, text: str) -> str:
    """An argument as part of a header's value."""
    if not _HEADER_VALUE.fullmatch(text):
        raise Rejected(f"the argument '{name}' cannot stand in a header", code="argument")
    return text


class Target:
    """A path and its query: what stands in the request line."""

    def __init__(self, path: str, query: Mapping[str, str], fixed: Mapping[str, str]) -> None:
        """`path` and `query` are templates; `fixed` is added to the query as it is."""
        self._path = Template(path)
        self._query = [(quote(name, safe=""), Template(value)) for name, value in query.items()]
        self._fixed = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fixed.items()]

    @property
    def constant(self) -> bool:
        """Whether it is the same for every call."""
        return self._path.constant and all(value.constant for _, value in self._query)

    def fill(self, args: Mapping[str, Any]) -> str:
        """The request target. Raises `Rejected`."""
        path = self._path.fill(args, path_part, partial(quote, safe=_PATH_SAFE)) or ""
        pairs = [(name, value.fill(args, query_part, partial(quote, safe=""))) for name, value in self._query]
        query = "&".join([f"{name}={value}" for name, value in pairs if value is not None] + self._fixed)
        return path + ("&" if "?" in path else "?") + query if query else path
