"""Sagas: what has been done for a message that failed for good is undone, in reverse order.

Before an effect with a compensation is called, the memo says durably what will undo it. When the message fails for
good, the memo says durably that it goes backwards from now on; then each compensation is an effect with a key of its
own, retried like others. Everything it needs stands in the memo: no step runs on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dovetail.engine.definition import Policy
from dovetail.engine.journey import Journey, place
from dovetail.engine.memo import Memo, Undo, Undoing, readable
from dovetail.errors import InDoubt, MessageError, Paused, Rejected, Retry, Throttled
from dovetail.sdk import Message, Operation, Repeat, Reply, Saga, Sink
from dovetail.store.base import State

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun


@dataclass(slots=True)
class Pledge:
    """One attempt of an effect that has a part in a saga. `earlier`: an attempt before it may have been done."""

    key: str
    step: str
    branch: str
    saga: Saga
    earlier: bool = False


class Sagas:
    """The sagas of one flow's messages."""

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._engine = flow.engine

    # --- forward ----------------------------------------------------------------------------------------------

    def pledge(self, journey: Journey, key: str, step: str, branch: str, saga: Saga | None) -> Pledge | None:
        """Note what undoes the effect, before it is called. The caller writes it down with the intent. None if it
        has no part in a saga, or if a pivot is done already: then there is nothing to note."""
        memo = journey.memo
        if saga is None or (memo is not None and _forward(memo)):
            return None
        memo = journey.notes
        pledge = Pledge(key, step, branch, saga, key in memo.undo or key in memo.pivots)
        if saga.pivot:
            memo.pivots[key] = False
        elif not pledge.earlier:
            memo.undo[key] = self._undo(pledge, None)
        return pledge

    def done(self, journey: Journey, pledge: Pledge | None, reply: Reply | None) -> None:
        """The effect is done: now its reply is known. In the memo it stands behind what was done before it."""
        if pledge is None:
            return
        memo = journey.notes
        if pledge.saga.pivot:
            memo.pivots[pledge.key] = True
            memo.undo.clear()
        elif not _forward(memo):
            memo.undo.pop(pledge.key, None)
            memo.undo[pledge.key] = self._undo(pledge, reply)

    def failed(self, journey: Journey, pledge: Pledge | None, made: Operation | Sink, error: MessageError) -> None:
        """An attempt failed. What was provably never done needs no undoing."""
        if pledge is not None and (_unknown(made, error) if pledge.earlier else _untouched(made, error)):
            journey.notes.undo.pop(pledge.key, None)
            journey.notes.pivots.pop(pledge.key, None)

    def _undo(self, pledge: Pledge, reply: Reply | None) -> Undo:
        saga, json = pledge.saga, self._engine.codecs.by_name("json")
        undo = Undo(pledge.step, pledge.branch, saga.compensation, timeout=saga.timeout)
        assert saga.request is not None
        try:
            message, args = saga.request(reply)
            undo.args, undo.body = json.encode(dict(args)), message.body
            undo.codec, undo.content_type, undo.headers = message.codec.name, message.content_type, message.headers
        except Exception as error:  # it matters only if it is ever needed
            undo.problem = readable(f"its request cannot be put together: {error}"[:1000])
        return undo

    # --- the turning point ------------------------------------------------------------------------------------

    def turns(self, journey: Journey, error: MessageError) -> bool:
        """Whether a message that failed for good goes backwards now; if so, that is on its way to the disk."""
        memo = journey.memo
        if memo is None or memo.undoing is not None or not memo.undo or memo.pivots:
            return False  # a pivot that is done, or in doubt: a person decides
        doubts = (key for key, effect in memo.effects.items() if effect.state in ("intended", "in_doubt"))
        if isinstance(error, InDoubt) and error.park and any(key not in memo.undo for key in doubts):
            return False
        memo.undoing = Undoing(readable(f"{error.code}: {error.message}")[:500], self._engine.clock.now_ms())
        memo.first_try_at, memo.sleep, memo.crashes, memo.deaths = 0, 0.0, 0, 0
        journey.attempt = 0  # those of the way back are counted anew
        self._engine.hook("before_compensation_commit")
        return True

    def stopped(self, journey: Journey, error: MessageError) -> str:
        """The reason of a dead letter; one whose compensation cannot go on says what is left to undo."""
        reason, memo = f"{error.code}: {error.message}", journey.memo
        if memo is None or memo.undoing is None:
            return reason
        undoes = reversed(memo.undo.values())
        left = ", ".join(f"{_placed(undo)} by {undo.operation}" for undo in undoes) or "nothing"
        return f"compensation stopped: {reason}; left to undo: {left}; it had failed: {memo.undoing.reason}"

    def policy(self, journey: Journey) -> Policy:
        """How long and how often a failed attempt of this message is made again."""
        policy = journey.version.policy
        if not journey.undoing:
            return policy
        return replace(policy, retry_for=policy.compensate_for, max_attempts=None)

    # --- backward ---------------------------------------------------------------------------------------------

    async def undo(self, journey: Journey) -> None:
        """Call what is left to be called, the latest effect first. Raises what keeps one of them from being done."""
        memo = journey.notes
        for key, undo in reversed(list(memo.undo.items())):
            try:
                await self._compensate(journey, undo)
            except Exception as error:
                error.step = f"{_placed(undo)}/compensate"  # type: ignore[attr-defined]
                raise
            if key in memo.effects:
                memo.effects[key].state = "compensated"
            del memo.undo[key]
            self._flow.touch(journey)
        self._end(journey, memo)

    async def _compensate(self, journey: Journey, undo: Undo) -> None:
        if undo.problem:
            raise Rejected(undo.problem, code="compensation")
        message, args = self._request(journey.message, undo)
        await self._flow.effects.call(
            journey, f"{undo.step}/compensate", undo.branch, self._operation(undo.operation), message, args,
            undo.timeout, insist=True,
        )  # fmt: skip
        self._engine.hook("after_compensation_before_record")

    def _request(self, message: Message, undo: Undo) -> tuple[Message, Mapping[str, Any]]:
        codecs = self._engine.codecs
        args = codecs.by_name("json").decode(undo.args)
        body = message.with_body(undo.body, codecs.by_name(undo.codec), undo.content_type)
        return body.with_headers(undo.headers), args

    def _operation(self, name: str) -> Operation:
        connection, _, operation = name.partition(".")
        try:
            return self._engine.application.connections[connection].operation(operation)
        except KeyError:
            raise Rejected(f"the project has no operation '{name}' any more", code="compensation") from None

    def _end(self, journey: Journey, memo: Memo) -> None:
        undoing, memo.undoing = memo.undoing, None
        assert undoing is not None
        discard = journey.version.policy.compensated == "discard"
        try:
            if not discard:
                self._engine.hook("before_dead_letter_commit")
            reason = f"compensated: {undoing.reason}"
            self._flow.settle.ended(journey, State.DISCARDED if discard else State.DEAD, reason)
        except Exception:  # this end is not written down: the message is still on its way back, and never goes forward
            memo.undoing = undoing
            raise


def _placed(undo: Undo) -> str:
    return f"{place(undo.branch)}/{undo.step}".lstrip("/")


def _forward(memo: Memo) -> bool:
    """Whether a pivot is done."""
    return any(memo.pivots.values())


def _untouched(made: Operation | Sink, error: MessageError) -> bool:
    """Whether the target provably did nothing in this attempt. A `Retry` proves that for an operation whose repeat is
    not safe (it would be a doubt otherwise), and where the connector says so."""
    if isinstance(error, Rejected | Throttled | Paused):
        return True
    return isinstance(error, Retry) and (error.untouched or not made.repeat.safe)


def _unknown(made: Operation | Sink, error: MessageError) -> bool:
    """Whether a target that remembers what it did under a key provably knows nothing of an earlier attempt."""
    remembers = made.repeat in (Repeat.IDEMPOTENT, Repeat.TRANSACTIONAL)
    return remembers and isinstance(error, Rejected) and error.untouched
