"""The rig: the production engine on a real store, under virtual time.

The event loop of these tests does not wait for its timers: when nothing is ready it moves its clock to the next one, so
an hour of retries takes no time and every test sees the same order of events. While the store's thread is writing, the
loop waits for it in real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dovetail.clock import SystemIds
from dovetail.codec import built_in_codecs
from dovetail.control.answers import RedriveOrder
from dovetail.control.desk import Control
from dovetail.control.live import Live
from dovetail.engine.definition import Application, FlowDefinition, FlowVersion, Policy
from dovetail.engine.engine import Engine
from dovetail.engine.memo import Memo, message_id, unpack
from dovetail.engine.observer import Observer
from dovetail.errors import ProjectError
from dovetail.sdk import (
    Call,
    Connecting,
    Context,
    Deliver,
    Delivery,
    EffectStep,
    Message,
    MessageStep,
    Operation,
    Outcome,
    Receipt,
    Repeat,
    Reply,
    Result,
    Sink,
    Source,
    Step,
)
from dovetail.store.base import ENDED, Progress, Query, Row, State, Store, Work
from dovetail.store.sqlite import SqliteStore
from dovetail.testkit.store import Disk, MemoryStore

START = 1_800_000_000_000


class VirtualSelector:
    """Never sleeps: time passes by being set. `busy` says that a thread is at work, which is waited for."""

    def __init__(self) -> None:
        self.inner = selectors.DefaultSelector()
        self.now = 0.0
        self.busy: Callable[[], bool] = lambda: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        found = self.inner.select(0)
        while not found and self.busy():
            found = self.inner.select(1.0)
        if found or timeout is None or timeout <= 0:
            return found if found or timeout is not None else self.inner.select(None)
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.virtual.now


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, type[VirtualLoop]]:
    return {"virtual": VirtualLoop}


class VirtualClock:
    """The loop's time; `jump` (seconds) is how far somebody has set the wall clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.jump = 0.0

    def monotonic(self) -> float:
        return self._loop.time()

    def now_ms(self) -> int:
        return START + int((self._loop.time() + self.jump) * 1000)

    def origin(self) -> str:
        return "virtual"


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    warning = error = info


class Watch(Observer):
    """Remembers what it hears and wakes those who wait for something."""

    def __init__(self) -> None:
        self.stirred = asyncio.Event()
        self.heard: Counter[str] = Counter()
        self.breakers: list[tuple[str, str]] = []
        self.effects: list[tuple[str, str]] = []

    def _note(self, word: str, n: int = 1) -> None:
        self.heard[word] += n
        self.stirred.set()

    def accepted(self, flow: str, count: int) -> None:
        self._note("accepted", count)

    def refused(self, flow: str, code: str) -> None:
        self._note(f"refused:{code}")

    def ended(self, flow: str, message: Message, state: State, seconds: float) -> None:
        self._note(f"{flow}:{state.word}")

    def failed(self, flow: str, step: str, code: str, message: Message, error: Exception) -> None:
        self._note(f"failed:{code}")

    def effect(self, flow: str, step: str, target: str, call: Call, seconds: float, outcome: str) -> None:
        self.effects.append((step, outcome))
        self._note(f"effect:{outcome}")

    def breaker(self, target: str, state: str) -> None:
        self.breakers.append((target, state))
        self._note("breaker")

    def commit(self, seconds: float, entries: int, rows: int) -> None:
        self._note("commit")

    def store(self, available: bool, reason: str) -> None:
        self._note("store:back" if available else "store:away")


class Inlet(Source):
    """A source that a test holds in its hand."""

    def __init__(self, topic: str | None = None, from_start: bool = False) -> None:
        self.topic, self.from_start = topic, from_start
        self.deliver: Deliver | None = None
        self.ran = asyncio.Event()
        self.calls: list[str] = []

    async def open(self, context: Connecting) -> None:
        self.calls.append("open")
        self.ran.clear()

    async def run(self, deliver: Deliver) -> None:
        self.calls.append("run")
        self.deliver = deliver
        self.ran.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.calls.append("close")


class Expr:
    """An expression written in Python."""

    def __init__(self, function: Callable[[Message], Any]) -> None:
        self.text = "expression"
        self._function = function

    def evaluate(self, message: Message) -> Any:
        return self._function(message)

    def test(self, message: Message) -> bool:
        return bool(self._function(message))


class Check:
    """A contract written in Python; raises what it likes."""

    def __init__(self, function: Callable[[Message], Any]) -> None:
        self.check = function


