"""Effects: calls on outside systems, named, journaled, guarded, and made again only as their operation allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from dovetail.engine.journey import Journey, named, place, traceparent
from dovetail.engine.memo import Effect, Memo, kept_headers, readable
from dovetail.engine.saga import Pledge
from dovetail.engine.targets import Target
from dovetail.errors import InDoubt, MessageError, Paused, Rejected
from dovetail.sdk import OPAQUE, Call, Codecs, Done, Failed, Message, Operation, Outcome, Repeat, Reply, Saga, Sink

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
        args: Mapping[str, Any] | None, timeout: float | None, saga: Saga | None = None, *, insist: bool = False,
    ) -> Reply:  # fmt: skip
        """Make the effect, or return its recorded reply. Raises the kinds of `dovetail.errors`; a refusal on record is
        raised again without a call, unless somebody has to `insist`."""
        key, branch, known = named(journey.memo, self._flow.name, message.origin, step, branch)
        if known is not None and known.state == "done":
            return self._recorded(known)
        if known is not None and known.refusal and not insist:
            raise Rejected(known.message, code=known.refusal)
        call = Call(
            message=message, key=key, args=args or {}, timeout=timeout or journey.version.policy.call_timeout,
            attempt=journey.attempt, trace=self._trace(message, key, journey),
        )  # fmt: skip
        doubtful = known is not None and known.state in DOUBTFUL
        if doubtful and operation.repeat is Repeat.NONE and journey.version.policy.unsafe == "park":
            raise doubt("it may have been done, and doing it again would be a second effect")
        target = self._engine.targets[operation.target]
        repeat = known is not None or journey.attempt > 1
        await target.admit(repeat, journey.rank)
        pledge = self._flow.sagas.pledge(journey, key, step, branch, saga)
        started = self._engine.clock.monotonic()
        outcome = "cancelled"
        asking = doubtful and operation.repeat is Repeat.QUERYABLE
        try:
            reply = await self._engine.deadlines.run(operation.query(call), call.timeout) if asking else None
            if asking and pledge is not None:
                pledge.earlier = reply is not None  # it provably never happened
            asking = False
            if reply is None:
                if pledge is not None or not operation.repeat.safe:
                    await self._intend(journey, step, branch, operation, call)
                self._engine.hook("after_intent_before_send")
                calling = operation.call(call)
                reply = await (calling if operation.timely else self._engine.deadlines.run(calling, call.timeout))
            target.succeeded(repeat)
            outcome = "done"
        except MessageError as error:
            target.failed(error)
            outcome = "failed"
            if asking and isinstance(error, Paused):
                raise
            if asking:  # it could not even be asked: the doubt stays as it is on record
                raise InDoubt(f"it may have been done, and asking failed: {error.message}") from error
            if isinstance(error, InDoubt):
                outcome = "in_doubt"
                error.park = operation.repeat is Repeat.NONE and journey.version.policy.unsafe == "park"
            self._note(journey, key, step, branch, operation, call, outcome, error.message)
            journey.notes.effects[key].refusal = error.code if isinstance(error, Rejected) else ""
            self._flow.sagas.failed(journey, pledge, operation, error)
            raise
        except BaseException as error:
            target.failed(error)
            raise
        finally:
            seconds = self._engine.clock.monotonic() - started
            self._engine.observer.effect(self._flow.name, step, operation.target, call, seconds, outcome)
        self._engine.hook("after_send_before_record")
        self._record(journey, key, step, branch, operation, call, reply)
        self._flow.sagas.done(journey, pledge, reply)
        if not operation.repeat.safe:
            await self._engine.writer.barrier()
        return reply

    async def _intend(self, journey: Journey, step: str, branch: str, operation: Operation, call: Call) -> None:
        """Say durably what is about to be done, so that a crash leaves a doubt instead of a gap."""
        self._engine.hook("before_intent_commit")
        self._note(journey, call.key, step, branch, operation, call, "intended", "", request=call.message.body)
        self._flow.touch(journey)
        await self._engine.writer.barrier()

    def _note(
        self, journey: Journey, key: str, step: str, branch: str, operation: Operation | Sink, call: Call, state: Any,
        text: str, request: bytes | None = None,
    ) -> None:  # fmt: skip
        journey.notes.effects[key] = Effect(
            step=step, target=operation.target, state=state, attempt=call.attempt, at=self._engine.clock.now_ms(),
            request=blake2b(request, digest_size=16).digest() if request is not None else b"",
            message=readable(text[:2000]), branch=place(branch),
            unsafe=state in DOUBTFUL and not operation.repeat.safe,
        )  # fmt: skip

    def _record(
        self, journey: Journey, key: str, step: str, branch: str, operation: Operation, call: Call, reply: Reply
    ) -> None:
        codec, body = reply.codec, b""
        reply.headers = kept_headers(reply.headers) if reply.headers else {}  # the step sees what a retry will see
        if codec.name == OPAQUE.name and not isinstance(reply.value, bytes):
            codec = self._engine.codecs.by_name("json")  # a plain value, which must come back as what it was
            body = codec.encode(reply.value)
        journey.notes.effects[key] = Effect(
            step=step, target=operation.target, state="done", attempt=call.attempt, at=self._engine.clock.now_ms(),
            request=b"" if operation.repeat.safe else blake2b(call.message.body, digest_size=16).digest(),
            status=reply.status, codec=codec.name, body=body or reply.body, branch=place(branch),
            headers=dict(reply.headers),
        )  # fmt: skip
        self._flow.touch(journey)

    def _trace(self, message: Message, key: str, journey: Journey) -> str:
        return traceparent(message, key, journey.attempt, self._engine.clock.now_ms())

    def _recorded(self, effect: Effect) -> Reply:
        return reply_of(effect, self._engine.codecs)

    async def write(
        self, step: str, branch: str, sink: Sink, pairs: Sequence[tuple[Journey, Message]],
        args: Sequence[Mapping[str, Any]] | None, timeout: float | None, sagas: Sequence[Saga] | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Write a batch through a sink: those not recorded as done, matched by effect key."""
        outcomes: dict[str, Outcome] = {}
        keys: list[str] = []
        calls: dict[str, tuple[Journey, Call]] = {}
        bound: dict[str, tuple[str, Saga]] = {}
        for n, (journey, message) in enumerate(pairs):
            key, again, known = named(journey.memo, self._flow.name, message.origin, step, branch)
            keys.append(key)
            if known is not None and known.state == "done":
                outcomes[key] = Done()
            elif known is not None and known.refusal:
                outcomes[key] = Failed(Rejected(known.message, code=known.refusal))
            elif (
                known is not None and known.state in DOUBTFUL and not sink.repeat.safe
                and journey.version.policy.unsafe == "park"
            ):  # fmt: skip
                outcomes[key] = Failed(doubt("it may have been written, and writing it again would be a second effect"))
            else:
                call = Call(
                    message=message, key=key, args=args[n] if args else {}, attempt=journey.attempt,
                    timeout=timeout or journey.version.policy.call_timeout, trace=self._trace(message, key, journey),
                )  # fmt: skip
                calls[key] = (journey, call)
                if sagas is not None:
                    bound[key] = (again, sagas[n])
        if calls:
            outcomes |= await self._write(step, branch, sink, calls, bound)
        return [outcomes[key] for key in keys]

    async def _write(
        self, step: str, branch: str, sink: Sink, calls: dict[str, tuple[Journey, Call]],
        bound: dict[str, tuple[str, Saga]],
    ) -> dict[str, Outcome]:  # fmt: skip
        target = self._engine.targets[sink.target]
        repeat = any(journey.attempt > 1 for journey, _ in calls.values())
        await target.admit(repeat, min(journey.rank for journey, _ in calls.values()))
        sagas, pledges = self._flow.sagas, dict[str, Pledge | None]()
        for key, (again, saga) in bound.items():
            pledges[key] = sagas.pledge(calls[key][0], key, step, again, saga)
        intended = calls if any(pledges.values()) or not sink.repeat.safe else {}
        started = self._engine.clock.monotonic()
        try:
            answers = await self._write_once(step, branch, sink, calls, intended)
        except MessageError as error:
            target.failed(error)  # one call, one verdict, however many messages it was about
            answers = {key: Failed(error) for key in calls}
        except BaseException as error:
            target.failed(error)
            raise
        else:
            self._judge(target, [answers[key] for key in calls], repeat)
        self._engine.hook("after_send_before_record")
        seconds = self._engine.clock.monotonic() - started
        for key, (journey, call) in calls.items():
            state = self._written(journey, step, branch, sink, call, answers[key], pledges.get(key))
            self._engine.observer.effect(self._flow.name, step, sink.target, call, seconds, state)
        if not sink.repeat.safe:
            await self._engine.writer.barrier()
        return answers

    async def _write_once(
        self, step: str, branch: str, sink: Sink, calls: dict[str, tuple[Journey, Call]],
        intended: dict[str, tuple[Journey, Call]],
    ) -> dict[str, Outcome]:  # fmt: skip
        if intended:
            self._engine.hook("before_intent_commit")
            for journey, call in intended.values():
                self._note(journey, call.key, step, branch, sink, call, "intended", "", request=call.message.body)
                self._flow.touch(journey)
            await self._engine.writer.barrier()
        self._engine.hook("after_intent_before_send")
        timeout = max(call.timeout for _, call in calls.values())
        told = await self._engine.deadlines.run(sink.write([call for _, call in calls.values()]), timeout)
        return {key: told.get(key) or Failed(InDoubt(f"{sink.name} gave no outcome for it")) for key in calls}

    def _judge(self, target: Target, outcomes: Sequence[Outcome], repeat: bool) -> None:
        """What a batch tells about its target: the worst that it says of a message, but that it answered counts."""
        errors = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
        telling = [error for error in errors if not isinstance(error, Rejected)]
        if telling and len(errors) == len(outcomes):
            target.failed(telling[0])
        else:
            target.succeeded(repeat)

    def _written(
        self, journey: Journey, step: str, branch: str, sink: Sink, call: Call, outcome: Outcome,
        pledge: Pledge | None,
    ) -> str:  # fmt: skip
        """Note the outcome of one message of a batch; its state."""
        if isinstance(outcome, Failed):
            state = "in_doubt" if isinstance(outcome.error, InDoubt) else "failed"
            if isinstance(outcome.error, InDoubt):
                outcome.error.park = not sink.repeat.safe and journey.version.policy.unsafe == "park"
            self._note(journey, call.key, step, branch, sink, call, state, outcome.error.message)
            refused = isinstance(outcome.error, Rejected)
            journey.notes.effects[call.key].refusal = outcome.error.code if refused else ""
            self._flow.sagas.failed(journey, pledge, sink, outcome.error)
        else:
            state = "done"
            self._note(journey, call.key, step, branch, sink, call, state, "", request=call.message.body)
            self._flow.sagas.done(journey, pledge, None)
        self._flow.touch(journey)
        return state


def doubt(text: str) -> InDoubt:
    """A doubt that a person has to resolve."""
    error = InDoubt(text)
    error.park = True
    return error


def in_doubt(memo: Memo | None, branch: str) -> bool:
    """See `dovetail.sdk.Context.in_doubt`."""
    within = f"{place(branch)}/" if branch else ""
    return memo is not None and any(
        effect.unsafe and effect.state in DOUBTFUL and f"{effect.branch}/".startswith(within)
        for effect in memo.effects.values()
    )


def reply_of(effect: Effect, codecs: Codecs) -> Reply:
    """What a target answered, as it was recorded."""
    return Reply(effect.body, codec=codecs.by_name(effect.codec), status=effect.status, headers=effect.headers)
