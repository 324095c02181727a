"""Message filter: only messages that meet a condition go on."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.sdk import Build, Context, Message, Result, Spec, Step, field
from dovetail.steps._values import excerpt


class Filter(Step):
    """Lets a message go on when a condition is true, and ends it otherwise: discarded, with the reason on record."""

    sees_body = True
    keeps_body = True

    class Config(Spec):
        expression: str = field(
            main=True, kind="expression", help="The condition.", example='financial_status = "paid"'
        )
        reason: str = field(
            default="", help="What the record says about a message that was left out.", example="not paid"
        )

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._test = build.expression(config.expression).test
        self._reason = config.reason or f"not {excerpt(config.expression)}"

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Divide the batch."""
        result = Result()
        keep, test = result.out.append, self._test
        for message in batch:
            try:
                if test(message):
                    keep(message)
                else:
                    result.dropped.append((message, self._reason))
            except Exception as error:
                result.failed.append((message, error))
        return result