class Op(Operation):
    """An operation that does as it is told; `done` are the effect keys it has applied."""

    def __init__(
        self, act: Callable[[Call], Awaitable[Any]] | None = None, *, repeat: Repeat = Repeat.IDEMPOTENT,
        target: str = "erp", query: Callable[[Call], Any] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.repeat, self.target = "erp.do", repeat, target
        self.calls: list[Call] = []
        self.queries: list[Call] = []
        self._act, self._query = act, query

    async def call(self, call: Call) -> Reply:
        self.calls.append(call)
        found = await self._act(call) if self._act is not None else None
        return found if isinstance(found, Reply) else Reply(b'{"ok": true}', codec=built_in_codecs().by_name("json"))

    async def query(self, call: Call) -> Reply | None:
        self.queries.append(call)
        found = self._query(call) if self._query is not None else None
        return found if isinstance(found, Reply) or found is None else Reply(b"1")

    @property
    def refs(self) -> list[int]:
        return [call.message.ref for call in self.calls]


class Drain(Sink):
    """A sink that does as it is told."""

    def __init__(
        self, act: Callable[[Sequence[Call]], Awaitable[Mapping[str, Outcome]]], *,
        repeat: Repeat = Repeat.IDEMPOTENT, target: str = "files",
    ) -> None:  # fmt: skip
        self.name, self.repeat, self.target = "files.put", repeat, target
        self.batches: list[list[Call]] = []
        self._act = act

    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        self.batches.append(list(calls))
        return await self._act(calls)


def named(id: str) -> Any:
    return SimpleNamespace(step=id, flow="")


class Apply(MessageStep):
    def __init__(self, id: str, function: Callable[[Message], Any]) -> None:
        super().__init__(None, named(id))
        self._function = function

    def apply(self, message: Message) -> Message:
        found = self._function(message)
        return found if isinstance(found, Message) else message


class Act(EffectStep):
    def __init__(self, id: str, function: Callable[[Message, Context], Awaitable[Any]]) -> None:
        super().__init__(None, named(id))
        self._function = function

    async def act(self, message: Message, context: Context) -> Message:
        found = await self._function(message, context)
        return found if isinstance(found, Message) else message


class Whole(Step):
    """A step over whole batches."""

    def __init__(self, id: str, function: Callable[[Sequence[Message], Context], Any], effectful: bool = False) -> None:
        super().__init__(None, named(id))
        self._function, self.effectful = function, effectful
        self.calls: list[str] = []

    async def open(self) -> None:
        self.calls.append("open")

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        self.calls.append("run")
        result = self._function(batch, context)
        return result if isinstance(result, Result) else Result(list(batch))

    async def close(self) -> None:
        self.calls.append("close")


class Cut(Step):
    """Splits; the function gives (value, key) pairs."""

    top_level = True

    def __init__(self, id: str, function: Callable[[Message], Sequence[tuple[Any, str | None]]]) -> None:
        super().__init__(None, named(id))
        self._function = function

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        result = Result()
        json = built_in_codecs().by_name("json")
        for message in batch:
            try:
                parts = []
                for value, key in self._function(message):
                    part = message.with_value(value, json)
                    part.key = key
                    parts.append(part)
                context.split(self.id, message, parts)
            except Exception as error:
                result.failed.append((message, error))
        return result


class Rig:
    """Builds flows, runs engines on one store after the other, and looks at what is on disk."""

    Apply, Act, Whole, Cut, Op, Drain = Apply, Act, Whole, Cut, Op, Drain
    named = staticmethod(named)

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.loop: VirtualLoop = asyncio.get_running_loop()  # type: ignore[assignment]
        self.clock, self.ids, self.log, self.watch = VirtualClock(self.loop), SystemIds(), Log(), Watch()
        self.codecs = built_in_codecs()
        self.json = self.codecs.by_name("json")
        self.disk = Disk()
        self.flows: dict[str, FlowDefinition] = {}
        self.older: dict[str, dict[int, FlowVersion]] = {}
        self.connections: dict[str, Any] = {}
        self.rates: dict[str, float] = {}
        self.hook: Callable[[str], None] = lambda name: None
        self.store_hook: Callable[[str], None] = lambda name: None
        self.disk_takes: Callable[[], float] = lambda: 0.0  # virtual seconds before and after each commit
        self.lives: list[Engine] = []

    # --- building -------------------------------------------------------------------------------------------------

    def flow(
        self, name: str, *steps: Step, number: int = 1, topic: str | None = None, from_start: bool = False,
        key: Callable[[Message], Any] | None = None, dedupe: Callable[[Message], Any] | None = None,
        contract: Callable[[Message], Any] | None = None, source: Source | None = None,
        priority: Callable[[Message], int] | None = None, **policy: Any,
    ) -> None:  # fmt: skip
        """Define a flow, or its next version (a higher `number`)."""
        version = FlowVersion(
            number=number, digest=str(number), steps=steps, policy=Policy(**policy),
            key=Expr(key) if key else None, dedupe=Expr(dedupe) if dedupe else None,
            contract=Check(contract) if contract else None, priority=priority,
        )  # fmt: skip
        known = self.older.setdefault(name, {})
        known[number] = version

        def load(wanted: int) -> FlowVersion:
            if wanted not in known:
                raise ProjectError(f"version {wanted} is gone")
            return known[wanted]

        self.flows[name] = FlowDefinition(name, version, source or Inlet(topic, from_start), load, from_start)

    def call(self, id: str, op: Operation, timeout: float | None = None) -> Act:
        """A step that calls an operation and goes on with the message as it came."""

        async def act(message: Message, context: Context) -> None:
            await context.call(id, op, message, timeout=timeout)

        return Act(id, act)

    def publish(self, id: str, topic: str) -> Whole:
        def run(batch: Sequence[Message], context: Context) -> None:
            for message in batch:
                context.publish(id, topic, message)

        return Whole(id, run)

    def send(self, id: str, sink: Sink) -> Act:
        async def act(message: Message, context: Context) -> None:
            [outcome] = await context.write(id, sink, [message])
            if hasattr(outcome, "error"):
                raise outcome.error

        return Act(id, act)

    # --- living ---------------------------------------------------------------------------------------------------

    async def open(self) -> Store:
        """The store, opened as a starting process would."""
        hook = lambda name: self.store_hook(name)  # noqa: E731
        if self.kind == "memory":
            return await MemoryStore.open(self.disk, clock=self.clock, ids=self.ids, hook=hook)
        store = await SqliteStore.open(self.folder / "store.db", clock=self.clock, ids=self.ids, hook=hook)
        self.loop.virtual.busy = store._db.threads.gate.locked
        return store

    async def start(self, wait: bool = True) -> Engine:
        self.store = await self.open()
        self._slow_down(self.store)
        application = Application(list(self.flows.values()), self.connections, self.rates)
        self.engine = Engine(
            application, self.store, clock=self.clock, ids=self.ids, codecs=self.codecs, log=self.log,
            routes=None, folder=self.folder, observer=self.watch, hook=lambda name: self.hook(name),
        )  # type: ignore[arg-type]  # fmt: skip
        self.lives.append(self.engine)
        if wait:
            await self.engine.start()
            for name in self.flows:
                source = self.flows[name].source
                if isinstance(source, Inlet) and source.topic is None:
                    await source.ran.wait()
        return self.engine

    def _slow_down(self, store: Store) -> None:
        """A disk that takes its time lets other tasks run before a commit is visible, and before its maker hears of
        it."""
        commit = store.commit

        async def slow(work: Work) -> None:
            if before := self.disk_takes():
                await asyncio.sleep(before)
            await commit(work)
            if after := self.disk_takes():
                await asyncio.sleep(after)

        store.commit = slow  # type: ignore[method-assign]

    async def crash(self) -> None:
        """As `kill -9` leaves it: nothing more is written, the store is not closed cleanly."""
        engine = self.engine
        engine.dispatching = engine.open_doors = False
        for task in [*engine._services, *engine._tasks, *engine._sources.values()]:
            task.cancel()
        await asyncio.gather(*engine._services, *engine._tasks, *engine._sources.values(), return_exceptions=True)
        for flow in engine.flows.values():
            flow.timer.stop()
        engine.alarms.stop()
        await self.store.close(clean=False)

    async def open_and_crash_when(self, event: asyncio.Event) -> None:
        """Start, and crash as soon as something happened, be it in the middle of the start."""
        await self.start(wait=False)
        starting = asyncio.ensure_future(self.engine.start())
        await event.wait()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await self.crash()

    async def restart(self) -> Engine:
        """Crash, then start on what is on disk."""
        await self.crash()
        return await self.start()

    # --- at the door ----------------------------------------------------------------------------------------------

    def deliver(self, flow: str, *values: Any, **more: Any) -> asyncio.Future[list[Receipt]]:
        """Hand in a batch of values (bytes are taken as they are); the receipts to come."""
        source = self.engine.flows[flow].definition.source
        assert isinstance(source, Inlet) and source.deliver is not None
        told: asyncio.Future[list[Receipt]] = self.loop.create_future()
        batch = [
            Message(value, codec=self.json) if isinstance(value, bytes) else
            value if isinstance(value, Message) else Message(self.json.encode(value), codec=self.json)
            for value in values
        ]  # fmt: skip
        source.deliver(Delivery(batch, told.set_result, **more))
        return told

    async def put(self, flow: str, *values: Any, **more: Any) -> list[int]:
        """Hand in and wait for the receipts: the numbers."""
        receipts = await self.deliver(flow, *values, **more)
        assert all(receipt.error is None for receipt in receipts), receipts
        return [receipt.ref for receipt in receipts]

    async def redrive(self, flow: str, *seqs: int, **order: Any) -> None:
        """Take dead letters up again, as an operator does."""
        control = Control(self.store, self.clock, Live(self.engine), project="p", path="store.db")
        ids = [message_id(self.store.uid, seq) for seq in seqs]
        answer = await control.redrive(RedriveOrder(by="ann", ids=ids, flow=flow, **order))
        assert not answer.skipped

    # --- waiting and looking --------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], Any], seconds: float = 100_000.0) -> None:
        """Wait until something holds: looked at whenever the engine says something, and every so often in virtual time
        (what a fake does says nothing)."""
        deadline = self.clock.monotonic() + seconds
        nap = 0.001
        while not holds():
            assert self.clock.monotonic() < deadline, "it never came true"
            self.watch.stirred.clear()
            with contextlib.suppress(TimeoutError):
                nap *= 1.2
                await asyncio.wait_for(self.watch.stirred.wait(), min(nap, 10.0))
                nap = 0.001

    async def ended(self, flow: str, count: int) -> None:
        """Wait until so many messages of a flow have ended."""
        words = [f"{flow}:{state.word}" for state in ENDED]
        await self.until(lambda: sum(self.watch.heard[word] for word in words) >= count)

    async def flushed(self) -> None:
        """Everything that was decided so far is on disk."""
        await self.engine.writer.barrier()

    def rows(self, flow: str) -> dict[int, tuple[Row, Progress | None]]:
        """Every message of a flow, by number."""
        running = self.engine.flows[flow]
        found: dict[int, tuple[Row, Progress | None]] = {}
        before = 0
        while True:
            page, before = self.store.progress.find(Query(running.number, running.stream, before=before, limit=5000))
            found |= {row.seq: (row, progress) for row, progress in page}
            if not before:
                return found

    def state(self, flow: str, seq: int) -> State:
        found = self.store.progress.get(self.engine.flows[flow].number, seq)
        return State.FRESH if found is None else found.state

    def states(self, flow: str) -> Counter[str]:
        """How many messages of a flow are in which state, counted row by row."""
        return Counter((row.state if row else State.FRESH).word for _, row in self.rows(flow).values())

    def progress(self, flow: str, seq: int) -> Progress:
        found = self.store.progress.get(self.engine.flows[flow].number, seq)
        assert found is not None
        return found

    def memo(self, flow: str, seq: int) -> Memo:
        return unpack(self.progress(flow, seq).memo)

    def effect_states(self, flow: str, seq: int) -> dict[str, str]:
        return {effect.place: effect.state for effect in self.memo(flow, seq).effects.values()}

    def audit(self) -> list[tuple[Any, ...]]:
        return [event for _, _, event in self.store.audit.events(0, 1_000_000)]

    async def quiet(self, flow: str) -> None:
        """Nothing of the flow stays in memory, and nothing that was counted up was not counted down."""
        running = self.engine.flows[flow]
        await self.until(lambda: not self.engine._tasks and not len(running.lanes), 10.0)
        assert (running.running, len(running.active), len(running.ready), running._bytes) == (0, 0, 0, 0)
        assert not running.settle._splits and not self.engine._waiters

    def check(self, flow: str) -> Counter[str]:
        """The books balance: what was counted is what is there; memory agrees with itself."""
        running = self.engine.flows[flow]
        there, counts = self.states(flow), self.store.progress.counts()
        assert counts.get((-running.stream, "accepted"), 0) == sum(there.values())
        for state in ENDED:
            assert counts.get((running.number, state.word), 0) == there[state.word], state
        assert running.running == sum(journey.busy for journey in running.active.values())
        return there


@pytest.fixture(params=["sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, request.param)
    yield made
    for engine in made.lives:
        await engine.stop()
