"""From checked text to compiled values: the flows and connections that the engine runs."""

from __future__ import annotations

import hashlib
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from dovetail.clock import Clock, seeded
from dovetail.contracts import Contract
from dovetail.engine.chain import StepChain
from dovetail.engine.definition import Application, FlowDefinition, FlowVersion, Policy
from dovetail.engine.observer import Observer
from dovetail.errors import ProjectError, Rejected
from dovetail.mapping import MappingError
from dovetail.mapping import compile as compile_mapping
from dovetail.project.declared import FlowFile, OnFailure, Retrying
from dovetail.project.model import FlowText, Project, text_of
from dovetail.project.steps import StepWords, read_step
from dovetail.sdk import UNDEFINED, Chain, Checker, Codecs, Connection, Expression, Message, Operation, Sink, Step
from dovetail.spec import Report
from dovetail.store.base import Store

Functions = Mapping[str, Callable[..., Any]]


class Builder:
    """Builds one project's flows. Connections are made once and shared by every version."""

    def __init__(
        self, project: Project, words: StepWords, codecs: Codecs, observer: Observer, clock: Clock,
        connections: Mapping[str, Connection] | None = None,
    ) -> None:  # fmt: skip
        self.project, self.words, self.codecs = project, words, codecs
        self.observer, self.clock = observer, clock
        self.connections = connections if connections is not None else make_connections(project)

    def version(self, name: str, number: int) -> FlowVersion:
        """One flow of this project, compiled. Raises ProjectError."""
        flow = self.project.flows[name]
        build = FlowBuild(self, flow)
        steps = build.steps(flow.head.steps)
        return FlowVersion(
            number=number, digest=flow.digest, steps=steps, policy=policy_of(flow.head),
            key=build.expression(flow.head.key) if flow.head.key else None,
            dedupe=build.expression(flow.head.dedupe) if flow.head.dedupe else None,
            contract=build.contract(flow.head.contract) if flow.head.contract else None,
        )  # fmt: skip


def make_connections(project: Project) -> dict[str, Connection]:
    """The project's connections, not yet opened."""
    return {name: text.type(name, text.config, text.operations) for name, text in sorted(project.connections.items())}


class FlowBuild:
    """What the steps of one flow are given while it is built (see `dovetail.sdk.Build`)."""

    def __init__(self, builder: Builder, flow: FlowText, nesting: tuple[str, ...] = ()) -> None:
        self._builder, self._text = builder, flow
        self._nesting = (*nesting, flow.name)
        self._report = Report(flow.locate)
        self.flow = flow.name
        self.step = ""
        self.codecs = builder.codecs

    def steps(self, raw: Sequence[Any]) -> list[Step]:
        """Build a row of steps. Raises ProjectError with the first problems."""
        taken: set[str] = set()
        built: list[Step] = []
        for index, item in enumerate(raw):
            text = read_step(item, ("steps", index), self._builder.words, taken, self._report)
            if text is None:
                raise ProjectError("\n".join(map(str, self._report.problems)), self._report.problems)
            outer, self.step = self.step, text.id
            built.append(text.type(text.config, self))
            self.step = outer
        return built

    def chain(self, steps: Sequence[Any], label: str) -> Chain:
        """Compile nested steps."""
        return StepChain(self.flow, self.steps(steps), self._builder.observer, self._builder.clock)

    def expression(self, text: str) -> Expression:
        """Compile a mapping expression, or the mapping file that the text names."""
        source, file = text_of(self._builder.project, text)
        return BoundExpression(source, file or text, f"{self.flow}/{self.step}")

    def operation(self, name: str) -> Operation:
        """`connection.operation`."""
        connection, _, operation = name.partition(".")
        return self._builder.connections[connection].operation(operation)

    def sink(self, name: str) -> Sink:
        """`connection.sink`."""
        connection, _, sink = name.partition(".")
        return self._builder.connections[connection].sink(sink)

    def sub_flow(self, name: str) -> Chain:
        """The steps of another flow."""
        if name in self._nesting:
            raise ProjectError(f"flow {name} uses itself: {' → '.join((*self._nesting, name))}")
        other = self._builder.project.flows[name]
        nested = FlowBuild(self._builder, other, self._nesting)
        return nested.chain(other.head.steps, name)

    def contract(self, ref: str) -> Checker:
        """`name@version`."""
        return ContractChecker(self._builder.project.contracts[ref])

    def function(self, ref: str) -> Callable[..., Any]:
        """`module:function` of the project's `python` folder."""
        return load_function(self._builder.project, ref)


_BEYOND = re.compile(r"\$(headers|vars|message|now|millis|random|shuffle|uuid|eval)\b")


