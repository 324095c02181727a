"""A system that is called over HTTP: its operations are declared by the project.

Delivery: each call sends the effect key as Idempotency-Key, so a target that remembers keys does it once however often
it is called. A call without a complete answer is in doubt, and the operation's `repeat` says what follows. Nothing is
retried and no redirect is followed here. Limits: HTTP/1.1, bodies whole in memory, answers up to `max_response`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from dovetail.connectors.http.auth import Authentication, ClientCredentials, Tokens
from dovetail.connectors.http.client import Client, Response
from dovetail.connectors.http.operation import HttpOperation, head
from dovetail.sdk import (
    Connecting,
    Connection,
    Duration,
    Operation,
    ProjectError,
    Rate,
    Repeat,
    Secret,
    Size,
    Spec,
    field,
)

_URL = r"https?://[^/?#\s@]+(/[^?#\s]*)?"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN_SECONDS = 15.0
_TOKEN_BYTES = 64 * 1024


class Tls(Spec):
    """How the system's certificate is checked. It always is."""

    ca: str | None = field(
        help="A file with the certificate authorities to trust in place of the machine's.", default=None,
        example="certs/company-ca.pem",
    )  # fmt: skip
    certificate: str | None = field(help="A file with our own certificate, for mutual TLS.", default=None)
    key: str | None = field(help="A file with our certificate's private key.", default=None)
    server_name: str = field(help="The name the certificate must have, if it is not the host's.", default="")


class Config(Spec):
    """Settings of a connection to a system that speaks HTTP."""

    url: str = field(help="Where the system is; paths of operations are beneath it.", pattern=_URL, main=True,
                     example="https://erp.example.com/api")  # fmt: skip
    auth: Authentication | None = field(
        help="How we prove ourselves.", default=None, example="{bearer: ${secret:erp_token}}"
    )
    headers: dict[str, str | Secret] = field(help="Headers sent with every call.", default={})
    timeout: Duration = field(help="The longest that one call may take in all.", default="30s", min="10ms")
    pool: int = field(help="The most connections at one time.", default=32, min=1, max=1000)
    rate: Rate | None = field(help="The most calls in a unit of time.", default=None, example="50/s")
    max_response: Size = field(help="The largest answer that is read.", default="10MB", min="1KB", max="1GB")
    tls: Tls | None = field(help="How the certificate is checked.", default=None)

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from _bad_headers(self.headers)
        if (self.tls is not None) and (self.tls.certificate is None) != (self.tls.key is None):
            yield "tls", "needs both certificate and key, or neither"
        try:
            urlsplit(self.url).port  # noqa: B018 - it raises for a port that is none
        except ValueError:
            yield "url", "has a port that is not a number from 1 to 65535"


class Lookup(Spec):
    """How to ask whether an earlier attempt was done."""

    path: str = field(help="The path of a GET; {key} is the key that was sent as Idempotency-Key.", main=True,
                      pattern=r"/[^\s#]*", example="/invoices?reference={key}")  # fmt: skip
    missing: list[int] = field(help="The statuses that say: it was never done. So does an empty list.", default=[404])


