"""Approval: a person decides whether a message goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dovetail.sdk import UNDEFINED, Build, Context, Dropping, Duration, EffectStep, Message, Spec, field
from dovetail.steps._events import Awaited
from dovetail.steps._nested import through

APPROVALS = "approval"  # the name of the events that decisions are


class Escalation(Spec):
    """What happens when nobody decides."""

    after: Duration = field(help="How long it waits before.", example="4h")
    topic: str = field(
        kind="topic", help="The topic that gets a notice.", example="approvals.late", pattern=r"[\w.:/-]+"
    )


class Approve(EffectStep):
    """Waits until a person approves or rejects the message (`dovetail approvals`, `dovetail approve ID`). Who decided,
    when and with what comment is in the audit, in the message's journey and at `$vars.approval`.

    A message that is rejected, or that nobody decides on before the `deadline`, goes through `otherwise` and ends
    behind these steps, discarded with the reason. With `escalate`, a notice is published when nobody has decided for a
    while. It waits on disk, and later messages of its key wait behind it.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        by: str = field(main=True, help="Who is to decide, as they are called.", example="finance")
        what: str | None = field(
            default=None, kind="expression", help="What they are asked.", example='"Pay " & total & " to " & supplier'
        )
        deadline: Duration | None = field(default=None, help="How long they have.", example="2d")
        escalate: Escalation | None = field(default=None, help="A notice when nobody has decided for a while.")
        otherwise: list[Any] = field(default=[], kind="steps", help="What happens to a message that is not approved.")
        as_: str = field(
            default="approval", help="The variable with `approved`, `by`, `comment` and `at`.", pattern=r"[A-Za-z_]\w*"
        )

        def rules(self) -> Iterable[tuple[str, str]]:
            """A notice after the deadline would be none."""
            if self.escalate is not None and self.deadline is not None and self.escalate.after >= self.deadline:
                yield "escalate", "let 'after' be shorter than the deadline"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._what = build.expression(config.what) if config.what is not None else None
        self._otherwise = build.chain(config.otherwise, "otherwise")
        self.chains = (self._otherwise,)
        self._awaited = Awaited(self.id, APPROVALS, f"approval by {config.by}")
        self._flow, self._json = build.flow, build.codecs.by_name("json")

    async def act(self, message: Message, context: Context) -> Message:
        """On its way if somebody approved."""
        key = f"{message.id}/{self._flow}/{self.id}"
        asked = self._asked(message)
        pause = self._escalate(message, context, asked)
        decision = self._awaited.ask(message, context, key, self.config.deadline, asked, pause)
        known = message.with_var(self.config.as_, decision or {"approved": False, "by": "", "comment": ""})
        if decision is not None and decision["approved"]:
            return known
        if decision is None:
            reason = f"nobody of {self.config.by} decided within {self.config.deadline}"
        else:
            reason = f"rejected by {decision['by']}" + (f": {decision['comment']}" if decision["comment"] else "")
        await through(self._otherwise, known, context.branch(f"{self.id}/otherwise"))
        raise Dropping(reason)

    def _asked(self, message: Message) -> dict[str, Any]:
        what = self._what.evaluate(message) if self._what is not None else None
        return {"by": self.config.by, "what": "" if what is UNDEFINED or what is None else str(what)}

    def _escalate(self, message: Message, context: Context, asked: dict[str, Any]) -> int | None:
        """Publish the notice when it is time; the time if it is still to come."""
        escalate = self.config.escalate
        if escalate is None:
            return None
        since = self._awaited.since(message, context)
        at = since + int(escalate.after * 1000)
        if context.state.now() < at:
            return at
        known = context.state.decided(self.id, message) or {}
        if "event" not in known:
            notice = {**asked, "message": message.id, "flow": self._flow, "step": self.id, "since": since}
            context.publish(f"{self.id}/escalate", escalate.topic, message.with_value(notice, self._json))
        return None
