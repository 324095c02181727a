"""Bugs to be planted one at a time: each changes the engine or its store at one place, and each must be found.

A patch is a function that yields while the bug is there. What it changes is put back at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dovetail.codec.json import JsonCodec
from dovetail.control.live import Live
from dovetail.engine import effects, intake, saga, settle, waking, writer
from dovetail.engine import engine as engine_module
from dovetail.engine import journey as journey_module
from dovetail.engine.backlog import Backlog
from dovetail.engine.context import RunContext
from dovetail.engine.definition import Canary
from dovetail.engine.effects import Effects
from dovetail.engine.engine import Engine
from dovetail.engine.execute import Versions
from dovetail.engine.flow import FlowRun
from dovetail.engine.intake import Admission
from dovetail.engine.lanes import Lanes
from dovetail.engine.policies.deadline import Deadlines
from dovetail.engine.recovery import Recovery
from dovetail.engine.settle import Settler
from dovetail.engine.state import RunState
from dovetail.engine.steady import Steady
from dovetail.engine.targets import Silences
from dovetail.engine.timers import Timer
from dovetail.engine.writer import Writer
from dovetail.errors import Rejected, Retry
from dovetail.project import build
from dovetail.sdk import Receipt, connector
from dovetail.store.base import State, Work
from dovetail.testkit.store import MemoryStore


@dataclass(frozen=True)
class Bug:
    """One bug: its name, what is wrong, and how to plant it."""

    name: str
    text: str
    plant: Callable[[], AbstractContextManager[None]]


BUGS: list[Bug] = []


def bug(text: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Iterator[None]]]:
    """Register a patch under its function's name."""

    def register(function: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
        BUGS.append(Bug(function.__name__, text, contextlib.contextmanager(function)))
        return function

    return register


@contextlib.contextmanager
def changed(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """`owner.name` is `make(what it was)` for a while."""
    before = vars(owner)[name]
    setattr(owner, name, make(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


# --- the door ---------------------------------------------------------------------------------------------------------


@bug("clients are told yes before the message is on disk")
def ack_before_commit() -> Iterator[None]:
    def make(accept: Any) -> Any:
        def early(self: Writer, unit: Any) -> None:
            tell, unit._settle = getattr(unit, "_settle", None), None
            accept(self, unit)
            if tell is not None:
                tell([Receipt(id="") for _ in unit._receipts])

        return early

    with changed(Writer, "accept", make):
        yield


@bug("no dedupe row is written with the message")
def no_dedupe_row() -> Iterator[None]:
    def make(admit: Any) -> Any:
        return lambda *args: replace(admit(*args), dedupe=None)

    with changed(intake, "admit", make):
        yield


@bug("the dedupe row is written in a transaction of its own, the next one")
def dedupe_apart() -> Iterator[None]:
    late: dict[MemoryStore, dict[Any, Any]] = {}  # what a life has not written when it ends is lost

    def make(apply: Any) -> Any:
        def apart(self: MemoryStore, work: Any) -> None:
            dedupe = self._disk.dedupe
            dedupe.update(late.pop(self, {}))
            known = set(dedupe)
            apply(self, work)
            late[self] = {key: dedupe.pop(key) for key in [key for key in dedupe if key not in known]}

        return apart

    with changed(MemoryStore, "_apply", make):
        yield


@bug("another body under a known id is taken for a repeat")
def conflict_is_a_repeat() -> Iterator[None]:
    def make(conflict: Any) -> Any:
        def repeat(self: Any, index: int, message: Any, first: str) -> None:
            self._receipts[index] = Receipt(first, int(first.rpartition("-")[2], 16), duplicate=True)

        return repeat

    with changed(Admission, "_conflict", make):
        yield


# --- effects ----------------------------------------------------------------------------------------------------------


@bug("an effect in doubt is treated as one that failed")
def doubt_is_failure() -> Iterator[None]:
    with changed(effects, "DOUBTFUL", lambda before: ()):
        yield


@bug("no intent is written before an effect that must not be repeated")
def no_intent() -> Iterator[None]:
    async def nothing(*args: Any, **more: Any) -> None:
        return None

    with changed(Effects, "_intend", lambda before: nothing):
        yield


@bug("an operation that can be asked is taken for one that may be repeated")
def asking_is_safe() -> Iterator[None]:
    with changed(connector, "_SAFE", lambda before: before | {connector.Repeat.QUERYABLE, connector.Repeat.NONE}):
        yield


@bug("the number of the attempt is in the effect key")
def attempt_in_the_key() -> Iterator[None]:
    def make(named: Any) -> Any:
        def numbered(memo: Any, flow: str, id: str, step: str, branch: str) -> Any:
            return named(memo, flow, id, f"{step}{len(memo.history) if memo is not None else 0}", branch)

        return numbered

    with changed(effects, "named", make):
        yield


@bug("a redrive makes its effects under fresh keys")
def fresh_keys_on_redrive() -> Iterator[None]:
    def make(named: Any) -> Any:
        def numbered(memo: Any, flow: str, id: str, step: str, branch: str) -> Any:
            return named(memo, flow, id, f"{step}{memo.redriven if memo is not None else 0}", branch)

        return numbered

    with changed(effects, "named", make):
        yield


@bug("a retry forgets which effects were made")
def retry_forgets_effects() -> Iterator[None]:
    def make(again: Any) -> Any:
        def forgetful(self: Any, journey: Any, *args: Any) -> None:
            journey.notes.effects.clear()
            again(self, journey, *args)

        return forgetful

    with changed(Settler, "_again", make):
        yield


@bug("a refusal by the target is tried again")
def rejected_is_retried() -> Iterator[None]:
    def make(judge: Any) -> Any:
        def soft(error: Exception) -> Any:
            known = judge(error)
            return Retry(known.message) if isinstance(known, Rejected) else known

        return soft

    with changed(settle, "as_message_error", make):
        yield


@bug("calls have no deadline")
def no_deadline() -> Iterator[None]:
    async def run(self: Any, call: Any, seconds: float) -> Any:
        return await call

    with changed(Deadlines, "run", lambda before: run):
        yield


# --- what belongs together --------------------------------------------------------------------------------------------


def _later(which: Callable[[Any], bool]) -> AbstractContextManager[None]:
    """What steps send out leaves its transaction, if `which` says so of the entry."""

    def make(send_out: Any) -> Any:
        def apart(self: Engine, entries: Any) -> None:
            send_out(self, [pair for pair in entries if not which(pair[0])])
            if late := [pair for pair in entries if which(pair[0])]:
                asyncio.get_running_loop().call_later(0.02, send_out, self, late)

        return apart

    return changed(Engine, "send_out", make)


@bug("the parts of a split are accepted in another transaction than the one that ends the whole")
def parts_apart() -> Iterator[None]:
    with _later(lambda entry: bool(entry.parent)):
        yield


@bug("what is published is written outside of the message's transaction")
def publish_apart() -> Iterator[None]:
    with _later(lambda entry: not entry.parent):
        yield


@bug("a step that runs again publishes again")
def publish_again() -> Iterator[None]:
    def make(publish: Any) -> Any:
        def again(self: RunContext, step: str, topic: str, message: Any) -> None:
            journey = self._journey(message)
            if journey.memo is not None:
                for key in [key for key, effect in journey.memo.effects.items() if effect.target == f"topic:{topic}"]:
                    del journey.memo.effects[key]
            publish(self, step, topic, message)

        return again

    with changed(RunContext, "publish", make):
        yield


@bug("a dead letter and its audit are written in two transactions")
def dead_letter_in_two() -> Iterator[None]:
    late: list[Any] = []

    def make(changes: Any) -> Any:
        def apart(rows: Any) -> Any:
            told, now = list(late), [row for row in rows if row.state is not State.DEAD]
            late[:] = changes([row for row in rows if row.state is State.DEAD])
            return [*told, *changes(now)]

        return apart

    with changed(writer, "changed", make):
        yield


@bug("a redrive leaves no word in the audit")
def redrive_not_audited() -> Iterator[None]:
    def make(carry_out: Any) -> Any:
        def quiet(self: Live, work: Any) -> Any:
            work.audit = []
            return carry_out(self, work)

        return quiet

    with changed(Live, "carry_out", make):
        yield


@bug("messages that a rule discards are not counted")
def discarded_not_counted() -> Iterator[None]:
    def make(put: Any) -> Any:
        def silent(self: Writer, row: Any, word: str | None = None, after: Any = None) -> None:
            put(self, row, None if word == "discarded" else word, after)

        return silent

    with changed(Writer, "put", make):
        yield


# --- order ------------------------------------------------------------------------------------------------------------


@bug("the lane is released before the end of its head is flushed")
def lane_released_early() -> Iterator[None]:
    def make(ended: Any) -> Any:
        def early(self: Settler, journey: Any, *args: Any) -> None:
            ended(self, journey, *args)
            self._release(journey.key, journey.seq)

        return early

    with changed(Settler, "ended", make):
        yield


@bug("messages of one key run side by side")
def no_lanes() -> Iterator[None]:
    with changed(Lanes, "offer", lambda before: lambda self, journey: True):
        yield


@bug("a restart forgets who waits behind whom")
def held_rows_lost() -> Iterator[None]:
    with changed(Recovery, "_lanes", lambda before: lambda self, flow: None):
        yield


@bug("the cursor is moved past work that has not ended")
def cursor_past_unfinished() -> Iterator[None]:
    with changed(Backlog, "settled", lambda before: lambda self: self.cursor):
        yield


# --- restarts and time ------------------------------------------------------------------------------------------------


@bug("claims are never written")
def claims_not_written() -> Iterator[None]:
    def make(claim: Any) -> Any:
        def unwritten(self: Backlog, upto: int) -> None:
            claim(self, upto)
            self._engine.writer.moves.claims.pop(self._flow.number, None)

        return unwritten

    with changed(Backlog, "claim", make):
        yield


@bug("recovery does not look for first attempts that were in flight")
def first_attempts_skipped() -> Iterator[None]:
    with changed(Recovery, "_first_attempts", lambda before: lambda self, flow: []):
        yield


@bug("a message that kills the process is tried for ever")
def crashes_not_limited() -> Iterator[None]:
    def make(policy_of: Any) -> Any:
        return lambda head: replace(policy_of(head), crash_limit=1_000_000)

    with changed(build, "policy_of", make):
        yield


@bug("what waits for its next attempt is remembered in memory only")
def timer_in_memory() -> Iterator[None]:
    with changed(Timer, "start", lambda before: lambda self: None):
        yield


@bug("timers go by the wall clock")
def wall_clock_timers() -> Iterator[None]:
    with changed(Steady, "ms", lambda before: lambda self: self._clock.now_ms()):
        yield


@bug("a message that waits for a paused target loses attempts")
def pauses_burn_attempts() -> Iterator[None]:
    def make(paused: Any) -> Any:
        return lambda self, journey, error: self._again(journey, error, State.WAITING, error.after)

    with changed(Settler, "_paused", make):
        yield


@bug("every message runs on the current version, whichever accepted it")
def version_pin_ignored() -> Iterator[None]:
    with changed(Versions, "get", lambda before: lambda self, number: self.current):
        yield


# --- patterns ---------------------------------------------------------------------------------------------------------


@bug("what a step remembers is written in another transaction than the message's move, the next one")
def memory_apart() -> Iterator[None]:
    late: dict[MemoryStore, list[Any]] = {}

    def make(apply: Any) -> Any:
        def apart(self: MemoryStore, work: Any) -> None:
            now, late[self] = late.get(self, []), work.memory
            apply(self, replace(work, memory=now))

        return apart

    with changed(MemoryStore, "_apply", make):
        yield


@bug("events are not remembered for those who come later")
def event_not_remembered() -> Iterator[None]:
    def make(tell: Any) -> Any:
        return lambda self, name, key, event, remember=0: tell(self, name, key, event, 0)

    with changed(RunState, "tell", make):
        yield


@bug("those who wait for an event are woken in memory only")
def woken_in_memory() -> Iterator[None]:
    with (
        changed(vars(waking)["Alarms"], "start", lambda before: lambda self: None),
        changed(engine_module, "rouse", lambda before: lambda engine, flow, seq: None),
    ):
        yield


@bug("what undoes an effect is not journaled: it is in memory only")
def compensation_not_journaled() -> Iterator[None]:
    def make(pack: Any) -> Any:
        return lambda memo: pack(memo if memo.undoing else msgspec.structs.replace(memo, undo={}))

    with changed(journey_module, "pack", make):
        yield


@bug("what was done is undone in the order in which it was done")
def undone_forwards() -> Iterator[None]:
    vars(saga)["reversed"] = list
    try:
        yield
    finally:
        del vars(saga)["reversed"]


@bug("what may have been done is not undone")
def doubt_not_undone() -> Iterator[None]:
    with changed(saga, "_untouched", lambda before: lambda made, error: True):
        yield


@bug("which branches were left out is not on record")
def decision_not_recorded() -> Iterator[None]:
    async def nothing(self: Any, step: str, message: Any, decision: Any, note: str = "") -> None:
        return None

    with changed(RunContext, "decide", lambda before: nothing):
        yield


@bug("the lane behind a dead letter is not parked")
def parked_lane_overtaken() -> Iterator[None]:
    with changed(Lanes, "park", lambda before: lambda self, key, seq: False):
        yield


@bug("a restart forgets which lanes are parked")
def parked_lanes_forgotten() -> Iterator[None]:
    with changed(Lanes, "restore_parked", lambda before: lambda self, key, head: None):
        yield


@bug("a canary's share is drawn for each message, not for each key")
def canary_by_body() -> Iterator[None]:
    with changed(Canary, "takes", lambda takes: lambda self, key, body: takes(self, None, body)):
        yield


@bug("the place of a redrive job is written in another transaction than its rows, before them")
def job_ahead_of_its_rows() -> Iterator[None]:
    def make(carry_out: Any) -> Any:
        async def apart(self: Live, work: Any) -> None:
            if work.memory and work.progress:
                await carry_out(self, Work(memory=work.memory))
                await asyncio.sleep(1.0)
                work = replace(work, memory=[])
            await carry_out(self, work)

        return apart

    with changed(Live, "carry_out", make):
        yield


@bug("a restart forgets for how long a target wants to be left alone")
def silence_forgotten() -> Iterator[None]:
    with changed(Silences, "left", lambda before: lambda self, target: 0.0):
        yield


# --- memory and content -----------------------------------------------------------------------------------------------


@bug("the window takes any number of messages")
def window_unbounded() -> Iterator[None]:
    with changed(FlowRun, "full", lambda before: lambda self: False):
        yield


@bug("messages that have ended stay in memory")
def never_forgotten() -> Iterator[None]:
    with changed(FlowRun, "forget", lambda before: lambda self, journey: None):
        yield


@bug("numbers go through floats")
def numbers_through_floats() -> Iterator[None]:
    def lossy(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lossy(item) for key, item in value.items()}
        if isinstance(value, list):
            return [lossy(item) for item in value]
        return int(float(value)) if isinstance(value, int) and not isinstance(value, bool) else value

    with changed(JsonCodec, "decode", lambda decode: lambda self, body: lossy(decode(self, body))):
        yield
