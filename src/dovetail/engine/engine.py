"""The engine: flows, doors, one writer, one life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from dovetail.clock import Clock, Ids
from dovetail.engine.definition import LEFT, Application, FlowDefinition
from dovetail.engine.deployment import Closing, Deployment, Retired
from dovetail.engine.failpoints import Hook, nothing
from dovetail.engine.flow import FlowRun
from dovetail.engine.housekeeping import DiskGuard, Sweeper
from dovetail.engine.intake import Admission, Door
from dovetail.engine.memory import Keeper
from dovetail.engine.observer import Observer
from dovetail.engine.opening import Opening
from dovetail.engine.policies.breaker import Position
from dovetail.engine.policies.deadline import Deadlines
from dovetail.engine.recovery import Recovery
from dovetail.engine.signals import Signals
from dovetail.engine.steady import Steady
from dovetail.engine.targets import Silences, Targets
from dovetail.engine.waking import Alarms, rouse
from dovetail.engine.writer import Landed, Writer
from dovetail.errors import Damaged, Unavailable
from dovetail.sdk import Codecs, Log, Message, Routes, Source
from dovetail.store.base import Entry, State, Store


class Engine:
    """Runs an application on a store. `start`, then `drain` or `stop`; each may be called twice."""

    most_in_memory = 128 << 20  # bytes of bodies in all flows; beyond it each works on one message at a time
    most_waiters = 10_000  # callers who wait for an answer; one more, and the first is told only that it was accepted

    def __init__(
        self, application: Application, store: Store, *, clock: Clock, ids: Ids, codecs: Codecs, log: Log,
        routes: Routes, folder: Any, observer: Observer | None = None, hook: Hook = nothing,
    ) -> None:  # fmt: skip
        self.application, self.store = application, store
        self.clock, self.ids, self.codecs, self.log = clock, ids, codecs, log
        self.routes, self.folder = routes, folder
        self.observer, self.hook = observer or Observer(), hook
        self.steady = Steady(clock, store.register)
        self.steady_ms = self.steady.ms  # what every wait goes by
        self.writer = Writer(store, clock, self.observer, hook, log)
        self.keeper = Keeper(store.memory, codecs.by_name("json"), clock, lambda: self.writer.moves)
        self.signals = Signals(self.keeper, lambda flow, seq: rouse(self, flow, seq), self.steady_ms)
        self.alarms = Alarms(self)
        self.keeper.armed = self.alarms.at
        self.deadlines = Deadlines(clock)
        self.targets = Targets(clock, ids, application.rates, self._breaker_moved, Silences(self))
        self.flows: dict[str, FlowRun] = {}
        self.open_doors = False
        self.dispatching = False
        self.recovering = False
        self.tight = False  # memory is short: each flow runs one message at a time
        self._recovered = store.clean  # whether nothing of an earlier life is left to be looked at alone
        self.failure: BaseException | None = None
        self.ended = asyncio.Event()  # the engine cannot go on: see `failure`
        self._by_stream: dict[int, list[FlowRun]] = {}
        self._streams: dict[str, int] = {}
        self.retired: list[Retired] = []  # what a deployment replaced and messages in memory still use
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order in which they began
        self._services: list[asyncio.Task[Any]] = []
        self._sources: dict[str, asyncio.Task[Any]] = {}  # by flow
        self._waiters: dict[tuple[int, int], Admission] = {}
        self._last_seq = 0
        self.in_memory = 0  # bytes of bodies in all flows
        self.guard = DiskGuard(self)
        store.damaged = self._damaged
        self.writer.before = self._before_commit
        self.writer.landed = self._landed
        self.writer.resumed.append(self._resumed)

    # --- life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open connections and steps, recover what the last life left, then open the doors."""
        if self._services:
            return
        self.guard.look()
        self._services = [self._service(self.writer.run()), self._service(self.deadlines.sweep())]
        self.steady.keep(self.writer.moves.marks)
        for name, connection in self.application.connections.items():
            await connection.open(Opening(self, name))
        for definition in self.application.flows:
            self.add(definition)
        self.subscribe(self.flows.values())
        for flow in self.flows.values():
            await flow.versions.open()
        self.dispatching = True
        self.recovering = True
        await self._unless_ended(Recovery(self).run(self.flows.values(), unclean=not self.store.clean))
        self.recovering, self._recovered = False, True
        for flow in self.flows.values():
            flow.timer.start()
            flow.pump_soon()
        self.alarms.start()
        self._services += [self._service(self.guard.run()), self._service(Sweeper(self).run())]
        self.open_doors = True
        for flow in self.flows.values():
            source = flow.definition.source
            if source is not None and source.topic is None:
                await source.open(Opening(self, flow.name))
                self.listen(flow)

    def listen(self, flow: FlowRun) -> None:
        """Run the flow's source, which is open."""
        source = flow.definition.source
        assert source is not None
        self._sources[flow.name] = self._service(self._feed(source, flow))

    async def unlisten(self, name: str) -> None:
        """End a flow's source, if it runs."""
        task = self._sources.pop(name, None)
        source = self.flows[name].definition.source
        if task is not None:
            await self._cancel([task])
        if source is not None:
            await source.close()

    def dismiss(self, flow: FlowRun) -> None:
        """The flow is no longer wanted: it finishes what it has and takes nothing new. May be called twice. A topic's
        messages are its own as far as they have a row, so those at work get one."""
        if flow.leaving:
            return
        flow.leaving, definition = True, flow.definition
        flow.definition = FlowDefinition(flow.name, definition.current, None, definition.load)
        if flow.reads_topic:
            flow.backlog.behind = False
            flow.held.read_on()
            flow.record()
            self.writer.moves.marks[f"{LEFT}{flow.number}"] = str(flow.stream).encode()
            self.writer.wake()
            self._by_stream[flow.stream].remove(flow)
            self.subscribe(())

    async def deploy(self, application: Application) -> None:
        """Take over another application while running; see `Deployment`. Raises what stands in its way; then nothing
        has changed."""
        await Deployment(self, application).run()

    async def _unless_ended(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this to its end. Raises what stopped the engine if it cannot go on: whoever waits for a commit then would
        wait for ever."""
        doing, ended = asyncio.ensure_future(work), asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait([doing, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (doing, ended):
                if not task.done():
                    task.cancel()
        if not doing.done() and self.failure is not None:
            raise self.failure
        await doing

    async def _feed(self, source: Source, flow: FlowRun) -> None:
        """Run a source for as long as the flow runs: one that fails is started again, and no other flow suffers."""
        delay = 1.0
        while True:
            await self.guard.fetching.wait()
            started = self.clock.monotonic()
            try:
                if await self._fetched(source, Door(flow)):
                    return
                continue
            except Exception as error:
                self.log.error("source_failed", flow=flow.name, error=repr(error))
            delay = 1.0 if self.clock.monotonic() - started > 60.0 else min(60.0, delay * 2)
            await asyncio.sleep(delay)

    async def _fetched(self, source: Source, door: Door) -> bool:
        """Run a source to its end, or until the disk is so full that nothing is fetched (False). One that others
        call only hears of it at its door."""
        if source.replies:
            await source.run(door)
            return True
        running = asyncio.ensure_future(source.run(door))
        stopped = asyncio.ensure_future(self.guard.full())
        try:
            await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                return True
            return False
        finally:
            await self._cancel([running, stopped])

    def add(self, definition: FlowDefinition) -> FlowRun:
        """Make the run of a flow; nothing of it is started."""
        register = self.store.register
        number = register.number("flow", definition.name)
        source = definition.source
        topic = source.topic if source is not None else None
        stream = self.stream(f"topic:{topic}" if topic else f"flow:{definition.name}")
        flow = FlowRun(self, definition, number, stream)
        flow.backlog.begin(*register.claim(number))
        self.flows[definition.name] = flow
        self._by_stream.setdefault(stream, []).append(flow)
        self._last_seq = max(self._last_seq, self.store.journal.last(stream), flow.backlog.reached())
        return flow

    def subscribe(self, flows: Iterable[FlowRun]) -> None:
        """A flow that has never read its topic begins at the end, unless it wants to read it from the start."""
        register = self.store.register
        readers = register.readers()
        for flow in flows:
            new = not flow.backlog.claimed and flow.number not in readers.get(flow.stream, ())
            last = self.store.journal.last(flow.stream)
            if flow.reads_topic and new and last and not flow.definition.from_start:
                register.set_claim(flow.number, last)
                flow.backlog.begin(last, last)
        for stream, reading in self._by_stream.items():
            register.set_readers(stream, [flow.number for flow in reading])

    def known(self, name: str) -> FlowRun | None:
        """A flow of the application by name, running or (for a replay) not started."""
        for definition in self.application.flows:
            if definition.name == name and name not in self.flows:
                self.add(definition)
        return self.flows.get(name)

    def numbered(self, number: int) -> FlowRun | None:
        """A running flow by its number."""
        return next((flow for flow in self.flows.values() if flow.number == number), None)

    async def drain(self, seconds: float = 30.0) -> None:
        """Take nothing more, let what runs end (at most `seconds`), flush, and close."""
        self.open_doors = False
        await self._stop_sources()
        self.dispatching = False
        self.targets.dismiss()
        self.hook("during_drain")
        # What ends may start something: the rest of a batch, a commit.
        await self.while_running(lambda: self.failure is None, self.clock.monotonic() + seconds)
        await self.stop(clean=True)

    async def while_running(self, holds: Callable[[], bool], deadline: float) -> None:
        """Wait as long as something runs and this holds, at most until then (monotonic seconds)."""
        while self._tasks and holds():
            left = deadline - self.clock.monotonic()
            if left <= 0:
                return
            await asyncio.wait(list(self._tasks), timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self, clean: bool = False) -> None:
        """Stop now. What runs is abandoned; the store remembers where it was."""
        self.open_doors = self.dispatching = False
        await self._stop_sources()
        for flow in self.flows.values():
            flow.timer.stop()
            flow.ungate()
        self.alarms.stop()
        unfinished = await self._cancel(list(self._tasks))
        clean = clean and await self._flush() and not unfinished and self.failure is None and self._recovered
        await self._cancel(self._services)
        self._stopped()
        for flow in self.flows.values():
            await self._close(flow.versions)
        for retired in self.retired:
            await retired.close()
        for connection in self.application.connections.values():
            await self._close(connection)
        await self.store.close(clean=clean)

    async def _close(self, thing: Closing) -> None:
        """What cannot be closed is logged: the store must be."""
        try:
            await thing.close()
        except Exception as error:
            self.log.error("close_failed", error=repr(error))

    async def _flush(self) -> bool:
        """Bring what was decided to disk; a store that takes nothing at the moment is asked again for a while. Whether
        nothing is left behind."""
        if not self._services or self._services[0].done() or (self.writer.idle() and not self.writer.available):
            return self.writer.idle()
        barrier = asyncio.ensure_future(self.writer.barrier())
        done, _ = await asyncio.wait([barrier, self._services[0]], timeout=5.0, return_when=asyncio.FIRST_COMPLETED)
        barrier.cancel()
        return barrier in done

    def _stopped(self) -> None:
        """Those who wait for an answer get none in this life: their messages stand, and go on with the next."""
        waiting, self._waiters = self._waiters, {}
        for (_, seq), admission in waiting.items():
            admission.answered(seq, State.FRESH, "", None)

    async def _stop_sources(self) -> None:
        await self._cancel(list(self._sources.values()))
        self._sources = {}
        for flow in self.flows.values():
            if flow.definition.source is not None:
                await self._close(flow.definition.source)

    async def _cancel(self, tasks: Sequence[asyncio.Task[Any]]) -> int:
        running = [task for task in tasks if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=5.0)
        return len(running)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something to its end; an error nobody expected is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._finished)

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """As `spawn`, for work that handles all its errors and calls `release` at its end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        return task

    def release(self, task: asyncio.Task[None] | None) -> None:
        """Kept work is at its end."""
        if task is not None:
            self._tasks.pop(task, None)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self.log.error("task_failed", error=repr(task.exception()))

    def attend(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something that ends with the engine at the latest."""
        task = self._service(work)
        self._services.append(task)
        task.add_done_callback(self._services.remove)

    def _service(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._service_ended)
        return task

    def _service_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            self.log.error("service_failed", error=repr(self.failure))
            self.ended.set()

    def _damaged(self, error: Damaged) -> None:
        """Stored bytes have changed, wherever that was met: nobody acts on anything from the store any more."""
        self.open_doors = self.dispatching = False
        self.failure = self.failure or error
        self.log.error("store_damaged", reason=error.message)
        self.ended.set()

    # --- between the writer and the flows ---------------------------------------------------------------------

    def stream(self, name: str) -> int:
        """The number of a stream."""
        number = self._streams.get(name)
        if number is None:
            number = self._streams[name] = self.store.register.number("stream", name)
        return number

    def send_out(self, entries: list[Landed]) -> None:
        """Messages that steps made: they are accepted with the next commit."""
        self.writer.moves.entries += entries
        for stream in {entry.stream for entry, _ in entries}:
            for flow in self._by_stream.get(stream, ()):
                flow.backlog.expect()
        self.writer.wake()

    def _before_commit(self, count: int) -> None:
        ceiling = self._last_seq + count
        for flow in self.flows.values():
            flow.backlog.before_commit(ceiling)

    def _landed(self, landed: list[Landed]) -> None:
        by_stream: dict[int, list[tuple[Entry, Message | None]]] = {}
        for pair in landed:
            by_stream.setdefault(pair[0].stream, []).append(pair)
        self._last_seq = max(self._last_seq, landed[-1][0].seq)
        for stream, arrived in by_stream.items():
            for flow in self._by_stream.get(stream, ()):
                flow.arrive(arrived)

    def _resumed(self) -> None:
        for flow in self.flows.values():
            flow.pump_soon()

    def _breaker_moved(self, target: str, position: Position) -> None:
        self.observer.breaker(target, position)
        self.writer.note(("breaker", target, position, self.clock.now_ms()))
        if position == "closed":
            for flow in self.flows.values():
                flow.reopened(target)

    # --- callers who wait -------------------------------------------------------------------------------------

    def wait_for(self, flow: FlowRun, admission: Admission, seqs: Sequence[int]) -> None:
        """The caller of this admission waits for the flow's answer to its (one) message."""
        for seq in seqs:
            self._waiters[flow.number, seq] = admission
        while len(self._waiters) > self.most_waiters:  # a message may wait for hours, its caller hardly does
            (number, seq) = next(iter(self._waiters))
            self._waiters.pop((number, seq)).answered(seq, State.FRESH, "", None)

    def answer(self, flow: FlowRun, seq: int, state: State, reason: str, reply: tuple[Message, int] | None) -> None:
        """A message ended; somebody may wait for it."""
        if self._waiters:
            admission = self._waiters.pop((flow.number, seq), None)
            if admission is not None:
                admission.answered(seq, state, reason, reply)

    def closed(self) -> Unavailable | None:
        """Why nothing can be accepted now, or None."""
        if not self.open_doors:
            return Unavailable("the server is starting or stopping", after=2.0)
        if self.guard.level:
            return self.guard.refusal()
        if not self.writer.available:
            return Unavailable("the store takes nothing at the moment", after=2.0)
        if self.writer.waiting > Door.most_waiting or self.writer.waiting_bytes > Door.most_waiting_bytes:
            return Unavailable("more is coming in than the disk takes", after=1.0)
        return None

    async def pause(self) -> None:
        """A short wait for somebody who has to ask again."""
        await asyncio.sleep(0.2)
