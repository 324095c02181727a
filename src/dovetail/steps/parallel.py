"""Several branches on the same message, at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dovetail.sdk import Build, Context, EffectStep, Message, Spec, field
from dovetail.steps._nested import side_by_side


class Branch(Spec):
    """One branch: a step, or a list of steps."""

    shorthand: ClassVar[dict[str, Any] | None] = {"$ref": "#/$defs/step"}

    steps: list[Any] = field(main=True, kind="steps", help="The branch's steps, in order.")

    @classmethod
    def convert(cls, value: Any, path: Any, report: Any) -> Any:
        """A single step stands for a list of one."""
        if isinstance(value, Mapping) and "steps" not in value:
            value = [value]
        return super().convert(value, path, report)


class Parallel(EffectStep):
    """Runs its branches at the same time on the same message, which goes on as it came, with the variables of all.

    When two branches remember something under the same name, the later branch in the text wins. All branches run to
    their end; then a failure of one fails the message, and a retry makes only the effects that were not recorded as
    done. A filter in a branch ends only that branch.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        branches: list[Branch] = field(
            main=True, min=1, help="The branches: each a step, or a list of steps.",
            example=[{"call": "warehouse.reserve"}, {"call": "accounting.create_invoice"}],
        )  # fmt: skip

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        labels = (f"branch{index + 1}" for index in range(len(config.branches)))
        chains = [
            (label, build.chain(branch.steps, label)) for label, branch in zip(labels, config.branches, strict=False)
        ]
        self.chains = [chain for _, chain in chains]
        self._branches = [(f"{self.id}/{label}", chain) for label, chain in chains]

    async def act(self, message: Message, context: Context) -> Message:
        """Run all, then gather what they remembered."""
        variables = dict(message.variables)
        for end in await side_by_side(self._branches, message, context):
            for name, value in end.variables.items() if end is not None else ():
                if message.variables.get(name, _ABSENT) is not value:
                    variables[name] = value
        return message.with_vars(variables)


_ABSENT = object()
