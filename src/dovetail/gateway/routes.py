"""The table of routes: exact paths, each with its methods."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from dovetail.sdk import Handler

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class Route:
    """One handler and the largest body it takes, in bytes. `refusal` is what a larger body raises, if not a 413."""

    handler: Handler
    max_body: int
    refusal: Exception | None = None


def normal(path: str) -> str:
    """The path as RFC 3986 compares it: unreserved characters plain, other escapes in upper case."""
    return _ESCAPE.sub(_escape, path) if "%" in path else path


def _escape(match: re.Match[str]) -> str:
    char = chr(int(match[1], 16))
    return char if char in _UNRESERVED else match[0].upper()


class Router:
    """Implements `dovetail.sdk.Routes`. Looked up once a request, so the way there is two dictionary reads."""

    def __init__(self) -> None:
        self._paths: dict[str, dict[str, Route]] = {}

    def add(self, method: str, path: str, handler: Handler, *, max_body: int) -> None:
        """Mount `handler`. Raises ValueError for a path that is none, or when the place is taken."""
        if not path.startswith("/") or (path.endswith("/") and path != "/") or "?" in path or "#" in path:
            raise ValueError(f"{path!r} is no route: write a path such as /hooks/orders, without a slash at the end")
        methods = self._paths.setdefault(_mounted(path), {})
        if method.upper() in methods:
            raise ValueError(f"{method.upper()} {path} is already taken by another route")
        methods[method.upper()] = Route(handler, max_body)

    def remove(self, method: str, path: str) -> None:
        """Unmount; nothing happens if it is not there."""
        key = _mounted(path)
        methods = self._paths.get(key)
        if methods and methods.pop(method.upper(), None) and not methods:
            del self._paths[key]

    def at(self, path: str) -> dict[str, Route] | None:
        """The methods mounted at the path of a request, or None."""
        found = self._paths.get(path)
        return found if found is not None or "%" not in path else self._paths.get(normal(path))


def _mounted(path: str) -> str:
    return normal(quote(path, safe="/%:@!$&'()*+,;=-._~"))


def allow(methods: dict[str, Route]) -> str:
    """The value of the Allow header of a path."""
    names = set(methods)
    if "GET" in names:
        names.add("HEAD")
    return ", ".join(sorted(names))
