"""The desk's hand in a running server: the engine."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Protocol

from dovetail.engine.definition import Application
from dovetail.engine.engine import Engine
from dovetail.engine.flow import FlowRun
from dovetail.engine.rehearsal import NO_ANSWERS, Rehearsal, rehearse
from dovetail.engine.replay import StepTrace, replay
from dovetail.errors import Refused, Unavailable
from dovetail.project.deployed import Deployed
from dovetail.project.model import Project
from dovetail.store.base import Progress, Row, State, Work


class Workshop(Protocol):
    """Makes what the engine runs of the project's text."""

    def load(self) -> Project:
        """The project as its folder has it now. Raises ProjectError."""
        ...

    def assemble(self, project: Project, running: Application, *, register: bool = True) -> Application:
        """The project compiled; what has not changed in `running` is taken over."""
        ...


class Live:
    """See `dovetail.control.hand.Hand`."""

    running = True

    def __init__(self, engine: Engine, workshop: Workshop | None = None) -> None:
        """Without a workshop there is nothing to deploy."""
        self._engine, self._workshop = engine, workshop

    def _flow(self, name: str) -> FlowRun:
        flow = self._engine.flows.get(name)
        if flow is None:
            raise Refused(f"flow '{name}' is not running: it is not in the project", status=409, code="not-running")
        return flow

    def breakers(self) -> Mapping[str, str]:
        return dict(self._engine.targets.positions())

    def waiting_for(self, flow: str) -> str:
        running = self._engine.flows.get(flow)
        return (running.gated_by or "") if running is not None else ""

    def ready(self, flow: str) -> Mapping[str, int]:
        running = self._engine.flows.get(flow)
        return running.ready.counts() if running is not None else {}

    def deepest(self, flow: str) -> list[tuple[int, str]]:
        running = self._engine.flows.get(flow)
        return running.lanes.deepest(5) if running is not None else []

    def most_bytes(self, flow: str) -> int:
        running = self._engine.flows.get(flow)
        return running.definition.keeping.most_bytes if running is not None else 0

    def disk(self) -> str:
        return self._engine.guard.level

    def now_ms(self) -> int:
        return self._engine.steady_ms()

    def current_version(self, flow: str) -> int:
        return self._flow(flow).versions.current.number

    def candidate(self, *, register: bool = False) -> Application:
        if self._workshop is None:
            raise Refused("there is no project here to deploy", status=409, code="no-project")
        return self._workshop.assemble(self._workshop.load(), self._engine.application, register=register)

    def application(self) -> Application | None:
        return self._engine.application

    def ended(self, flow: str) -> Mapping[int, Mapping[State, int]]:
        running = self._engine.flows.get(flow)
        if running is None:
            return {}
        return {version.number: dict(version.ended) for version in running.versions.compiled()}

    def in_memory(self, flow: str) -> Container[int]:
        running = self._engine.flows.get(flow)
        if running is None:
            return ()
        return running.active.keys() | self._engine.writer.on_their_way(running.number)

    async def deploy(self, application: Application | None = None) -> None:
        application = application or self.candidate(register=True)
        await self._engine.deploy(application)
        self._engine.writer.moves.marks.update(Deployed(self._engine.store).noted(application))
        await self._engine.writer.barrier()  # whoever is told that it is deployed can roll back, whatever happens next

    async def carry_out(self, work: Work) -> None:
        """With the next group commit; then each flow's timer looks for what is due."""
        writer = self._engine.writer
        self._engine.hook("before_redrive_commit")
        if not writer.available:
            raise Unavailable("the store takes nothing at the moment", after=2.0)
        moves = writer.moves
        moves.progress.update({(row.flow, row.seq): row for row in work.progress})
        moves.edits += work.edits
        moves.memory += work.memory
        moves.audit += work.audit
        moves.marks.update(work.marks)
        moves.parks.update(work.parks)
        for key, n in work.counts.items():
            moves.counts[key] = moves.counts.get(key, 0) + n
        if work.entries:
            self._engine.send_out([(entry, None) for entry in work.entries])
        writer.wake()
        await writer.barrier()
        numbers = {flow.number: flow for flow in self._engine.flows.values()}
        for number, lane in work.parks:
            if number in numbers:
                numbers[number].settle.let_go(lane)
        soonest: dict[int, int] = {}
        for row in (row for row in work.progress if row.state < State.DONE):
            soonest[row.flow] = min(row.next_at, soonest.get(row.flow, row.next_at))
        for flow in self._engine.flows.values():
            if flow.number in soonest:
                flow.timer.at(soonest[flow.number])
        self._engine.hook("after_redrive_commit")

    async def tell(self, name: str, key: str, event: Any, audit: tuple[object, ...]) -> int:
        """With the next group commit; those who waited run at once."""
        engine = self._engine
        if not engine.writer.available:
            raise Unavailable("the store takes nothing at the moment", after=2.0)
        engine.hook("before_tell_commit")
        told = engine.signals.tell(name, key, event)
        engine.writer.note(audit)
        await engine.writer.barrier()
        return told

    async def replay(self, flow: str, row: Row, progress: Progress | None) -> Sequence[StepTrace]:
        return await replay(self._flow(flow), row, progress)

    async def rehearse(
        self, flow: str, row: Row, progress: Progress, version: int | None, answers: Mapping[str, Any] = NO_ANSWERS
    ) -> Rehearsal:
        return await rehearse(self._flow(flow), row, progress, version, answers)
