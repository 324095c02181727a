"""Effects: calls on outside systems, named, journaled, guarded, and made again only as their operation allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from dovetail.engine.journey import Journey, effect_key, traceparent
from dovetail.engine.memo import Effect
from dovetail.errors import InDoubt, MessageError
from dovetail.sdk import Call, Done, Failed, Message, Operation, Outcome, Repeat, Reply, Sink

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun

DOUBTFUL = ("intended", "in_doubt")


class Effects:
    """The effects of one flow's messages."""

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._engine = flow.engine

    async def call(
        self, journey: Journey, step: str, branch: str, operation: Operation, message: Message,
        args: Mapping[str, Any] | None, timeout: float | None,
    ) -> Reply:  # fmt: skip
        """Make the effect, or return its recorded reply. Raises the kinds of `dovetail.errors`."""
        key = effect_key(self._flow.name, message.id, step, branch)
        known = journey.memo.effects.get(key) if journey.memo is not None else None
        if known is not None and known.state == "done":
            return self._recorded(known)
        call = Call(
            message=message, key=key, args=args or {}, timeout=timeout or journey.version.policy.call_timeout,
            attempt=journey.attempt, trace=traceparent(message, key),
        )  # fmt: skip
        doubtful = known is not None and known.state in DOUBTFUL
        if doubtful and operation.repeat is Repeat.NONE and journey.version.policy.unsafe == "park":
            raise doubt("it may have been done, and doing it again would be a second effect")
        target = self._engine.targets[operation.target]
        repeat = known is not None or journey.attempt > 1
        await target.admit(repeat)
        started = self._engine.clock.monotonic()
        outcome = "cancelled"
        asking = doubtful and operation.repeat is Repeat.QUERYABLE
        try:
            reply = await self._engine.deadlines.run(operation.query(call), call.timeout) if asking else None
            asking = False
            if reply is None:
                reply = await self._once(journey, step, operation, call)
            target.succeeded(repeat)
            outcome = "done"
        except MessageError as error:
            target.failed(error)
            outcome = "failed"
            if asking:  # it could not even be asked: the doubt stays as it is on record
                raise InDoubt(f"it may have been done, and asking failed: {error.message}") from error
            if isinstance(error, InDoubt):
                outcome = "in_doubt"
                error.park = operation.repeat is Repeat.NONE and journey.version.policy.unsafe == "park"
            self._note(journey, key, step, operation, call, outcome, error.message)
            raise
        except BaseException as error:
            target.failed(error)
            raise
        finally:
            seconds = self._engine.clock.monotonic() - started
            self._engine.observer.effect(self._flow.name, step, operation.target, message, call.trace, seconds, outcome)
        self._engine.hook("after_send_before_record")
        await self._record(journey, key, step, operation, call, reply)
        return reply

    async def _once(self, journey: Journey, step: str, operation: Operation, call: Call) -> Reply:
        if not operation.repeat.safe:
            await self._intend(journey, step, operation, call)
        self._engine.hook("after_intent_before_send")
        return await self._engine.deadlines.run(operation.call(call), call.timeout)

    async def _intend(self, journey: Journey, step: str, operation: Operation, call: Call) -> None:
        """Say durably what is about to be done, so that a crash leaves a doubt instead of a gap."""
        self._note(journey, call.key, step, operation, call, "intended", "", request=call.message.body)
        self._engine.hook("before_intent_commit")
        self._flow.touch(journey)
        await self._engine.writer.barrier()

    def _note(
        self, journey: Journey, key: str, step: str, operation: Operation | Sink, call: Call, state: Any, text: str,
        request: bytes | None = None,
    ) -> None:  # fmt: skip
        journey.notes.effects[key] = Effect(
            step=step, target=operation.target, state=state, attempt=call.attempt, at=self._engine.clock.now_ms(),
            request=blake2b(request, digest_size=16).digest() if request is not None else b"", message=text,
        )  # fmt: skip

    async def _record(
        self, journey: Journey, key: str, step: str, operation: Operation, call: Call, reply: Reply
    ) -> None:
        journey.notes.effects[key] = Effect(
            step=step, target=operation.target, state="done", attempt=call.attempt, at=self._engine.clock.now_ms(),
            request=blake2b(call.message.body, digest_size=16).digest(), status=reply.status,
            codec=reply.codec.name, body=reply.body,
        )  # fmt: skip
        self._flow.touch(journey)
        if not operation.repeat.safe:
            await self._engine.writer.barrier()

    def _recorded(self, effect: Effect) -> Reply:
        return Reply(effect.body, codec=self._engine.codecs.by_name(effect.codec), status=effect.status)

    async def write(
        self, step: str, branch: str, sink: Sink, pairs: Sequence[tuple[Journey, Message]],
        args: Sequence[Mapping[str, Any]] | None, timeout: float | None,
    ) -> list[Outcome]:  # fmt: skip
        """Write a batch through a sink: those not recorded as done, matched by effect key."""
        outcomes: dict[str, Outcome] = {}
        keys: list[str] = []
        calls: dict[str, tuple[Journey, Call]] = {}
        for n, (journey, message) in enumerate(pairs):
            key = effect_key(self._flow.name, message.id, step, branch)
            keys.append(key)
            known = journey.memo.effects.get(key) if journey.memo is not None else None
            if known is not None and known.state == "done":
                outcomes[key] = Done()
            elif (
                known is not None and known.state in DOUBTFUL and not sink.repeat.safe
                and journey.version.policy.unsafe == "park"
            ):  # fmt: skip
                outcomes[key] = Failed(doubt("it may have been written, and writing it again would be a second effect"))
            else:
                call = Call(
                    message=message, key=key, args=args[n] if args else {}, attempt=journey.attempt,
                    timeout=timeout or journey.version.policy.call_timeout, trace=traceparent(message, key),
                )  # fmt: skip
                calls[key] = (journey, call)
        if calls:
            outcomes |= await self._write(step, sink, calls)
        return [outcomes[key] for key in keys]

    async def _write(self, step: str, sink: Sink, calls: dict[str, tuple[Journey, Call]]) -> dict[str, Outcome]:
        target = self._engine.targets[sink.target]
        await target.admit(repeat=any(journey.attempt > 1 for journey, _ in calls.values()))
        if not sink.repeat.safe:
            for journey, call in calls.values():
                self._note(journey, call.key, step, sink, call, "intended", "", request=call.message.body)
                self._flow.touch(journey)
            self._engine.hook("before_intent_commit")
            await self._engine.writer.barrier()
        self._engine.hook("after_intent_before_send")
        timeout = max(call.timeout for _, call in calls.values())
        try:
            answers = dict(await self._engine.deadlines.run(sink.write([call for _, call in calls.values()]), timeout))
        except MessageError as error:
            answers = {key: Failed(error) for key in calls}
        self._engine.hook("after_send_before_record")
        for key, (journey, call) in calls.items():
            outcome = answers.setdefault(key, Failed(InDoubt(f"{sink.name} gave no outcome for it")))
            if isinstance(outcome, Failed):
                target.failed(outcome.error)
                if isinstance(outcome.error, InDoubt):
                    outcome.error.park = not sink.repeat.safe and journey.version.policy.unsafe == "park"
                state = "in_doubt" if isinstance(outcome.error, InDoubt) else "failed"
                self._note(journey, key, step, sink, call, state, outcome.error.message)
            else:
                target.succeeded(repeat=False)
                self._note(journey, key, step, sink, call, "done", "", request=call.message.body)
            self._flow.touch(journey)
        return answers


def doubt(text: str) -> InDoubt:
    """A doubt that a person has to resolve."""
    error = InDoubt(text)
    error.park = True
    return error
