"""A message's way through a flow, rehearsed: pure steps run, done effects answer from the record, and what would be
sent is kept instead of sent. Nothing is written.

A call that is not made has no answer. Whoever reads it reads a stand-in: the one that was given for its step, else
`{}`. What was read so is told, and a failure behind it is an open end: the real answer may say otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from dovetail.engine.effects import DOUBTFUL, doubt, reply_of
from dovetail.engine.execute import Compiled
from dovetail.engine.flow import FlowRun
from dovetail.engine.journey import effect_key, named
from dovetail.engine.memo import Effect, Memo, unpack, unpack_meta
from dovetail.engine.replay import Recorded
from dovetail.errors import MessageError, Rejected
from dovetail.sdk import Codec, Context, Done, Failed, Message, Operation, Outcome, Repeat, Reply, Saga, Sink, Step
from dovetail.store.base import Progress, Row

NO_ANSWERS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(slots=True)
class Captured:
    """One thing that would leave the flow. `to` names the operation, the sink or the topic; `key` is the effect key."""

    what: Literal["call", "write", "publish"]
    step: str
    to: str
    key: str
    args: dict[str, Any]
    body: bytes
    codec: Codec


@dataclass(slots=True)
class Rehearsal:
    """How far a message would come. `ends`: done, discarded, split, absorbed, failed, or open (it fails, but only after
    a stand-in was read). `untouched`: effects that are done and would not be made again. `assumed`: the stand-ins that
    were read, by step."""

    version: int
    sent: list[Captured] = field(default_factory=list)
    ends: str = "done"
    step: str = ""
    code: str = ""
    why: str = ""
    untouched: int = 0
    assumed: dict[str, Any] = field(default_factory=dict)


class StandIn(Reply):
    """The reply of a call that was not made; that it was read is noted."""

    __slots__ = ("_assumed", "_step")

    def __init__(self, value: Any, step: str, assumed: dict[str, Any]) -> None:
        super().__init__(value=value)
        self._step, self._assumed = step, assumed

    @property
    def value(self) -> Any:
        self._assumed[self._step] = super().value
        return super().value

    @property
    def body(self) -> bytes:
        self._assumed[self._step] = super().value
        return super().body


class Capturing(Recorded):
    """A context that sends nothing."""

    def __init__(
        self, flow: FlowRun, memo: Memo, version: Compiled, told: Rehearsal, answers: Mapping[str, Any],
        emitted: str = "", branch: str = "",
    ) -> None:  # fmt: skip
        super().__init__(flow, memo, False, emitted, branch)
        self._version, self._told, self._answers = version, told, answers

    def branch(self, label: str) -> Context:
        """The same, under the branch's names."""
        names = (self._emitted, f"{self._branch}/{label}")
        return Capturing(self._flow, self._memo, self._version, self._told, self._answers, *names)

    def _known(self, step: str, message: Message) -> tuple[str, Effect | None]:
        key, _, known = named(self._memo, self._flow.name, message.origin, step, self._branch)
        self._told.untouched += known is not None and known.state == "done"
        return key, known

    def _capture(
        self, what: Literal["call", "write", "publish"], step: str, to: str, key: str, message: Message,
        args: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        self._told.sent.append(Captured(what, step, to, key, dict(args or {}), message.body, message.codec))

    async def call(
        self, step: str, operation: Operation, message: Message, args: Mapping[str, Any] | None = None,
        timeout: float | None = None, saga: Saga | None = None,
    ) -> Reply:  # fmt: skip
        """The recorded reply, or a stand-in. Raises `InDoubt` where the engine would leave it to a
        person."""
        key, known = self._known(step, message)
        if known is not None and known.state == "done":
            return reply_of(known, self._flow.engine.codecs)
        if known is not None and known.state in DOUBTFUL and self._parks(operation.repeat is Repeat.NONE):
            raise doubt("it may have been done, and doing it again would be a second effect")
        self._capture("call", step, operation.name, key, message, args)
        return StandIn(self._answers.get(step, {}), step, self._told.assumed)

    async def write(
        self, step: str, sink: Sink, batch: Sequence[Message], args: Sequence[Mapping[str, Any]] | None = None,
        timeout: float | None = None, sagas: Sequence[Saga] | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Done, for each that would be written."""
        outcomes: list[Outcome] = []
        for n, message in enumerate(batch):
            key, known = self._known(step, message)
            if known is not None and known.state in DOUBTFUL and self._parks(not sink.repeat.safe):
                text = "it may have been written, and writing it again would be a second effect"
                outcomes.append(Failed(doubt(text)))
                continue
            if known is None or known.state != "done":
                self._capture("write", step, sink.name, key, message, args[n] if args else None)
            outcomes.append(Done())
        return outcomes

    def _parks(self, unsafe: bool) -> bool:
        return unsafe and self._version.policy.unsafe == "park"

    def publish(self, step: str, topic: str, message: Message) -> None:
        """Kept, not published."""
        key = effect_key(self._flow.name, message.origin, step, self._branch)
        self._capture("publish", step, topic, key, message, None)


async def rehearse(
    flow: FlowRun, row: Row, progress: Progress, number: int | None, answers: Mapping[str, Any] = NO_ANSWERS
) -> Rehearsal:
    """What the version `number` (None: the current one) would do with the message as `row` has it. `answers` stand in
    for those of calls that are not made, by step. Raises ProjectError when the version is gone."""
    number = flow.versions.current.number if number is None else number
    memo = unpack(progress.memo)
    version = flow.versions.get(number)
    told = Rehearsal(number)
    if memo.undoing is not None:
        return _backwards(flow, memo, flow.loader.message(row, unpack_meta(row.meta)).origin, told)
    meta = unpack_meta(row.meta)
    context = Capturing(flow, memo, version, told, answers, meta.emitted)
    message: Message | None = flow.loader.message(row, meta)
    try:
        start = flow.loader.start(row, version, meta.emitted)
    except Rejected as error:  # as when it is loaded
        _failed(told, "", error)
        return told
    for step in version.chain.steps[start:]:
        assert message is not None
        message = await _one(step, message, context, told)
        if message is None:
            break
    return told


def _backwards(flow: FlowRun, memo: Memo, origin: str, told: Rehearsal) -> Rehearsal:
    """A message whose compensation stopped goes on with what is left to undo, whatever its steps are now."""
    codecs = flow.engine.codecs
    for undo in reversed(memo.undo.values()):
        if undo.problem:
            told.ends, told.step, told.code, told.why = "failed", undo.step, "compensation", undo.problem
            return told
        step = f"{undo.step}/compensate"
        key = effect_key(flow.name, origin, step, undo.branch)
        args = codecs.by_name("json").decode(undo.args)
        told.sent.append(Captured("call", step, undo.operation, key, args, undo.body, codecs.by_name(undo.codec)))
    told.ends, told.code, told.why = "failed", "compensated", "everything is undone then"
    return told


async def _one(step: Step, message: Message, context: Capturing, told: Rehearsal) -> Message | None:
    """One step; the message as it goes on, or None when it ends there."""
    try:
        result = await step.run([message], context)
        if result.out:
            _ = result.out[0].body  # a mapping's result is written only when somebody reads it
            return result.out[0]
    except Exception as error:
        _failed(told, step.id, error)
        return None
    if result.failed:
        _failed(told, step.id, result.failed[0][1])
    elif result.dropped:
        told.ends, told.step, told.why = "discarded", step.id, result.dropped[0][1]
    elif context.absorbed is not None:
        told.ends, told.step, told.why = "absorbed", step.id, context.absorbed
    else:
        told.ends, told.step = "split", step.id
    return None


def _failed(told: Rehearsal, step: str, error: Exception) -> None:
    known = error if isinstance(error, MessageError) else Rejected(f"{type(error).__name__}: {error}", code="exception")
    told.step, told.code, told.why = str(getattr(error, "step", "") or step), known.code, known.message
    told.ends = "open" if told.assumed else "failed"
