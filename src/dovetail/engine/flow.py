"""One running flow: its window of messages in memory, its lanes, and the pump that sends batches through the steps.

The backlog lives on disk. At most `window` messages of a flow are in memory; the feeder reads the next ones in journal
order when there is room, so a million pending messages cost no more memory than a thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dovetail.engine.context import RunContext
from dovetail.engine.definition import FlowDefinition
from dovetail.engine.effects import Effects
from dovetail.engine.execute import Compiled, versions_of
from dovetail.engine.intake import check
from dovetail.engine.journey import Journey
from dovetail.engine.lanes import PARTS, Lanes
from dovetail.engine.memo import Memo, Meta, message_id, unpack, unpack_meta
from dovetail.engine.overtaking import Overtaking
from dovetail.engine.priority import LAST, RANK, Ready
from dovetail.engine.saga import Sagas
from dovetail.engine.settle import Settler
from dovetail.engine.timers import Timer
from dovetail.errors import Damaged, DovetailError, Rejected, Retry, StoreError
from dovetail.sdk import Codec, Codecs, Message
from dovetail.store.base import Entry, Progress, Row, State

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine


class FlowRun:
    """A flow while the engine runs."""

    window = 1024  # messages in memory
    window_bytes = 32 * 1024 * 1024
    batch = 200
    claim_ahead = 8192
    patience = 16  # messages that are paused one after the other before the flow waits as a whole

    def __init__(self, engine: Engine, definition: FlowDefinition, number: int, stream: int) -> None:
        self.engine, self.definition = engine, definition
        self.name, self.number, self.stream = definition.name, number, stream
        self.reads_topic = definition.source is not None and definition.source.topic is not None
        self.versions = versions_of(definition, engine.observer, engine.clock)
        self.active: dict[int, Journey] = {}  # every journey in memory, by journal number
        self.ready = Ready()
        self.running = 0
        self.cursor = 0  # fed up to this journal number
        self.behind = True  # whether fresh messages beyond the cursor may be on disk
        self.claimed = 0  # flushed claim
        self.asked = 0  # claim that is on its way to the disk
        self.lanes = Lanes(self._hold, self.load_held)
        self.overtaking = Overtaking(self)
        self.effects = Effects(self)
        self.sagas = Sagas(self)
        self.settle = Settler(self)
        self.timer = Timer(self)
        self.context = RunContext(self)
        self._bytes = 0
        self._fetching = False  # a very large body is being read for the feeder
        self._pumping = False
        self._gate: asyncio.TimerHandle | None = None
        self._gate_rank = 0  # messages of this rank and below are held back by the gate
        self.gated_by: str | None = None  # the target that holds the flow back
        self.pauses = 0  # messages paused since the last one got through
        self._expecting = False
        self.leaving = False  # it is in the project no more, and finishes what it has
        self.recovering = False  # earlier messages of a key may not have been offered their place yet
        self._unread: list[str] = []  # keys whose held messages wait for that, or until what was before them is read

    # --- messages come in -------------------------------------------------------------------------------------

    def arrive(self, arrived: Sequence[tuple[Entry, Message | None]]) -> None:
        """Entries of the stream that were just flushed, in order."""
        if self.behind:
            self.overtaking.arrived([entry for entry, _ in arrived])
            self.pump_soon()
            return
        for entry, message in arrived:
            if self.full():
                self.behind = True
                self.overtaking.arrived([entry for entry, _ in arrived])
                break
            if entry.seq <= self.cursor:
                continue  # the feeder was quicker
            self.cursor = entry.seq
            journey = self.fresh(entry, message)
            if journey is not None:
                self.feed(journey)
        self.pump_soon()

    @property
    def sorts(self) -> bool:
        """Whether its text says how urgent messages are."""
        current, canary = self.versions.current.version, self.versions.canary
        return current.priority is not None or (canary is not None and canary.version.priority is not None)

    def full(self) -> bool:
        """Whether the window takes no more."""
        return len(self.active) >= self.window or self.full_of_bytes()

    def full_of_bytes(self) -> bool:
        """Whether what is in memory is large, however few messages it is: here, or in all flows together."""
        return self._bytes >= self.window_bytes or (
            self._bytes > 0 and self.engine.in_memory >= self.engine.most_in_memory
        )

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
        moves = self.engine.writer.moves
        moves.claims[self.number] = (upto, self.settled())
        moves.after.append(lambda: self._claimed(upto))
        self.engine.writer.wake()

    def _claimed(self, upto: int) -> None:
        self.claimed = max(self.claimed, upto)
        self.pump_soon()

    def settled(self) -> int:
        """The journal number up to which every message of this flow has its row."""
        for journey in self.active.values():
            if not journey.recorded:
                return journey.seq - 1
        return self.cursor

    def fresh(self, entry: Entry | Row, message: Message | None = None) -> Journey | None:
        """Bring a message into memory for the first time. None if it is not to be run: it has its row then."""
        try:
            if self.reads_topic and self._foreign(entry):
                return None
            journey = self.journey(entry, message)
        except Exception as error:
            row = Progress(self.number, entry.seq, State.FRESH, entry.at, attempt=1)
            self.settle.unloadable(entry, row, unloaded(error))
            return None
        if self.reads_topic and not entry.start:
            try:
                check(journey.version.version, journey.message)
            except Exception as error:
                self.settle.refused(journey, error)
                return None
            journey.key = journey.message.key
        return journey

    def _foreign(self, entry: Entry | Row) -> bool:
        """Parts, what steps emitted and what runs as new are for one subscriber of the topic; for any other, a row says
        so."""
        if not (entry.start or entry.parent) or unpack_meta(entry.meta).owner == self.number:
            return False
        row = Progress(
            self.number, entry.seq, State.DISCARDED, self.engine.clock.now_ms(), reason="made for another flow"
        )
        self.engine.writer.put(row, row.state.word)
        return True

    def journey(self, entry: Entry | Row, message: Message | None = None, progress: Progress | None = None) -> Journey:
        """Bring a message into memory. Raises whatever stands in the way: its version, its bytes."""
        memo = unpack(progress.memo) if progress is not None and progress.memo else None
        emitted = ""
        if message is None:
            meta = unpack_meta(entry.meta)
            message, emitted = self.message(entry, meta), meta.emitted
        else:
            message.id, message.time_ms, message.ref = message_id(self.engine.store.uid, entry.seq), entry.at, entry.seq
            message.origin = message.origin or message.id
        number = memo.version if memo is not None and memo.version else entry.version
        if progress is None and self.versions.moved:
            number = self._moved(entry)
            if number != entry.version:
                memo = Memo(version=number)  # further attempts are made there, too
        version = self.versions.get(number) if number else self.versions.chosen(message)
        key = entry.key if progress is None else progress.key
        message.key = key.removeprefix(PARTS) if key is not None else None
        start = self.start(entry, version, emitted)
        journey = Journey(entry.seq, entry.at, message, version, key=key, start=start, parent=entry.parent)
        journey.memo = memo
        journey.floating, journey.emitted = not entry.version, emitted
        journey.priority = entry.priority
        if self.reads_topic and version.version.priority is not None and not entry.start:
            journey.priority = version.version.priority(message)
        journey.rank = RANK[journey.priority]
        if progress is not None:
            journey.recorded = True
            journey.attempt = progress.attempt + 1
        return journey

    def _moved(self, entry: Entry | Row) -> int:
        """The version on which a fresh message begins. A part stays when the other version lacks the step that made
        it."""
        number = self.versions.moved.get(entry.version, entry.version)
        if number == entry.version or not entry.start:
            return number
        return number if self._made_by(entry) in self.versions.get(number).index else entry.version

    def _made_by(self, entry: Entry | Row) -> str:
        """The step behind which a part begins."""
        return self.versions.get(entry.version).version.steps[entry.start - 1].id

    def start(self, entry: Entry | Row, version: Compiled, emitted: str) -> int:
        """Where a message begins. A part: behind the step that made it, wherever that stands in the version it runs
        on; what a step emitted: at that step. Raises `Rejected` when the version lacks the step."""
        if not entry.start:
            return 0
        if version.number == entry.version:
            return entry.start - bool(emitted)
        split = self._made_by(entry)
        if split not in version.index:
            raise Rejected(f"version {version.number} has no step {split}, behind which it begins", code="unloadable")
        return version.index[split] + (not emitted)

    def message(self, entry: Entry | Row, meta: Meta) -> Message:
        """A message as the journal has it."""
        codecs = self.engine.codecs
        message = Message(
            entry.body or b"", codec=codec_of(codecs, meta), content_type=meta.content_type, headers=meta.headers,
            id=message_id(self.engine.store.uid, entry.seq), source=meta.source, type=meta.type, time_ms=entry.at,
            subject=meta.subject, key=entry.key.removeprefix(PARTS) if entry.key is not None else None,
            trace=meta.trace, ref=entry.seq, parent=meta.parent,
            sound=meta.sound and not (isinstance(entry, Row) and entry.edited),
            variables=codecs.by_name("json").decode(meta.variables) if meta.variables else None,
        )  # fmt: skip
        message.origin = meta.origin or message.id
        return message

    def adopt(self, journey: Journey) -> None:
        """The journey is in memory now, in the place of an earlier one of the same message if that is still there."""
        earlier = self.active.get(journey.seq)
        if earlier is not None:
            self.forget(earlier)
        self.active[journey.seq] = journey
        self._bytes += journey.message.size
        self.engine.in_memory += journey.message.size

    def feed(self, journey: Journey) -> None:
        """Give a journey its place: at the end of its lane, or among those ready to run."""
        self.adopt(journey)
        if journey.key is None or self.lanes.offer(journey):
            self.ready.append(journey)
        else:
            self._lift(journey.key)

    def _lift(self, key: str) -> None:
        """A message that may be more urgent has come to the end of a lane: its head is as urgent."""
        head = self.active.get(self.lanes.head(key))
        if head is not None:
            rank = head.rank
            if self.lanes.inherit(head):
                self.ready.lift(head, rank)

    def forget(self, journey: Journey) -> None:
        """The journey leaves memory."""
        if self.active.get(journey.seq) is journey:
            del self.active[journey.seq]
            if self.overtaking:
                self.overtaking.forget(journey.seq)
            size = journey.message.size if self.active else self._bytes
            self._bytes -= size
            self.engine.in_memory -= size

    # --- the backlog on disk ----------------------------------------------------------------------------------

    def refill(self) -> None:
        """Read the next fresh messages while there is room for a good batch of them."""
        self.overtaking.look()
        while self.behind and not self._fetching and self._has_room():
            rows = self.engine.store.journal.after(
                self.number, self.stream, self.cursor, self.window // 2, self.window_bytes // 2
            )
            if not rows:
                self.behind = False
            for row in rows:
                if row.beside and row.seq not in self.active:
                    self._fetching = True
                    self.engine.spawn(self._fetch(row))
                    break
                self._refilled(row)
            if rows:
                self.claim(row.seq + self.claim_ahead)
            self.load_unread()

    def _has_room(self) -> bool:
        """Whether there is room for a good batch of the backlog. Those that overtake it do not count: they leave it its
        share."""
        return len(self.active) - len(self.overtaking) <= self.window // 2 and not self.full_of_bytes()

    def _refilled(self, row: Row) -> None:
        self.cursor = row.seq
        journey = self.fresh(row) if row.seq not in self.active and not self.overtaking.took(row.seq) else None
        if journey is not None:
            self.feed(journey)

    async def _fetch(self, row: Row) -> None:
        """Read a very large body beside the event loop; those behind it wait for their turn."""
        try:
            row.body = await self.engine.store.journal.fetch(row)
            if self.engine.store.progress.get(self.number, row.seq) is None:
                self._refilled(row)
            else:  # it has overtaken meanwhile
                self.cursor = row.seq
        except Damaged:
            raise
        except StoreError as error:  # its file is gone or cannot be read: a dead letter, and the others go on
            self.cursor = row.seq
            self.settle.unloadable(row, Progress(self.number, row.seq, State.FRESH, row.at, attempt=1), unloaded(error))
        finally:
            self._fetching = False
            self.load_unread()
            self.pump_soon()

    def offered(self) -> int | None:
        """The journal number up to which every message has been offered its place; None if all have."""
        return 0 if self.recovering else self.cursor if self.behind else None

    def load_unread(self) -> None:
        """After a restart: fetch those who waited until everything before them had been read and offered."""
        unread, self._unread = self._unread, []
        for key in unread:
            self.load_held(key)

    def _hold(self, journey: Journey) -> None:
        """To disk, behind the head of its lane. It counts as in memory until it is there."""
        if journey.held:  # it is there still
            self.forget(journey)
            return
        journey.recorded = True
        journey.attempt -= 1  # this attempt has not begun
        row = journey.row(self.number, State.HELD, self.engine.clock.now_ms())
        self.engine.writer.put(row, after=lambda: self._held(journey))

    def _held(self, journey: Journey) -> None:
        self.forget(journey)
        if self.behind:
            self.pump_soon()

    def load_held(self, key: str) -> None:
        """Fetch the next ones of a key from disk."""
        self.engine.spawn(self._next_held(key))

    async def _next_held(self, key: str) -> None:
        """The next ones of a key from disk. The first is claimed (its attempt counted) before it runs; those behind it
        are claimed by the commit that ends their predecessor."""
        most = max(1, min(self.lanes.depth, (self.window - len(self.active)) // 4))
        while True:
            holds, offered = self.lanes.holds(key), self.offered()
            await self.engine.writer.barrier()
            rows = self.engine.store.progress.held(self.number, key, most)
            offered = self.overtaking.offered(key, rows, offered)
            if not rows and holds == self.lanes.holds(key):
                break  # otherwise one was put behind this lane meanwhile, and may not be on disk yet
            if rows and (offered is None or rows[0].seq <= offered):
                break  # otherwise an earlier one may not be on disk yet
            if rows and self.offered() is not None:
                self._unread.append(key)
                return
        if not rows:
            self.lanes.loaded(key, 0)
            return
        self.lanes.loaded(key, rows[0].seq)
        journey = await self.load(rows[0])
        if journey is not None:
            self._line_up(row for row in rows[1:] if offered is None or row.seq <= offered)
            await self.begin_again([journey])

    def _line_up(self, rows: Iterable[Progress]) -> None:
        """Bring those behind a head into memory too, as far as they can be loaded and there is room."""
        for progress in rows:
            entry = self.engine.store.journal.get(progress.seq, self.number)
            if progress.seq in self.active or entry is None or entry.body is None or self.full_of_bytes():
                return
            try:
                journey = self.journey(entry, progress=progress)
            except Exception:
                return  # whatever it is: told when it is the first
            journey.held = True
            self.adopt(journey)
            self.lanes.line_up(journey)

    def claim_following(self, key: str) -> None:
        """A head's end is about to be written: if the next one was loaded ahead of its turn, its claim goes with it."""
        following = self.lanes.following(key)
        if following is not None and following.held:
            following.held = False
            self.engine.writer.put(following.row(self.number, State.RUNNING, self.engine.clock.now_ms()))

    async def begin_again(self, journeys: list[Journey]) -> None:
        """Count the attempt durably, before any code of the flow runs; then run. Those whose turn it is not go to disk
        without a claim: of one key's messages only the head may be marked as running, or a restart would take another
        for it."""
        now = self.engine.clock.now_ms()
        begun: list[Journey] = []
        for journey in journeys:
            self.adopt(journey)
            journey.held = False
            if journey.key is None or self.lanes.offer(journey, keep=False):
                self.lanes.inherit(journey)
                self.engine.writer.put(journey.row(self.number, State.RUNNING, now))
                begun.append(journey)
            else:
                self._lift(journey.key)
        await self.engine.writer.barrier()
        try:
            self.engine.hook("after_retry_claim")
        except Exception as error:  # they are claimed: nobody would look at them again in this life
            for journey in begun:
                self.settle.refused(journey, error)
            return
        self.ready.extend(begun)
        self.pump_soon()

    def touch(self, journey: Journey) -> None:
        """Write down what is known of a running message (its effects) with the next commit."""
        journey.recorded = True
        if journey.outbox:
            self.engine.send_out(journey.outbox)
            journey.outbox = None
        now = self.engine.clock.now_ms()
        self.engine.writer.put_late(self.number, journey.seq, partial(journey.row, self.number, State.RUNNING, now))

    def record(self) -> None:
        """Give every message in memory a row: those behind the head of a lane are held, the others run."""
        for journey in self.active.values():
            if journey.recorded:
                continue
            if journey.key is None or self.lanes.head(journey.key) == journey.seq:
                self.touch(journey)
                continue
            journey.recorded = journey.held = True
            row = journey.row(self.number, State.HELD, self.engine.clock.now_ms())
            row.attempt -= 1  # it has not begun
            self.engine.writer.put(row)

    def finished(self) -> bool:
        """Whether there is nothing left to do, in memory or on disk."""
        return not self.active and not self.behind and not self.engine.store.progress.pending(self.number)

    # --- the pump ---------------------------------------------------------------------------------------------

    def pump_soon(self) -> None:
        """Pump once the events at hand are handled, so that batches fill."""
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self.pump)

    def limit(self) -> int:
        """How many messages may run at once: one while a target that holds the flow back is being probed."""
        if self.gated_by is not None and self.engine.targets[self.gated_by].breaker.position != "closed":
            return 1
        return 1 if self.engine.tight else self.versions.current.policy.concurrency

    def pump(self) -> None:
        """Start batches while there is something ready and somebody free."""
        self._pumping = False
        if not self.engine.dispatching or self._worst() < 0 or not self.engine.writer.available:
            return
        limit = self.limit()
        while self.ready and self.running < limit:
            batch = self._next_batch(limit - self.running)
            if not batch:
                break
            self.running += len(batch)
            self.engine.spawn(self.run(batch))
        if self.behind and not self.engine.recovering:
            self.refill()
            ready = self.ready.turn(self._worst())
            if ready and self.running < limit and ready[0].seq <= self.claimed:
                self.pump_soon()

    def _worst(self) -> int:
        """The last rank that may run now."""
        return LAST if self._gate is None else self._gate_rank - 1

    def _next_batch(self, room: int) -> list[Journey]:
        """Ready messages of one priority, one version and one starting step, all of them claimed."""
        ready = self.ready.turn(self._worst())
        if ready is None:
            return []
        batch: list[Journey] = []
        first = ready[0]
        most = min(room, self.batch, self.ready.most(first.rank))
        while ready and len(batch) < most:
            journey = ready[0]
            if journey.version is not first.version or journey.start != first.start:
                break
            if journey.undoing is not first.undoing:
                break
            if journey.seq > self.claimed and not journey.recorded:
                self.claim(journey.seq + self.claim_ahead)
                break
            journey.busy, journey.last = True, None
            batch.append(ready.popleft())
        self.ready.took(first.rank, len(batch))
        return batch

    async def run(self, batch: list[Journey]) -> None:
        """Pure steps over the whole batch; then each message on its own, or all at once to the end."""
        version, start = batch[0].version, batch[0].start
        stop = max(start, version.fan_out)
        try:
            self.engine.hook("before_run")
            if batch[0].undoing:
                for journey in batch:
                    journey.task = self.engine.keep(self._back(journey))
                return
            if not version.opened:
                await version.open()
            result = await version.chain.span([j.message for j in batch], self.context, start, stop)
            if stop >= version.length:
                self.settle.result(result)
                self.settle.leftovers(batch)
            else:
                out, result.out = result.out, []
                going = {message.ref for message in out}
                self.settle.result(result)
                self.settle.leftovers(journey for journey in batch if journey.seq not in going)
                for message in out:
                    journey = self.active[message.ref]
                    journey.task = self.engine.keep(self._tail(version, journey, message, stop))
        except (Exception, asyncio.CancelledError) as error:
            self.settle.broken(batch, uncancelled(error))
        finally:
            self.pump_soon()

    async def _tail(self, version: Compiled, journey: Journey, message: Message, start: int) -> None:
        task = journey.task
        try:
            result = await version.chain.rest(message, self.context, start)
            self.settle.result(result)
            if journey.busy:
                self.settle.leftovers((journey,))
        except (Exception, asyncio.CancelledError) as error:
            self.settle.broken([journey], uncancelled(error))
        finally:
            self.engine.release(task)
            if self.ready:
                self.pump_soon()

    async def _back(self, journey: Journey) -> None:
        """A message that failed for good: what was done for it is undone."""
        task = journey.task
        try:
            await self.sagas.undo(journey)
        except (Exception, asyncio.CancelledError) as error:
            self.settle.broken([journey], uncancelled(error))
        finally:
            self.engine.release(task)
            self.pump_soon()

    # --- holding back -----------------------------------------------------------------------------------------

    def gate(self, journey: Journey, target: str | None, seconds: float, rank: int = 0) -> None:
        """A target cannot be called now: nothing more of this rank and those below is begun until it may be, and no
        attempt is lost."""
        self._gate_rank = rank if self._gate is None else min(self._gate_rank, rank)
        journey.message = journey.message.with_body(journey.message.body)  # whatever a step did to the value is undone
        self.ready.appendleft(journey)
        self.gated_by = target or self.gated_by
        if self._gate is None:
            self._gate = asyncio.get_running_loop().call_later(max(0.02, min(seconds, 60.0)), self.ungate)

    def ungate(self) -> None:
        """Try again."""
        if self._gate is not None:
            self._gate.cancel()
            self._gate = None
        self.pump_soon()

    def passed(self) -> None:
        """A message went through: whatever target may be away, not all of them need it."""
        self.pauses = 0
        if self._gate is None:
            self.gated_by = None

    def reopened(self, target: str) -> None:
        """A target answers again."""
        if self.gated_by == target:
            self.gated_by = None
            self.ungate()

    def status(self) -> dict[str, Any]:
        """What is in memory now."""
        return {
            "in_memory": len(self.active), "ready": len(self.ready), "running": self.running,
            "lanes": len(self.lanes), "waiting_for": self.gated_by, "priorities": self.ready.counts(),
        }  # fmt: skip

    async def load(self, progress: Progress) -> Journey | None:
        """A message that has a row, with its body; a message whose text or version is gone becomes a dead letter."""
        row: Row | None = None
        try:
            row = self.engine.store.journal.get(progress.seq, self.number)
            if row is None or row.body is None:
                raise Rejected("its body is no longer there")
            return self.journey(row, progress=progress)
        except Damaged:
            raise
        except Exception as error:
            self.settle.unloadable(row, progress, unloaded(error))
            return None


def unloaded(error: Exception) -> Rejected:
    """Why a message could not be brought into memory."""
    text = error.message if isinstance(error, DovetailError) else f"{type(error).__name__}: {error}"
    return Rejected(f"it cannot be loaded: {text}", code="unloadable")


def uncancelled(error: BaseException) -> Exception:
    """The error of a run. Raises `CancelledError` when the run was told to end; one that a client library let slip is
    an error like others."""
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return Retry("it was cancelled from within", code="cancelled")


def codec_of(codecs: Codecs, meta: Meta) -> Codec:
    """The codec an entry's bytes are in, with the parameters (charset, boundary) of its content type."""
    if meta.codec != "json" or meta.content_type != "application/json":
        codec = codecs.for_content_type(meta.content_type)
        if codec.name == meta.codec:
            return codec
    return codecs.by_name(meta.codec)
