"""One life of a process: an engine on the store's durable image, an operator's desk, and the ways in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dovetail.control.desk import Control
from dovetail.control.live import Live
from dovetail.engine.definition import Application
from dovetail.engine.engine import Engine
from dovetail.engine.failpoints import Injected
from dovetail.engine.observer import Observer
from dovetail.errors import StoreError, Unavailable
from dovetail.project.build import Builder, make_connections
from dovetail.project.deployed import Assembly, Decision, decision_mark
from dovetail.sdk import Deliver, Delivery, Message, Receipt
from dovetail.store.base import DUE, State, Work
from dovetail.testkit.fakes import CODECS, FakeLog, FakeRoutes
from dovetail.testkit.store import MemoryStore
from proof.simulation.families import CATALOG, Family, merged, project_of, reloaded
from proof.simulation.loop import Crash, Node
from proof.simulation.outside import JSON

if TYPE_CHECKING:
    from proof.simulation.world import World


class Watch(Observer):
    """Measures what is bounded, at every commit."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def commit(self, seconds: float, entries: int, rows: int) -> None:
        self._life.measure()

    def breaker(self, target: str, state: str) -> None:
        self._life.world.some(f"a breaker went {state}")


class Image(MemoryStore):
    """The store of one life on the world's disk: slow, full or broken at times, and mute once the life is over."""

    life: Life

    async def commit(self, work: Work) -> None:
        world = self.life.world
        async with self._turn:
            await asyncio.sleep(world.disk_takes())
            fault = world.disk_fault()
            if fault == "full":
                raise Unavailable("the disk is full")
            if fault == "broken":
                raise StoreError("fsync failed")
            self._hook("store_before_commit")
            self._apply(work)
            world.committed(self.life, work)
            self._hook("store_after_commit")
            if fault == "broken-kept":
                raise StoreError("fsync failed, and what was written is there all the same")
            await asyncio.sleep(world.disk_takes())


