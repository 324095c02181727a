"""Publish-subscribe channel: a durable topic that any number of flows read."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.sdk import Build, Context, Message, Result, Spec, Step, field
from dovetail.steps._values import Body, Values, with_headers


class Publish(Step):
    """Appends the message to a durable topic, in the transaction of the message's own next move: both happen, or
    neither. It goes on as it came. Every subscribing flow has its own cursor, retries and dead letters.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        topic: str = field(main=True, kind="topic", help="The topic.", example="orders.accepted", pattern=r"[\w.:/-]+")
        body: str | None = field(
            default=None, kind="expression", help="What to publish in place of the message's body."
        )
        headers: dict[str, str] = field(default={}, kind="expression", help="Headers to add, each an expression.")
        format: str = field(default="json", kind="format", help="The format `body` is written in.")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._topic: str = config.topic
        self._headers = Values(build, config.headers)
        self._body = Body(build, config.body, config.format)
        self._plain = config.body is None and not config.headers

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Append all, in order."""
        result = Result()
        keep, publish, step, topic, plain = result.out.append, context.publish, self.id, self._topic, self._plain
        for message in batch:
            try:
                publish(step, topic, message if plain else self._shaped(message))
                keep(message)
            except Exception as error:
                result.failed.append((message, error))
        return result

    def _shaped(self, message: Message) -> Message:
        shaped = self._body.of(message)
        return shaped.with_headers(with_headers(message, self._headers).headers)
