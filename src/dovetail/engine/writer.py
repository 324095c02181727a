"""Group commit: everything that happened since the last flush goes into the next transaction, and nothing is said
before it.

Two kinds of work. A *unit* comes through a door: if the store cannot take it, its caller is told so and nothing was
kept. A *move*
is the engine's own (an outcome, a retry, a published message): it is kept and tried again until the store takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from dovetail.clock import Clock
from dovetail.engine.failpoints import Hook
from dovetail.engine.observer import Observer
from dovetail.errors import Unavailable
from dovetail.sdk import Log, Message
from dovetail.store.base import Entry, Memory, Parked, Progress, Store, Work, changed

After = Callable[[], None]
Landed = tuple[Entry, Message | None]


class Unit(Protocol):
    """Messages from a door, to be accepted together."""

    @property
    def entries(self) -> Sequence[Entry]: ...

    @property
    def refused(self) -> Sequence[tuple[Entry, Progress]]: ...

    @property
    def weight(self) -> int:
        """The bytes of its bodies."""

    def committed(self) -> Sequence[Landed]:
        """They stand: `seq`, `duplicate_of` and `conflict_with` are set. Tells the source; returns those that are to
        be run."""

    def unavailable(self, error: Unavailable) -> None:
        """Nothing was kept."""


class Moves:
    """The engine's own changes since the last commit."""

    __slots__ = (
        "after", "audit", "claims", "counts", "edits", "entries", "marks", "memory", "parks", "progress", "refused",
    )  # fmt: skip

    def __init__(self) -> None:
        self.progress: dict[tuple[int, int], Progress | Callable[[], Progress]] = {}
        self.entries: list[Landed] = []
        self.edits: list[tuple[int, int, bytes, str]] = []
        self.claims: dict[int, tuple[int, int]] = {}
        self.marks: dict[str, bytes] = {}
        self.memory: list[Memory] = []
        self.refused: list[tuple[Entry, Progress]] = []
        self.parks: dict[tuple[int, str], Parked | None] = {}
        self.counts: dict[tuple[int, str], int] = {}
        self.audit: list[tuple[object, ...]] = []
        self.after: list[After] = []

    def __bool__(self) -> bool:
        return bool(self.after or self.changes())

    def changes(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.progress or self.entries or self.marks or self.claims or self.edits or self.counts or self.audit
            or self.memory or self.parks or self.refused
        )  # fmt: skip

    def follow(self, later: Moves) -> None:
        """Put what came later behind (newer rows win)."""
        self.progress.update(later.progress)
        self.entries += later.entries
        self.edits += later.edits
        self.claims.update(later.claims)
        self.marks.update(later.marks)
        self.memory += later.memory
        self.refused += later.refused
        self.parks.update(later.parks)
        for key, n in later.counts.items():
            self.counts[key] = self.counts.get(key, 0) + n
        self.audit += later.audit
        self.after += later.after


