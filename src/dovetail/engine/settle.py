"""What becomes of a message when a run of it is over: done, discarded, split, to be tried again, or a dead letter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dovetail.engine.journey import Journey
from dovetail.engine.memo import Attempt, Memo, pack, plain, readable, unpack, unpack_meta
from dovetail.engine.policies.retry import bounded, exhausted, next_sleep
from dovetail.errors import DovetailError, InDoubt, MessageError, Paused, Refused, Rejected, Retry, Waiting
from dovetail.sdk import Result
from dovetail.store.base import Entry, Parked, Progress, Row, State

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun

FOREVER = 253_402_300_799_000  # the end of the year 9999: the next attempt of what waits without a limit
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
            journey = active[message.ref]
            try:
                self.ended(journey, State.DONE)
            except Exception as error:
                self.broken((journey,), error)
        for message, rule in result.dropped:
            journey = active[message.ref]
            try:
                self.ended(journey, State.DISCARDED, rule)
            except Exception as error:
                self.broken((journey,), error)
        for message, failure in result.failed:
            self.broken((active[message.ref],), failure)

    def broken(self, journeys: Iterable[Journey], error: Exception) -> None:
        """A run failed for these. None of them may be left without a row, whatever goes wrong in writing it."""
        for journey in journeys:
            try:
                self.failed(journey, error)
            except Exception as second:
                self._engine.log.error("settle_failed", flow=self._flow.name, seq=journey.seq, error=repr(second))
                kept = journey.notes
                kept.history = [Attempt(journey.attempt, 0, "", "exception", readable(repr(second))[:2000])]
                self.ended(journey, State.DEAD, f"exception: {error!r}")

    def leftovers(self, batch: Iterable[Journey]) -> None:
        """Messages of the batch that came out nowhere: a split took them over, or a step lost them."""
        for journey in batch:
            if not journey.busy:
                continue
            if journey.parts is not None:
                self.split(journey)
            elif journey.absorbed is not None:
                self.ended(journey, State.DONE, journey.absorbed)
            else:
                self.failed(journey, Rejected("a step let it come out nowhere", code="lost"))

    def ended(self, journey: Journey, state: State, reason: str = "") -> None:
        """The message has ended, well or not."""
        if not journey.busy:
            return
        flow = self._flow
        self._engine.hook("after_outcome_before_commit")
        if state is State.DEAD and journey.memo is not None:
            for effect in journey.memo.effects.values():
                effect.refusal = ""  # whoever takes it up again has mended what was refused
        if state is not State.DEAD:
            _survived(journey)
        row = journey.row(flow.number, state, self._engine.clock.now_ms(), reason=readable(reason)[:1000])
        journey.busy = False
        journey.version.ended[state] += 1
        flow.running -= 1
        if journey.outbox:
            self._engine.send_out(journey.outbox)
        if journey.parent and not journey.redriven:
            self._part_ended(journey.parent)
        if journey.key is not None:
            self._lane_ends(journey.key, journey, state)
        self._engine.writer.put(row, state.word, partial(self._flushed, journey, state, reason))
        if journey.key is not None and flow.lanes.followed(journey.key):
            self._engine.writer.wake()

    def _lane_ends(self, key: str, journey: Journey, state: State) -> None:
        """What the same commit says of the journey's lane: it stands still, or the next one is claimed."""
        lanes, poison = self._flow.lanes, journey.version.policy.poison
        if state is State.DEAD and poison != "skip" and lanes.park(key, journey.seq):
            self._park(key, journey.seq, poison)
        else:
            if lanes.unpark(key, journey.seq):
                self._engine.writer.moves.parks[self._flow.number, key] = None
            self._flow.held.claim_following(key)

    def _park(self, key: str, seq: int, poison: str) -> None:
        number, now = self._flow.number, self._engine.clock.now_ms()
        self._engine.writer.moves.parks[number, key] = Parked(number, key, seq, now, poison == "block")
        self._engine.writer.note(("parked", number, seq, key))

    def _flushed(self, journey: Journey, state: State, reason: str) -> None:
        """Its end is on disk: only now may the next one of its key begin."""
        flow, engine = self._flow, self._engine
        flow.forget(journey)
        self._release(journey.key, journey.seq)
        if state is State.DONE:
            flow.passed()
        engine.answer(flow, journey.seq, state, reason, journey.reply)
        if flow.ready or flow.backlog.behind:
            flow.pump_soon()
        engine.observer.ended(flow.name, journey.message, state, (engine.clock.now_ms() - journey.at) / 1000)
        engine.hook("after_outcome_commit")

    def _release(self, key: str | None, seq: int) -> None:
        if key is None or self._flow.lanes.parked(key, seq):
            return
        following = self._flow.lanes.end(key, seq)
        if following is not None and following.held:
            self._engine.spawn(self._flow.begin_again([following]))
        elif following is not None:
            self._flow.ready.append(following)
            self._flow.pump_soon()

    def let_go(self, key: str) -> None:
        """Somebody decided about the failed message that a lane stands still behind, and that is on disk."""
        seq = self._flow.lanes.head(key)
        if self._flow.lanes.unpark(key, seq):
            self._release(key, seq)

    def split(self, journey: Journey) -> None:
        """The message waits for its parts, which are accepted in the same transaction."""
        parts = journey.parts or []
        if not parts:
            self.ended(journey, State.DONE)
            return
        flow = self._flow
        self._engine.hook("before_split_commit")
        _survived(journey)
        row = journey.row(flow.number, State.SPLIT, self._engine.clock.now_ms())
        flow.running -= 1
        journey.busy = False
        if journey.outbox:
            self._engine.send_out(journey.outbox)
        self._engine.send_out([(entry, None) for entry in parts])
        if journey.key is not None:
            flow.lanes.wait(journey)
        journey.recorded = True
        self._splits[journey.seq] = row
        self._engine.writer.put(row, after=partial(self._split_flushed, journey, row))

    def _split_flushed(self, journey: Journey, row: Progress) -> None:
        flow = self._flow
        self._settled_split(row)
        flow.forget(journey)
        if journey.reply is not None:
            self._engine.answer(flow, journey.seq, State.SPLIT, "", journey.reply)
        flow.pump_soon()

    def _settled_split(self, row: Progress) -> None:
        """The disk says the same as `_splits`, which need not remember it any longer."""
        if self._splits.get(row.seq) is row:
            del self._splits[row.seq]

    def _part_ended(self, parent: int) -> None:
        """One part of `parent` has ended for the first time: dead letters count, and do not count again later."""
        row = self._splits.get(parent) or self._engine.store.progress.get(self._flow.number, parent)
        if row is None or row.state is not State.SPLIT:
            return
        now = self._engine.clock.now_ms()
        if row.parts > 1:
            left = replace(row, at=now, parts=row.parts - 1)
            self._splits[parent] = left
            self._engine.writer.put(left, after=partial(self._settled_split, left))
            return
        if row.key is not None and self._flow.lanes.unpark(row.key, row.seq):
            self._engine.writer.moves.parks[row.flow, row.key] = None
        done = replace(row, state=State.DONE, at=now, parts=0, key=None)
        self._splits[parent] = done
        entry = self._engine.store.journal.get(parent)
        if entry is not None and entry.parent and not unpack(row.memo).redriven:
            self._part_ended(entry.parent)  # it was a part itself
        self._engine.writer.put(done, State.DONE.word, partial(self._parent_flushed, row, done, entry))

    def _parent_flushed(self, row: Progress, done: Progress, entry: Row | None) -> None:
        flow, engine = self._flow, self._engine
        self._settled_split(done)
        self._release(row.key, row.seq)
        engine.answer(flow, row.seq, State.DONE, "", None)
        if entry is not None:
            message = flow.loader.message(entry, unpack_meta(entry.meta))
            engine.observer.ended(flow.name, message, State.DONE, (engine.clock.now_ms() - entry.at) / 1000)

    # --- failures ---------------------------------------------------------------------------------------------

    def failed(self, journey: Journey, error: Exception) -> None:
        """A run of the message failed; the error's kind decides."""
        if not journey.busy:
            return
        known = as_message_error(error)
        if isinstance(known, Waiting):
            self._waiting(journey, known)
        elif isinstance(known, Paused):
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
        """No attempt is lost: it waits on disk while others get through, or in memory behind the flow's gate."""
        flow = self._flow
        flow.pauses += 1
        if error.code == "rate" or (error.code != "budget" and flow.pauses > flow.patience):
            flow.running -= 1
            journey.busy = False
            rank = journey.rank if error.code == "rate" else 0  # a rate lets the more urgent ones through
            flow.gate(journey, error.target, bounded(error.after, 60.0) or 1.0, rank)
            return
        journey.attempt -= 1
        self._wait(journey, State.WAITING, self._in(bounded(error.after, 3600.0) or 1.0))

    def _waiting(self, journey: Journey, wait: Waiting) -> None:
        """Nothing failed: it waits for a time or an event, which may have come by now."""
        now = self._engine.steady_ms()
        next_at = FOREVER if wait.until is None else max(now, wait.until)
        if journey.roused:
            journey.roused, next_at = False, now
        self._engine.hook("before_wait_commit")
        journey.attempt -= 1
        self._wait(journey, State.WAITING, next_at, readable(wait.message)[:1000])
        journey.waits = True  # only now: if its row cannot be made it ends, and no event may wake it

    def _again(self, journey: Journey, error: MessageError, state: State, after: float | None) -> None:
        memo, policy = journey.notes, self._flow.sagas.policy(journey)
        now = self._engine.steady_ms()
        if not memo.first_try_at:
            memo.first_try_at = now
        if journey.last if journey.last is not None else exhausted(policy, journey.attempt, memo.first_try_at, now):
            self.dead(journey, error)
            return
        self._remember(journey, memo, error)
        memo.sleep = next_sleep(policy, memo.sleep, after, self._engine.ids)
        self._wait(journey, state, self._in(memo.sleep))

    def _in(self, seconds: float) -> int:
        return self._engine.steady_ms() + int(seconds * 1000)

    def _wait(self, journey: Journey, state: State, next_at: int, reason: str = "") -> None:
        flow = self._flow
        self._engine.hook("before_retry_commit")
        if journey.undoing:
            state = State.COMPENSATING
        _survived(journey)
        row = journey.row(flow.number, state, self._engine.clock.now_ms(), next_at=next_at, reason=reason)
        flow.running -= 1
        journey.busy = False
        if journey.outbox:
            self._engine.send_out(journey.outbox)
            journey.outbox = None
        journey.recorded = True
        if journey.key is not None:
            flow.lanes.wait(journey)
        self._engine.writer.put(row, after=partial(self._waits, journey, next_at))

    def _waits(self, journey: Journey, next_at: int) -> None:
        self._flow.forget(journey)
        self._flow.timer.at(next_at)
        self._flow.pump_soon()

    def dead(self, journey: Journey, error: MessageError) -> None:
        """A dead letter: its reason, its history and its effects stay, and it can be sent on again. What was done for
        it and can be undone is undone first."""
        self._remember(journey, journey.notes, error)
        if self._flow.sagas.turns(journey, error):
            self._wait(journey, State.COMPENSATING, self._in(0.0))
            return
        self._engine.hook("before_dead_letter_commit")
        self.ended(journey, State.DEAD, self._flow.sagas.stopped(journey, error))

    def refused(self, journey: Journey, error: Exception) -> None:
        """A message of a topic that this flow does not take: a dead letter of its own."""
        self._flow.adopt(journey)
        self._flow.running += 1
        journey.busy = True
        if isinstance(error, Refused):
            error = Rejected(error.message, code=error.code, detail=error.detail)
        self.broken((journey,), error)

    def unloadable(self, entry: Entry | Row | None, progress: Progress, error: MessageError) -> None:
        """A message that cannot be brought into memory: its body, or its flow version, is gone."""
        memo, now = unpack(progress.memo), self._engine.clock.now_ms()
        memo.history.append(Attempt(progress.attempt, now, "", error.code, readable(error.message)))
        reason = readable(f"{error.code}: {error.message}")[:1000]
        row = replace(progress, state=State.DEAD, at=now, next_at=0, reason=reason, memo=pack(memo))
        if entry is not None and entry.parent and not memo.redriven:
            self._part_ended(entry.parent)
        poison = self._flow.versions.current.policy.poison
        if progress.key is not None and poison != "skip" and self._flow.lanes.park(progress.key, progress.seq):
            self._park(progress.key, progress.seq, poison)
        self._engine.writer.put(row, State.DEAD.word, partial(self._unloadable_flushed, progress, reason))

    def _unloadable_flushed(self, progress: Progress, reason: str) -> None:
        flow, engine = self._flow, self._engine
        self._release(progress.key, progress.seq)
        engine.answer(flow, progress.seq, State.DEAD, reason, None)
        engine.log.error("message_unloadable", flow=flow.name, seq=progress.seq, reason=reason)

    def _remember(self, journey: Journey, memo: Memo, error: MessageError) -> None:
        step = str(getattr(error, "step", ""))
        memo.history.append(
            Attempt(
                journey.attempt, self._engine.clock.now_ms(), step, error.code, readable(error.message[:2000]),
                plain(error.detail), journey.version.number,
            )
        )  # fmt: skip
        if len(memo.history) > FIRST_KEPT + LAST_KEPT:
            del memo.history[FIRST_KEPT]
        self._engine.observer.failed(self._flow.name, step, error.code, journey.message, error)


def _survived(journey: Journey) -> None:
    """It ran and the process lives: whatever killed it earlier was not this message, as far as that says anything. It
    may have failed before it came to what kills, so `deaths` stay."""
    if journey.memo is not None:
        journey.memo.crashes = 0


def as_message_error(error: Exception) -> MessageError:
    """An error as the engine reads it: whatever a step raises that is not of our tree is permanent."""
    if isinstance(error, MessageError):
        return error
    text = error.message if isinstance(error, DovetailError) else f"{type(error).__name__}: {error}"
    wrapped = Rejected(text, code=error.code if isinstance(error, DovetailError) else "exception")
    wrapped.step = getattr(error, "step", "")
    wrapped.detail = getattr(error, "detail", None)
    return wrapped
