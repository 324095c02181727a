"""A small stand-in for the engine: enough to build a step from its text and run it, with every effect on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail.mapping import MappingError
from dovetail.mapping import compile as compile_mapping
from dovetail.sdk import (
    Call,
    Chain,
    Checker,
    Clock,
    Connection,
    Context,
    Done,
    Expression,
    Failed,
    InDoubt,
    Log,
    Message,
    MessageError,
    Operation,
    Outcome,
    Rejected,
    Reply,
    Result,
    Saga,
    Sink,
    State,
    Step,
)
from dovetail.testkit.clock import VirtualClock
from dovetail.testkit.fakes import CODECS, FakeLog
from dovetail.testkit.state import FakeMemory, FakeState


def message(value: Any, *, id: str = "m-1", ref: int = 1, **attributes: Any) -> Message:
    """A JSON message whose bytes are those of `value`."""
    json = CODECS.by_name("json")
    return Message(json.encode(value), codec=json, id=id, ref=ref, **attributes)


class FakeExpression:
    """A mapping expression with the bindings that the engine gives."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._expression = compile_mapping(text)

    def evaluate(self, message: Message) -> Any:
        known = {"id": message.id, "key": message.key, "type": message.type, "subject": message.subject}
        bindings = {"headers": message.headers, "vars": message.variables, "message": known}
        try:
            return self._expression.evaluate(message.value, bindings)
        except MappingError as error:
            raise Rejected(str(error), code="mapping") from error

    def test(self, message: Message) -> bool:
        return bool(self.evaluate(message))


class Contract:
    """A contract that is a function: it says what is wrong, or nothing."""

    def __init__(self, judge: Callable[[Any], str]) -> None:
        self._judge = judge

    def check(self, message: Message) -> None:
        wrong = self._judge(message.value)
        if wrong:
            raise Rejected(wrong, code="contract")

    def shape(self, value: Any) -> Any:
        """The value as it is."""
        return value


class FakeChain:
    """Steps in a row, each over what the one before let through."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.effectful = any(step.effectful for step in steps)

    async def open(self) -> None:
        """Open every step, and what is nested in it."""
        for step in self.steps:
            await step.open()

    async def close(self) -> None:
        """Close every step, and what is nested in it."""
        for step in self.steps:
            await step.close()

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        total = Result(list(batch))
        for step in self.steps:
            if not total.out:
                break
            result = await step.run(total.out, context)
            for _, error in result.failed:
                if not hasattr(error, "step"):
                    error.step = step.id  # type: ignore[attr-defined]
            total.out = result.out
            total.leave(result)
        return total


@dataclass
class FakeBuild:
    """What a step may name while it is built. `words` are the steps that nested chains may use."""

    words: Mapping[str, type[Step]] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    contracts: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    flows: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    flow: str = "flow"
    step: str = "step"
    codecs: Any = CODECS

    def make(self, text: Mapping[str, Any]) -> Step:
        """The step that `text` is: its word with its main value, other settings beside it, as in a flow's file."""
        word = next(name for name in text if name in self.words)
        kind = self.words[word]
        beside = {name: value for name, value in text.items() if name not in (word, "id")}
        main = kind.Config.main_field()
        under = text[word]
        names = {declared.name for declared in kind.Config.fields()}
        if isinstance(under, Mapping) and set(under) <= names:
            settings = {**under, **beside}
        else:
            settings = {main.name if main else word: under, **beside}
        outer, self.step = self.step, text.get("id", word)
        try:
            return kind(kind.Config.parse(settings), self)
        finally:
            self.step = outer

    def expression(self, text: str) -> Expression:
        return FakeExpression(text)

    def chain(self, steps: Sequence[Any], label: str) -> Chain:
        return FakeChain([self.make(step) for step in steps])

    def operation(self, name: str) -> Operation:
        connection, _, operation = name.partition(".")
        return self.connections[connection].operation(operation)

    def sink(self, name: str) -> Sink:
        connection, _, sink = name.partition(".")
        return self.connections[connection].sink(sink)

    def sub_flow(self, name: str) -> Chain:
        return self.chain(self.flows[name], name)

    def contract(self, ref: str) -> Checker:
        return Contract(self.contracts[ref])

    def function(self, ref: str) -> Callable[..., Any]:
        return self.functions[ref]


