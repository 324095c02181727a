"""Requests that end before a handler sees them, each with its answer."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from dovetail.gateway.answers import PROBLEM, problem
from dovetail.gateway.routes import Route, allow
from dovetail.sdk import Request

SOON = {"Retry-After": "1"}
STRAY = 64 * 1024  # a body that nobody wants is still read up to here, so that the connection can be kept


class Stop(Exception):
    """Raised inside the parser: this request ends here, with that answer, and so does the connection."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, code, detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


def too_large(route: Route) -> Exception:
    too_large = f"the body is larger than the {int(route.max_body)} bytes this path takes"
    return route.refusal or Stop(413, "body_too_large", too_large)


def too_large_head(limit: int) -> Stop:
    return Stop(431, "headers_too_large", f"the headers are too many or larger than {limit} bytes")


def nowhere(method: str, places: dict[str, Route] | None) -> Route:
    """A stand-in for the route that is not there; a HEAD is served by the GET."""
    if places is None:
        stop = Stop(404, "not_found", "nothing is mounted at this path")
    elif method == "HEAD" and "GET" in places:
        return places["GET"]
    else:
        methods = allow(places)
        stop = Stop(405, "method_not_allowed", f"this path takes {methods} only", {"Allow": methods})

    def refuse(request: Request) -> None:
        request.respond(stop.status, problem(stop.status, stop.code, stop.detail), PROBLEM, stop.headers)

    return Route(refuse, STRAY, stop)


def origin_form(url: bytes) -> bytes:
    """The path and query of a target in absolute form."""
    parts = urlsplit(url)
    if parts.scheme.lower() not in (b"http", b"https") or not parts.netloc:
        raise Stop(400, "bad_target", "the request target must be a path")
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
