"""Scatter-gather: ask several at the same time, and go on with the answers of those who gave one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from dovetail.sdk import (
    UNDEFINED,
    Build,
    Context,
    Dropping,
    Duration,
    EffectStep,
    InDoubt,
    Message,
    MessageError,
    Rejected,
    Retry,
    Spec,
    Waiting,
    field,
)
from dovetail.steps._nested import gravest, through
from dovetail.steps._values import Body, data_of
from dovetail.steps.parallel import Branch


class Asked(Branch):
    """One branch: its steps, and what happens when they fail."""

    when: str | None = field(
        default=None, kind="expression", help="Which messages this branch takes part for.", example='country = "DE"'
    )
    result: str | None = field(
        default=None, kind="expression", help="The branch's answer; without it, the body as it leaves the branch.",
        example="$vars.quote",
    )  # fmt: skip
    timeout: Duration | None = field(default=None, help="The time the branch may take in all.", example="5s")
    on_failure: Literal["fail", "skip"] | None = field(
        default=None, help="Whether a failure of the branch fails the message, or leaves the branch out. The message "
        "fails unless the step says how many answers it needs.",
    )  # fmt: skip
    default: str | None = field(
        default=None, kind="expression", help="The answer in place of a branch that failed.", example='{"price": null}'
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        """A failure fails, or it is made good."""
        if self.default is not None and self.on_failure == "fail":
            yield "default", "a branch whose failure fails the message has no use for a default"


class ScatterGather(EffectStep):
    """Runs branches at the same time on the same message and gathers their answers in one variable: `answers` by
    branch, and in `errors` the `code`, `message` and `step` of each one that failed. With `merge` a mapping makes the
    new body of them; otherwise the message goes on as it came.

    A branch that may be left out does not hold the others up: whatever keeps it from an answer now (a refusal, a target
    that is away, its time-out) counts as its failure, without retries. What was decided is on record and stays so when
    the message is tried again. Never left out is a branch with an effect in doubt that cannot simply be made again.
    When there are fewer answers than it needs, the message fails with the gravest of the errors, and is retried if that
    one can be. A filter ends only its branch.
    """

    sees_body = True

    class Config(Spec):
        branches: dict[str, Asked] = field(
            main=True, min=1, help="The branches by name: each a step, a list of steps, or its settings.",
            example={"dhl": {"steps": [{"call": "dhl.quote", "as": "quote"}], "timeout": "5s"}},
        )  # fmt: skip
        need: int | None = field(
            default=None, min=0, help="How many branches must answer; others are then left out when they fail.",
            example=1,
        )  # fmt: skip
        as_: str = field(default="gathered", help="The variable with the answers.", example="quotes",
                         pattern=r"[A-Za-z_]\w*")  # fmt: skip
        merge: str | None = field(
            default=None, kind="expression", help="The mapping that makes the new body.",
            example='$merge([$, {"quotes": $vars.gathered.answers}])',
        )  # fmt: skip
        format: str = field(default="json", kind="format", help="The format the new body is written in.")

        def rules(self) -> Iterable[tuple[str, str]]:
            """It can be had."""
            if self.need is not None and self.need > len(self.branches):
                yield "need", f"there are only {len(self.branches)} branches"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        rule = "fail" if config.need is None else "skip"
        self._branches = {name: _Branch(build, self.id, name, asked, rule) for name, asked in config.branches.items()}
        self._lenient = any(branch.lenient for branch in self._branches.values())
        self._merge = Body(build, config.merge, config.format)
        self.chains = [branch.chain for branch in self._branches.values()]

    async def act(self, message: Message, context: Context) -> Message:
        """Ask all, then gather."""
        decided = context.state.decided(self.id, message) if self._lenient else None
        ends = await self._ask(message, context, decided or {})
        failures = {name: end for name, end in ends.items() if isinstance(end, BaseException)}
        if decided is None:
            decided = self._missed(failures, len(ends) - len(failures), message, context)
            if self._lenient:
                await context.decide(self.id, message, decided)
        elif failures:  # they gave an answer once
            raise gravest(list(failures.values()))
        for name in decided:
            ends[name] = self._branches[name].instead(message)
        answers = {name: ends[name] for name in self._branches if ends.get(name, UNDEFINED) is not UNDEFINED}
        return self._merge.of(message.with_var(self.config.as_, {"answers": answers, "errors": decided}))

    async def _ask(self, message: Message, context: Context, missed: Mapping[str, Any]) -> dict[str, Any]:
        """What each branch that takes part gave: an answer or an error. Those that a filter ended are left out."""
        left = ((name, branch) for name, branch in self._branches.items() if name not in missed)
        asked = {name: branch for name, branch in left if branch.takes(message)}
        runs = (branch.run(message, context) for branch in asked.values())
        ends = zip(asked, await asyncio.gather(*runs, return_exceptions=True), strict=True)
        return {name: end for name, end in ends if not isinstance(end, Dropping)}

    def _missed(
        self, failures: Mapping[str, BaseException], answers: int, message: Message, context: Context
    ) -> dict[str, Any]:
        """The branches that the message goes on without, with their errors. Raises what fails the message."""
        told = {name: _told(error) for name, error in failures.items()}
        need, errors = self.config.need or 0, list(failures.values())
        branches = self._branches
        grave = [error for name, error in failures.items() if not branches[name].may_miss(error, message, context)]
        if grave or answers < need:
            text = f"{answers} branches answered, and {need} are needed"
            error = gravest(grave or errors) if errors else Rejected(text, code="too-few-answers")
            if isinstance(error, MessageError):
                error.detail = {"branches": told} | ({"detail": error.detail} if error.detail is not None else {})
            raise error
        return told


class _Branch:
    """One branch, built. `rule` is what its failure means unless it says so itself."""

    def __init__(self, build: Build, step: str, name: str, asked: Asked, rule: str) -> None:
        self._name, self._place, self._timeout = f"branch {name}", f"{step}/{name}", asked.timeout
        self.chain = build.chain(asked.steps, name)
        self.lenient = asked.default is not None or (asked.on_failure or rule) == "skip"
        self._when, self._result, self._default = (
            build.expression(text) if text is not None else None for text in (asked.when, asked.result, asked.default)
        )

    def takes(self, message: Message) -> bool:
        """Whether the message is for this branch."""
        return self._when is None or self._when.test(message)

    async def run(self, message: Message, context: Context) -> Any:
        """The branch's answer. Raises what failed it, or `Dropping`."""
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                end = await through(self.chain, message, context.branch(self._place))
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Retry(f"{self._name} gave no answer within {self._timeout:g} s", code="timeout") from None
        value = end.value if self._result is None else self._result.evaluate(end)
        return data_of(value, f"the answer of {self._name}", "say with 'result' what it is")

    def may_miss(self, error: BaseException, message: Message, context: Context) -> bool:
        """Whether the message can go on without this branch, which failed in this way."""
        if not self.lenient or not isinstance(error, Exception) or isinstance(error, Waiting):
            return False
        return not (isinstance(error, InDoubt) and error.park) and not context.branch(self._place).in_doubt(message)

    def instead(self, message: Message) -> Any:
        """What stands for its answer when it failed; `UNDEFINED` for nothing."""
        return self._default.evaluate(message) if self._default is not None else UNDEFINED


def _told(error: BaseException) -> dict[str, str]:
    """An error as data an expression can read."""
    code, step = (getattr(error, name, "") for name in ("code", "step"))
    return {"code": code or "error", "message": str(error), "step": step}
