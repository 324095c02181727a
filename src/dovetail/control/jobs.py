"""Redrives that are carried out part by part, by the server, whatever becomes of it meanwhile.

A job is in the store: what was chosen, once and for all, and how far it has come. The rows of each part and the new
cursor are written in one transaction, so that a kill at any moment neither repeats a message nor leaves one out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from dovetail.control.answers import RedriveOrder, Skipped
from dovetail.control.hand import FlowPlace, places
from dovetail.control.job import (
    CANCELLED,
    DONE,
    PART,
    PAUSED,
    RUNNING,
    SCOPE,
    SHARED,
    Chosen,
    Job,
    JobAnswer,
    JobLine,
    JobOrder,
    Plan,
    chosen_of,
    key_of,
    plan_of,
)
from dovetail.control.redrive import Selection, body_of, check
from dovetail.control.taking import Taking, letter_at, letter_of
from dovetail.engine.memo import message_id, parse_message_id
from dovetail.errors import ProjectError, Refused
from dovetail.sdk import Log
from dovetail.store.base import Memory, State, Work

if TYPE_CHECKING:
    from dovetail.control.desk import Control

MOST = 100  # messages of a transaction
KEPT = 100  # jobs that are remembered when they are over
SKIPS = 1000  # skipped messages that an answer names
PATIENCE = 5000  # milliseconds until a part that could not be written is tried again
LONGEST = 60.0  # seconds until the next look at the latest
ACTIONS = {  # action: from which states, and to which
    "pause": ((RUNNING,), PAUSED),
    "resume": ((PAUSED,), RUNNING),
    "cancel": ((RUNNING, PAUSED), CANCELLED),
}


class Jobs:
    """The jobs of one store. `run` carries them out; all else is asked by operators."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._woken = asyncio.Event()

    # --- asking -----------------------------------------------------------------------------------------------------

    def lines(self) -> list[JobLine]:
        """All of them, newest first."""
        return [plan.line() for plan in reversed(list(self._plans()))]

    async def show(self, id: str) -> Job:
        """One of them, with how its messages fare. Raises `Refused` (404)."""
        plan = self._plan(id)
        line = plan.line()
        job = Job(**{name: getattr(line, name) for name in line.__struct_fields__})
        for start in range(0, plan.selected, PART):
            part = self._part(plan, start // PART)
            for chosen in part[: max(0, plan.cursor - start)]:
                self._tally(job, chosen, plan.order.as_new)
            await asyncio.sleep(0)  # the engine goes first
        return job

    def _tally(self, job: Job, chosen: Chosen, as_new: bool) -> None:
        store = self._control.store
        if chosen.why:
            if len(job.skips) < SKIPS:
                job.skips.append(Skipped(message_id(store.uid, chosen.seq), chosen.why))
            return
        seq = chosen.seq
        if as_new:
            seq = next((row.seq for row in store.journal.parts(seq, 1)), seq)
        row = store.progress.get(chosen.flow, seq)
        if row is None and store.journal.get(seq) is not None:  # it has not begun
            job.under_way += 1
        elif row is None or row.state in (State.DONE, State.DISCARDED):  # without an entry: it ended long ago
            job.done += 1
        elif row.state is State.DEAD:
            job.failed += 1
        else:
            job.under_way += 1

    def _plans(self) -> Iterator[Plan]:
        """All of them, oldest first."""
        after = ""
        while heads := self._control.store.memory.heads(SHARED, SCOPE, after, 100):
            yield from map(plan_of, heads)
            after = heads[-1].key

    def _plan(self, id: str) -> Plan:
        head = None
        if id.isascii() and id.isdigit() and len(id) <= 10:
            head = self._control.store.memory.get(SHARED, SCOPE, key_of(int(id)))
        if head is None:
            raise Refused(f"there is no redrive job '{id}'", status=404, code="not-found")
        return plan_of(head)

    def _part(self, plan: Plan, index: int) -> list[Chosen]:
        found = self._control.store.memory.get(SHARED, SCOPE, key_of(plan.number), index + 1)
        return chosen_of(found) if found is not None else []

    # --- ordering ---------------------------------------------------------------------------------------------------

    async def order(self, order: RedriveOrder) -> JobAnswer:
        """Choose the messages and write the job down. Raises `Refused`; then there is none."""
        check(order)
        selected = Selection(self._control, order)
        ids = order.ids or await selected.found()
        chosen, skipped = await self._choose(ids, order.flow)
        if not chosen:
            why = skipped[0].why if len(skipped) == 1 else "there is no dead letter to redrive"
            raise Refused(why, status=409, code="nothing")
        kept = RedriveOrder(
            by=order.by, body=order.body, version=order.version, rate=order.rate, map=order.map, as_new=order.as_new,
            note=order.note,
        )  # fmt: skip
        hand = self._control.hand
        async with self._control.turn:
            plans = list(self._plans())
            now = hand.now_ms()
            plan = Plan(plans[-1].number + 1 if plans else 1, kept, now, len(chosen), changed_at=now)
            parts = [chosen[start : start + PART] for start in range(0, len(chosen), PART)]
            work = Work(memory=[plan.head(), *(plan.part(index, part) for index, part in enumerate(parts))])
            over = [each for each in plans if each.state in (CANCELLED, DONE)]
            work.memory += [Memory(SHARED, SCOPE, key_of(each.number), 0, None) for each in over[:-KEPT]]
            work.audit.append(("redrive_job", plan.number, "ordered", order.by, len(chosen), order.note))
            await self._write(work)
        return JobAnswer(plan.line(), skipped, selected.more)

    async def _choose(self, ids: list[str], flow: str) -> tuple[list[Chosen], list[Skipped]]:
        """The dead letters among these, oldest first, each once."""
        known = places(self._control.store)
        found: dict[tuple[int, int], Chosen] = {}
        skipped: list[Skipped] = []
        for n, each in enumerate(ids):
            its, _, id = each.rpartition(":")
            try:
                chosen = self._chosen(id, its or flow, known)
                found[chosen.seq, chosen.flow] = chosen
            except Refused as error:
                skipped.append(Skipped(id, error.message))
            if n % PART == 0:
                await asyncio.sleep(0)  # the engine goes first
        return [found[key] for key in sorted(found)], skipped

    def _chosen(self, id: str, flow: str, known: dict[str, FlowPlace]) -> Chosen:
        store = self._control.store
        if flow in known:  # bodies need not be read
            with suppress(ValueError):
                seq = parse_message_id(store.uid, id)
                progress = store.progress.get(known[flow].number, seq) if 0 < seq < 1 << 63 else None
                if progress is not None and progress.state is State.DEAD:
                    return Chosen(known[flow].number, seq)
        letter = letter_of(self._control, id, flow)
        return Chosen(letter.place.number, letter.row.seq)

    async def change(self, id: str, order: JobOrder) -> JobLine:
        """Pause, resume or cancel. Raises `Refused`."""
        if not order.by.strip():
            raise Refused("say who decides (by)", status=422, code="by")
        if order.action not in ACTIONS:
            text = f"action must be {', '.join(ACTIONS)}, not '{order.action}'"
            raise Refused(text, status=422, code="action")
        states, after = ACTIONS[order.action]
        async with self._control.turn:
            plan = self._plan(id)
            if plan.state not in states:
                raise Refused(f"redrive job {id} is {plan.state}", status=409, code="state")
            plan.state, plan.changed_by = after, order.by
            plan.changed_at = self._control.hand.now_ms()
            event = ("redrive_job", plan.number, after, order.by, plan.cursor)
            await self._write(Work(memory=[plan.head()], audit=[event]))
        return plan.line()

    async def _write(self, work: Work) -> None:
        """Write a decision down, and have it carried out even if whoever decided cannot be told."""
        try:
            await self._control.hand.carry_out(work)
        finally:
            self._woken.set()

    # --- carrying out -----------------------------------------------------------------------------------------------

    async def run(self, log: Log) -> None:
        """Carry out whatever there is, for ever. What could not be written is tried again."""
        while True:
            self._woken.clear()
            try:
                due = await self._advance()
            except Exception as error:
                log.error("redrive_job_failed", error=repr(error))
                due = self._control.hand.now_ms() + PATIENCE
            left = LONGEST if due is None else (due - self._control.hand.now_ms()) / 1000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(LONGEST, max(0.0, left)))

    async def _advance(self) -> int | None:
        """Send on the next part of each job whose time has come. When there is more to do; None for nothing."""
        dues: list[int] = []
        for plan in list(self._plans()):
            if plan.state == RUNNING and plan.next_at <= self._control.hand.now_ms():
                async with self._control.turn:
                    plan = await self._step(self._plan(str(plan.number)))
            if plan.state == RUNNING:
                dues.append(plan.next_at)
        return min(dues, default=None)

    async def _step(self, plan: Plan) -> Plan:
        """Send on the next few of a job: their rows and the cursor in one transaction."""
        if plan.state != RUNNING:
            return plan
        hand, rate = self._control.hand, plan.order.rate
        index, first = divmod(plan.cursor, PART)
        part = self._part(plan, index)
        few = part[first : first + (max(1, min(MOST, int(rate))) if rate else MOST)]
        taking = Taking(self._control, plan.order, body_of(plan.order))
        start = max(plan.next_at, hand.now_ms())
        known = {place.number: place for place in places(self._control.store).values()}
        for chosen in few:
            self._take(taking, chosen, known, start + (math.ceil(len(taking.ids) * 1000 / rate) if rate else 0))
        skipped = len(few) - len(taking.ids)
        plan.cursor, plan.skipped = plan.cursor + len(few), plan.skipped + skipped
        plan.next_at = start + math.ceil(len(taking.ids) * 1000 / rate) if rate else 0
        if plan.cursor >= plan.selected:
            plan.state, plan.changed_at, plan.changed_by = DONE, hand.now_ms(), ""
            taking.work.audit.append(("redrive_job", plan.number, DONE, plan.order.by, plan.cursor))
        taking.work.memory = [plan.head(), *([plan.part(index, part)] if skipped else [])]
        await hand.carry_out(taking.work)
        return plan

    def _take(self, taking: Taking, chosen: Chosen, known: dict[int, FlowPlace], due: int) -> None:
        place = known.get(chosen.flow)
        try:
            if place is None:
                raise Refused("its flow reads no messages any more", status=404, code="not-found")
            taking.add(letter_at(self._control, place, chosen.seq), due)
        except (Refused, ProjectError) as error:
            chosen.why = error.message
