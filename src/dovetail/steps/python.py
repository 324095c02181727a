"""A typed function of the project's own."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import PurePath
from typing import Any, get_type_hints

import msgspec

from dovetail.sdk import (
    Build,
    Context,
    Dropping,
    Duration,
    EffectStep,
    Message,
    MessageError,
    ProjectError,
    Rejected,
    Retry,
    Spec,
    Threads,
    field,
)

_THREADS = Threads(8)


class Python(EffectStep):
    """Calls a function of the project's `python/` folder with the message's value; what it returns is the new body.

    By name and annotation a parameter gets `headers`, `variables`, or (annotated `Message`) the whole message; the
    one other parameter gets the value, converted when it is annotated with a dataclass, a `msgspec.Struct` or a
    `TypedDict`. A function that returns None leaves the message as it is; one that returns a `Message` puts it in its
    place.

    Raising an error of `dovetail.sdk` says what happens next (`Rejected`, `Retry`, …, or `Dropping` to end the
    message by rule); any other exception is a `Rejected`. The function may run again for the same message, so it
    makes no effects of its own. An `async` function runs on the event loop and is cancelled at the deadline. Any
    other runs in one of 8 threads; at the deadline the message is retried later while the thread runs on to its own
    end, its result thrown away.
    """

    class Config(Spec):
        function: str = field(main=True, kind="function", help="The function.", example="pricing:price_order")
        timeout: Duration = field(default="5s", help="How long one call may take.")
        format: str = field(default="json", kind="format", help="The format the new body is written in.")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._function = build.function(config.function)
        self._arguments = _arguments(self._function, config.function)
        self._codec = build.codecs.by_name(config.format)
        self._async = inspect.iscoroutinefunction(self._function)

    @classmethod
    def check_function(cls, signature: inspect.Signature) -> None:
        """As when it is built. Raises ProjectError."""
        _roles(signature, lambda annotation: annotation == "Message")

    async def act(self, message: Message, context: Context) -> Message:
        """Call it under its deadline."""
        arguments = {name: give(message) for name, give in self._arguments.items()}
        try:
            result = await self._call(arguments)
        except (MessageError, Dropping):
            raise
        except Exception as error:
            raise Rejected(f"{self.config.function} raised {_told(error)}", code="python") from error
        return self._answer(message, result)

    async def _call(self, arguments: dict[str, Any]) -> Any:
        seconds = self.config.timeout
        if not self._async:
            return await _THREADS.run(lambda: self._function(**arguments), timeout=seconds)
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await self._function(**arguments)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Retry(f"not finished after {seconds:g} s", code="deadline") from None

    def _answer(self, message: Message, result: Any) -> Message:
        if result is None:
            return message
        if isinstance(result, Message):
            return result
        try:
            return message.with_value(msgspec.to_builtins(result, builtin_types=(Decimal,)), self._codec)
        except (TypeError, ValueError) as error:
            raise Rejected(f"{self.config.function} returned what is not plain data: {error}", code="python") from error


def _arguments(function: Callable[..., Any], reference: str) -> dict[str, Callable[[Message], Any]]:
    """How each parameter is filled. Raises `ProjectError` for a function that cannot be called with a message."""
    try:
        hints = get_type_hints(function)
        signature = inspect.signature(function)
        whole = {name for name, hint in hints.items() if hint is Message}
        resolved = [one.replace(annotation=one.name in whole) for one in signature.parameters.values()]
        roles = _roles(inspect.Signature(resolved), bool)
    except (NameError, TypeError, ValueError, ProjectError) as error:
        raise ProjectError(f"{reference}: {error}") from error
    ways = {"message": _itself, "headers": _headers, "variables": _variables}
    return {name: ways.get(role) or _way(hints.get(name)) for name, role in roles.items()}


def _way(hint: Any) -> Callable[[Message], Any]:
    return _converted(hint) if _is_record(hint) else _value


def _roles(signature: inspect.Signature, is_message: Callable[[Any], bool]) -> dict[str, str]:
    """What each parameter that is given something gets: message, headers, variables or value. Raises `ProjectError`."""
    roles: dict[str, str] = {}
    for name, one in signature.parameters.items():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            raise ProjectError("write its parameters plainly, without *, ** or /")
        if is_message(one.annotation):
            roles[name] = "message"
        elif name in ("headers", "variables"):
            roles[name] = name
        elif one.default is one.empty:
            roles[name] = "value"
    if list(roles.values()).count("value") > 1 or not roles:
        raise ProjectError("a function takes the value, and beside it 'headers', 'variables' or one annotated Message")
    return roles


def _itself(message: Message) -> Message:
    return message


def _headers(message: Message) -> dict[str, str]:
    return dict(message.headers)


def _variables(message: Message) -> dict[str, Any]:
    return dict(message.variables)


def _value(message: Message) -> Any:
    return message.value


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and (
        dataclasses.is_dataclass(hint) or issubclass(hint, msgspec.Struct) or hasattr(hint, "__required_keys__")
    )


def _converted(hint: Any) -> Callable[[Message], Any]:
    def convert(message: Message) -> Any:
        try:
            return msgspec.convert(message.value, hint)
        except msgspec.ValidationError as error:
            raise Rejected(f"the body is not what the function takes: {error}", code="python") from error

    return convert


def _told(error: Exception) -> str:
    """The exception and the line of the project's code it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({PurePath(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
