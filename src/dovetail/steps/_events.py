"""Waiting for an event: what `wait`, `join` and `approve` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.sdk import Context, Message, Waiting


class Awaited:
    """One step's waiting for events of one name."""

    def __init__(self, step: str, name: str, what: str) -> None:
        """`what` is how people call it: `order-paid`."""
        self._step, self._name, self._what = step, name, what

    def ask(
        self, message: Message, context: Context, key: str, timeout: float | None,
        info: Mapping[str, Any] | None = None, pause: int | None = None, final: bool = True,
    ) -> Any:  # fmt: skip
        """The event, or None when its time (seconds) is over. Raises `Waiting` until then. What was said once stands:
        the same message is told the same again. `pause`: when to look again before the time is over. Unless `final`, a
        message that is redriven takes an event that came too late and is still remembered."""
        state = context.state
        known = state.decided(self._step, message)
        if known is None:
            until = state.now() + round(timeout * 1000) if timeout is not None else None
            known = {"until": until, "since": state.now()}
            known["place"] = state.expect(self._step, message, self._name, key, {**(info or {}), **known})
            state.decide(self._step, message, known, f"waits for {self._what}")
        if known.get("event") is not None or ("event" in known and final):
            return known["event"]
        event = state.heard(self._name, key, known["place"])
        if event is None and "event" in known:
            return None
        over = known["until"] is not None and state.now() >= known["until"]
        if event is None and not over:
            times = [time for time in (known["until"], pause) if time is not None]
            raise Waiting(f"waits for {self._what}", until=min(times, default=None))
        state.leave(self._name, key, known["place"])
        note = f"{self._what} did not come in time"
        if event is not None:
            note = str(event.get("note") or f"{self._what} came")
        state.decide(self._step, message, {**known, "event": event}, note)
        return event

    def since(self, message: Message, context: Context) -> int:
        """When it began to wait; now, if it did not yet."""
        known = context.state.decided(self._step, message)
        return int(known["since"]) if known is not None else context.state.now()
