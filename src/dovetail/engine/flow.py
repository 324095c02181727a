"""One running flow: its window of messages in memory, its lanes, and the pump that sends batches through the steps.

The backlog lives on disk. At most `window` messages of a flow are in memory; `Backlog` reads the next ones in journal
order when there is room, so a million pending messages cost no more memory than a thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dovetail.engine.backlog import Backlog
from dovetail.engine.context import RunContext
from dovetail.engine.definition import FlowDefinition
from dovetail.engine.effects import Effects
from dovetail.engine.execute import Compiled, versions_of
from dovetail.engine.held import Held
from dovetail.engine.journey import Journey
from dovetail.engine.lanes import Lanes
from dovetail.engine.loading import Loader
from dovetail.engine.overtaking import Overtaking
from dovetail.engine.priority import LAST, Ready
from dovetail.engine.saga import Sagas
from dovetail.engine.settle import Settler
from dovetail.engine.timers import Timer
from dovetail.errors import Retry
from dovetail.sdk import Message
from dovetail.store.base import Entry, State

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine


class FlowRun:
    """A flow while the engine runs."""

    window = 1024  # messages in memory
    window_bytes = 32 * 1024 * 1024
    batch = 200
    patience = 16  # messages that are paused one after the other before the flow waits as a whole

    def __init__(self, engine: Engine, definition: FlowDefinition, number: int, stream: int) -> None:
        self.engine, self.definition = engine, definition
        self.name, self.number, self.stream = definition.name, number, stream
        self.reads_topic = definition.source is not None and definition.source.topic is not None
        self.versions = versions_of(definition, engine.observer, engine.clock)
        self.active: dict[int, Journey] = {}  # every journey in memory, by journal number
        self.ready = Ready()
        self.running = 0
        self.loader = Loader(self)
        self.backlog = Backlog(self)
        self.held = Held(self)
        self.lanes = Lanes(self.held.hold, self.held.load)
        self.overtaking = Overtaking(self)
        self.effects = Effects(self)
        self.sagas = Sagas(self)
        self.settle = Settler(self)
        self.timer = Timer(self)
        self.context = RunContext(self)
        self._bytes = 0
        self._pumping = False
        self._gate: asyncio.TimerHandle | None = None
        self._gate_rank = 0  # messages of this rank and below are held back by the gate
        self.gated_by: str | None = None  # the target that holds the flow back
        self.pauses = 0  # messages paused since the last one got through
        self.leaving = False  # it is in the project no more, and finishes what it has
        self.recovering = False  # earlier messages of a key may not have been offered their place yet

    # --- messages come in -------------------------------------------------------------------------------------

    def arrive(self, arrived: Sequence[tuple[Entry, Message | None]]) -> None:
        """Entries of the stream that were just flushed, in order."""
        if self.backlog.behind:
            self.overtaking.arrived([entry for entry, _ in arrived])
            self.pump_soon()
            return
        for entry, message in arrived:
            if self.full():
                self.backlog.behind = True
                self.overtaking.arrived([entry for entry, _ in arrived])
                break
            if entry.seq <= self.backlog.cursor:
                continue  # the feeder was quicker
            self.backlog.cursor = entry.seq
            journey = self.loader.fresh(entry, message)
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
        return not self.active and not self.backlog.behind and not self.engine.store.progress.pending(self.number)

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
        if self.backlog.behind and not self.engine.recovering:
            self.backlog.refill()
            ready = self.ready.turn(self._worst())
            if ready and self.running < limit and ready[0].seq <= self.backlog.claimed:
                self.pump_soon()

    def may_begin(self, journey: Journey) -> bool:
        """Whether there is a place for it among those that run, and nothing that holds it back."""
        return self.running < self.limit() and journey.rank <= self._worst()

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
            if journey.seq > self.backlog.claimed and not journey.recorded:
                self.backlog.claim(journey.seq + self.backlog.claim_ahead)
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


def uncancelled(error: BaseException) -> Exception:
    """The error of a run. Raises `CancelledError` when the run was told to end; one that a client library let slip is
    an error like others."""
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return Retry("it was cancelled from within", code="cancelled")
