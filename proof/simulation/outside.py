"""The systems outside: they keep books of their own, answer well or badly, and never know which node called."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from dovetail.codec import built_in_codecs
from dovetail.sdk import (
    Call,
    Connection,
    Deliver,
    Done,
    Failed,
    InDoubt,
    Message,
    MessageError,
    Operation,
    Outcome,
    Paused,
    Plugin,
    Rejected,
    Repeat,
    Reply,
    Retry,
    Sink,
    Source,
    Spec,
    Throttled,
    field,
    hand_over,
)
from dovetail.testkit import history
from proof.simulation.loop import NODE

if TYPE_CHECKING:
    from proof.simulation.node import Life

JSON = built_in_codecs().by_name("json")
_encode = msgspec.json.Encoder(order="sorted").encode


def fingerprint(content: Any) -> str:
    """A content's hash, however it is written."""
    return history.digest(_encode(content))


def meant(value: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """The messages that a body speaks of: (id, part, content). A group's speaks of all its members."""
    if "ids" in value:
        members = zip(value["ids"], value["ns"], strict=True)
        return [(str(id), "bundle", {"k": value["k"], "n": n}) for id, n in members]
    return [(str(value.get("id", "?")), str(value.get("part", "")), value)]


def identity(value: Any) -> tuple[str, str]:
    """The client's id in a body, and the part; nothing for a group, which is several messages."""
    if not isinstance(value, dict):
        return "", ""
    return str(value.get("id", "")), str(value.get("part", ""))


def life() -> Life:
    """The life that is running now."""
    found = NODE.get()
    assert found is not None
    return found  # type: ignore[return-value]


class Plan:
    """What becomes of one call: when it is applied (if it is), when it is answered (if it is), and how."""

    __slots__ = ("after", "answered", "applied", "before", "error")

    def __init__(
        self, before: float = 0.0, after: float = 0.0, applied: bool = True, answered: bool = True,
        error: Callable[[], MessageError] | None = None,
    ) -> None:  # fmt: skip
        self.before, self.after, self.applied, self.answered, self.error = before, after, applied, answered, error


class System:
    """One operation of an outside system, with its books. `plan(call)` decides what becomes of a call."""

    def __init__(
        self, world: Any, name: str, repeat: Repeat, flow: str, lane: bool, strict: bool, parks: bool
    ) -> None:  # fmt: skip
        self.world, self.name, self.repeat, self.flow, self.parks = world, name, repeat, flow, parks
        self.lane = lane  # whether its flow promises an order
        self.strict = strict  # a second effect is a breach
        self.books: dict[str, Any] = {}  # reply by effect key
        self.puts: dict[tuple[str, str], str] = {}  # natural: content by message and part
        self.void: set[tuple[int, str]] = set()  # calls of which it has said that they never happened
        self.under_way: dict[int, str] = {}
        self.not_before: dict[str, float] = {}  # by key: when it may be asked again, after it has said 429
        self._calls = 0
        self.trouble: tuple[list[str], float] | None = None  # what goes wrong at the moment, and how often

    async def receive(self, call: Call) -> Reply:
        """A call arrives; the answer, if there is one."""
        world, value = self.world, call.message.value
        lane = call.message.key if self.lane else None
        for id, part, _ in meant(value):
            world.add(history.Call(self.name, id, call.key, part, self.flow, lane or "", self.parks))
        world.too_soon(self, call.key)
        answer = world.loop.create_future()
        plan = world.plan(self, call, value)
        if plan is None:
            raise AssertionError("the node is dead")
        self._calls += 1
        number = self._calls
        self.under_way[number] = call.key
        world.outside(plan.before, self._apply, number, call.key, value, plan, answer)
        try:
            reply: Reply = await answer
        except Throttled as error:
            self.not_before[call.key] = world.clock.monotonic() + (error.after or 0.0)
            raise
        world.add(history.Answer(self.name, call.key, "done"))
        return reply

    def knows(self, key: str) -> bool:
        """Whether it dedupes, and has done this or has it on its way."""
        dedupes = self.repeat in (Repeat.IDEMPOTENT, Repeat.TRANSACTIONAL)
        return dedupes and (key in self.books or key in self.under_way.values())

    def _apply(self, number: int, key: str, value: Any, plan: Plan, answer: Any) -> None:
        del self.under_way[number]
        if plan.applied and (number, key) not in self.void:
            self._do(key, value)
        if plan.answered:
            self.world.outside(plan.after, self._answer, key, plan, answer)

    def _do(self, key: str, value: Any) -> None:
        id, part, content = str(value.get("id")), str(value.get("part", "")), fingerprint(value)
        if self.repeat in (Repeat.IDEMPOTENT, Repeat.TRANSACTIONAL) and key in self.books:
            self.world.some("a target deduped a repeat")
            return
        if self.repeat is Repeat.NATURAL:
            if self.puts.get((id, part)) == content:
                return
            self.puts[id, part] = content
        self.books[key] = {"number": len(self.books) + 1, "rate": len(id)}
        if "ids" in value:
            self.world.some("a group was completed")
        elif len(value.get("got", "ab")) == 1:
            self.world.some("a question went on without an answer")
        for id, part, each in meant(value):
            self.world.add(history.Effect(self.name, id, key, fingerprint(each), part, self.strict))

    def _answer(self, key: str, plan: Plan, answer: asyncio.Future[Reply]) -> None:
        if answer.done():
            return
        if plan.error is not None:
            answer.set_exception(plan.error())
        else:
            answer.set_result(Reply(value=self.books.get(key, {"rate": 0}), codec=JSON, status=200))

    async def query(self, call: Call) -> Reply | None:
        """Whether a call under this key ever happened; one that was on its way before this question never will."""
        world = self.world
        world.some("a target was asked whether it had happened")
        plan = world.plan(self, call, call.message.value)
        answer = world.loop.create_future()
        if plan.answered:
            before = {(number, key) for number, key in self.under_way.items() if key == call.key}
            world.outside(plan.before + plan.after, self._tell, call.key, before, plan, answer)
        found: Reply | None = await answer
        return found

    def _tell(self, key: str, before: set[tuple[int, str]], plan: Plan, answer: Any) -> None:
        if answer.done():
            return
        if plan.error is not None:
            answer.set_exception(plan.error())
            return
        if key not in self.books:
            self.void |= before
        found = self.books.get(key)
        answer.set_result(None if found is None else Reply(value=found, codec=JSON, status=200))


class SystemOperation(Operation):
    """An operation, as the engine sees it."""

    def __init__(self, connection: str, name: str, repeat: Repeat, system: System, target: str) -> None:
        self.name, self.repeat, self.target, self._system = f"{connection}.{name}", repeat, target, system

    async def call(self, call: Call) -> Reply:
        self._system.world.silent_still(self.target)
        try:
            return await heard(self._system, call, self._system.receive(call))
        except Throttled as error:
            self._system.world.silent(self.target, error.after or 0.0)
            raise

    async def query(self, call: Call) -> Reply | None:
        return await self._system.query(call)


async def heard(system: System, call: Call, work: Awaitable[Reply]) -> Reply:
    """A rejection that reaches the caller is on record as such."""
    try:
        return await work
    except Rejected:
        system.world.add(history.Answer(system.name, call.key, "rejected"))
        raise


class SystemSink(Sink):
    """A sink: each message of a batch fares on its own, and some get no outcome at all."""

    def __init__(self, connection: str, name: str, repeat: Repeat, system: System, target: str) -> None:
        self.name, self.repeat, self.target, self._system = f"{connection}.{name}", repeat, target, system

    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        world = self._system.world
        ends = await asyncio.gather(
            *(heard(self._system, call, self._system.receive(call)) for call in calls), return_exceptions=True
        )
        outcomes: dict[str, Outcome] = {}
        for call, end in zip(calls, ends, strict=True):
            if isinstance(end, InDoubt) and world.chance(0.5):
                world.some("a sink gave no outcome for a message")
            elif isinstance(end, MessageError):
                outcomes[call.key] = Failed(end)
            elif isinstance(end, BaseException):
                raise end
            else:
                outcomes[call.key] = Done()
        return outcomes


class Outside(Connection):
    """The way to the systems of one flow. `system`: whose breaker and budget they share."""

    class Config(Spec):
        system: str = field(help="The system behind it.")
        flow: str = field(help="The flow that calls it.")
        ordered: bool = field(default=False, help="Whether that flow promises an order.")
        careful: bool = field(default=True, help="Whether a second effect of `fire` is a breach.")
        parks: bool = field(default=False, help="Whether a dead letter of that flow holds back its lane.")
        rate: float | None = field(default=None, help="Calls a second.")

    operations: ClassVar[Mapping[str, Repeat]] = {
        "create": Repeat.IDEMPOTENT, "put": Repeat.NATURAL, "ask": Repeat.QUERYABLE, "fire": Repeat.NONE,
        "join": Repeat.TRANSACTIONAL, "look": Repeat.NATURAL, "undo": Repeat.IDEMPOTENT,
    }  # fmt: skip
    sinks: ClassVar[Mapping[str, Repeat]] = {"write": Repeat.IDEMPOTENT, "drop": Repeat.NONE}

    def _system(self, name: str, repeat: Repeat) -> System:
        config = self.config
        strict = repeat is not Repeat.NATURAL and (repeat is not Repeat.NONE or config.careful)
        return life().world.system(f"{self.name}.{name}", repeat, config.flow, config.ordered, strict, config.parks)

    def operation(self, name: str) -> Operation:
        repeat = self.operations[name]
        return SystemOperation(self.name, name, repeat, self._system(name, repeat), self.config.system)

    def sink(self, name: str) -> Sink:
        repeat = self.sinks[name]
        return SystemSink(self.name, name, repeat, self._system(name, repeat), self.config.system)


class Hand(Source):
    """Messages that clients bring, each of whom waits for its own answer."""

    class Config(Spec):
        pass

    replies = True

    async def run(self, deliver: Deliver) -> None:
        """Let clients in until cancelled."""
        life().doors[self.flow] = deliver
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            life().doors.pop(self.flow, None)


class Queue(Source):
    """A broker's queue: what is not acked is delivered again, after its restart as well."""

    class Config(Spec):
        pass

    async def run(self, deliver: Deliver) -> None:
        """Hand over what is there, a few at a time; ack what was accepted."""
        queue = life().world.queue(self.flow)
        while True:
            batch = await queue.take()
            messages = [Message(draft.body, codec=JSON) for draft in batch]
            queue.sent(batch)
            receipts = await hand_over(deliver, messages, [draft.dedupe for draft in batch])
            queue.ack(batch, receipts)


PLUGIN = Plugin("outside", connections={"outside": Outside}, sources={"hand": Hand, "queue": Queue})

DOUBT = "nobody knows what became of it"
TROUBLES: dict[str, Callable[[Any], Plan]] = {
    "down": lambda dice: Plan(applied=False, error=lambda: Retry("connection refused", code="connect")),
    "5xx": lambda dice: Plan(0.01, 0.01, applied=False, error=lambda: Retry("503", code="http_503")),
    "5xx-applied": lambda dice: Plan(0.01, 0.01, error=lambda: InDoubt("502 from a proxy")),
    "reset": lambda dice: Plan(0.01, 0.01, applied=dice.random() < 0.5, error=lambda: InDoubt(DOUBT)),
    "lost": lambda dice: Plan(0.01, answered=False),
    "hang": lambda dice: Plan(applied=False, answered=False),
    "late": lambda dice: Plan(dice.uniform(2.0, 30.0)),
    "slow": lambda dice: Plan(dice.uniform(0.0, 1.0), dice.uniform(0.0, 1.0)),
    "4xx": lambda dice: Plan(0.01, applied=False, error=lambda: Rejected("no such customer", code="http_404")),
    "429": lambda dice: Plan(0.01, applied=False, error=lambda: Throttled("slow down", after=dice.uniform(0.1, 5))),
    "garbage": lambda dice: Plan(0.01, error=lambda: InDoubt("an answer that nobody can read", code="garbage")),
    "credentials": lambda dice: Plan(0.01, applied=False, error=lambda: Paused("401", after=dice.uniform(0.5, 5))),
}
