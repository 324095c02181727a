"""Wait for an event: a message goes on when something else has happened."""

from __future__ import annotations

from typing import Any

from dovetail.sdk import Build, Context, Dropping, Duration, EffectStep, Message, Rejected, Spec, field
from dovetail.steps._events import Awaited
from dovetail.steps._nested import through
from dovetail.steps._values import key_of


class Wait(EffectStep):
    """Waits until a `signal` of some flow brings the event with the message's key. The event's value is at
    `$vars.<as>`. An event that came before, and is still remembered, is found at once.

    When the time is over, the message goes through `on_timeout` and ends behind these steps, discarded; without them it
    becomes a dead letter. It waits on disk, and later messages of its key wait behind it: let the signal come from
    another flow, or from messages of another key.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        for_: str = field(main=True, help="The event's name.", example="order-paid", pattern=r"[\w.:/-]+")
        key: str = field(kind="expression", help="Which event of that name.", example="order_id")
        timeout: Duration | None = field(default=None, help="How long at most; for ever without it.", example="3d")
        as_: str | None = field(
            default=None, help="The variable that gets the event's value.", example="payment", pattern=r"[A-Za-z_]\w*"
        )
        on_timeout: list[Any] = field(default=[], kind="steps", help="What happens when the event did not come.")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._key = build.expression(config.key)
        self._late = build.chain(config.on_timeout, "on_timeout")
        self.chains = (self._late,)

    async def act(self, message: Message, context: Context) -> Message:
        """On its way with the event, or out."""
        key = key_of(self._key, message)
        what = f"{self.config.for_} {key}"
        awaited, final = Awaited(self.id, self.config.for_, what), bool(self.config.on_timeout)
        event = awaited.ask(message, context, key, self.config.timeout, final=final)
        if event is not None:
            return message.with_var(self.config.as_, event["value"]) if self.config.as_ else message
        reason = f"{what} did not come within {self.config.timeout}"
        if not self.config.on_timeout:
            raise Rejected(reason, code="timeout")
        await through(self._late, message, context.branch(f"{self.id}/on_timeout"))
        raise Dropping(reason)