@dataclass
class Journal:
    """What the engine would remember of a run. `effects` that are done are not made again."""

    effects: dict[str, Reply] = field(default_factory=dict)
    attempted: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)  # unsafe and sent, with no outcome known
    published: dict[str, list[Message]] = field(default_factory=dict)
    parts: dict[str, list[Message]] = field(default_factory=dict)  # by the id of the whole
    replies: dict[str, tuple[Message, int]] = field(default_factory=dict)
    pauses: list[tuple[str, float]] = field(default_factory=list)
    memory: FakeMemory = field(default_factory=FakeMemory)
    sagas: dict[str, Saga] = field(default_factory=dict)  # what was said of an effect before it was made, by its key


class FakeContext:
    """What a running step is given. `last` says whether the attempt under way is the last one."""

    def __init__(
        self, journal: Journal | None = None, *, clock: Clock | None = None, last: bool = False, branch: str = ""
    ) -> None:
        self.journal = journal or Journal()
        self.logged = FakeLog()
        self.log: Log = self.logged
        self.clock: Clock = clock or VirtualClock()
        self.last = last
        self._branch = branch
        self.state: State = FakeState(self.journal.memory, branch, self.clock)

    def branch(self, label: str) -> FakeContext:
        inner = FakeContext(self.journal, clock=self.clock, last=self.last, branch=f"{self._branch}/{label}")
        inner.logged = self.logged
        inner.log = self.logged
        return inner

    def key(self, step: str, message: Message) -> str:
        """The effect key: message, branch and step."""
        return f"{message.id}{self._branch}/{step}"

    async def call(
        self, step: str, operation: Operation, message: Message, args: Mapping[str, Any] | None = None,
        timeout: float | None = None, saga: Saga | None = None,
    ) -> Reply:  # fmt: skip
        key = self.key(step, message)
        if key not in self.journal.effects:
            self.journal.attempted.append(key)
            if saga is not None:
                self.journal.sagas[key] = saga
            call = Call(message, key, args or {}, timeout or 30.0)
            if not operation.repeat.safe:
                self.journal.doubtful.add(key)
            try:
                self.journal.effects[key] = await operation.call(call)
            except MessageError as error:
                if not isinstance(error, InDoubt):
                    self.journal.doubtful.discard(key)
                raise
            self.journal.doubtful.discard(key)
        return self.journal.effects[key]

    async def write(
        self, step: str, sink: Sink, batch: Sequence[Message], args: Sequence[Mapping[str, Any]] | None = None,
        timeout: float | None = None, sagas: Sequence[Saga] | None = None,
    ) -> list[Outcome]:  # fmt: skip
        keys = [self.key(step, message) for message in batch]
        self.journal.sagas |= dict(zip(keys, sagas, strict=True)) if sagas is not None else {}
        calls = [
            Call(message, key, args[n] if args else {}, timeout or 30.0)
            for n, (key, message) in enumerate(zip(keys, batch, strict=True))
            if key not in self.journal.written
        ]
        self.journal.attempted += [call.key for call in calls]
        if not sink.repeat.safe:
            self.journal.doubtful |= {call.key for call in calls}
        try:
            outcomes = dict(await sink.write(calls)) if calls else {}
        except MessageError as error:
            outcomes = {call.key: Failed(error) for call in calls}
        doubts = {key for key, told in outcomes.items() if isinstance(told, Failed) and isinstance(told.error, InDoubt)}
        self.journal.doubtful -= outcomes.keys() - doubts
        self.journal.written |= {key for key, outcome in outcomes.items() if isinstance(outcome, Done)}
        return [outcomes.get(key, Done()) for key in keys]

    async def decide(self, step: str, message: Message, value: Any) -> None:
        self.state.decide(step, message, value)

    def publish(self, step: str, topic: str, message: Message) -> None:
        key = self.key(step, message)
        if key not in self.journal.written:
            self.journal.written.add(key)
            self.journal.attempted.append(key)
            self.journal.published.setdefault(topic, []).append(message)

    def split(self, step: str, message: Message, parts: Sequence[Message]) -> None:
        self.journal.parts[message.id] = list(parts)

    def reply(self, message: Message, status: int = 200) -> None:
        self.journal.replies[message.id] = (message, status)

    async def pause(self, message: Message, seconds: float) -> None:
        self.journal.pauses.append((message.id, seconds))

    def in_doubt(self, message: Message) -> bool:
        return any(key.startswith(f"{message.id}{self._branch}/") for key in self.journal.doubtful)

    def last_attempt(self, message: Message) -> bool:
        return self.last
