"""Throttler: no more than so many messages in a time."""

from __future__ import annotations

from dovetail.sdk import UNDEFINED, Build, Context, EffectStep, Message, Rate, Spec, field

_MANY_KEYS = 10_000


class Throttle(EffectStep):
    """Lets messages go on evenly spaced, so that no more than the rate pass, for each `key` if one is given.

    The spacing is kept in memory, for a durable one would cost a write for each message and save little: after a
    restart it begins anew, so that at most one message more than the rate passes for each key.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        rate: Rate = field(main=True, help="How many messages may pass in which time.", example="50/s")
        key: str | None = field(
            default=None, kind="expression", help="What has a rate of its own.", example="customer.id"
        )

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._gap = 1.0 / config.rate
        self._key = build.expression(config.key) if config.key is not None else None
        self._next: dict[str, float] = {}

    async def act(self, message: Message, context: Context) -> Message:
        """Take the next place in time, and wait for it."""
        found = self._key.evaluate(message) if self._key is not None else None
        key = "" if found is None or found is UNDEFINED else str(found)
        now = context.clock.monotonic()
        turn = max(self._next.get(key, now), now)
        self._next[key] = turn + self._gap
        if len(self._next) > _MANY_KEYS:
            self._forget(now)
        if turn > now:
            await context.pause(message, turn - now)
        return message

    def _forget(self, now: float) -> None:
        """Keys whose next place is already past need no memory."""
        self._next = {key: turn for key, turn in self._next.items() if turn > now}
