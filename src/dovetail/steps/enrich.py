"""Content enricher: ask another system and add what it says to the message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dovetail.sdk import UNDEFINED, Build, Context, Duration, EffectStep, Message, Rejected, Spec, field
from dovetail.steps._values import Body, Values, answer_of, excerpt


class Enrich(EffectStep):
    """Calls an operation and puts its answer into the message: under a field (`into`), or as a mapping says (`merge`),
    which finds the answer at `$vars.reply`. The variable is gone afterwards; with `as` it has that name, and stays.
    """

    class Config(Spec):
        operation: str = field(main=True, kind="operation", help="The operation.", example="crm.get_customer")
        args: dict[str, str] = field(
            default={},
            kind="expression",
            help="The operation's arguments, each an expression.",
            example={"id": "customer.id"},
        )
        body: str | None = field(default=None, kind="expression", help="The body to send in place of the message's.")
        into: str | None = field(
            default=None, help="The field that takes the answer, dots for fields within fields.",
            example="customer.details", pattern=r"[^.]+(\.[^.]+)*",
        )  # fmt: skip
        merge: str | None = field(
            default=None, kind="expression", help="The mapping that makes the new body.",
            example='$merge([$, {"tier": $vars.reply.tier}])',
        )  # fmt: skip
        as_: str | None = field(
            default=None, help="The variable that keeps the answer.", example="customer", pattern=r"[A-Za-z_]\w*"
        )
        format: str = field(
            default="json", kind="format", help="The format the request's `body` and the new body are written in."
        )
        timeout: Duration | None = field(default=None, help="The total time one attempt may take.", example="10s")

        def rules(self) -> Iterable[tuple[str, str]]:
            """One way for the answer to come in."""
            if (self.into is None) == (self.merge is None):
                yield "into", "say where the answer goes: either 'into' a field, or 'merge' with a mapping"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._operation = build.operation(config.operation)
        self._args = Values(build, config.args)
        self._body = Body(build, config.body, config.format)
        self._merge = build.expression(config.merge) if config.merge is not None else None
        self._into = config.into.split(".") if config.into is not None else []
        self._codec = build.codecs.by_name(config.format)

    async def act(self, message: Message, context: Context) -> Message:
        """Ask, then put together."""
        args = self._args.evaluate(message) if self._args else None
        reply = await context.call(self.id, self._operation, self._body.of(message), args, self.config.timeout)
        answer = answer_of(reply, self.id)
        known = message.with_var(self.config.as_ or "reply", answer)
        if self._merge is None:
            value = _put(message.value, self._into, answer)
        else:
            value = self._merge.evaluate(known)
            if value is UNDEFINED:
                raise Rejected(
                    f"the mapping gives nothing for this message: {excerpt(self._merge.text)}", code="undefined"
                )
        return (known if self.config.as_ else message).with_value(value, self._codec)


def _put(value: Any, path: list[str], answer: Any) -> Any:
    """A copy of `value` with `answer` at `path`; only the objects on the way are copied."""
    if not path:
        return answer
    if value is not None and not isinstance(value, dict):
        kind = type(value).__name__
        raise Rejected(f"the answer cannot go into '{path[0]}': its place is in {kind}, not in an object", code="into")
    inner = (value or {}).get(path[0])
    return {**(value or {}), path[0]: _put(inner, path[1:], answer)}
