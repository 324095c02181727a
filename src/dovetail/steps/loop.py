"""Loop: the same steps again, for each item of a list or while a condition holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from dovetail.sdk import UNDEFINED, Build, Context, Dropping, EffectStep, Message, Rejected, Spec, field
from dovetail.steps._nested import through
from dovetail.steps._values import data_of

_VARIABLE = r"[A-Za-z_]\w*"


class Loop(EffectStep):
    """Runs steps for each item of a list (`over`), or as long as a condition holds (`while`), one round after the
    other. The body goes along: a round finds it as the round before it left it, and so does what comes after the loop.

    `as` and `index` are variables of the rounds, gone after the loop. A filter ends only its round: the message goes
    on as it was before it. The effects of each round are effects of their own: after a crash or for a retry, rounds
    are computed again and what was done in them is not repeated. All rounds share one record, so a list of thousands
    is better split.
    """

    sees_body = False

    class Config(Spec):
        over: str | None = field(
            default=None, main=True, kind="expression", help="The list; one value alone is a list of one.",
            example="line_items",
        )  # fmt: skip
        while_: str | None = field(
            default=None, kind="expression", help="The condition, looked at before each round.",
            example="$exists(next_page)",
        )  # fmt: skip
        steps: list[Any] = field(kind="steps", help="The steps of a round.")
        as_: str | None = field(
            default=None, help="The variable that holds the item.", example="item", pattern=_VARIABLE
        )
        index: str | None = field(
            default=None,
            help="The variable that holds the number of the round, from 0.",
            example="n",
            pattern=_VARIABLE,
        )
        collect: str | None = field(
            default=None, help="The variable that takes a list with the result of each round.", example="results",
            pattern=_VARIABLE,
        )  # fmt: skip
        result: str | None = field(
            default=None, kind="expression", help="A round's result; without it, the body as it leaves the round.",
            example="$vars.reply.number",
        )  # fmt: skip
        max: int = field(default=1000, min=1, max=100_000, help="The most rounds; a message that needs more fails.")

        def rules(self) -> Iterable[tuple[str, str]]:
            """One reason to go on."""
            if (self.over is None) == (self.while_ is None):
                yield "over", "say how often: either 'over' a list, or 'while' a condition"
            if self.as_ is not None and self.over is None:
                yield "as", "only a loop over a list has items; use 'index'"
            if self.result is not None and self.collect is None:
                yield "result", "say with 'collect' which variable takes the results"

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._over, self._while, self._result = (
            build.expression(text) if text is not None else None for text in (config.over, config.while_, config.result)
        )
        self._chain = build.chain(config.steps, "loop")
        self.chains = (self._chain,)
        self.effectful = self._chain.effectful

    async def act(self, message: Message, context: Context) -> Message:
        """Round after round."""
        items, going, results = self._items(message), message, list[Any]()
        number = 0
        while self._goes_on(items, number, going):
            try:
                entered = going.with_vars({**going.variables, **self._own(items, number)})
                going = await through(self._chain, entered, context.branch(f"{self.id}/{number}"))
                if self.config.collect is not None:
                    results.append(self._result_of(going, number))
            except Dropping:
                pass
            number += 1
            await asyncio.sleep(0)  # others have their turn between two rounds
        return self._left(message, going, results)

    def _result_of(self, message: Message, number: int) -> Any:
        value = message.value if self._result is None else self._result.evaluate(message)
        return None if value is UNDEFINED else data_of(value, f"the result of round {number}", "say with 'result' what")

    def _items(self, message: Message) -> list[Any]:
        """The list. Raises `Rejected` for one that is too long, before anything is done."""
        if self._over is None:
            return []
        found = self._over.evaluate(message)
        if found is UNDEFINED or found is None:
            return []
        items = list(found) if isinstance(found, list | tuple) else [found]
        if len(items) > self.config.max:
            text = f"the list has {len(items)} items, and the loop ends after {self.config.max} rounds"
            raise Rejected(text, code="loop-limit")
        return items

    def _goes_on(self, items: list[Any], number: int, message: Message) -> bool:
        if self._while is None:
            return number < len(items)
        if not self._while.test(message):
            return False
        if number >= self.config.max:
            raise Rejected(f"the condition still holds after {number} rounds", code="loop-limit")
        return True

    def _own(self, items: list[Any], number: int) -> dict[str, Any]:
        """The variables of a round."""
        own: dict[str, Any] = {}
        if self.config.as_ is not None:
            own[self.config.as_] = items[number]
        if self.config.index is not None:
            own[self.config.index] = number
        return own

    def _left(self, message: Message, end: Message, results: list[Any]) -> Message:
        """The message behind the loop: variables of the rounds are as they were before it."""
        variables = dict(end.variables)
        for name in filter(None, (self.config.as_, self.config.index)):
            variables.pop(name, None)
            if name in message.variables:
                variables[name] = message.variables[name]
        if self.config.collect is not None:
            variables[self.config.collect] = results
        return end.with_vars(variables)
