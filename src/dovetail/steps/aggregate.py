"""Aggregator: several messages become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dovetail.sdk import (
    UNDEFINED,
    Build,
    Context,
    Duration,
    Expression,
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

MOST_IDS = 1000  # members that the new message names


class Aggregate(TakingStep):
    """Collects messages into groups and makes one message of each group that is complete. A group is complete when
    it has `count` members, `within` a time after its first or `idle` for a time after its last one, when `until` is
    true, or when it is full (`most`, `max_bytes`), whichever comes first. The next message of that key begins a new
    group.

    A member ends here, done. The new message's body is the list of the members' values, in the order they came, or
    what `into` makes of it; headers and variables are those of the last member. It knows its group at `$vars.group`:
    `key`, `count`, `completed` (why) and `members` (ids). A group outlives a crash: no member is lost or counted twice.
    """

    top_level = True

    class Config(Spec):
        by: str | None = field(
            default=None, main=True, kind="expression", help="What messages of one group have in common; without it all"
            " are of one.", example="order_id",
        )  # fmt: skip
        count: int | None = field(default=None, min=1, help="Complete with so many members.", example=100)
        within: Duration | None = field(
            default=None, help="Complete that long after its first member.", example="5m"
        )  # fmt: skip
        idle: Duration | None = field(default=None, help="Complete that long after its last member.", example="30s")
        until: str | None = field(
            default=None, kind="expression", help="Complete when this is true of the list of values so far, or of what "
            "`fold` made of them.", example="$sum(total) > 1000",
        )  # fmt: skip
        fold: str | None = field(
            default=None, kind="expression", help="What `until` looks at in place of the list: made of this value and "
            "of `$vars.so_far`, which it gave at the member before. A member then costs the same in a group of any "
            "size.", example="$sum([$vars.so_far, total])",
        )  # fmt: skip
        take: str | None = field(
            default=None, kind="expression", help="What is kept of each message, in place of its body.",
            example='{"sku": sku, "n": quantity}',
        )  # fmt: skip
        into: str | None = field(
            default=None, kind="expression", help="The new body, made of the list.",
            example='{"orders": $, "total": $sum(total)}',
        )  # fmt: skip
        as_: str = field(default="group", help="The variable that tells of the group.", pattern=r"[A-Za-z_]\w*")
        most: int = field(default=10_000, min=1, help="A group is full with so many members.")
        max_bytes: Size = field(default="16MiB", help="And with so many bytes.", example="16MiB")
        format: str = field(default="json", kind="format", help="The format the new body is written in.")

        def rules(self) -> Iterable[tuple[str, str]]:
            """A group that is never complete would only be given up when it is full."""
            if self.count is None and self.within is None and self.idle is None and self.until is None:
                yield "by", "say when a group is complete: 'count', 'within', 'idle' or 'until'"
            if self.fold is not None and self.until is None:
                yield "fold", "only 'until' looks at it: write 'until', or leave it out"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._by = build.expression(config.by) if config.by is not None else None
        self._until = build.expression(config.until) if config.until is not None else None
        self._fold = build.expression(config.fold) if config.fold is not None else None
        self._take = build.expression(config.take) if config.take is not None else None
        self._into = build.expression(config.into) if config.into is not None else None
        self._json, self._codec = build.codecs.by_name("json"), build.codecs.by_name(config.format)

    def take(self, message: Message, context: Context) -> Message | None:
        """Into its group; or, for a group that has become a message, on its way."""
        state = context.state
        if state.emitted(self.id, message):
            return self._made(message)
        reason = state.decided(self.id, message)
        if reason is None:
            reason = self._collect(message, state)
            state.decide(self.id, message, reason, reason)
        state.absorb(self.id, message, reason)
        return None

    def due(self, key: str, context: Context) -> None:
        """A group's time has come."""
        group = context.state.group(self.id, key)
        if group.value is None:
            return
        head, now = group.value, context.state.now()
        over = self.config.within is not None and now >= head["since"] + self.config.within * 1000
        self._complete(context.state, group, "within" if over else "idle", [m for _, m in group.members()])

    def _collect(self, message: Message, state: State) -> str:
        """Put it into its group, which may be complete by that. Returns the reason on record."""
        key = key_of(self._by, message) if self._by is not None else ""
        kept = self._kept(message)
        size = len(kept.body)
        group, now = state.group(self.id, key, message), state.now()
        head = group.value or {"count": 0, "bytes": 0, "since": now}
        head = {**head, "count": head["count"] + 1, "bytes": head["bytes"] + size}
        if self._fold is not None:
            head["so_far"] = self._folded(self._fold, head, kept)
        why = self._why(head, group, kept)
        if why:
            self._complete(state, group, why, [*(member for _, member in group.members()), kept])
        else:
            group.add(head["count"], kept)
            group.put(head, self._due(head["since"], now))
        return f"aggregated as number {head['count']}" + (f" of group {key}" if key else "")

    def _kept(self, message: Message) -> Message:
        value = message.value if self._take is None else self._take.evaluate(message)
        if value is UNDEFINED:
            raise Rejected(f"nothing is kept of this message: {excerpt(self.config.take)} gives nothing", code="take")
        return message.with_value(value, self._json)

    def _why(self, head: dict[str, Any], group: Group, kept: Message) -> str:
        """Why the group is complete with this one, or nothing."""
        if self.config.count is not None and head["count"] >= self.config.count:
            return "count"
        if self._until is not None and self._until.test(kept.with_value(self._so_far(head, group, kept), self._json)):
            return "until"
        return "full" if head["count"] >= self.config.most or head["bytes"] >= self.config.max_bytes else ""

    def _so_far(self, head: dict[str, Any], group: Group, kept: Message) -> Any:
        """What `until` looks at: what was folded, or the whole list, which is read for it."""
        if self._fold is not None:
            return head["so_far"]
        return [*(member.value for _, member in group.members()), kept.value] if head["count"] > 1 else [kept.value]

    def _folded(self, fold: Expression, head: dict[str, Any], kept: Message) -> Any:
        value = fold.evaluate(kept.with_var("so_far", head["so_far"]) if "so_far" in head else kept)
        if value is UNDEFINED:
            raise Rejected(f"nothing is carried on: {excerpt(self.config.fold)} gives nothing", code="fold")
        return value

    def _due(self, since: int, now: int) -> int | None:
        times = []
        if self.config.within is not None:
            times.append(since + round(self.config.within * 1000))
        if self.config.idle is not None:
            times.append(now + round(self.config.idle * 1000))
        return min(times, default=None)

    def _complete(self, state: State, group: Group, why: str, members: list[Message]) -> None:
        """The group becomes a message, and is forgotten."""
        ids = [member.id for member in members[:MOST_IDS]]
        known = {"key": group.key, "count": len(members), "completed": why, "members": ids}
        whole = members[-1].with_body(b"[" + b",".join(member.body for member in members) + b"]", self._json)
        whole = whole.with_var(self.config.as_, known)
        state.emit(self.id, group, whole, key=group.key or None, members=ids)
        group.clear()

    def _made(self, message: Message) -> Message:
        """What goes on: made here, so that a mapping that fails leaves a dead letter with the whole group in it."""
        if self._into is None:
            return message if self._codec is self._json else message.with_value(message.value, self._codec)
        value = self._into.evaluate(message)
        if value is UNDEFINED:
            raise Rejected(f"the mapping gives nothing for this group: {excerpt(self._into.text)}", code="undefined")
        return message.with_value(value, self._codec)
