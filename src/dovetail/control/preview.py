"""A mapping tried out on an input, the way a flow would run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.codec import built_in_codecs
from dovetail.errors import DovetailError, MessageError, Refused
from dovetail.mapping import UNDEFINED, MappingError
from dovetail.mapping import compile as compile_mapping
from dovetail.message import Codec


class PreviewError(DovetailError):
    """The mapping, its input or its result is at fault. The message names the place."""

    code = "mapping"


def preview(
    text: str, name: str, body: bytes | None, *, given: str = "json", wanted: str = "json",
    bindings: Mapping[str, str] | None = None,
) -> bytes | None:  # fmt: skip
    """Evaluate `text` on `body` (None: no input); the result's bytes, or None when it is undefined.

    `given` and `wanted` are formats by name; `name` is how errors speak of the text; `bindings` are variables as JSON
    or plain text. Raises `PreviewError`, `Refused`.
    """
    reading, writing = _codec(given), _codec(wanted)
    try:
        value = UNDEFINED if body is None else reading.decode(body)
    except MessageError as error:
        raise PreviewError(f"the input cannot be read as {given}: {error.message}", code="input") from error
    bound = {name: _bound(value) for name, value in (bindings or {}).items()}
    try:
        result = compile_mapping(text).evaluate(value, {"headers": {}, "vars": {}, "message": {}, **bound})
    except MappingError as error:
        raise PreviewError(f"{name}:{error.line}:{error.column}: {error.message} ({error.code})") from error
    if result is UNDEFINED:
        return None
    try:
        return writing.encode(result)
    except (MessageError, TypeError, ValueError) as error:
        raise PreviewError(f"the result cannot be written as {wanted}: {error}", code="result") from error


def _codec(name: str) -> Codec:
    try:
        return built_in_codecs().by_name(name)
    except KeyError as error:
        raise Refused(f"there is no format '{name}'", code="format") from error


def _bound(text: str) -> Any:
    try:
        return _codec("json").decode(text.encode())
    except MessageError:
        return text
