"""A message's journey, told again: pure steps are computed once more, effects answer from the record, nothing is
called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail.clock import Clock
from dovetail.engine.effects import in_doubt, reply_of
from dovetail.engine.flow import FlowRun
from dovetail.engine.journey import again, effect_key
from dovetail.engine.memo import FORGOTTEN, Effect, Memo, unpack, unpack_meta
from dovetail.engine.state import RunState, decision_of
from dovetail.errors import ProjectError, Rejected, Retry, Waiting
from dovetail.sdk import (
    Context,
    Done,
    Failed,
    Group,
    Log,
    Message,
    Operation,
    Outcome,
    Reply,
    Result,
    Saga,
    Sink,
    State,
    Step,
)
from dovetail.store.base import Progress, Row
from dovetail.store.base import State as Where


@dataclass(slots=True)
class StepTrace:
    """One step of a journey. Bodies are bytes as they went in and came out; `outcome` is done, dropped, failed, split,
    absorbed (a step took it in) or pending (not reached, or waiting)."""

    step: str
    kind: str
    outcome: str
    before: bytes | None = None
    after: bytes | None = None
    content_type: str = ""
    error: str = ""
    effects: list[Effect] = field(default_factory=list)


class NotReached(Retry):
    """The record ends here."""

    code = "not_reached"


class Recorded:
    """A context in which effects answer from a memo. Publishing, splitting and replying are only noted. `emitted` is
    the step that made the message."""

    def __init__(self, flow: FlowRun, memo: Memo, ended: bool, emitted: str = "", branch: str = "") -> None:
        self._flow, self._memo, self._ended, self._branch = flow, memo, ended, branch
        self.log: Log = flow.engine.log
        self.clock: Clock = flow.engine.clock
        self.met: list[Effect] = []
        self.was_split = False
        self.absorbed: str | None = None
        self.state: State = RecordedState(self, emitted)
        self._emitted = emitted

    def branch(self, label: str) -> Context:
        """The same record, under the branch's names."""
        nested = Recorded(self._flow, self._memo, self._ended, self._emitted, f"{self._branch}/{label}")
        nested.met = self.met
        return nested

    def _effect(self, step: str, message: Message) -> Effect | None:
        """What is known of the effect; what was undone was done once, and is shown with what undid it."""
        known, rounds, effects = None, 1, self._memo.effects
        while rounds == 1 or (known is not None and known.state == "compensated"):
            names = (self._flow.name, message.origin)
            found = effects.get(effect_key(*names, step, again(self._branch, rounds)))
            if found is None:
                break
            undone = effects.get(effect_key(*names, f"{step}/compensate", again(self._branch, rounds)))
            self.met += [found] if undone is None else [found, undone]
            known, rounds = found, rounds + 1
        return known

    async def call(
        self, step: str, operation: Operation, message: Message, args: Mapping[str, Any] | None = None,
        timeout: float | None = None, saga: Saga | None = None,
    ) -> Reply:  # fmt: skip
        """The recorded reply, or the recorded failure."""
        effect = self._effect(step, message)
        if effect is None or effect.state in ("intended", "in_doubt"):
            raise NotReached("this call has no recorded outcome")
        if effect.state == "failed" or not effect.codec:
            raise Rejected(effect.message)
        if effect.codec == FORGOTTEN:
            raise NotReached("what the target answered is no longer kept")
        return reply_of(effect, self._flow.engine.codecs)

    async def write(
        self, step: str, sink: Sink, batch: Sequence[Message], args: Sequence[Mapping[str, Any]] | None = None,
        timeout: float | None = None, sagas: Sequence[Saga] | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """The recorded outcomes."""
        outcomes: list[Outcome] = []
        for message in batch:
            effect = self._effect(step, message)
            if effect is not None and (effect.state == "done" or (effect.state == "compensated" and effect.request)):
                outcomes.append(Done())
            elif effect is not None and effect.state in ("failed", "compensated"):
                outcomes.append(Failed(Rejected(effect.message)))
            else:
                outcomes.append(Failed(NotReached("this write has no recorded outcome")))
        return outcomes

    async def decide(self, step: str, message: Message, value: Any) -> None:
        """It was decided at the time, or the record ends here."""
        raise NotReached("nothing was decided yet")

    def publish(self, step: str, topic: str, message: Message) -> None:
        """It was published if the message got past here."""
        self._effect(step, message)

    def split(self, step: str, message: Message, parts: Sequence[Message]) -> None:
        """Its parts have journeys of their own."""
        self.was_split = True

    def reply(self, message: Message, status: int = 200) -> None:
        """The caller was answered at the time."""

    async def pause(self, message: Message, seconds: float) -> None:
        """No waiting in a replay."""

    def in_doubt(self, message: Message) -> bool:
        """What was in doubt then is so now."""
        return in_doubt(self._memo, self._branch)

    def last_attempt(self, message: Message) -> bool:
        """What was final then is final now."""
        return self._ended

    def decided(self, step: str, message: Message) -> Any:
        """What the record says the step decided."""
        if self._effect(step, message) is None:
            return None
        return decision_of(self._flow, self._memo, effect_key(self._flow.name, message.origin, step, self._branch))

    def shared(self, name: str, key: str) -> Group:
        """What all flows share, to be read."""
        return RunState(self._flow, self._branch).shared(name, key)

    def now(self) -> int:
        """The engine's time."""
        return self._flow.engine.steady_ms()


class RecordedState:
    """What steps decided, from the record. Their memory is not looked at: it has gone on since then."""

    def __init__(self, record: Recorded, emitted: str) -> None:
        self._record, self._emitted = record, emitted

    def now(self) -> int:
        return self._record.now()

    def decided(self, step: str, message: Message) -> Any:
        return self._record.decided(step, message)

    def decide(self, step: str, message: Message, decision: Any, note: str = "") -> None:
        raise NotReached("nothing was decided yet")

    def group(self, step: str, key: str, message: Message | None = None) -> Group:
        raise NotReached("nothing was decided yet")

    def shared(self, name: str, key: str) -> Group:
        return self._record.shared(name, key)

    def absorb(self, step: str, message: Message, reason: str) -> None:
        self._record.absorbed = reason

    def emit(self, step: str, group: Group, message: Message, **more: Any) -> None:
        """What was made of the memory has a journey of its own."""

    def emitted(self, step: str, message: Message) -> bool:
        return self._emitted == step

    def expect(self, step: str, message: Message, name: str, key: str, info: Mapping[str, Any] | None = None) -> int:
        raise NotReached("it did not wait yet")

    def heard(self, name: str, key: str, place: int) -> Any:
        return None

    def leave(self, name: str, key: str, place: int) -> None:
        """It left at the time."""

    def tell(self, name: str, key: str, event: Any, remember: int = 0) -> int:
        raise NotReached("nothing was told yet")


async def replay(flow: FlowRun, row: Row, progress: Progress | None) -> list[StepTrace]:
    """The steps of a message's journey as far as it came. Raises ProjectError when its flow version is gone, or has
    no step behind which it begins."""
    memo = unpack(progress.memo) if progress is not None else Memo()
    state = progress.state if progress is not None else Where.FRESH
    meta = unpack_meta(row.meta)
    first = flow.loader.message(row, meta)
    number = memo.version or row.version
    version = flow.versions.get(number) if number else flow.versions.chosen(first)
    message: Message | None = first
    context = Recorded(flow, memo, state >= Where.DONE, meta.emitted)
    traces: list[StepTrace] = []
    refused = bool(memo.history) and memo.history[-1].step == "door"
    refused = refused or memo.crashes > 0  # it may kill this process too
    try:
        start = flow.loader.start(row, version, meta.emitted)
    except Rejected as error:
        raise ProjectError(error.message) from error
    for step in version.chain.steps[start:]:
        if message is None or refused:
            traces.append(StepTrace(step.id, kind(step), "pending"))
            continue
        context.met = []
        trace = StepTrace(step.id, kind(step), "done", message.body, content_type=message.content_type)
        message = await _one(step, message, context, trace)
        trace.effects = context.met
        traces.append(trace)
    return traces


async def _one(step: Step, message: Message, context: Recorded, trace: StepTrace) -> Message | None:
    """Run one step on the record; the message as it went on, or None if it left there."""
    try:
        result = await step.run([message], context)
    except Exception as error:
        result = Result()
        result.failed = [(message, error)]
    if result.out:
        try:
            trace.after, trace.content_type = result.out[0].body, result.out[0].content_type
        except Exception as error:
            trace.outcome, trace.error = "failed", str(error)
            return None
        return result.out[0]
    if result.dropped:
        trace.outcome, trace.error = "dropped", result.dropped[0][1]
    elif result.failed:
        failure = result.failed[0][1]
        trace.outcome = "pending" if isinstance(failure, (NotReached, Waiting)) else "failed"
        trace.error = "" if isinstance(failure, NotReached) else str(failure)
    elif context.was_split:
        trace.outcome = "split"
    elif context.absorbed is not None:
        trace.outcome, trace.error = "absorbed", context.absorbed
    return None


def kind(step: Step) -> str:
    """The step's word, from its id."""
    return step.id.partition(":")[0]
