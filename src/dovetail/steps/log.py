"""A line in the log."""

from __future__ import annotations

from typing import Literal

from dovetail.sdk import Build, Context, EffectStep, Message, Spec, field
from dovetail.steps._values import Values


class Log(EffectStep):
    """Writes a structured line to the log: the event, the step, the message's id and the fields you name."""

    effectful = False
    sees_body = True
    keeps_body = True

    class Config(Spec):
        event: str = field(main=True, help="What happened, in the same words each time.", example="order_priced")
        level: Literal["info", "warning", "error"] = field(default="info", help="The line's level.")
        fields_: dict[str, str] = field(
            default={}, kind="expression", help="Fields of the line, each an expression. No secrets, no whole bodies.",
            example={"total": "total"},
        )  # fmt: skip

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._values = Values(build, config.fields_)

    async def act(self, message: Message, context: Context) -> Message:
        """Write the line."""
        write = getattr(context.log, self.config.level)
        values = {name: value for name, value in self._values.evaluate(message).items() if name not in _OWN}
        write(self.config.event, step=self.id, message_id=message.id, **values)
        return message


_OWN = ("event", "step", "message_id", "level", "timestamp")
