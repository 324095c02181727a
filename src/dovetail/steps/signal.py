"""Signal: tell waiting messages that something has happened."""

from __future__ import annotations

from dovetail.sdk import UNDEFINED, Build, Context, Duration, Message, Spec, TakingStep, field
from dovetail.steps._values import key_of


class Signal(TakingStep):
    """Brings an event to every message that waits for it (`wait`, `join`), in whatever flow, in the transaction of this
    message's own next move. For a time it is remembered for those who come later. The message goes on as it came.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        name: str = field(main=True, help="The event's name.", example="order-paid", pattern=r"[\w.:/-]+")
        key: str = field(kind="expression", help="Which event of that name.", example="order_id")
        value: str | None = field(
            default=None, kind="expression", help="The event's value, in place of the message's body.", example="amount"
        )
        remember: Duration = field(
            default="1d", help="How long it is remembered for those who come later.", example="7d"
        )

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._key = build.expression(config.key)
        self._value = build.expression(config.value) if config.value is not None else None

    def take(self, message: Message, context: Context) -> Message:
        """Tell them, once."""
        state = context.state
        if state.decided(self.id, message) is not None:
            return message
        key = key_of(self._key, message)
        value = self._value.evaluate(message) if self._value is not None else message.value
        event = {"value": None if value is UNDEFINED else value, "message": message.id}
        told = state.tell(self.config.name, key, event, round(self.config.remember * 1000))
        state.decide(self.id, message, told, f"{self.config.name} {key}: {told} waited for it")
        return message
