"""What an integration needs beside JSONata: tables, cross-references, exact amounts, stable ids, digests, formats.

Tables, formats and the message's id come from the environment that `evaluate` is given; see `Platform`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac as hmac_
import uuid as uuid_
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from ...errors import Rejected
from ..comparing import equal, exact
from ..errors import MappingError
from ..values import NUMBERS, UNDEFINED, Exact
from .declare import Declared, function
from .text import quoted

U = UNDEFINED
FUNCTIONS: list[Declared] = []
ALGORITHMS = frozenset(("md5", "sha1", "sha256", "sha384", "sha512"))
SPACE = uuid_.UUID("6d1f2c0e-5d55-5c9b-9f0e-0d8f6a3b7c11")


class Platform(Protocol):
    """What an evaluation's environment may offer beside the clock and the dice. Each is optional.

    table(name): the rows of a lookup table, None if there is none. codec(name): an object with `decode(bytes)` and
    `encode(value)`, None if the format is unknown.
    message_id: the same on every attempt for one message. place: tells expressions of one text apart.
    """

    message_id: str | None
    place: str

    def table(self, name: str) -> list[dict[str, Any]] | None: ...

    def codec(self, name: str) -> Any: ...


def rows(state: Any, name: Any) -> list[dict[str, Any]]:
    ask = getattr(state.environment, "table", None)
    found = ask(name) if ask is not None else None
    if found is None:
        raise MappingError("D4002", value=f"There is no lookup table named {name}")
    state.charge(found)
    return found  # type: ignore[no-any-return]


@function(FUNCTIONS, "<s:a>", ('$table("units")[shop = "pc"].erp', "EA"), stateful=True)
def table(state: Any, name: Any) -> Any:
    """The rows of a lookup table of the project, as objects."""
    return U if name is U else rows(state, name)


@function(
    FUNCTIONS,
    "<ss(snb)sx?:x>",
    ('$xref("units", "shop", "pc", "erp")', "EA"),
    ('$xref("units", "shop", "?", "erp", "C62")', "C62"),
    stateful=True,
)
def xref(state: Any, name: Any, given: Any, value: Any, wanted: Any, default: Any = U) -> Any:
    """A cross-reference: the `wanted` column of the table's row whose `given` column is `value`, else `default`."""
    if U in (name, given, wanted) or value is U:
        return default
    for row in rows(state, name):
        if equal(row.get(given, U), value):
            return row.get(wanted, U)
    return default


@function(
    FUNCTIONS,
    "<(sn):n>",
    ('$string($decimal("0.1") + $decimal("0.2"))', "0.3"),
    ('$string($decimal("19.90") * 3)', "59.70"),
)
def decimal(value: Any) -> Any:
    """An exact decimal of a text or number: arithmetic, `$sum` and `$round` with it are decimal (28 digits)."""
    if value is U:
        return U
    if value.__class__ in NUMBERS:
        return exact(value)
    try:
        found = Exact(value) if len(value) <= 400 and "_" not in value else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not -6000 < found.adjusted() < 6000:
        raise MappingError("D3030", value=value, index=1)
    return found


@function(FUNCTIONS, "<s?:s>", ('$uuid("invoice") = $uuid("invoice")', True), stateful=True)
def uuid(state: Any, name: Any = U) -> Any:
    """A UUID that stays the same when the message is tried again; one for each name, or for each call."""
    seed = getattr(state.environment, "message_id", None)
    if seed is None:
        seed = state.drawn = state.drawn or str(state.environment.random())
    if name is not U:
        return str(uuid_.uuid5(SPACE, f"{seed}\x1f{name}"))
    state.calls += 1
    place = getattr(state.environment, "place", "")
    return str(uuid_.uuid5(SPACE, f"{seed}\x1f{place}\x1f{state.world.text}\x1f{state.calls}"))