class Writer:
    """The only one who commits. `run` is its task; everything else is synchronous and cheap."""

    most_entries, most_bytes = 4000, 32 << 20  # that one commit takes from the doors, or a little more
    linger = 0.002  # seconds that outcomes wait for company while nobody waits for them
    pause = 0.5  # seconds between tries while the store takes nothing

    def __init__(self, store: Store, clock: Clock, observer: Observer, hook: Hook, log: Log) -> None:
        self._store, self._clock, self._observer, self._hook, self._log = store, clock, observer, hook, log
        self._units: list[Unit] = []
        self._in_hand: list[Unit] = []  # in the commit under way
        self._under_way = Moves()  # those of the commit under way
        self.moves = Moves()
        self.waiting = self.waiting_bytes = 0  # entries at the doors that no commit has taken yet
        self.available = True
        self._wake = asyncio.Event()
        self._urgent = False  # somebody waits for the next commit
        self._hurry: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.resumed: list[After] = []  # told when the store takes work again
        self.before: Callable[[int], None] = lambda count: None  # asked for claims just before a commit is put together
        self.landed: Callable[[list[Landed]], None] = lambda landed: None  # told of every accepted message, in order

    def accept(self, unit: Unit) -> None:
        """Queue a unit for the next commit."""
        self._units.append(unit)
        self.expect(unit)
        self.wake()

    def expect(self, unit: Unit) -> None:
        """A unit waits (for its large bodies to be written beside, or for the next commit)."""
        self.waiting += len(unit.entries) + len(unit.refused)
        self.waiting_bytes += unit.weight

    def expected(self, unit: Unit) -> None:
        """It waits no longer: it is accepted next, or turned away."""
        self.waiting -= len(unit.entries) + len(unit.refused)
        self.waiting_bytes -= unit.weight

    def put(self, row: Progress, word: str | None = None, after: After | None = None) -> None:
        """Store this row with the next commit; `word` counts an end; `after` is called once it is flushed."""
        moves = self.moves
        moves.progress[row.flow, row.seq] = row
        if word is not None:
            key = (row.flow, word)
            moves.counts[key] = moves.counts.get(key, 0) + 1
        if after is not None:
            moves.after.append(after)
        self._wake.set()

    def put_late(self, flow: int, seq: int, row: Callable[[], Progress]) -> None:
        """Store the row that `row` gives when the next commit is put together, unless a `put` comes first: most running
        messages end before that."""
        self.moves.progress[flow, seq] = row
        self._wake.set()

    def wake(self) -> None:
        """Something was put into `moves` directly, or somebody waits for what is there."""
        if self._urgent and self._wake.is_set():
            return  # it has been said
        self._urgent = True
        self._no_more()
        self._wake.set()

    def idle(self) -> bool:
        """Whether nothing waits to be written, and nothing is being written."""
        return not self.moves and not self._under_way

    def on_their_way(self, flow: int) -> set[int]:
        """The messages of a flow whose rows are not on disk yet."""
        return {seq for moves in (self._under_way, self.moves) for number, seq in moves.progress if number == flow}

    def on_its_way(self, flow: int, seq: int) -> Progress | None:
        """The latest row of a message that is not on disk yet, if there is one."""
        row = self.moves.progress.get((flow, seq)) or self._under_way.progress.get((flow, seq))
        return row if row is None or isinstance(row, Progress) else row()

    async def barrier(self) -> None:
        """Return when everything queued up to now has been flushed."""
        done = asyncio.get_running_loop().create_future()
        self.moves.after.append(lambda: None if done.done() else done.set_result(None))
        self.wake()
        await done

    def note(self, event: tuple[object, ...]) -> None:
        """Put an event into the audit with the next commit."""
        self.moves.audit.append(event)
        self._wake.set()

    async def run(self) -> None:
        """Commit whatever is there, for ever. While the store takes nothing it is asked again and again, even if
        nobody brings anything: the doors are shut and wait for its answer."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._units or self.moves or not self.available:
                    if not self._urgent and self.available:
                        await self._company()
                    self._urgent = False
                    await self._commit()
        except Exception as error:
            self._give_up(error)
            raise

    async def _company(self) -> None:
        """Let more outcomes come before they are flushed together, but not longer than until somebody waits."""
        loop = asyncio.get_running_loop()
        self._hurry = loop.create_future()
        timer = loop.call_later(self.linger, self._no_more)
        try:
            await self._hurry
        finally:
            timer.cancel()

    def _no_more(self) -> None:
        if not self._hurry.done():
            self._hurry.set_result(None)

    def _give_up(self, error: Exception) -> None:
        """Nothing will ever be committed again: those who wait at the doors must not wait for ever."""
        self.available = False
        units = [*self._in_hand, *self._units]
        self._in_hand, self._units, self.waiting, self.waiting_bytes = [], [], 0, 0
        for unit in units:
            unit.unavailable(Unavailable(f"the store failed: {error}", after=5.0))

    def _take(self) -> tuple[list[Unit], Moves, Work]:
        units, taken, size = self._units, 0, 0
        for n, unit in enumerate(units):
            taken += len(unit.entries) + len(unit.refused)
            size += unit.weight
            if taken >= self.most_entries or size >= self.most_bytes:
                self._units = units[n + 1 :]
                units = units[: n + 1]
                break
        else:
            self._units = []
        self.waiting -= taken
        self.waiting_bytes -= size
        self.before(taken + len(self.moves.entries) + len(self.moves.refused))
        moves, self.moves = self.moves, Moves()
        refused = [pair for unit in units for pair in unit.refused] + moves.refused
        counts = dict(moves.counts)
        for _, row in refused:
            key = (row.flow, row.state.word)
            counts[key] = counts.get(key, 0) + 1
        rows = [row if isinstance(row, Progress) else row() for row in moves.progress.values()]
        work = Work(
            entries=[entry for unit in units for entry in unit.entries] + [entry for entry, _ in moves.entries],
            progress=rows,
            refused=refused,
            edits=moves.edits,
            claims=moves.claims,
            marks=moves.marks,
            memory=moves.memory,
            parks=moves.parks,
            counts=counts,
            audit=[*moves.audit, *changed(rows)],
        )
        return units, moves, work

    async def _commit(self) -> None:
        units, moves, work = self._take()
        self._in_hand, self._under_way = units, moves
        if units or moves.changes() or not self.available:
            started = self._clock.monotonic()
            try:
                if units:
                    self._hook("before_accept_commit")
                await self._store.commit(work)
            except Unavailable as error:
                await self._put_back(units, moves, error)
                return
            self._observer.commit(self._clock.monotonic() - started, len(work.entries), len(work.progress))
        self._committed(units, moves)

    def _committed(self, units: list[Unit], moves: Moves) -> None:
        """It stands on disk: say so."""
        self._under_way = Moves()
        if not self.available:
            self.available = True
            self._observer.store(True, "")
            self._tell(self.resumed)
        if units:
            self._hook("after_accept_commit_before_answer")
        landed: list[Landed] = []
        for unit in units:
            landed += unit.committed()
        self._in_hand = []
        if units:
            self._hook("after_answer_before_run")
        landed += moves.entries
        if landed:
            self.landed(landed)
        self._tell(moves.after)

    async def _put_back(self, units: list[Unit], moves: Moves, error: Unavailable) -> None:
        self._in_hand = []
        moves.follow(self.moves)
        self.moves, self._under_way = moves, Moves()
        if self.available:
            self.available = False
            self._observer.store(False, error.message)
            self._log.error("store_unavailable", reason=error.message)
        for unit in units:
            unit.unavailable(error)
        await asyncio.sleep(self.pause)

    def _tell(self, listeners: Sequence[After]) -> None:
        for listener in list(listeners):
            try:
                listener()
            except Exception as error:
                self._log.error("after_commit_failed", error=repr(error))
