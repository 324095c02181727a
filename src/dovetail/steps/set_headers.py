"""Headers: set and remove."""

from __future__ import annotations

from dovetail.sdk import Build, Message, MessageStep, Spec, field
from dovetail.steps._values import Values, with_headers


class SetHeaders(MessageStep):
    """Sets headers, each by an expression, and removes others. Names are in lower case; an expression that gives
    nothing leaves its header as it was.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        headers: dict[str, str] = field(
            default={}, main=True, kind="expression", help="The headers to set, each an expression.",
            example={"x-customer": "customer.id"},
        )  # fmt: skip
        remove: list[str] = field(default=[], help="The names of headers to remove.", example=["authorization"])

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._headers = Values(build, config.headers)
        self._remove = {name.lower() for name in config.remove}

    def apply(self, message: Message) -> Message:
        """The message with its new headers."""
        if self._remove:
            kept = {name: value for name, value in message.headers.items() if name.lower() not in self._remove}
            message = message.with_headers(kept)
        return with_headers(message, self._headers)
