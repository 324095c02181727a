"""Messages that wait on disk behind the head of their lane, and how they come back in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dovetail.engine.journey import Journey
from dovetail.store.base import Progress, State

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun


class Held:
    """The held messages of one flow."""

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._engine = flow.engine
        self._unread: list[str] = []  # keys whose held messages wait until all that was before them has been offered

    def read_on(self) -> None:
        """After a restart: fetch those who waited until everything before them had been read and offered."""
        unread, self._unread = self._unread, []
        for key in unread:
            self.load(key)

    def hold(self, journey: Journey) -> None:
        """To disk, behind the head of its lane. It counts as in memory until it is there."""
        if journey.held:  # it is there still
            self._flow.forget(journey)
            return
        journey.recorded = True
        journey.attempt -= 1  # this attempt has not begun
        row = journey.row(self._flow.number, State.HELD, self._engine.clock.now_ms())
        self._engine.writer.put(row, after=lambda: self._held(journey))

    def _held(self, journey: Journey) -> None:
        self._flow.forget(journey)
        if self._flow.backlog.behind:
            self._flow.pump_soon()

    def load(self, key: str) -> None:
        """Fetch the next ones of a key from disk."""
        self._engine.spawn(self._next(key))

    async def _next(self, key: str) -> None:
        """The next ones of a key from disk. The first is claimed (its attempt counted) before it runs; those behind it
        are claimed by the commit that ends their predecessor."""
        flow = self._flow
        most = max(1, min(flow.lanes.depth, (flow.window - len(flow.active)) // 4))
        while True:
            holds, offered = flow.lanes.holds(key), flow.backlog.offered()
            await self._engine.writer.barrier()
            rows = self._engine.store.progress.held(flow.number, key, most)
            offered = flow.overtaking.offered(key, rows, offered)
            if not rows and holds == flow.lanes.holds(key):
                break  # otherwise one was put behind this lane meanwhile, and may not be on disk yet
            if rows and (offered is None or rows[0].seq <= offered):
                break  # otherwise an earlier one may not be on disk yet
            if rows and flow.backlog.offered() is not None:
                self._unread.append(key)
                return
        if not rows:
            flow.lanes.loaded(key, 0)
            return
        flow.lanes.loaded(key, rows[0].seq)
        journey = await flow.loader.load(rows[0])
        if journey is not None:
            self._line_up(row for row in rows[1:] if offered is None or row.seq <= offered)
            await flow.begin_again([journey])

    def _line_up(self, rows: Iterable[Progress]) -> None:
        """Bring those behind a head into memory too, as far as they can be loaded and there is room."""
        flow = self._flow
        for progress in rows:
            entry = self._engine.store.journal.get(progress.seq, flow.number)
            if progress.seq in flow.active or entry is None or entry.body is None or flow.full_of_bytes():
                return
            try:
                journey = flow.loader.journey(entry, progress=progress)
            except Exception:
                return  # whatever it is: told when it is the first
            journey.held = True
            flow.adopt(journey)
            flow.lanes.line_up(journey)

    def claim_following(self, key: str) -> None:
        """A head's end is about to be written: if the next one was loaded ahead of its turn, its claim goes with it."""
        flow = self._flow
        following = flow.lanes.following(key)
        if following is not None and following.held:
            following.held = False
            self._engine.writer.put(following.row(flow.number, State.RUNNING, self._engine.clock.now_ms()))
