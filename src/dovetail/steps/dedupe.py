"""Idempotent receiver: of messages with the same id only the first goes on."""

from __future__ import annotations

from typing import Literal

from dovetail.sdk import Build, Context, Dropping, Duration, Message, Rejected, Spec, TakingStep, field
from dovetail.steps._values import key_of
from dovetail.steps.delay import moment, shown


class Dedupe(TakingStep):
    """Lets the first message with an id go on and ends every other one that comes within the window: discarded, with
    the first one's name in the reason. The first counts from the moment it comes here, whatever becomes of it later.

    Ids are forgotten after the window, so a message older than the window could be a repeat that nobody knows any more:
    with `time` such a one is never taken for new, but becomes a dead letter (or is dropped: `late`). For repeats at the
    door, use the flow's own `dedupe`.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        by: str = field(main=True, kind="expression", help="What tells messages apart.", example="order_id")
        window: Duration = field(default="7d", help="How long an id is remembered.", example="7d")
        time: str | None = field(
            default=None, kind="expression", help="The message's own time.", example="created_at"
        )  # fmt: skip
        late: Literal["fail", "drop"] = field(
            default="fail", help="What becomes of a message that is older than the window."
        )

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._expression = build.expression(config.by)
        self._time = build.expression(config.time) if config.time is not None else None

    def take(self, message: Message, context: Context) -> Message:
        """On its way if it is the first."""
        state = context.state
        first = state.decided(self.id, message)
        if first is None:
            first = self._first(message, context)
            state.decide(self.id, message, first, "the first of its id" if first == message.id else f"repeats {first}")
        if first != message.id:
            raise Dropping(f"a repeat of {first}")
        return message

    def _first(self, message: Message, context: Context) -> str:
        """The first message with this id, which may be this one."""
        state = context.state
        key = key_of(self._expression, message, "id")
        now, window = state.now(), round(self.config.window * 1000)
        group = state.group(self.id, key, message)
        if group.value is not None and group.due > now:
            return str(group.value)
        if self._time is not None:
            self._in_window(moment(self._time.evaluate(message), self._time.text), now - window)
        group.put(message.id, now + window)
        return message.id

    def _in_window(self, at: int, oldest: int) -> None:
        if at < oldest:
            text = f"it is of {shown(at)}, older than the window of {self.config.window}: it may be a repeat"
            raise Dropping(text) if self.config.late == "drop" else Rejected(text, code="late")
