"""The operator's desk: the only door upstairs. Status, search, one message's journey, redrive.

It works over a running server's engine and over a store at rest; which one is the `Hand`'s business.
"""

from __future__ import annotations

import asyncio
import os
from fnmatch import fnmatchcase

from dovetail.clock import Clock
from dovetail.control import approvals, settling
from dovetail.control.answers import (
    WORDS,
    ApprovalLine,
    ApprovalOrder,
    DeployAnswer,
    DeployOrder,
    Discarded,
    DiscardOrder,
    DryRunAnswer,
    FlowStatus,
    Journey,
    MessageLine,
    Page,
    ParkedKey,
    RedriveAnswer,
    RedriveOrder,
    Search,
    Status,
    TargetStatus,
    UnparkOrder,
    VersionOrder,
    VersionsAnswer,
)
from dovetail.control.deploying import Deploying
from dovetail.control.hand import Depths, FlowPlace, Hand, places
from dovetail.control.jobs import Jobs
from dovetail.control.journeys import journey_of
from dovetail.control.redrive import Redrive
from dovetail.control.searching import Searching
from dovetail.control.versions import promote, roll_back, versions
from dovetail.engine.lanes import PARTS
from dovetail.engine.memo import message_id, parse_message_id
from dovetail.engine.memory import REMEMBERS
from dovetail.engine.priority import word_of
from dovetail.engine.settle import FOREVER
from dovetail.errors import Refused
from dovetail.spec import nearest
from dovetail.store.base import Progress, Row, State, Store

MOST_MARKS = 20  # partitions that the status names for each flow


