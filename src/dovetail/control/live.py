"""The desk's hand in a running server: the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dovetail.engine.engine import Engine
from dovetail.engine.flow import FlowRun
from dovetail.engine.replay import StepTrace, replay
from dovetail.errors import Refused, Unavailable
from dovetail.store.base import Progress, Row, Work


class Live:
    """See `dovetail.control.hand.Hand`."""

    running = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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

    def now_ms(self) -> int:
        return self._engine.steady_ms()

    def current_version(self, flow: str) -> int:
        return self._flow(flow).versions.current.number

    async def carry_out(self, work: Work) -> None:
        """With the next group commit; then each flow's timer looks for what is due."""
        writer = self._engine.writer
        self._engine.hook("before_redrive_commit")
        if not writer.available:
            raise Unavailable("the store takes nothing at the moment", after=2.0)
        moves = writer.moves
        moves.progress.update({(row.flow, row.seq): row for row in work.progress})
        moves.edits += work.edits
        moves.audit += work.audit
        for key, n in work.counts.items():
            moves.counts[key] = moves.counts.get(key, 0) + n
        writer.wake()
        await writer.barrier()
        soonest: dict[int, int] = {}
        for row in work.progress:
            soonest[row.flow] = min(row.next_at, soonest.get(row.flow, row.next_at))
        for flow in self._engine.flows.values():
            if flow.number in soonest:
                flow.timer.at(soonest[flow.number])

    async def replay(self, flow: str, row: Row, progress: Progress | None) -> Sequence[StepTrace]:
        return await replay(self._flow(flow), row, progress)
