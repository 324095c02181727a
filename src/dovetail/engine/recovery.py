"""Starting again: what was in flight when the process ended is found, marked, and run before anything new.

After an unclean end each such message runs alone, its crash counted durably first, so that one that kills the process
takes
only its own mark.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dovetail.engine.journey import Journey
from dovetail.errors import Rejected
from dovetail.store.base import State

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine
    from dovetail.engine.flow import FlowRun

ALL_IN_ALL = 2  # times the limit of crashes that a message may be in flight at, whatever runs it survives in between


class Recovery:
    """One start-up."""

    alone = 5.0  # seconds that a suspect may keep the others waiting

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, flows: Iterable[FlowRun], *, unclean: bool) -> None:
        """Restore these flows' lanes, then run what was in flight. `unclean`: it may have ended with the process."""
        engine = self._engine
        flows = list(flows)
        suspects: list[tuple[FlowRun, Journey]] = []
        for flow in flows:
            flow.recovering = True
            self._lanes(flow)
            journeys = await self._interrupted(flow)
            if unclean:
                journeys += await self._first_attempts(flow, flow.window - len(journeys))
            suspects += [(flow, journey) for journey in journeys]
        if unclean and suspects:
            engine.log.warning("recovering", in_flight=len(suspects))
            for flow, journey in _in_order(suspects):
                await self._alone(flow, journey)
        else:
            for flow, journey in suspects:
                journey.attempt -= 1  # it is counted already, and it had not begun: an orderly end waits for what runs
                flow.feed(journey)
        for flow in flows:
            flow.recovering = False
            flow.held.read_on()
            for key in flow.lanes.restored_without_head():
                flow.held.load(key)

    def _lanes(self, flow: FlowRun) -> None:
        progress = self._engine.store.progress
        for key, first in progress.blocked(flow.number):
            row = progress.head(flow.number, key)
            flow.lanes.restore(key, row.seq if row is not None else first, row is not None)
        after: str | None = None
        while parked := progress.parked(flow.number, after, 1000):
            for lane in parked:
                flow.lanes.restore_parked(lane.key, lane.seq)
            after = parked[-1].key

    async def _interrupted(self, flow: FlowRun) -> list[Journey]:
        rows = self._engine.store.progress.interrupted(flow.number)
        journeys = [await flow.loader.load(row) for row in rows]
        return [journey for journey in journeys if journey is not None]

    async def _first_attempts(self, flow: FlowRun, room: int) -> list[Journey]:
        """Fresh messages at or below the claim, at most so many: any of them may have been in flight."""
        found: list[Journey] = []
        journal, backlog = self._engine.store.journal, flow.backlog
        size = 0
        while backlog.cursor < backlog.claimed and len(found) < room and size < flow.window_bytes:
            rows = journal.after(flow.number, flow.stream, backlog.cursor, room - len(found), flow.window_bytes)
            rows = [row for row in rows if row.seq <= backlog.claimed]
            if not rows:
                break
            for row in rows:
                backlog.cursor = row.seq
                size += row.size
                row.body = await journal.fetch(row) if row.beside else row.body
                journey = flow.loader.fresh(row)
                if journey is not None:
                    found.append(journey)
        return found

    async def _alone(self, flow: FlowRun, journey: Journey) -> None:
        """Count the crash, then run this one and nothing else until it ends, waits, or takes too long.

        While an earlier one of its flow takes too long, it may not be able to begin. Then the count is not written
        down: should the process die meanwhile, that was not its doing.
        """
        engine = self._engine
        engine.hook("during_recovery")
        flow.adopt(journey)
        if journey.key is not None and not flow.lanes.offer(journey):
            return  # its turn comes, and until then it can do no harm
        notes, limit = journey.notes, journey.version.policy.crash_limit
        notes.crashes += 1
        notes.deaths += 1
        if notes.crashes >= limit or notes.deaths >= ALL_IN_ALL * limit:
            journey.recorded = True
            text = f"the process died {max(notes.crashes, notes.deaths)} times while this message was in flight"
            flow.settle.refused(journey, Rejected(text, code="poison"))
            await engine.writer.barrier()
            return
        if not flow.may_begin(journey):
            flow.ready.append(journey)
            return
        journey.recorded = True
        engine.writer.put(journey.row(flow.number, State.RUNNING, engine.clock.now_ms()))
        await engine.writer.barrier()
        flow.ready.append(journey)
        flow.pump()
        await engine.while_running(lambda: journey.busy, engine.clock.monotonic() + self.alone)
        await engine.writer.barrier()


def _in_order(suspects: list[tuple[FlowRun, Journey]]) -> list[tuple[FlowRun, Journey]]:
    """The more urgent first, else as they were accepted; those before one of the same key are as urgent as it is."""
    ranked: list[tuple[int, int, FlowRun, Journey]] = []
    best: dict[tuple[int, str], int] = {}
    for flow, journey in sorted(suspects, key=lambda pair: -pair[1].seq):
        rank = journey.rank
        if journey.key is not None:
            rank = best[flow.number, journey.key] = min(rank, best.get((flow.number, journey.key), rank))
        ranked.append((rank, journey.seq, flow, journey))
    return [(flow, journey) for _, _, flow, journey in sorted(ranked, key=lambda one: one[:2])]