class Control:
    """The desk of one store. Methods raise `Refused` with status 404 for what is not there, 400 or 422 for a wrong
    question.
    """

    def __init__(self, store: Store, clock: Clock, hand: Hand, *, project: str, path: str) -> None:
        """`project` and `path` (of the store) are only shown."""
        self.store, self.hand = store, hand
        self._clock, self._project, self._path = clock, project, path
        self._started = clock.monotonic()
        self._depths = Depths(store, clock)
        self.turn = asyncio.Lock()  # whoever changes many messages, one at a time
        self.jobs = Jobs(self)

    # --- status ----------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """All flows and targets in numbers."""
        counts = self.store.progress.counts()
        return Status(
            running=self.hand.running, project=self._project, store=self._path,
            flows=[self._flow_status(place, counts) for place in places(self.store).values()],
            targets=[TargetStatus(name, position) for name, position in self.hand.breakers().items()],
            pid=os.getpid() if self.hand.running else 0,
            uptime=self._clock.monotonic() - self._started if self.hand.running else 0.0,
            usage=dict(self.store.usage()), disk=self.hand.disk(),
        )  # fmt: skip

    def _flow_status(self, place: FlowPlace, counts: dict[tuple[int, str], int]) -> FlowStatus:
        pending = {WORDS[state]: n for state, n in self._depths.of(place, counts).items()}
        partitions, marks = self.store.register.positions(place.stream, MOST_MARKS)
        done, discarded, dead = (counts.get((place.number, word), 0) for word in ("done", "discarded", "dead"))
        return FlowStatus(
            flow=place.name, accepted=counts.get((-place.stream, "accepted"), 0), pending=sum(pending.values()),
            done=done, discarded=discarded, dead=dead, states=pending, waiting_for=self.hand.waiting_for(place.name),
            remembers={
                word.removeprefix(REMEMBERS): n
                for (flow, word), n in counts.items() if flow == place.number and word.startswith(REMEMBERS) and n
            },
            parked=self.store.progress.parked_keys(place.number), ready=dict(self.hand.ready(place.name)),
            partitions=partitions, positions={mark.partition: mark.number for mark in marks},
            hot_keys={key.removeprefix(PARTS): n for n, key in self.hand.deepest(place.name)},
            bytes=counts.get((-place.stream, "bytes"), 0), most_bytes=self.hand.most_bytes(place.name),
        )  # fmt: skip

    def depth(self) -> dict[str, dict[str, int]]:
        """How many messages of each flow are in each pending state; for the metrics page."""
        counts = self.store.progress.counts()
        return {
            place.name: {WORDS[state]: n for state, n in self._depths.of(place, counts).items()}
            for place in places(self.store).values()
        }

    def ready(self) -> dict[str, dict[str, int]]:
        """Each flow's messages in memory that wait for their turn, by priority; for the metrics page."""
        return {place.name: dict(self.hand.ready(place.name)) for place in places(self.store).values()}

    def lanes(self) -> dict[str, tuple[int, int]]:
        """Each flow's parked keys, and how many stand behind the head of its longest lane; for the metrics page."""
        return {
            place.name: (
                self.store.progress.parked_keys(place.number),
                max((n for n, _ in self.hand.deepest(place.name)), default=0),
            )
            for place in places(self.store).values()
        }

    # --- messages --------------------------------------------------------------------------------------------------

    async def messages(self, search: Search) -> Page:
        """Messages that match, newest first over all flows."""
        return await Searching(self.store, search, self._named(search.flow), self.line).page()

    def _named(self, flow: str) -> list[FlowPlace]:
        """The flows that a name or a pattern means; all of them for "". Raises `Refused` (404)."""
        if flow and "*" not in flow:
            return [self.place(flow)]
        found = [place for name, place in places(self.store).items() if not flow or fnmatchcase(name, flow)]
        if flow and not found:
            raise Refused(f"no flow's name is like '{flow}'", status=404, code="not-found")
        return found

    def line(self, place: FlowPlace, row: Row, progress: Progress | None) -> MessageLine:
        """One message as a list shows it."""
        line = MessageLine(
            id=message_id(self.store.uid, row.seq), flow=place.name, state=WORDS[State.FRESH], at=row.at,
            size=row.size, key=row.key or "", priority=word_of(row.priority),
        )  # fmt: skip
        if progress is not None:
            line.state, line.attempt = WORDS[progress.state], progress.attempt
            line.next_at = progress.next_at if progress.next_at < FOREVER else 0
            line.changed_at, line.reason = progress.at, progress.reason
            line.key = progress.key or line.key
        return line

    # --- one message -----------------------------------------------------------------------------------------------

    async def show(self, id: str, flow: str = "") -> Journey:
        """One message's journey through a flow; without `flow` through the first one that reads it and has not
        finished.
        """
        row = self.row(id)
        readers = self.readers(row)
        if flow:
            place = self.place(flow)
            if place.name not in [reader.name for reader, _ in readers]:
                raise Refused(f"flow '{flow}' never had message {id}", status=404, code="not-found")
        else:
            unfinished = [reader for reader, found in readers if found is None or found.state is not State.DONE]
            place = (unfinished or [reader for reader, _ in readers])[0]
        return await journey_of(
            self, place, row.seq, [reader.name for reader, _ in readers if reader.name != place.name]
        )

    def body(self, id: str, flow: str = "", original: bool = False) -> bytes:
        """The bytes of a message: as they came in, or as last edited for `flow`. Raises `Refused` when they were
        pruned.
        """
        row = self.row(id)
        number = self.place(flow).number if flow else self.readers(row)[0][0].number
        if original:
            body = self.store.journal.original(row.seq)
        else:
            edited = self.store.journal.get(row.seq, number)
            body = edited.body if edited is not None else None
        if body is None:
            raise Refused(f"the body of message {id} is no longer kept", status=404, code="not-found")
        return body

    # --- redrive ---------------------------------------------------------------------------------------------------

    async def redrive(self, order: RedriveOrder) -> RedriveAnswer:
        """Take dead letters up again: done effects stay done, ids and effect keys stay the same."""
        async with self.turn:
            return await Redrive(self, order).run()

    async def dry_run(self, order: RedriveOrder) -> DryRunAnswer:
        """What `redrive` would send, and how that differs from before. Sends and writes nothing."""
        return await Redrive(self, order).dry_run()

    # --- deploying -------------------------------------------------------------------------------------------------

    async def deploy(self, order: DeployOrder) -> DeployAnswer:
        """Bring the folder's text into the running server, or say what that would mean."""
        async with self.turn:
            return await Deploying(self, order).run()

    async def promote(self, order: VersionOrder) -> DeployAnswer:
        """All new messages get the version in the folder: a canary, or what was rolled back."""
        async with self.turn:
            return await promote(self, order)

    async def rollback(self, order: VersionOrder) -> DeployAnswer:
        """New messages get an older version again."""
        async with self.turn:
            return await roll_back(self, order)

    def versions(self, flow: str) -> VersionsAnswer:
        """The versions of a flow, newest first."""
        return versions(self, flow)

    # --- decisions --------------------------------------------------------------------------------------------------

    def approvals(self, flow: str = "") -> list[ApprovalLine]:
        """What waits for a person's decision, in all flows or in one."""
        return approvals.waiting(self.store, self.place(flow).name if flow else "")

    async def approve(self, order: ApprovalOrder) -> ApprovalLine:
        """A person's decision on a message; it is on disk when this returns."""
        async with self.turn:
            return await approvals.decide(self, order)

    def now(self) -> int:
        """The wall clock, in milliseconds."""
        return self._clock.now_ms()

    # --- dead letters that nobody sends on ---------------------------------------------------------------------------

    def parked(self, flow: str = "") -> list[ParkedKey]:
        """Keys that stand still behind a dead letter, of one flow or of all."""
        return settling.parked(self, flow)

    async def unpark(self, order: UnparkOrder) -> ParkedKey:
        """Let a parked key go on; the answer is how it was."""
        async with self.turn:
            return await settling.unpark(self, order)

    async def discard(self, order: DiscardOrder) -> Discarded:
        """Dead letters end as discarded, with who and why."""
        async with self.turn:
            work, answer = settling.discard(self, order)
            if work.progress:
                await self.hand.carry_out(work)
            return answer

    # --- finding ---------------------------------------------------------------------------------------------------

    def place(self, flow: str) -> FlowPlace:
        """A flow by name. Raises `Refused` (404) with the nearest name."""
        known = places(self.store)
        if flow not in known:
            hint = nearest(flow, known)
            raise Refused(f"there is no flow '{flow}'" + (f"; {hint}" if hint else ""), status=404, code="not-found")
        return known[flow]

    def row(self, id: str) -> Row:
        """A journal entry by message id, or by the short form behind the dash. Raises `Refused` (404)."""
        try:
            seq = parse_message_id(self.store.uid, id)
        except ValueError as error:
            text = str(error) if "another store" in str(error) else f"'{id}' is not a message id"
            raise Refused(text, status=404, code="not-found") from error
        row = self.store.journal.get(seq) if 0 < seq < 1 << 63 else None
        if row is None:
            raise Refused(f"there is no message {id}", status=404, code="not-found")
        return row

    def readers(self, row: Row) -> list[tuple[FlowPlace, Progress | None]]:
        """The flows that have or had this message, each with its progress. Raises `Refused` (404) if there is none."""
        found: list[tuple[FlowPlace, Progress | None]] = []
        for place in places(self.store).values():
            if place.stream == row.stream:
                progress = self.store.progress.get(place.number, row.seq)
                fresh = not place.left and row.seq > self.store.register.claim(place.number)[1]
                if progress is not None or fresh:
                    found.append((place, progress))
        if not found:
            id = message_id(self.store.uid, row.seq)
            raise Refused(f"no flow reads message {id} any more", status=404, code="not-found")
        return found
