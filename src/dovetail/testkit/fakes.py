"""Stand-ins for what surrounds a connector. Those that play a port sit the port's exam in the tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from dovetail.codec import built_in_codecs
from dovetail.sdk import (
    Call,
    Clock,
    Codecs,
    Connecting,
    Connection,
    Deliver,
    Delivery,
    Done,
    Failed,
    Handler,
    Ids,
    Log,
    Message,
    MessageError,
    Operation,
    Outcome,
    Receipt,
    Rejected,
    Repeat,
    Reply,
    Request,
    Routes,
    Sink,
    Source,
    Spec,
    Unavailable,
    field,
    hand_over,
)
from dovetail.testkit.clock import SeededIds, VirtualClock

CODECS = built_in_codecs()


class FakeLog:
    """Keeps what was logged: (level, event, fields)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))

    def events(self) -> list[str]:
        """The events in order."""
        return [event for _, event, _ in self.lines]


class FakeRoutes:
    """The listener's table without a listener: `send` is a request."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[str, str], Handler] = {}

    def add(self, method: str, path: str, handler: Handler, *, max_body: int) -> None:
        if (method, path) in self.handlers:
            raise ValueError(f"{method} {path} is taken")
        self.handlers[method, path] = handler

    def remove(self, method: str, path: str) -> None:
        self.handlers.pop((method, path), None)

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> list[Any]:
        """Send a request; the list gets the answer (status, body, content type, headers) when there is one."""
        answers: list[Any] = []

        def respond(
            status: int, body: bytes = b"", content_type: str = "", headers: Mapping[str, str] | None = None
        ) -> None:
            answers.append((status, body, content_type, dict(headers or {})))

        self.handlers[method, path](Request(method, path, "", headers or {}, body, "127.0.0.1", respond))
        return answers


class FakeConnecting:
    """What a connection or a source is given. `marks` is its durable memory: hand it on to act a restart."""

    def __init__(
        self, folder: Path = Path(), *, name: str = "flow", clock: Clock | None = None, ids: Ids | None = None,
        marks: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.folder = name, folder
        self.logged = FakeLog()
        self.log: Log = self.logged
        self.clock: Clock = clock or VirtualClock()
        self.ids: Ids = ids or SeededIds()
        self.codecs: Codecs = CODECS
        self.listener = FakeRoutes()
        self.routes: Routes = self.listener
        self.marks: dict[str, Any] = {} if marks is None else marks
        self.positions: dict[str, int] = {}  # the high-water marks that it is told

    def mark(self, name: str, value: Any) -> None:
        self.marks[name] = value

    def marked(self, name: str) -> Any:
        return self.marks.get(name)

    def position(self, partition: str) -> int | None:
        return self.positions.get(partition)


class CollectingDeliver:
    """A flow's door that keeps what comes.

    `messages` are those accepted, in order; `ids` their dedupe ids, or their positions as `partition:number`. `marks`
    are the partitions' high-water marks. `hold()` leaves deliveries without a receipt until
    `release()`; `shut()` closes the door to those who ask for room; `refuse` and `unavailable` are what the door says.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ids: list[str | None] = []
        self.parked: list[tuple[Message, str]] = []
        self.deliveries: list[Delivery] = []
        self.refuse: Callable[[Message], Any] = lambda message: None
        self.unavailable = 0  # how many deliveries are turned away first
        self.marks: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._held: list[Delivery] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._changed = asyncio.Event()
        self.asked = False  # whether somebody has asked for room

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self._held is not None:
            self._held.append(delivery)
        else:
            asyncio.get_running_loop().call_soon(self._accept, delivery)
        self._changed.set()

    async def room(self) -> None:
        """Wait while the door is shut."""
        self.asked = True
        self._changed.set()
        await self._open.wait()

    def shut(self) -> None:
        """No room."""
        self._open.clear()

    def reopen(self) -> None:
        """Room again."""
        self._open.set()

    def hold(self) -> None:
        """From now on receipts wait."""
        self._held = []

    def release(self) -> None:
        """Give the receipts that wait, and from now on at once."""
        held, self._held = self._held or [], None
        for delivery in held:
            self._accept(delivery)

    async def until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Wait until something at the door makes `condition` true. Raises TimeoutError when it never does."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def count(self, number: int, timeout: float = 60.0) -> list[Message]:
        """Wait for `number` accepted messages."""
        await self.until(lambda: len(self.messages) >= number, timeout)
        return self.messages

    def _accept(self, delivery: Delivery) -> None:
        if self.unavailable:
            self.unavailable -= 1
            delivery.settle([Receipt(error=Unavailable("not now", after=0.01)) for _ in delivery.batch])
            return
        before = dict(self.marks)
        receipts = [self._receipt(delivery, index, before) for index in range(len(delivery.batch))]
        for position in delivery.positions or ():
            self.marks[position.partition] = max(position.number, self.marks.get(position.partition, -1))
        delivery.settle(receipts)
        self._changed.set()

    def _receipt(self, delivery: Delivery, index: int, before: Mapping[str, int]) -> Receipt:
        message = delivery.batch[index]
        name, passed = delivery.dedupe[index] if delivery.dedupe else None, False
        if delivery.positions:
            position = delivery.positions[index]
            name = f"{position.partition}:{position.number}"
            passed = position.number <= before.get(position.partition, -1)
        refusal = (delivery.refusals[index] if delivery.refusals else None) or self.refuse(message)
        if refusal is not None:
            if delivery.park_refused and not passed:
                self.parked.append((message, str(refusal)))
            return Receipt(parked=delivery.park_refused, error=refusal)
        if passed:
            return Receipt(duplicate=True)
        if name is not None and name in self._known:
            return Receipt(f"m-{self._known[name]}", self._known[name], duplicate=True)
        self.messages.append(message)
        self.ids.append(name)
        number = len(self.messages)
        if name is not None:
            self._known[name] = number
        return Receipt(f"m-{number}", number)


