"""Deploying while running: what would change, what it means for messages that wait, and the change itself.

A message stays on the version that accepted it. It can be taken along when everything it has done has its place in the
new version; what is in doubt, and what is being worked on, finishes where it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from dovetail.control.answers import (
    DeployAnswer,
    DeployOrder,
    FlowPlan,
)
from dovetail.control.hand import places
from dovetail.control.moving import LOOKED, Move, Tally, places_of, waiting
from dovetail.engine.definition import Application, FlowDefinition
from dovetail.errors import ProjectError, Refused
from dovetail.project.deployed import Decision, Deployed, decision_mark, moved_mark
from dovetail.spec import nearest
from dovetail.store.base import Work

if TYPE_CHECKING:
    from dovetail.control.desk import Control


class Deploying:
    """One order being carried out, or planned."""

    def __init__(self, control: Control, order: DeployOrder) -> None:
        self._control, self._order = control, order
        self._hand, self._store = control.hand, control.store

    async def run(self) -> DeployAnswer:
        """Plan, and unless only that was asked for, do it. Raises `Refused`; then nothing has changed."""
        self._check()
        candidate = candidate_of(self._control)
        answer = await self._plan(candidate)
        if self._order.plan:
            return answer
        if not self._hand.running:
            text = "no server runs here: `dovetail run` starts with the folder's text; --plan says what that changes"
            raise Refused(text, status=409, code="not-running")
        await self._switch(answer)
        answer.deployed = True
        if self._order.move:
            answer.moved = await self._move(answer)
        return answer

    def _check(self) -> None:
        order = self._order
        if not order.by.strip():
            raise Refused("say who deploys (by)", status=422, code="by")
        if not 0 <= order.percent < 100:
            raise Refused("a canary takes more than 0 and less than 100 percent", status=422, code="percent")
        if order.move and (order.percent or order.keys):
            text = "a canary takes new messages only: move the others when it is promoted"
            raise Refused(text, status=422, code="move")

    # --- the plan --------------------------------------------------------------------------------------------------

    async def _plan(self, candidate: Application) -> DeployAnswer:
        self._check_steps(candidate)
        before = self._hand.application()
        running = {flow.name: flow for flow in before.flows} if before is not None else {}
        plans = [await self._flow(flow, running.get(flow.name)) for flow in candidate.flows]
        edited = any(plan.change in ("new", "changed") for plan in plans)
        notes = [
            note for plan, flow in zip(plans, candidate.flows, strict=True) if plan.change == "same"
            for note in await self._again(plan, flow, edited)
        ]  # fmt: skip
        if (self._order.percent or self._order.keys) and not any(plan.percent or plan.keys for plan in plans):
            notes.append("nothing to share: each flow has one text; change a flow's, and deploy it as a canary")
        gone = sorted(running.keys() - {flow.name for flow in candidate.flows})
        plans += [FlowPlan(name, "removed", running[name].current.number) for name in gone]
        old = before.connections if before is not None else {}
        anew = [
            name for name, made in candidate.connections.items() if before is not None and old.get(name) is not made
        ]
        return DeployAnswer(plans, connections=anew, notes=notes)

    def _check_steps(self, candidate: Application) -> None:
        known = {step for flow in candidate.flows for step in places_of(flow.current.steps)}
        for wanted in self._order.steps.values():
            if wanted not in known:
                hint = nearest(wanted, known)
                text = f"no flow has a step '{wanted}'" + (f"; {hint}" if hint else "")
                raise Refused(text, status=422, code="steps")

    async def _flow(self, wanted: FlowDefinition, running: FlowDefinition | None) -> FlowPlan:
        known = Deployed(self._store).history(wanted.name)
        version = running.current.number if running is not None else (known or [0])[-1]
        plan = FlowPlan(wanted.name, "same", version, wanted.current.number)
        moves = running is not None and running.source is not wanted.source
        if not version:
            plan.change = "new"
        elif version != wanted.current.number:
            plan.change = "changed"
            if not self._shares(plan, moves):
                await self._look(plan, wanted)
        elif moves:
            plan.change = "source"
        return plan

    async def _again(self, plan: FlowPlan, wanted: FlowDefinition, edited: bool) -> list[str]:
        """A flow whose text is the same: another share of its newest version, if no other flow was `edited` (the order
        was then meant for that one), or messages that were left behind. What to do where neither is possible."""
        order, name, canary = self._order, plan.flow, wanted.canary
        place = places(self._store).get(name)
        known = self._store.register.versions(place.number) if place is not None else []
        newest = next((number for number, text, _ in known if text == wanted.text), plan.version)
        if (order.percent or order.keys) and newest != plan.version and not edited:
            self._shares(plan, False)
            plan.change, plan.next = "changed", newest
        elif canary is not None:
            word = "takes new messages only: promote it, then move the others" if order.move else "stays as it is"
            return [f"the canary of {name}, version {canary.version.number}, {word}"]
        elif order.move:
            await self._look(plan, wanted)
            if not (plan.waiting or plan.more):
                return [f"nothing of {name} waits on another version"]
        return []

    def _shares(self, plan: FlowPlan, moves: bool) -> bool:
        order = self._order
        if not (order.percent or order.keys):
            return False
        if moves:
            text = (
                f"flow {plan.flow} gets its messages from elsewhere in the new version: two versions cannot share them"
            )
            raise Refused(text, status=409, code="canary")
        plan.percent, plan.keys = order.percent, order.keys
        return True

    async def _look(self, plan: FlowPlan, wanted: FlowDefinition) -> None:
        """Say what becomes of messages that wait."""
        place = places(self._store).get(plan.flow)
        tally, move = Tally(self._store.uid), Move(self._control, wanted, self._order.steps)
        before = looked = 0
        while place is not None:
            rows, before = waiting(self._control, place, before)
            for row, progress in rows:
                tally.add(row, move.fate(row, progress))
            looked += len(rows)
            plan.more = bool(before) and looked >= LOOKED
            if not before or plan.more:
                break
            await asyncio.sleep(0)  # the engine goes first
        plan.waiting = tally.lines()

    # --- doing it --------------------------------------------------------------------------------------------------

    async def _switch(self, answer: DeployAnswer) -> None:
        """Number the new versions, write down what is decided, and switch."""
        numbered = {flow.name: flow for flow in self._hand.candidate(register=True).flows}
        register = self._store.register
        marks: dict[str, bytes] = {}
        audit: list[tuple[object, ...]] = []
        for plan in answer.flows:
            flow = numbered.get(plan.flow)
            if flow is not None:
                plan.next = plan.next or flow.current.number
                if plan.percent or plan.keys:
                    decision = Decision(flow.text, plan.version, plan.next, plan.percent, plan.keys)
                    marks[decision_mark(plan.flow)] = msgspec.msgpack.encode(decision)
            if plan.change != "same" or plan.waiting:
                number = register.names("flow").get(plan.flow, 0)
                audit.append(("deployed", number, plan.version, plan.next, plan.percent, plan.keys, self._order.by))
        await changed(self._control, Work(marks=marks, audit=audit))

    async def _move(self, answer: DeployAnswer) -> int:
        """Take along what can be taken, page by page; messages that have not begun by one decision for all of them."""
        running = self._hand.application()
        flows = {flow.name: flow for flow in running.flows} if running is not None else {}
        moved = 0
        for plan in answer.flows:
            if plan.change != "changed" and not (plan.waiting or plan.more):
                continue
            place, before = places(self._store)[plan.flow], 0
            older = [number for number, _, _ in self._store.register.versions(place.number) if number != plan.next]
            mark = msgspec.msgpack.encode(dict.fromkeys(older, plan.next))
            await changed(self._control, Work(marks={moved_mark(plan.flow): mark}))
            move = Move(self._control, flows[plan.flow], self._order.steps)
            while True:
                rows, before = waiting(self._control, place, before)
                going = [made for each in rows if (made := move.moved(*each)) is not None]
                moved += len(going) + sum(progress is None and bool(move.fate(row, None)) for row, progress in rows)
                await self._hand.carry_out(Work(progress=going))
                if not before:
                    break
        return moved


async def changed(control: Control, work: Work, application: Application | None = None) -> None:
    """Write a decision down, then bring it (or this application) into the running engine; if that fails it is taken
    back."""
    register = control.store.register
    before = {name: register.mark(name) or b"" for name in work.marks}
    await control.hand.carry_out(work)
    try:
        await control.hand.deploy(application)
    except ProjectError as error:
        await control.hand.carry_out(Work(marks=before, audit=[("deploy_failed", error.message[:500])]))
        raise Refused(f"nothing was changed: {error.message}", status=409, code="deploy") from error
    except BaseException:
        await control.hand.carry_out(Work(marks=before))
        raise


def candidate_of(control: Control, *, register: bool = False) -> Application:
    """The project as its folder has it. Raises `Refused` (422) with every problem in it."""
    try:
        return control.hand.candidate(register=register)
    except ProjectError as error:
        words = ("level", "code", "file", "line", "column", "message", "suggestion")
        detail = [{name: getattr(problem, name) for name in words} for problem in error.problems]
        raise Refused(error.message, status=422, code="project", detail=detail) from error
