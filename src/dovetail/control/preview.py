"""A mapping tried out on an input, the way a flow would run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.codec import built_in_codecs
from dovetail.errors import DovetailError, MessageError, Refused
from dovetail.mapping import UNDEFINED, MappingError
from dovetail.mapping import compile as compile_mapping
from dovetail.mapping.explain import explain
from dovetail.mapping.limits import SystemEnvironment
from dovetail.message import Codec


class PreviewError(DovetailError):
    """The mapping, its input or its result is at fault. The message names the place."""

    code = "mapping"


class Preview:
    """An input that mappings are tried on.

    `body`: None for no input. `given` and `wanted` are formats by name; `bindings` are variables as JSON or plain text.
    Raises `PreviewError`, `Refused`.
    """

    def __init__(
        self, body: bytes | None, *, given: str = "json", wanted: str = "json",
        bindings: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        reading = _codec(given)
        self._writing, self._wanted = _codec(wanted), wanted
        try:
            self._value = UNDEFINED if body is None else reading.decode(body)
        except MessageError as error:
            raise PreviewError(f"the input cannot be read as {given}: {error.message}", code="input") from error
        bound = {name: _bound(value) for name, value in (bindings or {}).items()}
        self._bindings = {"headers": {}, "vars": {}, "message": {}, **bound}

    def evaluate(self, text: str, name: str) -> bytes | None:
        """The result's bytes, or None when it is undefined. `name` is how errors speak of the text. Raises
        `PreviewError`."""
        try:
            result = compile_mapping(text).evaluate(self._value, self._bindings, environment=Bench())
        except MappingError as error:
            raise _placed(error, name) from error
        if result is UNDEFINED:
            return None
        try:
            return self._writing.encode(result)
        except (MessageError, TypeError, ValueError) as error:
            raise PreviewError(f"the result cannot be written as {self._wanted}: {error}", code="result") from error


class Bench(SystemEnvironment):
    """The machine's clock and dice, and the formats at hand. There are no tables: they belong to a project."""

    __slots__ = ()

    def codec(self, name: str) -> Codec | None:
        """The format of that name."""
        try:
            return built_in_codecs().by_name(name)
        except KeyError:
            return None


def explained(text: str, name: str) -> dict[str, Any]:
    """The parsed `tree` of a mapping, the paths it `reads` and the fields it `writes`. Raises `PreviewError`."""
    try:
        compile_mapping(text)
        return explain(text)
    except MappingError as error:
        raise _placed(error, name) from error


def _placed(error: MappingError, name: str) -> PreviewError:
    return PreviewError(f"{name}:{error.line}:{error.column}: {error.message} ({error.code})")


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
