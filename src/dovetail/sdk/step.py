"""A step turns a batch into a batch. One enterprise integration pattern each.

A step's `Config(Spec)` says everything about its text. Beside help, default and example, a field carries

- `main=True`: the field that the step's own word sets, so that `filter: a > 1` means `{expression: a > 1}`;
- `kind=…`: what its value names, so that the project can cross-check it, and a form can offer choices:
  `"expression"` (mapping text, or the path of a `.jsonata` file), `"steps"` (a nested chain), `"operation"` and
  `"sink"` (`connection.name`), `"contract"` (`name@version`), `"topic"`, `"flow"`, `"function"` (`module:function`),
  `"format"` (a codec's name).

A nested `Spec` (or a list of them) may carry such fields too: `route` has cases, each with a condition and steps.
Every step also understands `id:`, its stable name; without one the id is derived from its word and its main
reference.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dovetail.message import Message
from dovetail.sdk.context import Build, Chain, Context, Result
from dovetail.spec import Spec


class Dropping(Exception):
    """Raised by `MessageStep.apply`: a rule of the flow ends this message here."""


class Step(ABC):
    """The general shape. Built once per flow version, run many times, never at the same time as it is built.

    Every message of the batch must come out in the result, in `out` (the same `ref`), `failed` or `dropped`, unless
    it was handed
    to `context.split`; the engine checks.
    A message that failed leaves the corridor at once. Steps are pure (a repeat gives the same) unless they go through
    `context`.
    """

    Config: ClassVar[type[Spec]]
    # waits for outside systems: the engine runs it for each message on its own; an instance may say
    effectful: bool = False
    # its expressions and nested steps see the body as it came in; the body goes on as it came in: `check` then knows
    # what the expressions may read
    sees_body: ClassVar[bool] = False
    keeps_body: ClassVar[bool] = False
    # a field with an expression that makes the new body → the field that names the body's contract
    makes_body: ClassVar[Mapping[str, str]] = {}
    top_level: ClassVar[bool] = False  # allowed only among a flow's own steps, not in a nested chain

    @classmethod
    def check_function(cls, signature: inspect.Signature) -> None:
        """Whether a function that a field of the kind `function` names can be called; for `check`, which runs nothing.
        Annotations are their names as text. Raises ProjectError that says how it should be written."""

    chains: Sequence[Chain] = ()  # what it built of nested steps: they open and close with it

    def __init__(self, config: Any, build: Build) -> None:
        self.config = config
        self.id = build.step

    async def open(self) -> None:
        """Before the first batch. May be called twice."""
        for chain in self.chains:
            await chain.open()

    @abstractmethod
    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Turn the batch into a result."""

    def due(self, key: str, context: Context) -> None:
        """The time has come that was set for `key` in `context.state`. Deal with it without waiting: put another time,
        or none. This one forgets the key; steps that do otherwise need `top_level`."""
        context.state.group(self.id, key).clear()

    async def close(self) -> None:
        """After the last batch. May be called twice, or without `open`."""
        for chain in self.chains:
            await chain.close()


class MessageStep(Step):
    """A step that looks at one message at a time and touches nothing outside: write `apply` only."""

    @abstractmethod
    def apply(self, message: Message) -> Message:
        """The message as it goes on. Raise `Rejected` to fail it, `Dropping(reason)` to end it by rule."""

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        result = Result()
        out, apply = result.out, self.apply
        for message in batch:
            try:
                out.append(apply(message))
            except Dropping as rule:
                result.dropped.append((message, str(rule)))
            except Exception as error:  # one bad message never takes its neighbours along
                result.failed.append((message, error))
        return result


class TakingStep(Step):
    """A step that remembers in `context.state` and looks at one message at a time: write `take` only."""

    @abstractmethod
    def take(self, message: Message, context: Context) -> Message | None:
        """The message as it goes on, or None when it was absorbed or split. Never waits: raise `Waiting` to have it
        run again later. Otherwise as `MessageStep.apply`."""

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        result = Result()
        for message in batch:
            try:
                going = self.take(message, context)
                if going is not None:
                    result.out.append(going)
            except Dropping as rule:
                result.dropped.append((message, str(rule)))
            except Exception as error:
                result.failed.append((message, error))
        return result


class EffectStep(Step):
    """A step that deals with an outside system for one message at a time: write `act` only."""

    effectful = True

    @abstractmethod
    async def act(self, message: Message, context: Context) -> Message:
        """Do it through `context.call` (and the like) and return the message as it goes on."""

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        result = Result()
        for message in batch:
            try:
                result.out.append(await self.act(message, context))
            except Dropping as rule:
                result.dropped.append((message, str(rule)))
            except Exception as error:
                result.failed.append((message, error))
        return result
