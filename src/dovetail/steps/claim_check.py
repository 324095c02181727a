"""Claim check: leave a large body behind and fetch it later."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Literal

from dovetail.sdk import UNDEFINED, Build, Context, Duration, Message, Rejected, Spec, TakingStep, field
from dovetail.steps._values import excerpt

CLAIMS = "claims"  # the name of the shared memory
HEADER = "claim-check"


class ClaimCheck(TakingStep):
    """`claim_check: in` puts the body into the store and goes on with a small one; the header `claim-check` says where
    it is. `claim_check: out` brings it back, in this flow or in another one that got the header with its message.

    The same body is kept once, for `keep` from the last time it was checked in.
    """

    class Config(Spec):
        action: Literal["in", "out"] = field(main=True, help="Leave the body (`in`) or fetch it (`out`).")
        leave: str | None = field(
            default=None, kind="expression", help="With `in`: the body that goes on; null without it.",
            example='{"id": id}',
        )  # fmt: skip
        into: str | None = field(
            default=None, kind="expression", help="With `out`: the new body, made of the message's and of the one that"
            " was left, at `$vars.claim`; without it the body is as it was left.", example="$merge([$vars.claim, $])",
        )  # fmt: skip
        keep: Duration = field(default="7d", help="With `in`: how long it is kept.", example="7d")
        format: str = field(default="json", kind="format", help="The format `leave` and `into` are written in.")

        def rules(self) -> Iterable[tuple[str, str]]:
            """Each way has its own settings."""
            if self.action == "in" and self.into is not None:
                yield "into", "'into' belongs to 'claim_check: out'"
            if self.action == "out" and self.leave is not None:
                yield "leave", "'leave' belongs to 'claim_check: in'"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        text = config.leave if config.action == "in" else config.into
        self._new = build.expression(text) if text is not None else None
        self._codec = build.codecs.by_name(config.format)

    def take(self, message: Message, context: Context) -> Message:
        """Leave it, or fetch it."""
        return self._leave(message, context) if self.config.action == "in" else self._fetch(message, context)

    def _leave(self, message: Message, context: Context) -> Message:
        state = context.state
        left = message.with_value(None if self._new is None else self._value(message), self._codec)
        claim = state.decided(self.id, message)
        if claim is None:
            hashed = blake2b(message.content_type.encode(), digest_size=20)
            hashed.update(message.body)
            claim = hashed.hexdigest()
            group = state.shared(CLAIMS, claim)
            if group.value is None:
                group.add(1, message)
            until = state.now() + round(self.config.keep * 1000)
            group.put({"size": len(message.body)}, max(until, group.due))
            state.decide(self.id, message, claim, f"{len(message.body)} bytes kept as {claim}")
        return left.with_headers({**message.headers, HEADER: claim})

    def _fetch(self, message: Message, context: Context) -> Message:
        claim = message.headers.get(HEADER)
        if claim is None:
            raise Rejected(f"it has no header '{HEADER}': nothing was checked in", code="claim")
        kept = context.state.shared(CLAIMS, claim).members()
        if not kept:
            raise Rejected(f"the body {claim} is no longer kept", code="claim")
        found = kept[0][1]
        if self._new is None:
            return message.with_body(found.body, found.codec, found.content_type)
        value = self._value(message.with_var("claim", found.value))
        return message.with_value(value, self._codec)

    def _value(self, message: Message) -> object:
        assert self._new is not None
        value = self._new.evaluate(message)
        if value is UNDEFINED:
            raise Rejected(
                f"the expression gives nothing for this message: {excerpt(self._new.text)}", code="undefined"
            )
        return value
