"""Content-based router and recipient list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from dovetail.sdk import Build, Chain, Context, Expression, Message, Rejected, Result, Spec, Step, field
from dovetail.steps._nested import side_by_side


class Case(Spec):
    """`{when: …, steps: […]}` or, last, `{otherwise: […]}`."""

    when: str | None = field(default=None, kind="expression", help="The condition.", example='country = "DE"')
    steps: list[Any] = field(default=[], kind="steps", help="What happens to a message that meets it.")
    otherwise: list[Any] | None = field(default=None, kind="steps", help="What happens to a message no case took.")

    def rules(self) -> Iterable[tuple[str, str]]:
        """A case has a condition, or it is the rest."""
        if (self.when is None) == (self.otherwise is None):
            yield "when", "a case is written {when: condition, steps: […]} or {otherwise: […]}"
        elif self.otherwise is not None and self.steps:
            yield "steps", "put these steps under 'otherwise'"


class Route(Step):
    """Sends a message down the first case whose condition it meets; it goes on as it comes out of that case.

    With `match: all` every matching case gets the message (a recipient list); they run side by side and the message
    goes on as it came. It fails when one of them fails.
    """

    sees_body = True

    class Config(Spec):
        cases: list[Case] = field(main=True, min=1, help="The cases, in order; `otherwise` comes last.",
                                  example=[{"when": 'country = "DE"', "steps": []}, {"otherwise": []}])  # fmt: skip
        match: Literal["first", "all"] = field(
            default="first", help="Whether one case takes the message or all that match."
        )
        unmatched: Literal["drop", "fail", "pass"] = field(
            default="drop", help="What becomes of a message that meets no condition when there is no `otherwise`."
        )

        def rules(self) -> Iterable[tuple[str, str]]:
            """`otherwise` is one, and the last."""
            rest = [index for index, case in enumerate(self.cases) if case.otherwise is not None]
            if rest and rest != [len(self.cases) - 1]:
                yield "cases", "'otherwise' stands once, after all other cases"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._cases: list[tuple[Expression | None, str, Chain]] = []
        for index, case in enumerate(config.cases):
            label = "otherwise" if case.otherwise is not None else f"case{index + 1}"
            chain = build.chain(case.steps if case.otherwise is None else case.otherwise, label)
            condition = build.expression(case.when) if case.when is not None else None
            self._cases.append((condition, label, chain))
        self.chains = [chain for _, _, chain in self._cases]
        self.effectful = config.match == "all" or any(chain.effectful for chain in self.chains)

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Each message by its own content."""
        if self.config.match == "all":
            return await self._to_all(batch, context)
        result = Result()
        groups: dict[int, list[Message]] = {}
        for message in batch:
            try:
                case = self._first(message)
            except Exception as error:
                result.failed.append((message, error))
                continue
            if case is None:
                self._unmatched(message, result)
            else:
                groups.setdefault(case, []).append(message)
        for case, members in groups.items():
            _, label, chain = self._cases[case]
            ended = await chain.run(members, context.branch(f"{self.id}/{label}"))
            result.leave(ended)
            result.out += ended.out
        if len(groups) + bool(result.out) > 1:
            order = {message.ref: index for index, message in enumerate(batch)}
            result.out.sort(key=lambda message: order[message.ref])
        return result

    def _first(self, message: Message) -> int | None:
        for index, (condition, _, _) in enumerate(self._cases):
            if condition is None or condition.test(message):
                return index
        return None

    async def _to_all(self, batch: Sequence[Message], context: Context) -> Result:
        result = Result()
        for message in batch:
            try:
                matching = [
                    (f"{self.id}/{label}", chain) for test, label, chain in self._cases if test and test.test(message)
                ]
                if not matching and self._cases[-1][0] is None:
                    matching = [(f"{self.id}/otherwise", self._cases[-1][2])]
                if matching:
                    await side_by_side(matching, message, context)
                    result.out.append(message)
                else:
                    self._unmatched(message, result)
            except Exception as error:
                result.failed.append((message, error))
        return result

    def _unmatched(self, message: Message, result: Result) -> None:
        if self.config.unmatched == "pass":
            result.out.append(message)
        elif self.config.unmatched == "drop":
            result.dropped.append((message, "no case of the route matches"))
        else:
            result.failed.append((message, Rejected("no case of the route matches this message", code="unmatched")))