class OperationConfig(Spec):
    """One thing the system can be asked to do."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = field(help="The method.", default="POST")
    path: str = field(help="The path beneath the connection's url; {name} is an argument of the call.", main=True,
                      pattern=r"/[^\s?#]*", example="/orders/{id}")  # fmt: skip
    query: dict[str, str] = field(
        help="The query; {name} is an argument, and one that is missing is left out.", default={}
    )
    headers: dict[str, str] = field(help="Headers of this operation; {name} is an argument.", default={})
    repeat: Repeat = field(help="How doing it again is safe.", example="idempotent-by-key")
    body: Literal["auto", "message", "none"] = field(
        help="What is sent; auto sends the message with POST, PUT and PATCH.", default="auto"
    )
    expect: list[int] = field(help="The statuses of a success; any of 200 to 299 if it is empty.", default=[])
    already_done: list[int] = field(
        help="The statuses that say that an earlier attempt did it: success.", default=[], example="[409]"
    )
    lookup: Lookup | None = field(help="How to ask whether it was done (for queryable).", default=None)
    timeout: Duration | None = field(help="The longest for this operation, if not the connection's.", default=None)

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from _bad_headers(self.headers)
        if self.repeat is Repeat.TRANSACTIONAL:
            yield "repeat", "no system shares a transaction with us over HTTP; write idempotent-by-key, natural or none"
        if (self.repeat is Repeat.QUERYABLE) != (self.lookup is not None):
            yield "lookup", "belongs to repeat: queryable, and that needs it"
        for name in ("expect", "already_done"):
            if any(not 200 <= status <= 599 for status in getattr(self, name)):
                yield name, "takes statuses from 200 to 599"


def _bad_headers(headers: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in headers.items():
        text = value.reveal() if isinstance(value, Secret) else value
        if not _NAME.fullmatch(name) or name.lower() in ("host", "content-length", "transfer-encoding", "connection"):
            yield "headers", f"cannot set '{name}'"
        elif not (text.isprintable() and text.isascii()):
            yield "headers", f"'{name}' has a value that cannot stand in a header"


class HttpConnection(Connection):
    """A pool of connections to one system, and its operations."""

    Config = Config
    OperationConfig = OperationConfig

    def __init__(self, name: str, config: Any, operations: Mapping[str, Any]) -> None:
        super().__init__(name, config, operations)
        self._client: Client | None = None
        self._token_client: Client | None = None
        self._built: dict[str, HttpOperation] = {}
        self.tokens: Tokens | None = None

    async def open(self, context: Connecting) -> None:
        """Make ready; connects to nothing. Raises `ProjectError` when a file that `tls` names cannot be used."""
        if self._client is not None:
            return
        config = self.config
        self.context = context
        self._client = self._reach(config.url, config.pool)
        if isinstance(config.auth, ClientCredentials):
            self._token_client = self._reach(config.auth.token_url, 1)
            self.tokens = Tokens(config.auth, self._fetch_token, context.clock, self.name)

    async def close(self) -> None:
        """Cut what is open; calls under way end in doubt."""
        if self.tokens is not None:
            await self.tokens.close()
        for client in (self._client, self._token_client):
            if client is not None:
                await client.close()
        self._client = self._token_client = self.tokens = None

    def operation(self, name: str) -> Operation:
        """A declared operation. Raises KeyError for one that is not."""
        if name not in self._built:
            self._built[name] = HttpOperation(self, name, self.declared[name])
        return self._built[name]

    async def request(self, data: bytes, seconds: float, bodiless: bool) -> Response:
        """Send prepared bytes. Raises a `Fault`."""
        if self._client is None:
            raise RuntimeError(f"the connection {self.name} is not open")
        return await self._client.request(data, seconds=seconds, limit=self.config.max_response, head=bodiless)

    def conceal(self, text: str) -> str:
        """The text without what this connection sends as credentials."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _secrets(self) -> list[str]:
        config = self.config
        hidden = [value for value in config.headers.values() if isinstance(value, Secret)]
        if config.auth is not None:
            hidden += [value for value in vars(config.auth).values() if isinstance(value, Secret)]
        texts = [value.reveal() for value in hidden]
        if self.tokens is not None and self.tokens.current():
            texts.append(self.tokens.current())
        return [text for text in texts if text]

    async def _fetch_token(self, headers: dict[str, str], body: bytes) -> Response:
        parts = urlsplit(self.config.auth.token_url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        data = head("POST", target, parts.netloc, {**headers, "Content-Length": str(len(body))}) + b"\r\n" + body
        assert self._token_client is not None
        seconds = min(self.config.timeout, _TOKEN_SECONDS)
        return await self._token_client.request(data, seconds=seconds, limit=_TOKEN_BYTES)

    def _reach(self, url: str, size: int) -> Client:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        tls = self.config.tls
        return Client(
            parts.hostname or "", parts.port or (443 if secure else 80), size=size,
            tls=self._trust(tls) if secure else None, server_name=tls.server_name if tls else "",
        )  # fmt: skip

    def _trust(self, tls: Tls | None) -> ssl.SSLContext:
        folder = self.context.folder
        try:
            trust = ssl.create_default_context(cafile=str(folder / tls.ca) if tls and tls.ca else None)
            if tls and tls.certificate and tls.key:
                trust.load_cert_chain(folder / tls.certificate, folder / tls.key)
        except OSError as error:
            raise ProjectError(f"connection {self.name}: its tls files cannot be used: {error}") from None
        trust.minimum_version = ssl.TLSVersion.TLSv1_2
        trust.set_alpn_protocols(["http/1.1"])
        return trust

    def token_refused(self, token: str) -> None:
        """The system did not take this token."""
        if self.tokens is not None:
            self.tokens.refused(token)

    async def token(self, deadline: float) -> str:
        """The token for a call that must be over at `deadline` (the loop's time). Raises `Paused`."""
        assert self.tokens is not None
        current = self.tokens.current()
        if current:
            return current
        async with asyncio.timeout_at(deadline):
            return await self.tokens.token()
