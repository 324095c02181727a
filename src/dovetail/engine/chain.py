"""Compiled steps in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from dovetail.clock import Clock
from dovetail.engine.observer import Observer
from dovetail.errors import Rejected
from dovetail.sdk import Context, Dropping, EffectStep, Message, Result, Step

Act = Callable[[Message, Context], Awaitable[Message]]


class StepChain:
    """Runs a batch through its steps. Effectful steps run for each message on its own, so that none waits for a
    neighbour."""

    def __init__(self, flow: str, steps: Sequence[Step], observer: Observer, clock: Clock) -> None:
        self.steps = list(steps)
        self.effectful = any(step.effectful for step in self.steps)
        self._flow, self._observer, self._clock = flow, observer, clock
        self._acts = [
            step.act if isinstance(step, EffectStep) and type(step).run is EffectStep.run else None
            for step in self.steps
        ]

    async def open(self) -> None:
        """Open every step, and what is nested in it."""
        for step in self.steps:
            await step.open()

    async def close(self) -> None:
        """Close every step, and what is nested in it."""
        for step in self.steps:
            await step.close()

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Run the batch to the end of the chain."""
        return await self.span(batch, context, 0, len(self.steps))

    async def span(self, batch: Sequence[Message], context: Context, start: int, stop: int) -> Result:
        """Run the steps from `start` up to `stop`."""
        total = Result(list(batch))
        for index in range(start, stop):
            step = self.steps[index]
            if step.effectful and len(total.out) > 1:
                parts = await asyncio.gather(*(self.span([m], context, index, stop) for m in total.out))
                total.out = []
                for part in parts:
                    total.leave(part)
                    total.out += part.out
                return total
            result = await self._step(step, total.out, context)
            total.out = result.out
            total.leave(result)
            if not total.out:
                break
        return total

    async def rest(self, message: Message, context: Context, start: int) -> Result:
        """Run one message from `start` to the end of the chain. The same as `span`, with less ado for the commonest
        steps."""
        for index in range(start, len(self.steps)):
            step, act = self.steps[index], self._acts[index]
            if act is None:
                result = await self._step(step, [message], context)
            else:
                result = await self._act(step, act, message, context)
            if not result.out:
                return result
            message = result.out[0]
        return Result([message])

    async def _act(self, step: Step, act: Act, message: Message, context: Context) -> Result:
        started = self._clock.monotonic()
        result = Result()
        try:
            going = await act(message, context)
            if going.ref == message.ref:
                result.out.append(going)
            else:
                self._account(step, [message], result)
        except Dropping as rule:
            result.dropped.append((message, str(rule)))
        except Exception as error:
            if not getattr(error, "step", ""):
                error.step = step.id  # type: ignore[attr-defined]
            result.failed.append((message, error))
        self._observer.step(self._flow, step.id, self._clock.monotonic() - started, 1)
        return result

    async def _step(self, step: Step, batch: list[Message], context: Context) -> Result:
        started = self._clock.monotonic()
        try:
            result = await step.run(batch, context)
        except Exception as error:
            result = Result()
            result.failed = [(message, error) for message in batch]
        self._observer.step(self._flow, step.id, self._clock.monotonic() - started, len(batch))
        if [message.ref for message in result.out] != [message.ref for message in batch]:
            self._account(step, batch, result)
        for _, failure in result.failed:
            if not getattr(failure, "step", ""):
                failure.step = step.id  # type: ignore[attr-defined]  # the innermost step that saw it, for the record
        return result

    def _account(self, step: Step, batch: list[Message], result: Result) -> None:
        """Each message of the batch comes out in one place. It may be handed to `context.split`; any other that does
        not come out is an error of the step, and so is one that comes out twice, or that nobody knows."""
        left = {message.ref: message for message in batch}
        result.failed = [pair for pair in result.failed if left.pop(pair[0].ref, None) is not None]
        result.dropped = [pair for pair in result.dropped if left.pop(pair[0].ref, None) is not None]
        result.out = [message for message in result.out if left.pop(message.ref, None) is not None]
        if step.top_level:
            return
        for message in left.values():
            text = f"step {step.id} lost the message: what it returns must be made from what it got (with_value, …)"
            result.failed.append((message, Rejected(text, code="lost")))
