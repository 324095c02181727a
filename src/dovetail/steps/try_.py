"""Steps with a handler for their failures."""

from __future__ import annotations

from typing import Any

from dovetail.sdk import Build, Context, Dropping, EffectStep, InDoubt, Message, Paused, Retry, Spec, field
from dovetail.steps._nested import through


class Try(EffectStep):
    """Runs steps; when they fail, the message as it was before them goes through `catch`, and then on.

    `catch` finds `$vars.error` with `code`, `message` and `step`. A permanent failure is caught at once. A transient
    one is retried as anywhere else and caught only when no attempt is left. What is never caught: a target that is
    paused (the message waits), and an effect whose outcome is in doubt (nobody knows what there is to handle). A
    message that a rule ends in here has ended.
    """

    sees_body = True

    class Config(Spec):
        steps: list[Any] = field(main=True, kind="steps", help="The steps that may fail.")
        catch: list[Any] = field(kind="steps", help="The steps for a message that failed in them.")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._try = build.chain(config.steps, "try")
        self._catch = build.chain(config.catch, "catch")
        self.chains = (self._try, self._catch)
        self.effectful = self._try.effectful or self._catch.effectful

    async def act(self, message: Message, context: Context) -> Message:
        """Try, and handle."""
        try:
            return await through(self._try, message, context.branch(f"{self.id}/try"))
        except (Paused, InDoubt, Dropping):
            raise
        except Retry as error:
            if not context.last_attempt(message):
                raise
            failed = _caught(message, error)
        except Exception as error:
            failed = _caught(message, error)
        return await through(self._catch, failed, context.branch(f"{self.id}/catch"))


def _caught(message: Message, error: Exception) -> Message:
    return message.with_var(
        "error",
        {"code": getattr(error, "code", "error"), "message": str(error), "step": getattr(error, "step", "")},
    )
