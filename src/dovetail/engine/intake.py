"""The door of a flow: what is checked before a message is accepted, and what the source is told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from dovetail.engine.definition import FlowVersion
from dovetail.engine.journey import origin_of
from dovetail.engine.memo import Attempt, Memo, message_id, meta_of, pack, pack_meta, plain, readable
from dovetail.engine.priority import UNSAID, said
from dovetail.engine.writer import Landed
from dovetail.errors import Refused, Rejected, Unavailable
from dovetail.sdk import UNDEFINED, Delivery, Message, Position, Receipt, Threads
from dovetail.store.base import KNOWN, Entry, Place, Progress, State

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine
    from dovetail.engine.flow import FlowRun

Settle = Callable[[list[Receipt]], None]
THREADS = Threads(2)  # for hashes of large bodies
LONGEST_WORD = 512  # characters of a key or a dedupe id


class Door:
    """Hands deliveries of one source to the next group commit (see `dovetail.sdk.Deliver`)."""

    most_waiting = 20_000  # messages at all doors that no commit has taken yet
    most_waiting_bytes = 256 << 20  # and what they weigh
    most_large_bytes = 128 << 20  # beyond this large ones are turned away, so that there is room for small ones

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._engine = flow.engine
        self._line = Line(flow.engine)
        self._under_way: set[str] = set()  # partitions of deliveries that are not settled

    def __call__(self, delivery: Delivery) -> None:
        """Check each message and queue those that may come in. Never raises."""
        engine = self._engine
        closed = engine.closed()
        if closed is not None:
            settle(engine, delivery.settle, [Receipt(error=closed)] * len(delivery.batch))
            return
        if delivery.positions is not None:
            if not self._under_way.isdisjoint(position.partition for position in delivery.positions):
                wait = Unavailable("an earlier delivery of its partition is not settled", after=0.1)
                settle(engine, delivery.settle, [Receipt(error=wait)] * len(delivery.batch))
                return
            delivery = self._alone(delivery, delivery.positions)
        unit = Admission(self._flow, delivery)
        if not (unit.entries or unit.refused):
            unit.finish()
        elif self._line or unit.largest > engine.store.large:
            if engine.writer.waiting_bytes > self.most_large_bytes and unit.weight > engine.store.large:
                unit.unavailable(Unavailable("more large bodies are coming in than the disk takes", after=1.0))
            else:
                self._line.join(self._flow, unit)
        else:
            self._flow.backlog.expect()
            engine.writer.accept(unit)

    def _alone(self, delivery: Delivery, positions: Sequence[Position]) -> Delivery:
        """One delivery of a partition at a time: if this one is not kept, a later one must not raise the mark."""
        mine = {position.partition for position in positions}
        self._under_way |= mine

        def told(receipts: list[Receipt]) -> None:
            self._under_way -= mine
            delivery.settle(receipts)

        return replace(delivery, settle=told)

    async def room(self) -> None:
        """Wait until the door takes more."""
        engine = self._engine
        while engine.closed() is not None or self._half_full():
            shut = engine.guard.level or not engine.writer.available or not engine.open_doors
            await engine.pause() if shut else await engine.writer.barrier()

    def _half_full(self) -> bool:
        writer = self._engine.writer
        return writer.waiting > self.most_waiting // 2 or writer.waiting_bytes > self.most_waiting_bytes * 3 // 4


class Line:
    """Deliveries of one source whose large bodies are written beside before a commit takes them, in their order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._line: deque[tuple[FlowRun, Admission, asyncio.Task[None]]] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def join(self, flow: FlowRun, unit: Admission) -> None:
        """Go to the end of the line. Whoever stands in it counts as waiting at the door."""
        self._engine.writer.expect(unit)
        task = self._engine.keep(self._stow(unit))
        self._line.append((flow, unit, task))
        task.add_done_callback(self._move)

    async def _stow(self, unit: Admission) -> None:
        entries = bodies(unit)
        for entry in entries:
            if entry.dedupe is not None and not entry.body_hash:
                entry.body_hash = await THREADS.run(body_hash, entry.body)
        await self._engine.store.stow(entries)

    def _move(self, ended: asyncio.Task[None]) -> None:
        """Hand on whoever is ready at the head."""
        self._engine.release(ended)
        while self._line and self._line[0][2].done():
            flow, unit, task = self._line.popleft()
            self._engine.writer.expected(unit)
            if task.cancelled():
                unit.unavailable(Unavailable("the server is stopping", after=2.0))
            elif (error := task.exception()) is not None:
                known = (
                    error if isinstance(error, Unavailable) else Unavailable(f"the store failed: {error}", after=5.0)
                )
                unit.unavailable(known)
            else:
                flow.backlog.expect()
                self._engine.writer.accept(unit)