class Life(Node):
    """Starts as `dovetail run` does. `gone` is set when it has ended, one way or the other."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world.loop)
        self.world, self.number = world, number
        self.doors: dict[str, Deliver] = {}
        self.up = self.served = False  # whether it works; whether it ever did
        self.gone: asyncio.Future[None] = world.loop.create_future()
        self.waiting: dict[asyncio.Future[Any], None] = {}  # futures of the world that this life should set
        self.log, self.watch = FakeLog(), Watch(self)
        self.versions = dict(world.versions)
        self.engine: Engine
        self.store: Image
        self.clean = False
        self._jobs: asyncio.Task[None] | None = None
        self.wishes: dict[tuple[int, int], float] = {}  # when each waiting message wishes to be called again

    async def run(self) -> None:
        """Start; then until somebody ends it, or the engine cannot go on."""
        world = self.world
        self.store = await Image.open(world.disk, clock=world.clock, ids=world.ids, hook=self.hook)  # type: ignore[assignment]
        self.store.life = self
        self.clean = self.store.clean
        self.engine = self._engine()
        try:
            await self.engine.start()
        except Exception as error:
            world.some(f"a start failed: {type(error).__name__}")
            await self.end(1.0)
            return
        self.control = Control(self.store, world.clock, Live(self.engine), project="world", path="memory")
        self._jobs = self.task(self.control.jobs.run(self.log))
        self.up = self.served = True
        world.stir()
        await self.engine.ended.wait()
        world.some("an engine could not go on")
        await self.end(1.0)

    def _assemble(self, running: Application | None = None) -> Application:
        """The project of the versions that are current, compiled."""
        world = self.world
        parts = [
            project_of(family, self.versions[family.name], world.sources[family.name], world.retries[family.name])
            for family in world.families
        ]
        project = merged(parts)
        connections = {path: data for path, data in project.files.items() if path.startswith("connections/")}
        made = make_connections(project, running.connections if running is not None else None)
        builder = Builder(project, CATALOG, CODECS, self.watch, world.clock, made)
        return Assembly(builder, self.store, lambda files: reloaded(files, connections), running).application()

    def _engine(self) -> Engine:
        world = self.world
        engine = Engine(
            self._assemble(), self.store, clock=world.clock, ids=world.ids, codecs=CODECS, log=self.log,
            routes=FakeRoutes(), folder=Path("/nowhere"), observer=self.watch, hook=self.hook,
        )  # fmt: skip
        engine.deadlines.interval = world.sweep
        return engine

    async def deploy(self, canary: Family | None = None) -> None:
        """Take over the versions that are current now, while running. `canary`: of this family's new version only a
        share. Raises `Unavailable` when that cannot be written down; then nothing has changed."""
        self.versions = dict(self.world.versions)
        if canary is not None:
            try:
                await self.control.hand.carry_out(Work(marks=self._decide(canary)))
            except Injected as error:
                if error.args[0] == "before_redrive_commit":
                    raise Unavailable("nothing was written down", after=1.0) from error
        await self.engine.deploy(self._assemble(self.engine.application))

    def _decide(self, family: Family) -> dict[str, bytes]:
        running = {flow.name: flow for flow in self.engine.application.flows}
        marks = {}
        for flow in self._assemble(self.engine.application).flows:
            if flow.name in family.flows and flow.current.number != running[flow.name].current.number:
                current = running[flow.name].current.number
                decision = Decision(flow.text, current, flow.current.number, 50.0)
                marks[decision_mark(flow.name)] = msgspec.msgpack.encode(decision)
                self.world.some("a canary took a share")
        return marks

    def sharing(self, family: Family) -> bool:
        """Whether two versions share the family's messages."""
        return any(flow.name in family.flows and flow.canary for flow in self.engine.application.flows)

    def hook(self, name: str) -> None:
        """A boundary is crossed."""
        if not self.dead:
            self.world.boundary(self, name)

    def die(self) -> None:
        """End here and now, in the middle of whatever runs."""
        self.fall()
        raise Crash

    def fall(self) -> None:
        """End here and now, from outside."""
        if not self.dead:
            self.loop.kill(self)
            self._left(clean=False)

    async def end(self, seconds: float) -> None:
        """Drain and stop, in good order; an error on the way ends the process as any error would."""
        self.up = False
        if self._jobs is not None:
            self._jobs.cancel()
        try:
            await self.engine.drain(seconds)
        except Exception:
            self.fall()
            return
        clean = self.world.disk.clean
        self.loop.call_soon(self._ended, clean)

    def _ended(self, clean: bool) -> None:
        self.loop.kill(self)
        self._left(clean)

    def _left(self, clean: bool) -> None:
        self.up = False
        self.doors.clear()
        waiting, self.waiting = self.waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)
        if not self.gone.done():
            self.gone.set_result(None)
        self.world.ended(self, clean)

    # --- from the world into the node ---------------------------------------------------------------------------------

    def promise(self) -> asyncio.Future[Any]:
        """A future of the world that this life sets, or its end does (to None)."""
        future: asyncio.Future[Any] = self.loop.create_future()
        if self.dead:
            future.set_result(None)
            return future
        self.waiting[future] = None
        future.add_done_callback(lambda done: self.waiting.pop(done, None))
        return future

    def deliver(self, flow: str, bodies: list[bytes], dedupe: list[str] | None, **more: Any) -> asyncio.Future[Any]:
        """Hand a batch in at a door; the receipts to come, None if the life ends first."""
        told = self.promise()
        if self.dead:
            return told

        def settle(receipts: list[Receipt]) -> None:
            if not told.done():
                told.set_result(receipts)

        batch = [Message(body, codec=JSON) for body in bodies]
        self.enter(self.doors[flow], Delivery(batch, settle, dedupe=dedupe, **more))
        return told

    def ask(self, work: Any) -> asyncio.Future[Any]:
        """Let the desk do something; its answer or error to come, None if the life ends first."""
        told = self.promise()
        if self.dead:
            work.close()
            return told

        async def run() -> None:
            try:
                answer = await work
            except Exception as error:
                answer = error
            if not told.done():
                told.set_result(answer)

        self.task(run())
        return told

    def early(self, work: Work) -> list[str]:
        """Messages that this commit begins again before their time, which went by no clock that can be set. Whatever
        gives a message another row in between (an event, an operator) gives it another time as well."""
        now, found = self.world.clock.monotonic(), []
        for row in work.progress:
            wish = self.wishes.pop((row.flow, row.seq), 0.0)
            if row.state in DUE:
                self.wishes[row.flow, row.seq] = now + (row.next_at - self.engine.steady_ms()) / 1000
            elif row.state is State.RUNNING and now < wish - 0.05:
                found.append(f"message {row.seq:x} began again {wish - now:.1f} s before its time")
        return found

    # --- what is bounded ----------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """How much of each flow is in memory, against what may be."""
        for flow in self.engine.flows.values():
            self.world.measured(f"messages of {flow.name} in memory", len(flow.active), self.world.most_in_memory(flow))

    def left_over(self) -> int:
        """What is still in memory when everything has ended."""
        engine = self.engine
        n = len(engine._waiters) + len(engine.writer._units)
        for flow in engine.flows.values():
            n += flow.running + len(flow.active) + len(flow.ready) + len(flow.lanes) + len(flow.settle._splits)
            n += flow._bytes
        return n
