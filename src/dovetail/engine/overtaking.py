"""Overtaking on disk: while a flow's backlog is longer than its window, its urgent and normal messages are found by
index and run before less urgent ones that were accepted earlier.

Order per key holds: a message brings the earlier ones of its key with it. Whoever overtakes is claimed by a row of its
own before it runs, so what the flow's claim says of the backlog stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dovetail.engine.priority import BACKGROUND, NORMAL, RANK, URGENT
from dovetail.errors import StoreError
from dovetail.store.base import Entry, Progress, Row

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun
    from dovetail.engine.journey import Journey

LOWER = {URGENT: (NORMAL, BACKGROUND), NORMAL: (BACKGROUND,)}


class Overtaking:
    """What runs ahead of one flow's backlog."""

    most = 256  # messages of one priority that are in memory ahead of their turn
    most_bytes = 8 << 20
    at_once = 64  # rows that one look reads

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._sizes: dict[int, dict[int, int]] = {URGENT: {}, NORMAL: {}}  # seq -> bytes of those in memory
        self._cursors = {URGENT: 0, NORMAL: 0}
        self._some = {URGENT: True, NORMAL: True}  # whether there may be more of them on disk
        self._busy = False
        self._sorted_for: object = None
        self._unsaid = 0  # up to this number some messages may have no priority: they are not found by their key

    def __len__(self) -> int:
        """How many are in memory."""
        return sum(map(len, self._sizes.values()))

    def arrived(self, entries: Sequence[Entry]) -> None:
        """These were accepted and did not fit into memory."""
        for entry in entries:
            if entry.priority in LOWER:
                self._some[entry.priority] = True

    def forget(self, seq: int) -> None:
        """A message has left memory."""
        for sizes in self._sizes.values():
            sizes.pop(seq, None)

    def look(self) -> None:
        """Bring in who may overtake, if there is room. Called while there is a backlog."""
        if self._busy or not (self._some[URGENT] or self._some[NORMAL]) or not self._may():
            return
        for priority in LOWER:
            if self._some[priority] and self._room(priority) and (rows := self._next(priority)):
                self._busy = True
                self._flow.engine.spawn(self._bring(priority, rows))
                return

    def _may(self) -> bool:
        """A topic's messages get their keys only when they are read, so one with keys is read in order."""
        versions = self._flow.versions
        keyed = versions.current.version.key is not None or versions.canary is not None
        return not self._flow.recovering and not (self._flow.reads_topic and keyed)

    def _room(self, priority: int) -> bool:
        sizes = self._sizes[priority]
        return len(sizes) < self.most and (not sizes or sum(sizes.values()) < self.most_bytes)

    def _next(self, priority: int) -> list[Row]:
        """The next ones of a priority that stand behind a less urgent one."""
        flow, journal = self._flow, self._flow.engine.store.journal
        if not journal.first(flow.stream, priority, max(self._cursors[priority], flow.backlog.cursor)):
            self._some[priority] = False
            return []
        behind = [
            first for lower in LOWER[priority] if (first := journal.first(flow.stream, lower, flow.backlog.cursor))
        ]
        if self._cursor_of_unsaid() > flow.backlog.cursor and priority == URGENT:
            behind.append(flow.backlog.cursor)
        rows: list[Row] = []
        if behind:
            start = max(self._cursors[priority], min(behind))
            rows = journal.after(flow.number, flow.stream, start, self.at_once, self.most_bytes, priority)
        self._some[priority] = bool(rows)
        return rows

    def _cursor_of_unsaid(self) -> int:
        """Looked up once for what is deployed."""
        flow, journal = self._flow, self._flow.engine.store.journal
        if self._sorted_for is not flow.versions:
            self._sorted_for = flow.versions
            some = journal.without_priority(flow.stream, flow.backlog.cursor)
            self._unsaid = journal.last(flow.stream) if some else 0
        return self._unsaid

    def _keys_known(self) -> bool:
        """Whether the earlier messages of any key behind the cursor are found by index."""
        return self._flow.sorts and self._flow.backlog.cursor >= self._cursor_of_unsaid()

    async def _bring(self, priority: int, rows: list[Row]) -> None:
        batch: dict[int, Row] = {}
        try:
            for row in rows:
                chain, whole = self._with_earlier(row)
                batch |= {one.seq: one for one in chain}
                if not whole:
                    break  # there are more of its key: they come first, at the next look
                self._cursors[priority] = row.seq
                if len(batch) >= self.most:
                    break
            await self._take(priority, list(batch.values()))
        finally:
            self._busy = False
            self._flow.pump_soon()

    def _with_earlier(self, row: Row) -> tuple[list[Row], bool]:
        """A message and the earlier ones of its key, in order; whether that is all of them. None of them while the
        earlier ones cannot be found: then it has its turn with the rest of the backlog."""
        if row.key is None:
            return [row], True
        if not self._keys_known():
            return [], True
        found = self._earlier(row.key, self._flow.backlog.cursor, row.seq, self.at_once)
        if found and self._earlier(row.key, found[-1].seq, row.seq, 1):
            return found, False
        return [*found, row], True

    def _earlier(self, key: str, seq: int, before: int, limit: int) -> list[Row]:
        flow = self._flow
        return flow.engine.store.journal.earlier(flow.number, flow.stream, key, seq, before, limit)

    def _known(self, seq: int) -> bool:
        """Whether a message without a row on disk has come into memory all the same, or has left it just now."""
        flow = self._flow
        return (
            seq <= flow.backlog.cursor
            or seq in flow.active
            or flow.engine.writer.on_its_way(flow.number, seq) is not None
        )

    async def _take(self, priority: int, rows: Sequence[Row]) -> None:
        """Bring these in, in order, and claim each by a row of its own before it runs."""
        flow, journal = self._flow, self._flow.engine.store.journal
        for row in rows:
            if row.beside:
                try:
                    row.body = await journal.fetch(row)
                except StoreError:
                    return  # it has its turn later, and is told then
        begun: list[Journey] = []
        for row in rows:
            if self._known(row.seq):
                continue
            journey = flow.loader.fresh(row)
            if journey is None:
                continue
            journey.rank = min(journey.rank, RANK[priority])  # those before it are as urgent as it is
            journey.recorded = True
            self._sizes[priority][row.seq] = row.size
            begun.append(journey)
        if begun:
            await flow.begin_again(begun)
        else:
            await flow.engine.writer.barrier()

    def took(self, seq: int) -> bool:
        """Whether a message that seems fresh was brought in here and has just ended."""
        writer = self._flow.engine.writer
        return any(self._cursors.values()) and writer.on_its_way(self._flow.number, seq) is not None

    def offered(self, key: str, rows: Sequence[Progress], known: int | None) -> int | None:
        """Up to which number every message of a key has been offered its place, given what is `known` of all keys.
        `rows` are the held ones of this key: those that overtook lie beyond what is known."""
        flow = self._flow
        if known is None or not rows or flow.recovering or flow.reads_topic or not self._keys_known():
            return known
        for row in (rows[-1], rows[0]):
            if row.seq > known and not self._earlier(key, flow.backlog.cursor, row.seq, 1):
                return row.seq
        return known