@function(
    FUNCTIONS,
    "<s-s?:s>",
    ('$hash("abc")', "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ('$hash("abc", "md5")', "900150983cd24fb0d6963f7d28e17f72"),
    stateful=True,
)
def hash_(state: Any, text: Any, algorithm: Any = U) -> Any:
    """The digest of a text's UTF-8 bytes in hexadecimal: sha256 (default), sha384, sha512, sha1 or md5."""
    if text is U:
        return U
    return hashlib.new(named(algorithm), utf8(state, text), usedforsecurity=False).hexdigest()


@function(
    FUNCTIONS,
    "<sss?:s>",
    ('$hmac("abc", "key")', "9c196e32dc0175f86f4b1cb89289d6619de6bee699e4c378e68309ed97a1a6ab"),
    stateful=True,
)
def hmac(state: Any, text: Any, key: Any = U, algorithm: Any = U) -> Any:
    """The keyed digest (HMAC) of a text in hexadecimal, sha256 by default."""
    if text is U or key is U:
        return U
    return hmac_.new(utf8(state, key), utf8(state, text), named(algorithm)).hexdigest()


def named(algorithm: Any) -> str:
    name = "sha256" if algorithm is U else algorithm.lower().replace("-", "")
    if name not in ALGORITHMS:
        raise MappingError("D4002", value=f"There is no digest {quoted(name)}; use {', '.join(sorted(ALGORITHMS))}")
    return str(name)


def utf8(state: Any, text: str) -> bytes:
    if len(text) > 256:
        state.chars(len(text))
    return text.encode("utf-8", "surrogatepass")


@function(
    FUNCTIONS, "<s-b?:s>", ('$toBase64("Grüße")', "R3LDvMOfZQ=="), ('$toBase64("??>", true)', "Pz8-"), stateful=True
)
def toBase64(state: Any, text: Any, url: Any = U) -> Any:
    """The base64 form of a text's UTF-8 bytes; for URLs, without padding, if `url` is true."""
    if text is U:
        return U
    if url is True:
        return base64.urlsafe_b64encode(utf8(state, text)).decode().rstrip("=")
    return base64.b64encode(utf8(state, text)).decode()


@function(FUNCTIONS, "<s-:s>", ('$fromBase64("R3LDvMOfZQ==")', "Grüße"), stateful=True)
def fromBase64(state: Any, text: Any) -> Any:
    """The UTF-8 text of a base64 form, of either alphabet, with or without padding."""
    if text is U:
        return U
    plain = utf8(state, text).replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise MappingError("D4002", value="The text is not base64 of UTF-8") from None


def codec(state: Any, name: str) -> Any:
    ask = getattr(state.environment, "codec", None)
    found = ask(name) if ask is not None else None
    if found is None:
        raise MappingError("D4002", value=f"There is no format named {name}")
    return found


@function(FUNCTIONS, "<ss:x>", ('$parse("json", "[1, 2.50]")[0]', 1), stateful=True)
def parse(state: Any, name: Any, text: Any = U) -> Any:
    """The value that a text shows in a format of the platform, such as json, csv or xml."""
    if name is U or text is U:
        return U
    found = codec(state, name)
    try:
        return found.decode(utf8(state, text))
    except (Rejected, ValueError) as error:
        raise MappingError("D4002", value=f"The text is not {name}: {error}") from None


@function(FUNCTIONS, "<sx:s>", ('$format("json", {"a": 1})', '{"a":1}'), stateful=True)
def format_(state: Any, name: Any, value: Any = U) -> Any:
    """A value as text in a format of the platform, such as json, csv or xml."""
    if name is U or value is U:
        return U
    from ..expression import outside

    found = codec(state, name)
    try:
        body: bytes = found.encode(outside(value))
    except (Rejected, ValueError) as error:
        raise MappingError("D4002", value=f"The value cannot be written as {name}: {error}") from None
    state.chars(len(body))
    return body.decode("utf-8")
