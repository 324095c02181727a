"""How a webhook proves who sent it: the published signature schemes, and the plain credentials of HTTP.

Every check works on the raw bytes, compares in constant time and tries each configured secret, so that a secret can be
rotated. Raises `Refused`: 401 when the proof is missing, wrong or too old, 400 when it cannot be read at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

from dovetail.sdk import Duration, Refused, Secret, Spec, field

Headers = Mapping[str, str]
Keys = Sequence[bytes]


class Verify(Spec):
    """The common part. `challenge` goes into WWW-Authenticate; `private` headers never become part of a message."""

    challenge: ClassVar[str] = "Signature"

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        """Raise `Refused` unless the request is the sender's own. `keys` is what `keys()` gave."""
        raise NotImplementedError

    def keys(self) -> Keys:
        """The secrets as they are used, made once. Whoever holds them must not show them."""
        raise NotImplementedError

    def delivery_id(self, headers: Headers) -> str | None:
        """What names this delivery, so that a replay is recognised; None if the scheme has nothing for it."""
        return None

    def names(self) -> bool:
        """Whether the scheme names deliveries."""
        return type(self).delivery_id is not Verify.delivery_id

    def challenged(self, value: Any) -> bytes | None:
        """The JSON answer to a sender that only asks whether this is the right door; None for an ordinary message."""
        return None

    def private(self) -> frozenset[str]:
        """The headers that carry the proof, in lower case."""
        return frozenset()

    def rules(self) -> Iterable[tuple[str, str]]:
        for name, value in vars(self).items():
            if any(isinstance(one, Secret) and not one for one in (value if isinstance(value, list) else [value])):
                yield name, "is empty: anybody could guess it"
            elif value == []:
                yield name, "needs at least one entry"


