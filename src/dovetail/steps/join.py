"""Join: messages of two streams that belong together."""

from __future__ import annotations

from typing import Literal

from dovetail.sdk import UNDEFINED, Build, Context, Dropping, Duration, EffectStep, Message, Rejected, Spec, field
from dovetail.steps._events import Awaited
from dovetail.steps._values import excerpt, key_of


class Join(EffectStep):
    """Joins the message with the event of the same key that another flow brings with `signal`, whichever comes first.
    The other side's value is at `$vars.<as>`; with `into` the new body is made of both. Let the signal `remember` the
    event at least as long as `within`.

    `unmatched` says what becomes of a message whose other side does not come in time: it is dropped (inner join),
    goes on alone (`pass`: left join), or fails. To join with a topic, write a flow that reads it and signals.
    """

    sees_body = True

    class Config(Spec):
        with_: str = field(
            main=True, help="The other side: the event's name.", example="payments", pattern=r"[\w.:/-]+"
        )
        key: str = field(kind="expression", help="What both sides have in common.", example="order_id")
        within: Duration = field(help="How long one side waits for the other.", example="1h")
        as_: str = field(
            default="joined", help="The variable that gets the other side.", example="payment", pattern=r"[A-Za-z_]\w*"
        )
        into: str | None = field(
            default=None, kind="expression", help="The new body.", example='$merge([$, {"payment": $vars.payment}])'
        )
        unmatched: Literal["drop", "pass", "fail"] = field(
            default="drop", help="What becomes of a message whose other side does not come."
        )
        format: str = field(default="json", kind="format", help="The format the new body is written in.")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._key = build.expression(config.key)
        self._into = build.expression(config.into) if config.into is not None else None
        self._codec = build.codecs.by_name(config.format)

    async def act(self, message: Message, context: Context) -> Message:
        """Both together, or what is to be done with one alone."""
        key = key_of(self._key, message)
        what = f"{self.config.with_} {key}"
        awaited, final = Awaited(self.id, self.config.with_, what), self.config.unmatched != "fail"
        event = awaited.ask(message, context, key, self.config.within, final=final)
        if event is None and self.config.unmatched != "pass":
            reason = f"{what} did not come within {self.config.within}"
            raise Dropping(reason) if self.config.unmatched == "drop" else Rejected(reason, code="unmatched")
        both = message if event is None else message.with_var(self.config.as_, event["value"])
        if self._into is None:
            return both
        value = self._into.evaluate(both)
        if value is UNDEFINED:
            raise Rejected(f"the mapping gives nothing for this pair: {excerpt(self._into.text)}", code="undefined")
        return both.with_value(value, self._codec)
