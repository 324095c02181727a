"""Wire tap: look at messages without standing in their way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dovetail.sdk import Build, Context, EffectStep, Message, Spec, field


class WireTap(EffectStep):
    """Sends a copy of each message to a topic, or through steps of its own; the message goes on as it came.

    Whatever happens to the copy, the message never fails: a failure in the tap's steps is logged and not tried again.
    A copy to a topic is as durable as the message itself.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        topic: str | None = field(
            default=None, main=True, kind="topic", help="The topic that gets the copy.", example="orders.seen"
        )
        steps: list[Any] | None = field(
            default=None, kind="steps", help="The steps the copy goes through, instead of a topic."
        )

        def rules(self) -> Iterable[tuple[str, str]]:
            """One place for the copy."""
            if (self.topic is None) == (self.steps is None):
                yield "topic", "say where the copy goes: either a 'topic', or 'steps'"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._chain = build.chain(config.steps, "tap") if config.steps is not None else None
        self.chains = () if self._chain is None else (self._chain,)
        self.effectful = self._chain is not None and self._chain.effectful

    async def act(self, message: Message, context: Context) -> Message:
        """Tap, and pass it on."""
        try:
            if self._chain is None:
                context.publish(self.id, self.config.topic, message)
            else:
                result = await self._chain.run((message,), context.branch(f"{self.id}/tap"))
                for _, error in result.failed:
                    self._missed(message, context, error)
        except Exception as error:
            self._missed(message, context, error)
        return message

    def _missed(self, message: Message, context: Context, error: Exception) -> None:
        context.log.warning("wire_tap_failed", step=self.id, message_id=message.id, error=str(error))
