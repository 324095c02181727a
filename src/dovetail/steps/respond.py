"""Request-reply: answer the caller who waits."""

from __future__ import annotations

from dovetail.sdk import Build, Context, EffectStep, Message, Spec, field
from dovetail.steps._values import Body, Values, header_text


class Respond(EffectStep):
    """Answers the caller who waits for this message, if one does, when its outcome is recorded. The message goes on as
    it came.
    """

    effectful = False
    sees_body = True
    keeps_body = True

    class Config(Spec):
        body: str | None = field(
            default=None, main=True, kind="expression", help="The answer; without it, the message's body.",
            example='{"order": $vars.erp.number}',
        )  # fmt: skip
        status: int = field(default=200, min=200, max=599, help="The HTTP status.", example=201)
        headers: dict[str, str] = field(
            default={}, kind="expression", help="Headers of the answer, each an expression."
        )
        format: str = field(default="json", kind="format", help="The format `body` is written in.")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._body = Body(build, config.body, config.format)
        self._headers = Values(build, config.headers)

    async def act(self, message: Message, context: Context) -> Message:
        """Answer with the body as it is now; the request's own headers are not sent back."""
        headers = {name: header_text(name, value) for name, value in self._headers.evaluate(message).items()}
        context.reply(self._body.of(message).with_headers(headers), self.config.status)
        return message
