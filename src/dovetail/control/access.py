"""The admin API's door: default deny, before anything of the request is looked at by anybody else.

The host must be one we listen as (a web page that resolves its own name to this machine is turned away), a browser's
origin must be ours, and everything but the bare health answers needs the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/livez", "/readyz"})  # answered without a token, and then without reasons
LARGEST = 48 << 20  # bytes of a request body


class Guard:
    """An ASGI application around another. `hosts` are names or addresses, `port` the one we listen on."""

    def __init__(self, app: App, token: str, hosts: Iterable[str], port: Callable[[], int]) -> None:
        self._app, self._token, self._port = app, f"Bearer {token}".encode(), port
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = _single(scope["headers"])
        if headers is None:
            await _answer(send, 400, "headers", "a header that must be single was sent twice")
            return
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        scope["trusted"] = self._trusted(headers)
        await self._app(scope, _bounded(receive), send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str, str] | None:
        if not self._own(headers.get(b"host", b"").decode("latin-1").lower()):
            return 421, "host", "this server does not go by that host name"
        origin = headers.get(b"origin")
        if origin is not None and not self._own_origin(origin.decode("latin-1").lower()):
            return 403, "origin", "pages of other origins may not ask"
        if scope["path"] not in OPEN and not self._trusted(headers):
            return 401, "token", "a valid token is needed: Authorization: Bearer <the store folder's admin.token>"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > LARGEST:
            return 413, "too-large", f"a request may have {LARGEST} bytes at most"
        return None

    def _trusted(self, headers: dict[bytes, bytes]) -> bool:
        return hmac.compare_digest(headers.get(b"authorization", b""), self._token)

    def _own(self, host: str) -> bool:
        name, port = host, "80"
        if not host.endswith("]") and ":" in host:
            name, _, port = host.rpartition(":")
        if ":" in name and not (name.startswith("[") and name.endswith("]")):
            return False
        return name.strip("[]") in self._hosts and port.isascii() and port.isdigit() and int(port[:6]) == self._port()

    def _own_origin(self, origin: str) -> bool:
        scheme, separator, host = origin.partition("://")
        return bool(separator) and scheme in ("http", "https") and self._own(host)


def _single(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in (b"host", b"origin", b"authorization", b"content-length") and name in found:
            return None
        found[name] = value
    return found


def _bounded(receive: Receive) -> Receive:
    seen = 0

    async def bounded() -> Event:
        nonlocal seen
        event = await receive()
        seen += len(event.get("body", b""))
        return event if seen <= LARGEST else {"type": "http.disconnect"}

    return bounded


def problem(status: int, code: str, detail: str, more: Any = None) -> bytes:
    """A problem as application/problem+json (RFC 9457) has it; `code` is a short stable word."""
    content = {"type": f"urn:dovetail:problem:{code}", "title": code, "status": status, "detail": detail}
    return msgspec.json.encode(content if more is None else {**content, "more": more})


async def _answer(send: Send, status: int, code: str, detail: str) -> None:
    body = problem(status, code, detail)
    headers = [
        (b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"), (b"connection", b"close"),
    ]  # fmt: skip
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="dovetail"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
