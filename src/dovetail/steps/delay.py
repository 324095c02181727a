"""Delayer: a message goes on later."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from dovetail.sdk import UNDEFINED, Build, Context, Duration, Message, Rejected, Spec, TakingStep, Waiting, field
from dovetail.steps._values import excerpt

LONGEST = 10 * 366 * 86_400_000  # milliseconds


class Delay(TakingStep):
    """Lets a message wait: `for` a time, or `until` the time that an expression names (a text such as
    `2030-01-31T08:00:00Z`, or milliseconds since 1970). One whose time is past goes on at once.

    It waits on disk, costs no memory, and no crash makes it wait anew. Later messages of its key wait behind it.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        for_: Duration | None = field(default=None, main=True, help="How long.", example="10m")
        until: str | None = field(
            default=None, kind="expression", help="The time at which it goes on.", example="deliver_at"
        )

        def rules(self) -> Iterable[tuple[str, str]]:
            """One time."""
            if (self.for_ is None) == (self.until is None):
                yield "for", "say how long it waits: either 'for' a time, or 'until' one"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._until = build.expression(config.until) if config.until is not None else None

    def take(self, message: Message, context: Context) -> Message:
        """On its way, if its time has come."""
        state = context.state
        known = state.decided(self.id, message)
        until = int(known) if known is not None else self._time(message, state.now())
        if known is None:
            state.decide(self.id, message, until, f"until {shown(until)}")
        if state.now() < until:
            raise Waiting(f"delayed until {shown(until)}", until=until)
        return message

    def _time(self, message: Message, now: int) -> int:
        if self._until is None:
            return now + int(self.config.for_ * 1000)
        until = moment(self._until.evaluate(message), self._until.text)
        if until > now + LONGEST:
            raise Rejected(f"it would wait until {shown(until)}, more than ten years", code="delay")
        return until


def moment(value: Any, text: str) -> int:
    """A time as milliseconds since 1970. Raises `Rejected` for what is none; `text` is the expression that gave it."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and 0 <= value < 1 << 53:
        return int(value)
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is not None and found.tzinfo is not None:
            return round(found.timestamp() * 1000)
    given = "nothing" if value is UNDEFINED or value is None else repr(value)[:60]
    raise Rejected(
        f"`{excerpt(text)}` gives {given}, not a time such as 2030-01-31T08:00:00Z (with its zone) or milliseconds",
        code="time",
    )


def shown(ms: int) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