class Admission:
    """One delivery at the door."""

    __slots__ = ("_at", "_flow", "_messages", "_outstanding", "_park", "_receipts", "_settle", "_waits",
                 "entries", "largest", "refused", "weight")  # fmt: skip

    def __init__(self, flow: FlowRun, delivery: Delivery) -> None:
        self._flow, self._waits, self._park = flow, delivery.wait_for_reply, delivery.park_refused
        self._settle: Settle | None = delivery.settle
        self._receipts: list[Receipt | None] = [None] * len(delivery.batch)
        self._outstanding = 0  # messages whose answer or parking is waited for
        self.entries: list[Entry] = []
        self._at: list[int] = []  # index in the batch of each entry
        self._messages: list[Message] = []
        self.refused: list[tuple[Entry, Progress]] = []
        self.weight = self.largest = 0  # bytes of all bodies, and of the largest one
        versions = flow.versions
        version = versions.current.version
        now = flow.engine.clock.now_ms()
        for index, message in enumerate(delivery.batch):
            place: Place | None = None
            if delivery.positions is not None:
                try:
                    place = place_of(flow, delivery.positions[index])
                except Refused as error:
                    self._turn_away(index, message, error, None)
                    continue
            known = delivery.refusals[index] if delivery.refusals else None
            if known is not None:
                self._turn_away(index, message, known, place)
                continue
            try:
                if versions.canary is not None:
                    version = versions.chosen(message).version
                entry = admit(flow, version, message, delivery.dedupe[index] if delivery.dedupe else None, now, place)
            except Refused as error:
                self._turn_away(index, message, error, place)
                continue
            except Rejected as error:
                detail = {"errors": error.detail} if error.detail else None
                refused = Refused(error.message, status=422, code=error.code, detail=detail)
                self._turn_away(index, message, refused, place)
                continue
            except Exception as error:
                text = f"it cannot be read: {type(error).__name__}: {error}"
                self._turn_away(index, message, Refused(readable(text), status=422, code="unreadable"), place)
                continue
            self.entries.append(entry)
            self._at.append(index)
            self._messages.append(message)
            self._weigh(entry)

    def _weigh(self, entry: Entry) -> None:
        size = len(entry.body)
        self.weight += size
        if size > self.largest:
            self.largest = size

    def _turn_away(self, index: int, message: Message, error: Refused, place: Place | None) -> None:
        flow = self._flow
        flow.engine.observer.refused(flow.name, error.code)
        if not self._park:
            self._receipts[index] = Receipt(error=error)
            return
        try:
            pair = park(flow, message, error, place)
        except Exception as reason:  # not even its attributes can be written down
            flow.engine.log.error("not_parked", flow=flow.name, error=repr(reason))
            self._receipts[index] = Receipt(error=error)
            return
        self.refused.append(pair)
        self._weigh(pair[0])
        self._receipts[index] = Receipt(parked=True, error=error)

    def committed(self) -> Sequence[Landed]:
        """They stand on disk: say so, and hand on those that are to be run."""
        flow, engine = self._flow, self._flow.engine
        uid = engine.store.uid
        landed: list[Landed] = []
        for n, entry in enumerate(self.entries):
            index = self._at[n]
            if entry.duplicate_of == KNOWN:
                self._receipts[index] = Receipt(duplicate=True)
            elif entry.duplicate_of:
                self._receipts[index] = Receipt(message_id(uid, entry.duplicate_of), entry.duplicate_of, duplicate=True)
            elif entry.conflict_with:
                self._conflict(index, self._messages[n], entry)
            else:
                self._receipts[index] = Receipt(message_id(uid, entry.seq), entry.seq)
                landed.append((entry, self._messages[n]))
        if landed:
            engine.observer.accepted(flow.name, len(landed))
        self._messages = []  # a caller may wait for hours
        if self._waits and landed:
            self._outstanding += len(landed)
            engine.wait_for(flow, self, [entry.seq for entry, _ in landed])
        self._finish_if_told()
        return landed

    def _conflict(self, index: int, message: Message, entry: Entry) -> None:
        first = message_id(self._flow.engine.store.uid, entry.conflict_with)
        error = Refused(
            f"a message with the same id but another body was accepted before, as {first}",
            status=409, code="conflict", detail={"first": first},
        )  # fmt: skip
        flow = self._flow
        flow.engine.observer.refused(flow.name, error.code)
        self._receipts[index] = Receipt(parked=self._park, error=error)
        if self._park:
            self._outstanding += 1
            pair = park(flow, message, error)
            if entry.dedupe is not None:  # a source that brings it again finds it there
                scope, name = entry.dedupe
                pair[0].dedupe, pair[0].body_hash = (scope, f"{name}\x1f{entry.body_hash.hex()}"), entry.body_hash
            flow.engine.writer.accept(Parking(self, index, pair))

    def parked(self, index: int, error: Unavailable | None) -> None:
        """A conflicting message is kept as a dead letter, or could not be."""
        if error is not None:
            self._receipts[index] = Receipt(error=error)
        self._outstanding -= 1
        self._finish_if_told()

    def answered(self, seq: int, state: State, reason: str, reply: tuple[Message, int] | None) -> None:
        """The flow answered or ended a message that a caller waits for."""
        for index, receipt in enumerate(self._receipts):
            if receipt is not None and receipt.ref == seq and not receipt.duplicate:
                error = Refused(reason, status=422, code="dead_letter") if state is State.DEAD else None
                message, status = reply or (None, 200)
                self._receipts[index] = Receipt(
                    receipt.id, seq, reply=message, status=status, error=None if message else error
                )
        self._outstanding -= 1
        self._finish_if_told()

    def _finish_if_told(self) -> None:
        if self._outstanding == 0:
            self.finish()

    def unavailable(self, error: Unavailable) -> None:
        """Nothing was kept."""
        self._receipts = [receipt if receipt and receipt.error and not receipt.parked else Receipt(error=error)
                          for receipt in self._receipts]  # fmt: skip
        self.finish()

    def finish(self) -> None:
        """Tell the source, once."""
        tell, self._settle = self._settle, None
        if tell is not None:
            settle(self._flow.engine, tell, [receipt or Receipt() for receipt in self._receipts])