class BoundExpression:
    """A mapping expression evaluated against messages, with what it may see beside the body."""

    def __init__(self, text: str, name: str, place: str) -> None:
        self.text = text
        self._expression = compile_mapping(text)
        self._name, self._place = name, place
        self._bare = _BEYOND.search(text) is None  # it looks at nothing but the body

    def evaluate(self, message: Message) -> Any:
        """The value, or `UNDEFINED`. Raises `Rejected` with the place in the mapping."""
        try:
            value = message.value
            if self._bare:
                return self._expression.evaluate(value)
            return self._expression.evaluate(value, bindings(message), environment=World(message, self._place))
        except MappingError as error:
            raise Rejected(
                f"{self._name}:{error.line}:{error.column}: {error.message}", code=f"mapping {error.code}",
                detail={"line": error.line, "column": error.column, "token": error.token},
            ) from error  # fmt: skip

    def test(self, message: Message) -> bool:
        """The value as a condition: the language's `$boolean`."""
        value = self.evaluate(message)
        if value is True or value is False:
            return bool(value)
        return truth(value)


class World:
    """Time and dice as a mapping sees them: of the message, so that a retry computes the same."""

    __slots__ = ("_message", "_place", "now_ms")

    def __init__(self, message: Message, place: str) -> None:
        self._message, self._place = message, place
        self.now_ms = message.time_ms

    def random(self) -> float:
        """A number in [0, 1), the same for the same message and place."""
        return seeded(self._message.id, self._place).random()


def bindings(message: Message) -> dict[str, Any]:
    """`$headers`, `$vars` and `$message`."""
    return {
        "headers": message.headers,
        "vars": message.variables,
        "message": {
            "id": message.id, "source": message.source, "type": message.type, "subject": message.subject,
            "time": message.time_ms, "key": message.key, "parent": message.parent, "content_type": message.content_type,
        },
    }  # fmt: skip


def truth(value: Any) -> bool:
    """JSONata's idea of truth: empty, zero, null and nothing are false; an array is true if one of its members is."""
    if value is UNDEFINED or value is None:
        return False
    if isinstance(value, list):
        return any(truth(item) for item in value)
    return bool(value) and not callable(value)


class ContractChecker:
    """A contract as a step or a door asks it."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def check(self, message: Message) -> None:
        """Raises `Rejected` whose detail lists each path at fault."""
        value = message.value
        if self._contract.is_valid(value):
            return
        violations = self._contract.validate(value)
        listed = [{"path": v.path, "message": v.message, "rule": v.rule} for v in violations]
        first = str(violations[0]) if violations else "it does not fit"
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise Rejected(f"it is not a {self._contract.ref}: {first}{more}", code="contract", detail=listed)


def policy_of(head: FlowFile) -> Policy:
    """A flow's word on failure as the engine reads it."""
    failure = head.on_failure or OnFailure()
    retry = failure.retry or Retrying()
    return Policy(
        retry_for=float(retry.for_), retry_base=float(retry.base), retry_cap=float(retry.cap),
        max_attempts=retry.attempts, unsafe=failure.in_doubt or "park", crash_limit=failure.crashes,
        call_timeout=float(head.timeout), concurrency=head.concurrency,
    )  # fmt: skip


def load_function(project: Project, ref: str) -> Callable[..., Any]:
    """A function of the project's own, from the text that the flow's version was made with.

    Raises ProjectError when the module cannot be imported or has no such function.
    """
    module_name, _, name = ref.partition(":")
    file = f"python/{module_name.replace('.', '/')}.py"
    source = project.files.get(file)
    if source is None:
        raise ProjectError(f"{file} is not there")
    version = hashlib.sha256(source).hexdigest()[:12]  # versions of one module live side by side
    module = types.ModuleType(f"dovetail_project_{project.name.replace('-', '_')}.{module_name}_{version}")
    module.__file__ = str(project.folder / file)
    sys.modules[module.__name__] = module  # dataclasses and annotations look their module up
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except Exception as error:
        raise ProjectError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None:
        raise ProjectError(f"{file} has no function {name!r}")
    return function


Reload = Callable[[Mapping[str, bytes]], Project]


def application(builder: Builder, store: Store, reload: Reload) -> Application:
    """Everything the engine runs; flow versions are registered in the store together with the text to load them
    again."""
    flows: list[FlowDefinition] = []
    for name, text in sorted(builder.project.flows.items()):
        number = store.register.number("flow", name)
        packed = msgspec.msgpack.encode(builder.project.snapshot(name))
        version = store.register.version(number, text.digest, packed, builder.clock.now_ms())
        source = text.source.type(text.source.config, name) if text.source is not None else None
        flows.append(
            FlowDefinition(
                name=name, current=builder.version(name, version), source=source,
                load=older(builder, store, reload, name, number),
                from_start=source.from_start if source is not None else False,
            )
        )  # fmt: skip
    rates: dict[str, float] = {}
    for name, connection in builder.connections.items():
        rate = getattr(connection.config, "rate", None)
        if rate is not None:
            rates[name] = float(rate)
    return Application(flows=flows, connections=builder.connections, rates=rates)


def older(builder: Builder, store: Store, reload: Reload, name: str, number: int) -> Callable[[int], FlowVersion]:
    """How an older version of a flow is loaded: its text from the store, the connections of today."""

    def load(version: int) -> FlowVersion:
        files = msgspec.msgpack.decode(store.register.version_text(number, version), type=dict[str, bytes])
        project = reload(files)
        again = Builder(
            project, builder.words, builder.codecs, builder.observer, builder.clock, builder.connections
        )  # fmt: skip
        return again.version(name, version)

    return load
