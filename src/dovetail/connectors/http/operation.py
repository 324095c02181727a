"""One operation of an HTTP connection: a call becomes bytes, an answer becomes a reply or an error."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dovetail.connectors.http.client import Response
from dovetail.connectors.http.faults import PAUSE, Fault, of_fault, of_status
from dovetail.connectors.http.template import Target, Template, header_part
from dovetail.connectors.http.unpack import unpack
from dovetail.sdk import Call, MessageError, Operation, Paused, Refused, Rejected, Reply, Secret

if TYPE_CHECKING:
    from dovetail.connectors.http.connection import HttpConnection, OperationConfig

_EXCERPT = 1000  # characters of a failed answer that are kept for a person
_KIND = re.compile(r"[\t\x20-\x7e]+")
_EARLY = 0.98  # our deadline is a little before the engine's, so that "not sent" is told from "not answered"


def head(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """The request line and these headers; the empty line is still to come."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


class HttpOperation(Operation):
    """See `OperationConfig`."""

    timely = True

    def __init__(self, connection: HttpConnection, name: str, config: OperationConfig) -> None:
        self.name = f"{connection.name}.{name}"
        self.target = connection.name
        self.repeat = config.repeat
        self._connection = connection
        self._config = config
        settings = connection.config
        parts = urlsplit(settings.url)
        self._host = parts.netloc
        base = parts.path.rstrip("/")
        extra = settings.auth.query() if settings.auth is not None else {}
        self._path = Target(base + config.path, config.query, extra)
        self._lookup = Target(base + config.lookup.path, {}, extra) if config.lookup else None
        self._headers = {name: Template(value) for name, value in config.headers.items()}
        self._fixed = {"User-Agent": "dovetail", "Accept": "*/*"} | {
            name: value.reveal() if isinstance(value, Secret) else value for name, value in settings.headers.items()
        }
        if settings.auth is not None:
            self._fixed |= settings.auth.headers()
        self._sends = config.body == "message" or (config.body == "auto" and config.method in ("POST", "PUT", "PATCH"))
        constant = self._path.constant and all(value.constant for value in self._headers.values())
        self._head = self._render({}) if constant else None

    async def call(self, call: Call) -> Reply:
        """Do it once. Raises by what should happen next; see `faults`."""
        config, body = self._config, b""
        start = self._head or self._render(call.args)
        if config.method not in ("GET", "HEAD"):
            start += b"Idempotency-Key: %b\r\n" % call.key.encode()
        if self._sends:
            body = call.message.body
            kind = call.message.content_type
            kind = kind if _KIND.fullmatch(kind) else "application/octet-stream"
            start += b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind.encode(), len(body))
        elif config.method in ("POST", "PUT", "PATCH"):
            start += b"Content-Length: 0\r\n"
        response = await self._send(call, start, body, config.method == "HEAD")
        status = response.status
        if status in config.already_done or (status in config.expect if config.expect else 200 <= status < 300):
            return self._reply(response)
        raise self._error(response)

    async def query(self, call: Call) -> Reply | None:
        """Ask the target whether it did what was called under this key."""
        config = self._config.lookup
        if config is None or self._lookup is None:
            raise NotImplementedError(f"{self.name} cannot be asked")
        target = self._lookup.fill({**call.args, "key": call.key})
        response = await self._send(call, head("GET", target, self._host, self._fixed), b"", False)
        if response.status in config.missing:
            return None
        if not 200 <= response.status < 300:
            raise self._error(response)
        reply = self._reply(response)
        return None if reply.value in (None, [], {}, "") else reply

    # -- sending -------------------------------------------------------------------------------------------------

    def _render(self, args: Mapping[str, Any]) -> bytes:
        filled = {name: value.fill(args, header_part) for name, value in self._headers.items()}
        own = {name: value for name, value in filled.items() if value is not None}
        names = {name.lower() for name in own}
        fixed = {name: value for name, value in self._fixed.items() if name.lower() not in names}
        return head(self._config.method, self._path.fill(args), self._host, fixed | own)

    async def _send(self, call: Call, start: bytes, body: bytes, bodiless: bool) -> Response:
        connection = self._connection
        seconds = min(self._config.timeout or connection.config.timeout, call.timeout * _EARLY)
        if call.trace:
            start += b"traceparent: %b\r\n" % call.trace.encode()
        try:
            if connection.tokens is None:
                return await connection.request(start + b"\r\n" + body, seconds, bodiless)
            return await self._send_with_token(start, body, seconds, bodiless)
        except Fault as fault:
            raise of_fault(fault, self.target) from None

    async def _send_with_token(self, start: bytes, body: bytes, seconds: float, bodiless: bool) -> Response:
        """With a token; if the target refuses it (401: it did nothing), once more with a new one."""
        loop, connection = asyncio.get_running_loop(), self._connection
        deadline = loop.time() + seconds
        for last in (False, True):
            try:
                token = await connection.token(deadline)
            except TimeoutError:
                raise Paused(f"{self.target}: no token in time", code="credentials", after=PAUSE) from None
            data = b"%bAuthorization: Bearer %b\r\n\r\n%b" % (start, token.encode(), body)
            response = await connection.request(data, max(deadline - loop.time(), 0.001), bodiless)
            if response.status != 401 or last:
                break
            connection.token_refused(token)
        return response

    # -- the answer ----------------------------------------------------------------------------------------------

    def _reply(self, response: Response) -> Reply:
        codecs, headers, body = self._connection.context.codecs, response.headers, response.body
        limit = self._connection.config.max_response
        if response.cut:
            text = f"{self.target} answered {response.status}, but with more than {limit}"
            raise Rejected(text, code="answer_too_large")
        if "content-encoding" in headers:
            try:
                body = unpack(body, headers["content-encoding"], limit)
            except Refused as error:
                text = f"{self.target} answered {response.status}, but {error.message}"
                raise Rejected(text, code="answer_unreadable") from None
        if not body:
            return Reply(value=None, codec=codecs.by_name("json"), status=response.status, headers=headers)
        codec = codecs.for_content_type(headers.get("content-type"))
        return Reply(body, codec=codec, status=response.status, headers=headers)

    def _error(self, response: Response) -> MessageError:
        connection = self._connection
        body = connection.conceal(response.body[: 4 * _EXCERPT].decode("utf-8", "replace"))[:_EXCERPT]
        detail = {"status": response.status, "body": body}
        now = connection.context.clock.now_ms()
        error = of_status(response.status, response.headers, detail, self.repeat, self.target, now)
        error.target = self.target
        return error
