"""Resequencer: messages go on in the order of their numbers."""

from __future__ import annotations

from typing import Any, Literal

from dovetail.sdk import (
    Build,
    Context,
    Dropping,
    Duration,
    Group,
    Message,
    Rejected,
    Size,
    Spec,
    State,
    TakingStep,
    field,
)
from dovetail.steps._values import excerpt, key_of


class Resequence(TakingStep):
    """Puts the messages of each group into the order of their numbers: one goes on when all before it have gone on, and
    is kept until then. Messages of one group also run one after the other behind this step.

    A gap is given up when a number is missing for `timeout`, or when more are kept than `capacity` or `max_bytes`
    allow: with `gap: skip` those that wait go on without it, with `gap: fail` they become dead letters, which can be
    redriven from here. A number that comes again, or after its gap was given up, becomes a dead letter itself, or is
    dropped (`late`). What goes on is a message of its own; the one that came ends here, done.
    """

    top_level = True

    class Config(Spec):
        number: str = field(main=True, kind="expression", help="A message's number, whole.", example="version")
        by: str | None = field(
            default=None, kind="expression", help="What is numbered on its own.", example="customer.id"
        )
        first: int = field(default=1, help="The number of a group's first message.")
        timeout: Duration = field(default="5m", help="How long a missing number is waited for.", example="5m")
        gap: Literal["skip", "fail"] = field(default="skip", help="What becomes of those that waited for it.")
        late: Literal["fail", "drop"] = field(default="fail", help="What becomes of a number that has gone by.")
        capacity: int = field(default=1000, min=1, help="How many messages of a group are kept at most.")
        max_bytes: Size = field(default="16MiB", help="And how many bytes.", example="16MiB")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._number = build.expression(config.number)
        self._by = build.expression(config.by) if config.by is not None else None

    def take(self, message: Message, context: Context) -> Message | None:
        """In its place; or, when its turn has come, on its way."""
        state = context.state
        if state.emitted(self.id, message):
            return message
        reason = state.decided(self.id, message)
        if reason is None:
            reason = self._place(message, state)
            state.decide(self.id, message, reason, reason)
        state.absorb(self.id, message, reason)
        return None

    def due(self, key: str, context: Context) -> None:
        """A number has been missing for too long."""
        group = context.state.group(self.id, key)
        if group.value is not None:
            head = self._give_up(context.state, group, group.value, "in time")
            self._remember(group, head, context.state.now())

    def _place(self, message: Message, state: State) -> str:
        """Let it go on, or keep it. Returns the reason on record."""
        number, key = self._number_of(message), key_of(self._by, message) if self._by is not None else ""
        group, place = state.group(self.id, key, message), number - self.config.first + 1
        head = group.value or {"next": 1, "kept": 0, "bytes": 0}
        size = len(message.body)
        if place < head["next"] or group.has(place):
            self._late(number, key)
        if place == head["next"]:
            self._emit(state, group, message)
            head = self._follow(state, group, {**head, "next": place + 1})
            self._remember(group, head, state.now())
            return f"number {number} went on"
        group.add(place, message)
        head = {**head, "kept": head["kept"] + 1, "bytes": head["bytes"] + size}
        if head["kept"] > self.config.capacity or head["bytes"] > self.config.max_bytes:
            head = self._give_up(state, group, head, "before too many waited for it")
            self._remember(group, head, state.now())
        else:
            group.put(head, group.due or state.now() + round(self.config.timeout * 1000))
        return f"number {number} waits for {head['next'] + self.config.first - 1}"

    def _number_of(self, message: Message) -> int:
        value = self._number.evaluate(message)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Rejected(f"`{excerpt(self._number.text)}` gives no whole number: {value!r}"[:200], code="number")
        if not self.config.first <= value < self.config.first + (1 << 53):
            raise Rejected(f"number {value} is before the first, {self.config.first}", code="number")
        return value

    def _late(self, number: int, key: str) -> None:
        text = f"number {number}" + (f" of {key}" if key else "") + " was here before, or was given up"
        raise Dropping(text) if self.config.late == "drop" else Rejected(text, code="late")

    def _follow(self, state: State, group: Group, head: dict[str, Any], failed: str = "") -> dict[str, Any]:
        """Let those go on whose turn has come; what is to be remembered then."""
        kept = dict(group.members()) if head["kept"] else {}
        following, number, size = head["next"], head["kept"], head["bytes"]
        while following in kept:
            message = kept[following]
            self._emit(state, group, message, failed)
            group.drop(following)
            number, size = number - 1, size - len(message.body)
            following += 1
        return {"next": following, "kept": number, "bytes": size}

    def _give_up(self, state: State, group: Group, head: dict[str, Any], when: str) -> dict[str, Any]:
        """The missing number is not waited for any longer."""
        waiting = [place for place, _ in group.members()]
        if not waiting:
            return head
        missing = head["next"] + self.config.first - 1
        failed = f"number {missing} did not come {when}" if self.config.gap == "fail" else ""
        return self._follow(state, group, {**head, "next": waiting[0]}, failed)

    def _remember(self, group: Group, head: dict[str, Any], now: int) -> None:
        group.put(head, now + round(self.config.timeout * 1000) if head["kept"] else 0)

    def _emit(self, state: State, group: Group, message: Message, failed: str = "") -> None:
        state.emit(self.id, group, message, key=group.key or self.id, members=[message.id], failed=failed)
