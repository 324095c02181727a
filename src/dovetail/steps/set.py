"""Variables: remember something for later steps."""

from __future__ import annotations

from dovetail.sdk import Build, Message, MessageStep, Spec, field
from dovetail.steps._values import Values


class Set(MessageStep):
    """Remembers values under names; later steps read them as `$vars.<name>`. All are evaluated before any is set; one
    that gives nothing leaves its variable as it was.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        variables: dict[str, str] = field(
            main=True,
            kind="expression",
            help="The variables to set, each an expression.",
            example={"total": "$sum(lines.price)"},
        )

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._values = Values(build, config.variables)

    def apply(self, message: Message) -> Message:
        """The message that remembers."""
        return message.with_vars({**message.variables, **self._values.evaluate(message)})
