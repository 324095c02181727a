"""What of a flow's stream is still on disk: how far it has been read, and how far it is claimed.

The feeder reads in journal order, as far as there is room. A claim says durably that messages up to a number may be in
work: after a kill those without a row are suspects, and the ones beyond it were never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dovetail.engine.loading import unloaded
from dovetail.errors import Damaged, StoreError
from dovetail.store.base import Progress, Row, State

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun


class Backlog:
    """The backlog of one flow."""

    claim_ahead = 8192  # numbers

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._engine = flow.engine
        self.cursor = 0  # fed up to this journal number
        self.behind = True  # whether fresh messages beyond the cursor may be on disk
        self.claimed = 0  # flushed claim
        self.asked = 0  # claim that is on its way to the disk
        self._expecting = False
        self._fetching = False  # a very large body is being read for the feeder

    def begin(self, claimed: int, cursor: int) -> None:
        """Go on from what the store says: how far is claimed, and up to where every message has its row."""
        self.claimed = self.asked = claimed
        self.cursor = cursor

    def reached(self) -> int:
        """A journal number that had been given out when the claim was made."""
        return self.claimed - self.claim_ahead

    def expect(self) -> None:
        """Messages of this flow are in the commit that is being put together."""
        self._expecting = True

    def before_commit(self, ceiling: int) -> None:
        """Claim what this commit may bring, in the same transaction. `ceiling`: no journal number in it is higher."""
        if self._expecting and not self.behind and self.asked < ceiling:
            self.claim(ceiling + self.claim_ahead)
        self._expecting = False

    def claim(self, upto: int) -> None:
        """Say durably that messages up to this number may be in work; runs of later ones wait for it."""
        if upto <= self.asked:
            return
        self.asked = upto
        moves = self._engine.writer.moves
        moves.claims[self._flow.number] = (upto, self.settled())
        moves.after.append(lambda: self._claimed(upto))
        self._engine.writer.wake()

    def _claimed(self, upto: int) -> None:
        self.claimed = max(self.claimed, upto)
        self._flow.pump_soon()

    def settled(self) -> int:
        """The journal number up to which every message of this flow has its row."""
        for journey in self._flow.active.values():
            if not journey.recorded:
                return journey.seq - 1
        return self.cursor

    def refill(self) -> None:
        """Read the next fresh messages while there is room for a good batch of them."""
        flow, journal = self._flow, self._engine.store.journal
        flow.overtaking.look()
        while self.behind and not self._fetching and self._has_room():
            rows = journal.after(flow.number, flow.stream, self.cursor, flow.window // 2, flow.window_bytes // 2)
            if not rows:
                self.behind = False
            for row in rows:
                if row.beside and row.seq not in flow.active:
                    self._fetching = True
                    self._engine.spawn(self._fetch(row))
                    break
                self._refilled(row)
            if rows:
                self.claim(row.seq + self.claim_ahead)
            flow.held.read_on()

    def _has_room(self) -> bool:
        """Whether there is room for a good batch of the backlog. Those that overtake it do not count: they leave it its
        share."""
        flow = self._flow
        return len(flow.active) - len(flow.overtaking) <= flow.window // 2 and not flow.full_of_bytes()

    def _refilled(self, row: Row) -> None:
        self.cursor = row.seq
        flow = self._flow
        if row.seq in flow.active or flow.overtaking.took(row.seq):
            return
        journey = flow.loader.fresh(row)
        if journey is not None:
            flow.feed(journey)

    async def _fetch(self, row: Row) -> None:
        """Read a very large body beside the event loop; those behind it wait for their turn."""
        try:
            row.body = await self._engine.store.journal.fetch(row)
            if self._engine.store.progress.get(self._flow.number, row.seq) is None:
                self._refilled(row)
            else:  # it has overtaken meanwhile
                self.cursor = row.seq
        except Damaged:
            raise
        except StoreError as error:  # its file is gone or cannot be read: a dead letter, and the others go on
            self.cursor = row.seq
            unread = Progress(self._flow.number, row.seq, State.FRESH, row.at, attempt=1)
            self._flow.settle.unloadable(row, unread, unloaded(error))
        finally:
            self._fetching = False
            self._flow.held.read_on()
            self._flow.pump_soon()

    def offered(self) -> int | None:
        """The journal number up to which every message has been offered its place; None if all have."""
        return 0 if self._flow.recovering else self.cursor if self.behind else None
