"""How a connection proves itself to its system."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import ClassVar
from urllib.parse import quote, urlencode

from dovetail.connectors.http.client import Response
from dovetail.connectors.http.faults import PAUSE, Fault
from dovetail.sdk import Clock, Paused, Secret, Spec, field

_EARLY = 60.0  # a token is renewed so many seconds before it expires, or at nine tenths of a short life


class Auth(Spec):
    """The common part."""

    renewable: ClassVar[bool] = False

    def headers(self) -> dict[str, str]:
        """What is sent with every request."""
        return {}

    def query(self) -> dict[str, str]:
        """What is added to every query."""
        return {}


class Basic(Auth, tag="basic"):
    """HTTP Basic."""

    username: str = field(help="The user name.", example="dovetail")
    password: Secret = field(help="The password.", example="${secret:erp_password}")

    def headers(self) -> dict[str, str]:
        pair = f"{self.username}:{self.password.reveal()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


class Bearer(Auth, tag="bearer"):
    """A fixed token in the Authorization header."""

    token: Secret = field(help="The token.", main=True, example="${secret:erp_token}")

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token.reveal()}"}


class ApiKey(Auth, tag="api_key"):
    """A key in a header or in the query."""

    key: Secret = field(help="The key.", example="${secret:crm_key}")
    header: str | None = field(help="The header that carries it.", default=None, example="X-API-Key")
    parameter: str | None = field(help="The query parameter that carries it.", default=None, example="api_key")

    def rules(self) -> list[tuple[str, str]]:
        if (self.header is None) == (self.parameter is None):
            return [("header", "say either header or parameter: where the key is sent")]
        return []

    def headers(self) -> dict[str, str]:
        return {self.header: self.key.reveal()} if self.header else {}

    def query(self) -> dict[str, str]:
        return {self.parameter: self.key.reveal()} if self.parameter else {}


class ClientCredentials(Auth, tag="oauth2_client_credentials"):
    """OAuth 2.0 client credentials (RFC 6749, 4.4): a token is fetched, kept and renewed early."""

    renewable: ClassVar[bool] = True

    token_url: str = field(help="Where tokens are fetched.", example="https://login.example.com/oauth/token")
    client_id: str = field(help="The client's id.", example="dovetail")
    client_secret: Secret = field(help="The client's secret.", example="${secret:crm_client}")
    scope: str | None = field(help="The scopes, separated by spaces.", default=None, example="orders.write")
    audience: str | None = field(help="The audience, where the server asks for one.", default=None)
    in_body: bool = field(help="Send id and secret in the body and not in the Authorization header.", default=False)

    def token_request(self) -> tuple[dict[str, str], bytes]:
        """The headers and the body of the request for a token."""
        form = {"grant_type": "client_credentials", "scope": self.scope, "audience": self.audience}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.in_body:
            form |= {"client_id": self.client_id, "client_secret": self.client_secret.reveal()}
        else:
            pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret.reveal(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return headers, urlencode({name: value for name, value in form.items() if value is not None}).encode()


Authentication = Basic | Bearer | ApiKey | ClientCredentials
Fetch = Callable[[dict[str, str], bytes], Awaitable[Response]]


class Tokens:
    """The token of one connection. However many calls need a new one, it is fetched once."""

    def __init__(self, config: ClientCredentials, fetch: Fetch, clock: Clock, target: str) -> None:
        """`fetch` posts headers and body to the token URL and returns the answer, or raises a `Fault`."""
        self._config, self._fetch, self._clock, self._target = config, fetch, clock, target
        self._token = ""
        self._until = 0.0
        self._renewal: asyncio.Task[None] | None = None

    def current(self) -> str:
        """The token at hand, or nothing when it has to be fetched."""
        return self._token if self._clock.monotonic() < self._until else ""

    async def token(self) -> str:
        """A token that is good for a while yet. Raises `Paused` when none can be had."""
        while not self.current():
            if self._renewal is None:
                self._renewal = asyncio.ensure_future(self._renew())
                self._renewal.add_done_callback(_heard)
            await asyncio.shield(self._renewal)  # a call that is cancelled must not take the token from the others
        return self._token

    def refused(self, token: str) -> None:
        """The system did not take this token: fetch another, unless that was done since."""
        if token == self._token:
            self._token = ""

    async def close(self) -> None:
        """Stop fetching."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renew(self) -> None:
        try:
            response = await self._fetch(*self._config.token_request())
            self._take(response)
        except Fault as error:
            raise self._paused(f"the token cannot be fetched: {error}") from None
        finally:
            self._renewal = None

    def _take(self, response: Response) -> None:
        if response.status != 200:
            raise self._paused(f"the token was refused: {self._config.token_url} answered {response.status}")
        try:
            answer = json.loads(response.body)
            token, life = answer["access_token"], float(answer.get("expires_in", 3600))
            kind = answer.get("token_type", "Bearer")
        except (ValueError, KeyError, TypeError, AttributeError):
            token, life, kind = None, 0.0, ""
        if (
            not isinstance(token, str)
            or not token.isascii()
            or not token.isprintable()
            or str(kind).lower() != "bearer"
        ):
            raise self._paused(f"{self._config.token_url} did not answer with a bearer token")
        self._token = token
        self._until = self._clock.monotonic() + max(1.0, life - min(_EARLY, life / 10))

    def _paused(self, text: str) -> Paused:
        return Paused(f"{self._target}: {text}", code="credentials", after=PAUSE)


def _heard(renewal: asyncio.Task[None]) -> None:
    """Its error belongs to those who wait for it; if they all went away, nobody has to hear it."""
    if not renewal.cancelled():
        renewal.exception()
