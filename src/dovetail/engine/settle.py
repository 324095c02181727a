"""What becomes of a message when a run of it is over: done, discarded, split, to be tried again, or a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dovetail.engine.journey import Journey
from dovetail.engine.memo import Attempt, Memo, pack, unpack, unpack_meta
from dovetail.engine.policies.retry import exhausted, next_sleep
from dovetail.errors import DovetailError, InDoubt, MessageError, Paused, Rejected, Retry
from dovetail.sdk import Result
from dovetail.store.base import Progress, State

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun

FIRST_KEPT, LAST_KEPT = 5, 20  # attempts in a message's history; those between are dropped


class Settler:
    """Settles the runs of one flow."""

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._engine = flow.engine
        self._splits: dict[int, Progress] = {}

    def result(self, result: Result) -> None:
        """Settle every message of a chain's result."""
        active = self._flow.active
        for message in result.out:
            self.ended(active[message.ref], State.DONE)
        for message, rule in result.dropped:
            self.ended(active[message.ref], State.DISCARDED, rule)
        for message, error in result.failed:
            self.failed(active[message.ref], error)

    def leftovers(self, batch: Sequence[Journey]) -> None:
        """Messages of the batch that a split took over."""
        for journey in batch:
            if journey.parts is not None and journey.busy:
                self.split(journey)

    def ended(self, journey: Journey, state: State, reason: str = "") -> None:
        """The message has ended, well or not."""
        if not journey.busy:
            return
        journey.busy = False
        flow = self._flow
        flow.running -= 1
        self._engine.hook("after_outcome_before_commit")
        if journey.outbox:
            self._engine.send_out(journey.outbox)
        if journey.parent:
            self._part_ended(journey.parent)
        row = journey.row(flow.number, state, self._engine.clock.now_ms(), reason=reason)
        self._engine.writer.put(row, state.word, partial(self._flushed, journey, state, reason))

    def _flushed(self, journey: Journey, state: State, reason: str) -> None:
        """Its end is on disk: only now may the next one of its key begin."""
        flow, engine = self._flow, self._engine
        engine.hook("after_outcome_commit")
        flow.forget(journey)
        self._release(journey.key, journey.seq)
        engine.answer(flow, journey.seq, state, reason, journey.reply)
        engine.observer.ended(flow.name, journey.message, state, (engine.clock.now_ms() - journey.at) / 1000)
        if flow.ready or flow.behind:
            flow.pump_soon()

    def _release(self, key: str | None, seq: int) -> None:
        if key is not None:
            following = self._flow.lanes.end(key, seq)
            if following is not None:
                self._flow.ready.append(following)
                self._flow.pump_soon()

    def split(self, journey: Journey) -> None:
        """The message waits for its parts, which are accepted in the same transaction."""
        parts = journey.parts or []
        if not parts:
            self.ended(journey, State.DONE)
            return
        flow = self._flow
        flow.running -= 1
        journey.busy = False
        self._engine.hook("before_split_commit")
        row = journey.row(flow.number, State.SPLIT, self._engine.clock.now_ms())
        if journey.outbox:
            self._engine.send_out(journey.outbox)
        self._engine.send_out([(entry, None) for entry in parts])
        self._splits[journey.seq] = row
        if journey.key is not None:
            flow.lanes.wait(journey)
        journey.recorded = True
        self._engine.writer.put(row, after=lambda: flow.forget(journey))

    def _part_ended(self, parent: int) -> None:
        row = self._splits.get(parent) or self._engine.store.progress.get(self._flow.number, parent)
        if row is None or row.state is not State.SPLIT:
            return
        left = row.parts - 1
        now = self._engine.clock.now_ms()
        if left > 0:
            row = Progress(row.flow, row.seq, State.SPLIT, now, row.attempt, 0, row.key, left, "", row.memo)
            self._splits[parent] = row
            self._engine.writer.put(row)
            return
        self._splits.pop(parent, None)
        done = Progress(row.flow, row.seq, State.DONE, now, row.attempt, memo=row.memo)
        self._engine.writer.put(done, State.DONE.word, partial(self._parent_flushed, row))

    def _parent_flushed(self, row: Progress) -> None:
        flow, engine = self._flow, self._engine
        self._release(row.key, row.seq)
        engine.answer(flow, row.seq, State.DONE, "", None)
        entry = engine.store.journal.get(row.seq)
        if entry is not None:
            message = flow.message(entry, unpack_meta(entry.meta))
            engine.observer.ended(flow.name, message, State.DONE, (engine.clock.now_ms() - entry.at) / 1000)

    # --- failures ---------------------------------------------------------------------------------------------

    def failed(self, journey: Journey, error: Exception) -> None:
        """A run of the message failed; the error's kind decides."""
        if not journey.busy:
            return
        known = as_message_error(error)
        if isinstance(known, Paused):
            self._paused(journey, known)
        elif isinstance(known, InDoubt):
            if known.park:
                self.dead(journey, known)
            else:
                self._again(journey, known, State.IN_DOUBT, None)
        elif isinstance(known, Retry):
            self._again(journey, known, State.WAITING, known.after)
        else:
            self.dead(journey, known)

    def _paused(self, journey: Journey, error: Paused) -> None:
        """No attempt is lost: it waits in memory behind the flow's gate, or on disk if only it has to wait."""
        flow = self._flow
        if error.code != "budget":
            flow.running -= 1
            journey.busy = False
            flow.gate(journey, error.target, error.after or 1.0)
            return
        journey.attempt -= 1
        self._wait(journey, State.WAITING, error.after or 1.0)

    def _again(self, journey: Journey, error: MessageError, state: State, after: float | None) -> None:
        memo, policy = journey.notes, journey.version.policy
        now = self._engine.steady_ms()
        if not memo.first_try_at:
            memo.first_try_at = now
        if exhausted(policy, journey.attempt, memo.first_try_at, now):
            self.dead(journey, error)
            return
        self._remember(journey, memo, error)
        memo.sleep = next_sleep(policy, memo.sleep, after, self._engine.ids)
        self._wait(journey, state, memo.sleep)

    def _wait(self, journey: Journey, state: State, seconds: float) -> None:
        flow = self._flow
        flow.running -= 1
        journey.busy = False
        self._engine.hook("before_retry_commit")
        if journey.outbox:
            self._engine.send_out(journey.outbox)
            journey.outbox = None
        next_at = self._engine.steady_ms() + int(seconds * 1000)
        journey.recorded = True
        row = journey.row(flow.number, state, self._engine.clock.now_ms(), next_at=next_at)
        if journey.key is not None:
            flow.lanes.wait(journey)
        self._engine.writer.put(row, after=partial(self._waits, journey, next_at))

    def _waits(self, journey: Journey, next_at: int) -> None:
        self._flow.forget(journey)
        self._flow.timer.at(next_at)
        self._flow.pump_soon()

    def dead(self, journey: Journey, error: MessageError) -> None:
        """A dead letter: its reason, its history and its effects stay, and it can be sent on again."""
        self._remember(journey, journey.notes, error)
        self._engine.hook("before_dead_letter_commit")
        self.ended(journey, State.DEAD, f"{error.code}: {error.message}"[:1000])

    def unloadable(self, progress: Progress, error: MessageError) -> None:
        """A message whose flow version cannot be built any more."""
        memo = unpack(progress.memo)
        memo.history.append(Attempt(progress.attempt, self._engine.clock.now_ms(), "", error.code, error.message))
        row = Progress(
            progress.flow, progress.seq, State.DEAD, self._engine.clock.now_ms(), progress.attempt,
            reason=f"{error.code}: {error.message}"[:1000], memo=pack(memo),
        )  # fmt: skip
        self._engine.writer.put(row, State.DEAD.word, partial(self._release, progress.key, progress.seq))

    def _remember(self, journey: Journey, memo: Memo, error: MessageError) -> None:
        step = str(getattr(error, "step", ""))
        memo.history.append(
            Attempt(
                journey.attempt, self._engine.clock.now_ms(), step, error.code, error.message[:2000],
                plain(error.detail), journey.version.number,
            )
        )  # fmt: skip
        if len(memo.history) > FIRST_KEPT + LAST_KEPT:
            del memo.history[FIRST_KEPT]
        self._engine.observer.failed(self._flow.name, step, error.code, journey.message, error)


def as_message_error(error: Exception) -> MessageError:
    """An error as the engine reads it: whatever a step raises that is not of our tree is permanent."""
    if isinstance(error, MessageError):
        return error
    text = error.message if isinstance(error, DovetailError) else f"{type(error).__name__}: {error}"
    wrapped = Rejected(text, code=error.code if isinstance(error, DovetailError) else "exception")
    wrapped.step = getattr(error, "step", "")
    wrapped.detail = getattr(error, "detail", None)
    return wrapped


def plain(detail: object) -> object:
    """A detail that the memo can keep: plain data, or its text."""
    if detail is None or isinstance(detail, (str, int, float, bool)):
        return detail
    if isinstance(detail, dict):
        return {str(key): plain(value) for key, value in list(detail.items())[:50]}
    if isinstance(detail, (list, tuple)):
        return [plain(value) for value in detail[:50]]
    return str(detail)[:2000]