class Parking:
    """A conflicting message that nobody was there to refuse to: kept as a dead letter before its source is told."""

    __slots__ = ("_admission", "_index", "entries", "refused", "weight")

    def __init__(self, admission: Admission, index: int, pair: tuple[Entry, Progress]) -> None:
        self._admission, self._index = admission, index
        self.entries: list[Entry] = []
        self.refused = [pair]
        self.weight = len(pair[0].body)

    def committed(self) -> Sequence[Landed]:
        self._admission.parked(self._index, None)
        return ()

    def unavailable(self, error: Unavailable) -> None:
        self._admission.parked(self._index, error)


def settle(engine: Any, tell: Settle, receipts: list[Receipt]) -> None:
    """Call the delivery's way back; a source that fails there must not stop anybody else."""
    try:
        tell(receipts)
    except Exception as error:
        engine.log.error("settle_failed", error=repr(error))


def admit(
    flow: FlowRun, version: FlowVersion, message: Message, own_id: str | None, now: int, place: Place | None = None
) -> Entry:  # fmt: skip
    """The entry for a message that may come in. Raises `Refused` or `Rejected` for one that may not."""
    check(version, message)
    dedupe = word(own_id)
    if version.dedupe is not None:
        dedupe = word(version.dedupe.evaluate(message))
        if dedupe is None:
            raise Refused(
                f"it has no id to tell it from others: `{version.dedupe.text}` gives nothing", status=422, code="no_id"
            )
    body = message.body
    told_by = dedupe if dedupe is not None or place is None else f"{place.partition}:{place.number}"
    message.origin = origin_of(flow.name, told_by) if told_by is not None else ""
    return Entry(
        stream=flow.stream, at=now, version=version.number,
        meta=pack_meta(meta_of(message, origin=message.origin)), body=body, key=message.key,
        dedupe=(flow.stream, dedupe) if dedupe is not None else None,
        body_hash=body_hash(body) if dedupe is not None and len(body) <= flow.engine.store.large else b"",
        position=place,
        priority=version.priority(message) if version.priority is not None else said(UNSAID, flow.sorts),
    )  # fmt: skip