def _given(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if not value:
        raise Refused(f"the request has no {name} header", status=401, code="signature_missing")
    return value


def _mismatch() -> Refused:
    return Refused("the signature does not match the body", status=401, code="signature_mismatch")


def _fresh(text: str, now_ms: int, tolerance: float, header: str) -> None:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refused(f"the timestamp in {header} is not a number of seconds", status=400, code="timestamp_malformed")
    if abs(now_ms / 1000 - int(text)) > tolerance:
        raise Refused(
            f"the timestamp in {header} is more than {tolerance:g} seconds off", status=401, code="timestamp_stale"
        )


def _secrets(secret: Secret | list[Secret]) -> list[bytes]:
    return [one.reveal().encode() for one in (secret if isinstance(secret, list) else [secret])]


def _digests(keys: Keys, signed: bytes, algorithm: str = "sha256") -> list[bytes]:
    found: list[bytes] = []
    for key in keys:
        inner, outer = _prepared(key, algorithm)
        inner, outer = inner.copy(), outer.copy()
        inner.update(signed)
        outer.update(inner.digest())
        found.append(outer.digest())
    return found


@lru_cache(maxsize=1024)
def _prepared(key: bytes, algorithm: str) -> tuple[Any, Any]:
    """HMAC's two hashes with the key in them (RFC 2104). `hmac.digest` begins anew each time, and lets go of the
    interpreter's lock for it, which costs more than the hash itself when another thread wants it."""
    block = hashlib.new(algorithm).block_size
    key = (hashlib.new(algorithm, key).digest() if len(key) > block else key).ljust(block, b"\0")
    inner = hashlib.new(algorithm, bytes(byte ^ 0x36 for byte in key))
    return inner, hashlib.new(algorithm, bytes(byte ^ 0x5C for byte in key))


def _any_equal(expected: Iterable[bytes], given: Iterable[bytes]) -> bool:
    """Whether one of the expected values was given. Looks at all pairs, whatever it finds."""
    candidates = list(given)
    found = False
    for one in expected:
        for other in candidates:
            found |= hmac.compare_digest(one, other)
    return found


class _Signed(Verify):
    """A scheme with one or several shared secrets."""

    secret: Secret | list[Secret] = field(
        help="The secret shared with the sender; a list while it is being rotated.", main=True,
        example="${secret:shop_webhook}",
    )  # fmt: skip

    def keys(self) -> Keys:
        return _secrets(self.secret)


class Github(_Signed, tag="github"):
    """GitHub: X-Hub-Signature-256, deliveries named by X-GitHub-Delivery."""

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        given = _given(headers, "x-hub-signature-256").encode("latin-1")
        if not _any_equal((b"sha256=" + digest.hex().encode() for digest in _digests(keys, body)), [given]):
            raise _mismatch()

    def delivery_id(self, headers: Headers) -> str | None:
        return headers.get("x-github-delivery")

    def private(self) -> frozenset[str]:
        return frozenset({"x-hub-signature", "x-hub-signature-256"})


class Shopify(_Signed, tag="shopify"):
    """Shopify: X-Shopify-Hmac-Sha256, deliveries named by X-Shopify-Webhook-Id."""

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        given = _given(headers, "x-shopify-hmac-sha256").encode("latin-1")
        if not _any_equal(map(base64.b64encode, _digests(keys, body)), [given]):
            raise _mismatch()

    def delivery_id(self, headers: Headers) -> str | None:
        return headers.get("x-shopify-webhook-id")

    def private(self) -> frozenset[str]:
        return frozenset({"x-shopify-hmac-sha256"})


class Stripe(_Signed, tag="stripe"):
    """Stripe: Stripe-Signature with a timestamp and one or more v1 signatures. A replay bears the same signature."""

    tolerance: Duration = field(help="How far the timestamp may be off.", default="5m", min="1s", max="1h")

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        stamp, given = self._parts(_given(headers, "stripe-signature"))
        expected = [digest.hex().encode() for digest in _digests(keys, stamp.encode("latin-1") + b"." + body)]
        if not _any_equal(expected, given):
            raise _mismatch()
        _fresh(stamp, now_ms, self.tolerance, "stripe-signature")

    def delivery_id(self, headers: Headers) -> str | None:
        stamp, given = self._parts(headers["stripe-signature"])
        return f"{stamp}.{given[0].decode('latin-1')}"

    def private(self) -> frozenset[str]:
        return frozenset({"stripe-signature"})

    def _parts(self, text: str) -> tuple[str, list[bytes]]:
        pairs = [part.strip().partition("=") for part in text.split(",", 32)]
        stamps = [value for name, _, value in pairs if name == "t"]
        given = [value.encode("latin-1") for name, _, value in pairs if name == "v1"]
        if len(stamps) != 1 or not given:
            message = "the stripe-signature header must have one t= and at least one v1="
            raise Refused(message, status=400, code="signature_malformed")
        return stamps[0], given


class Slack(_Signed, tag="slack"):
    """Slack: X-Slack-Signature over X-Slack-Request-Timestamp and the body. A replay bears the same signature."""

    tolerance: Duration = field(help="How far the timestamp may be off.", default="5m", min="1s", max="1h")

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        given = _given(headers, "x-slack-signature").encode("latin-1")
        stamp = _given(headers, "x-slack-request-timestamp")
        signed = b"v0:" + stamp.encode("latin-1") + b":" + body
        if not _any_equal((b"v0=" + digest.hex().encode() for digest in _digests(keys, signed)), [given]):
            raise _mismatch()
        _fresh(stamp, now_ms, self.tolerance, "x-slack-request-timestamp")

    def delivery_id(self, headers: Headers) -> str | None:
        return headers.get("x-slack-signature")

    def challenged(self, value: Any) -> bytes | None:
        if not isinstance(value, dict) or value.get("type") != "url_verification":
            return None
        return json.dumps({"challenge": str(value.get("challenge", ""))}).encode()

    def private(self) -> frozenset[str]:
        return frozenset({"x-slack-signature"})


class Standard(_Signed, tag="standard"):
    """Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature; secrets are written `whsec_…`."""

    tolerance: Duration = field(help="How far the timestamp may be off.", default="5m", min="1s", max="1h")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from super().rules()
        for secret in self.secret if isinstance(self.secret, list) else [self.secret]:
            try:
                usable = bool(_whsec(secret))
            except binascii.Error:
                usable = False
            if not usable:
                yield "secret", "must be base64 after whsec_"

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        name, stamp = _given(headers, "webhook-id"), _given(headers, "webhook-timestamp")
        given = [
            one[3:].encode("latin-1") for one in _given(headers, "webhook-signature").split(" ", 32) if one[:3] == "v1,"
        ]
        signed = f"{name}.{stamp}.".encode("latin-1") + body
        if not _any_equal(map(base64.b64encode, _digests(keys, signed)), given):
            raise _mismatch()
        _fresh(stamp, now_ms, self.tolerance, "webhook-timestamp")

    def delivery_id(self, headers: Headers) -> str | None:
        return headers["webhook-id"]

    def keys(self) -> Keys:
        return [_whsec(one) for one in (self.secret if isinstance(self.secret, list) else [self.secret])]

    def private(self) -> frozenset[str]:
        return frozenset({"webhook-signature"})


def _whsec(secret: Secret) -> bytes:
    return base64.b64decode(secret.reveal().removeprefix("whsec_"), validate=True)


class Hmac(_Signed, tag="hmac"):
    """Any sender that signs the body with an HMAC and sends it in a header."""

    header: str = field(help="The header that carries the signature.", example="X-Shopify-Hmac-Sha256")
    algorithm: Literal["sha256", "sha1", "sha384", "sha512"] = field(help="The hash.", default="sha256")
    encoding: Literal["auto", "hex", "base64"] = field(
        help="How the signature is written; auto tells hex from base64 by its length.", default="auto"
    )
    prefix: str = field(help="What stands before the signature.", default="", example="sha256=")
    delivery: str | None = field(
        help="The header in which the sender names each delivery; a repeated name is answered as a duplicate.",
        default=None, example="X-Delivery-Id",
    )  # fmt: skip

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        given = _given(headers, self.header.lower())
        if not given.startswith(self.prefix):
            message = f"the {self.header} header must begin with {self.prefix}"
            raise Refused(message, status=401, code="signature_malformed")
        signature = given[len(self.prefix) :].encode("latin-1")
        digests = _digests(keys, body, self.algorithm)
        # hex may be sent in upper case; a base64 signature never has the length of a hex one
        if self.encoding == "hex" or (self.encoding == "auto" and len(signature) == 2 * len(digests[0])):
            found = _any_equal((digest.hex().encode() for digest in digests), [signature.lower()])
        else:
            found = _any_equal(map(base64.b64encode, digests), [signature])
        if not found:
            raise _mismatch()

    def delivery_id(self, headers: Headers) -> str | None:
        return headers.get(self.delivery.lower()) if self.delivery else None

    def names(self) -> bool:
        return self.delivery is not None

    def private(self) -> frozenset[str]:
        return frozenset({self.header.lower()})


def _unauthorized(message: str) -> Refused:
    return Refused(message, status=401, code="unauthorized")


class Basic(Verify, tag="basic"):
    """HTTP Basic: a user name and a password."""

    challenge: ClassVar[str] = 'Basic realm="webhook", charset="UTF-8"'

    username: str = field(help="The user name.", example="shop")
    password: Secret | list[Secret] = field(help="The password; a list while it is being changed.")

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(text.strip().encode("latin-1"), validate=True)
        except binascii.Error:
            given = b""
        if not _any_equal(keys, [given]) or scheme.lower() != "basic":
            raise _unauthorized("the user name or the password is wrong or missing")

    def keys(self) -> Keys:
        return [self.username.encode() + b":" + password for password in _secrets(self.password)]


class Bearer(Verify, tag="bearer"):
    """A token in the Authorization header."""

    challenge: ClassVar[str] = "Bearer"

    token: Secret | list[Secret] = field(help="The token; a list while it is being changed.", main=True)

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if not _any_equal(keys, [text.strip().encode("latin-1")]) or scheme.lower() != "bearer":
            raise _unauthorized("the bearer token is wrong or missing")

    def keys(self) -> Keys:
        return _secrets(self.token)


class ApiKey(Verify, tag="api_key"):
    """A key in a header of its own."""

    challenge: ClassVar[str] = "ApiKey"

    key: Secret | list[Secret] = field(help="The key; a list while it is being changed.", main=True)
    header: str = field(help="The header that carries it.", default="X-API-Key")

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        given = headers.get(self.header.lower(), "").encode("latin-1")
        if not _any_equal(keys, [given]):
            raise _unauthorized(f"the key in {self.header} is wrong or missing")

    def keys(self) -> Keys:
        return _secrets(self.key)

    def private(self) -> frozenset[str]:
        return frozenset({self.header.lower()})


class Open(Verify, tag="open"):
    """Nobody proves anything: whoever reaches the path may send. `check` then does not warn of it."""

    why: str = field(
        help="Why that is all right.", main=True, pattern=r".*\S.*", example="only the proxy in front reaches it"
    )

    def prove(self, headers: Headers, body: bytes, now_ms: int, keys: Keys) -> None:
        return None

    def keys(self) -> Keys:
        return []


Verification = Github | Shopify | Stripe | Slack | Standard | Hmac | Basic | Bearer | ApiKey | Open
