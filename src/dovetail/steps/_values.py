"""What several steps need: named expressions, a body put together by an expression, plain text for headers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from dovetail.sdk import UNDEFINED, Build, Expression, Message, Rejected, Reply


class Values:
    """Named expressions, evaluated together. A name whose expression gives nothing is left out."""

    def __init__(self, build: Build, texts: Mapping[str, str]) -> None:
        self._expressions = [(name, build.expression(text)) for name, text in texts.items()]

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def evaluate(self, message: Message) -> dict[str, Any]:
        """Raises `Rejected`."""
        found = ((name, expression.evaluate(message)) for name, expression in self._expressions)
        return {name: value for name, value in found if value is not UNDEFINED}


class Body:
    """An expression whose value takes the place of the body in `format`; without a text the message stays as it is."""

    def __init__(self, build: Build, text: str | None, format: str) -> None:
        self._expression = build.expression(text) if text is not None else None
        self._codec = build.codecs.by_name(format)

    def of(self, message: Message) -> Message:
        """Raises `Rejected`, also when the expression gives nothing."""
        if self._expression is None:
            return message
        value = self._expression.evaluate(message)
        if value is UNDEFINED:
            raise Rejected(
                f"the expression gives nothing for this message: {excerpt(self._expression.text)}", code="undefined"
            )
        return message.with_value(value, self._codec)


def excerpt(text: str) -> str:
    """An expression as an error quotes it: its first line, shortened."""
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= 80 and line == text.strip() else f"{line[:79]}…"


def header_text(name: str, value: Any) -> str:
    """A header's value as text. Raises `Rejected` for what no header can carry."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str | int | float | Decimal):
        text = str(value)
    else:
        raise Rejected(
            f"the header {name} must be text, a number or true/false, not {type(value).__name__}", code="header"
        )
    if any(sign in text for sign in "\r\n\0"):
        raise Rejected(f"the header {name} must be one line of text", code="header")
    return text


def with_headers(message: Message, values: Values) -> Message:
    """The message with these headers added (names in lower case). Raises `Rejected`."""
    added = {name.lower(): header_text(name, value) for name, value in values.evaluate(message).items()}
    return message.with_headers({**message.headers, **added})


def answer_of(reply: Reply, step: str) -> Any:
    """A reply as data an expression can read. Raises `Rejected` for bytes that are no text."""
    return data_of(reply.value, f"the answer to {step}", "leave out 'as'")


def data_of(value: Any, what: str, instead: str) -> Any:
    """A value that can be remembered: bytes as text. Raises `Rejected` for bytes that are none."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Rejected(
                f"{what} is {len(value)} bytes that are no text and cannot be remembered; {instead}",
                code="binary-answer",
            ) from None
    return value


LONGEST_KEY = 512  # characters


def key_of(expression: Expression, message: Message, what: str = "key") -> str:
    """What an expression gives as a key: a text or a number. Raises `Rejected` for anything else, and for nothing."""
    value = expression.evaluate(message)
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal) or value == "":
        given = "nothing" if value is UNDEFINED or value in (None, "") else type(value).__name__
        raise Rejected(f"the {what} must be a text or a number: `{excerpt(expression.text)}` gives {given}", code="key")
    text = str(value)
    if len(text) > LONGEST_KEY or text.encode("utf-8", "replace").decode() != text:
        raise Rejected(f"the {what} is no text of at most {LONGEST_KEY} characters", code="key")
    return text