def body_hash(body: bytes) -> bytes:
    """What tells a repeat from a conflict; of a large body it is taken beside the event loop."""
    return blake2b(body, digest_size=16).digest()


def bodies(unit: Admission) -> list[Entry]:
    """Every entry that the unit brings."""
    return [*unit.entries, *(entry for entry, _ in unit.refused)] if unit.refused else unit.entries


def check(version: FlowVersion, message: Message) -> None:
    """Hold the message against the flow's contract and give it the flow's key. Raises `Refused` or `Rejected`."""
    if version.contract is not None:
        version.contract.check(message)
    if version.key is not None:
        message.key = word(version.key.evaluate(message))


def place_of(flow: FlowRun, position: Position) -> Place:
    """A source's position in the flow's stream. Raises `Refused` for one that cannot be written down."""
    partition = word(position.partition)
    if partition is None or not 0 <= position.number < 1 << 63:
        raise Refused("a position is a partition's name and a number from 0 on", status=422, code="no_position")
    return Place(flow.stream, partition, position.number, position.passing)


def park(flow: FlowRun, message: Message, error: Refused, place: Place | None = None) -> tuple[Entry, Progress]:
    """A refused message as a dead letter."""
    now = flow.engine.clock.now_ms()
    memo = Memo(history=[Attempt(1, now, "door", error.code, readable(error.message), plain(error.detail))])
    entry = Entry(
        stream=flow.stream, at=now, version=flow.versions.current.number, meta=pack_meta(meta_of(message)),
        body=message.body, key=None, position=place, priority=said(UNSAID, flow.sorts),
    )  # fmt: skip
    reason = readable(f"{error.code}: {error.message}")[:1000]
    return entry, Progress(flow.number, 0, State.DEAD, now, 1, reason=reason, memo=pack(memo))


def word(value: Any) -> str | None:
    """A key or an id as text: what an expression gave, None for nothing. Structures are no ids."""
    if value is None or value is UNDEFINED:
        return None
    if value.__class__ is str:
        text = value
    elif isinstance(value, (bool, dict, list)) or callable(value):
        raise Refused(f"a key or id must be a text or a number, not {type(value).__name__}", status=422, code="no_id")
    else:
        text = str(value)
    if len(text) > LONGEST_WORD:
        raise Refused(f"a key or id is longer than {LONGEST_WORD} characters", status=422, code="no_id")
    if not text.isascii() and readable(text) != text:
        raise Refused("a key or id is no text: it holds half a character", status=422, code="no_id")
    return text or None