class MemorySource(Source):
    """Items put with `put` are delivered one by one, and leave `items` when they are accepted."""

    class Config(Spec):
        """It needs none."""

    def __init__(self, config: Any = None, flow: str = "flow") -> None:
        super().__init__(config, flow)
        self.items: list[bytes] = []
        self._more = asyncio.Event()

    def put(self, body: bytes) -> None:
        """One more item outside."""
        self.items.append(body)
        self._more.set()

    async def open(self, context: Connecting) -> None:
        self._context = context

    async def run(self, deliver: Deliver) -> None:
        while True:
            self._more.clear()
            while self.items:
                json = self._context.codecs.by_name("json")
                message = Message(self.items[0], codec=json, time_ms=self._context.clock.now_ms())
                await hand_over(deliver, [message], [self.items[0].hex()])
                self.items.pop(0)
            await self._more.wait()


class FakeOperation(Operation):
    """Answers with `answer(call)`, or raises it; `calls` are those that were made, `done` the effects by key."""

    def __init__(
        self, name: str = "fake.call", repeat: Repeat = Repeat.IDEMPOTENT,
        answer: Callable[[Call], Any] = lambda call: {"ok": True},
    ) -> None:  # fmt: skip
        self.name, self.repeat, self.answer = name, repeat, answer
        self.target = name.partition(".")[0]
        self.calls: list[Call] = []
        self.done: dict[str, Reply] = {}

    async def call(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.repeat.safe and call.key in self.done:
            return self.done[call.key]
        await asyncio.sleep(0)
        answer = self.answer(call)
        if isinstance(answer, BaseException):
            raise answer
        reply = answer if isinstance(answer, Reply) else Reply(value=answer, codec=CODECS.by_name("json"))
        self.done[call.key] = reply
        return reply

    async def query(self, call: Call) -> Reply | None:
        return self.done.get(call.key)


class MemorySink(Sink):
    """Keeps what was written: bodies by effect key, in order. `judge(call)` may give the error that a call ends in."""

    def __init__(
        self, name: str = "fake.write", repeat: Repeat = Repeat.NATURAL,
        judge: Callable[[Call], MessageError | None] = lambda call: None,
    ) -> None:  # fmt: skip
        self.name, self.repeat, self.judge = name, repeat, judge
        self.target = name.partition(".")[0]
        self.written: dict[str, bytes] = {}
        self.batches: list[Sequence[Call]] = []

    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        self.batches.append(calls)
        await asyncio.sleep(0)
        outcomes: dict[str, Outcome] = {}
        for call in calls:
            error = self.judge(call)
            if error is None:
                self.written[call.key] = call.message.body
            outcomes[call.key] = Done() if error is None else Failed(error)
        return outcomes


class FakeConnection(Connection):
    """A system with the operations and sinks it is given; every other name is unknown."""

    class Config(Spec):
        note: str = field(default="", help="Whatever a test wants to say.")

    operations: ClassVar[Mapping[str, Repeat]] = {"call": Repeat.IDEMPOTENT}
    sinks: ClassVar[Mapping[str, Repeat]] = {"write": Repeat.NATURAL}

    def __init__(self, name: str = "fake", config: Any = None, operations: Mapping[str, Any] | None = None) -> None:
        super().__init__(name, config or self.Config(), operations or {})
        self.calls: dict[str, FakeOperation] = {"call": FakeOperation(f"{name}.call")}
        self.writes: dict[str, MemorySink] = {"write": MemorySink(f"{name}.write")}

    def operation(self, name: str) -> FakeOperation:
        return self.calls[name]

    def sink(self, name: str) -> MemorySink:
        return self.writes[name]


def rejecting(call: Call) -> Exception:
    """An answer that refuses every call for good."""
    return Rejected("no such customer", code="not_found")
