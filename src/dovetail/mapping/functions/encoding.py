"""Base64 and URL encoding."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import quote

from ..errors import MappingError
from ..limits import pieces
from ..values import UNDEFINED
from .declare import Declared, function

U = UNDEFINED
FUNCTIONS: list[Declared] = []
COMPONENT = "-_.!~*'()"
WHOLE = COMPONENT + ";/?:@&=+$,#"
_escape = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_foreign = re.compile(r"[^A-Za-z0-9+/]")


def charged(state: Any, text: Any) -> Any:
    if text is not U and len(text) > 256:
        state.chars(len(text) * 2)
    return text


@function(FUNCTIONS, "<s-:s>", ('$base64encode("myuser:mypass")', "bXl1c2VyOm15cGFzcw=="), stateful=True)
def base64encode(state: Any, text: Any) -> Any:
    """The base64 form of a text's bytes, one byte a character (the low eight bits of its UTF-16 code)."""
    if text is U:
        return U
    return base64.b64encode(charged(state, text).encode("utf-16-le", "surrogatepass")[::2]).decode()


@function(FUNCTIONS, "<s-:s>", ('$base64decode("bXl1c2VyOm15cGFzcw==")', "myuser:mypass"), stateful=True)
def base64decode(state: Any, text: Any) -> Any:
    """The text whose characters are the bytes of a base64 form."""
    if text is U:
        return U
    clean = _foreign.sub("", charged(state, text).replace("-", "+").replace("_", "/").partition("=")[0])
    if len(clean) % 4 == 1:
        clean = clean[:-1]
    try:
        return base64.b64decode(clean + "=" * (-len(clean) % 4)).decode("latin-1")
    except binascii.Error:
        return ""


def encoded(text: Any, safe: str, name: str) -> Any:
    if text is U:
        return U
    try:
        return "".join([quote(piece, safe=safe) for piece in pieces(text)])
    except UnicodeEncodeError:
        raise MappingError("D3140", value=text, function=name) from None


@function(FUNCTIONS, "<s-:s>", ('$encodeUrlComponent("?x=test")', "%3Fx%3Dtest"), stateful=True)
def encodeUrlComponent(state: Any, text: Any) -> Any:
    """`text` as a part of a URL, everything special escaped."""
    return encoded(charged(state, text), COMPONENT, "encodeUrlComponent")


@function(FUNCTIONS, "<s-:s>", ('$encodeUrl("https://a.example/?x=å")', "https://a.example/?x=%C3%A5"), stateful=True)
def encodeUrl(state: Any, text: Any) -> Any:
    """`text` as a URL: what has a meaning in URLs stays."""
    return encoded(charged(state, text), WHOLE, "encodeUrl")


def decoded(text: Any, keep: str, name: str) -> Any:
    if text is U:
        return U

    def plain(match: re.Match[str]) -> str:
        letters = bytes.fromhex(match.group().replace("%", "")).decode()
        return "".join(f"%{ord(one):02X}" if one in keep else one for one in letters)

    try:
        made = _escape.sub(plain, text)
    except UnicodeDecodeError:
        raise MappingError("D3140", value=text, function=name) from None
    if "%" in _escape.sub("", text):
        raise MappingError("D3140", value=text, function=name)
    return made


@function(FUNCTIONS, "<s-:s>", ('$decodeUrlComponent("%3Fx%3Dtest")', "?x=test"), stateful=True)
def decodeUrlComponent(state: Any, text: Any) -> Any:
    """The text that `$encodeUrlComponent` was given."""
    return decoded(charged(state, text), "", "decodeUrlComponent")


@function(FUNCTIONS, "<s-:s>", ('$decodeUrl("https://a.example/?x=%C3%A5")', "https://a.example/?x=å"), stateful=True)
def decodeUrl(state: Any, text: Any) -> Any:
    """The text that `$encodeUrl` was given."""
    return decoded(charged(state, text), ";/?:@&=+$,#", "decodeUrl")
