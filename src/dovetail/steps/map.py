"""Message translator: a mapping makes the new body."""

from __future__ import annotations

from dovetail.sdk import UNDEFINED, Build, Message, MessageStep, Rejected, Spec, field
from dovetail.steps._values import excerpt


class Map(MessageStep):
    """Puts the result of a mapping in the body's place. A mapping that gives nothing fails the message."""

    class Config(Spec):
        mapping: str = field(
            main=True,
            kind="expression",
            help="The mapping, or the path of a `.jsonata` file.",
            example="maps/order.jsonata",
        )
        format: str = field(default="json", kind="format", help="The format the new body is written in.", example="xml")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._evaluate = build.expression(config.mapping).evaluate
        self._codec = build.codecs.by_name(config.format)

    def apply(self, message: Message) -> Message:
        """The message with its new value; it is encoded when somebody asks for the bytes."""
        value = self._evaluate(message)
        if value is UNDEFINED:
            raise Rejected(
                f"the mapping gives nothing for this message: {excerpt(self.config.mapping)}; use 'filter' to leave"
                " messages out, or write null for an empty body",
                code="undefined",
            )
        return message.with_value(value, self._codec)
