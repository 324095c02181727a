"""From checked text to compiled values: the flows and connections that the engine runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from dovetail.clock import Clock
from dovetail.contracts import Contract
from dovetail.engine.chain import StepChain
from dovetail.engine.definition import FlowVersion, Policy
from dovetail.engine.observer import Observer
from dovetail.errors import ProjectError, Rejected
from dovetail.mapping import Shaper
from dovetail.project.declared import Compensating, FlowFile, OnFailure, Retrying
from dovetail.project.expressions import BoundExpression, Shelf
from dovetail.project.functions import load_function, registered
from dovetail.project.model import FlowText, Project, text_of
from dovetail.project.priority import priority_of
from dovetail.project.steps import StepWords, read_step
from dovetail.sdk import Chain, Checker, Codecs, Connection, Expression, Message, Operation, Sink, Step
from dovetail.spec import Report


class Builder:
    """Builds one project's flows. Connections are made once and shared by every version."""

    def __init__(
        self, project: Project, words: StepWords, codecs: Codecs, observer: Observer, clock: Clock,
        connections: Mapping[str, Connection] | None = None,
    ) -> None:  # fmt: skip
        self.project, self.words, self.codecs = project, words, codecs
        self.observer, self.clock = observer, clock
        self.connections = connections if connections is not None else make_connections(project)
        self.shelf = Shelf(project.tables, codecs)

    @cached_property
    def functions(self) -> Mapping[str, Any]:
        """The project's own mapping functions. Raises ProjectError."""
        return registered(self.project)

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
            priority=priority_of(flow.head.priority, build.expression) if flow.head.priority else None,
        )  # fmt: skip


def make_connections(project: Project, running: Mapping[str, Connection] | None = None) -> dict[str, Connection]:
    """The project's connections, not yet opened; those of `running` that are the same in every setting stay."""
    made: dict[str, Connection] = {}
    for name, text in sorted(project.connections.items()):
        old = (running or {}).get(name)
        same = (
            old is not None and type(old) is text.type and (old.config, old.declared) == (text.config, text.operations)
        )
        made[name] = old if same and old is not None else text.type(name, text.config, text.operations)
    return made


class FlowBuild:
    """What the steps of one flow are given while it is built (see `dovetail.sdk.Build`)."""

    def __init__(self, builder: Builder, flow: FlowText, nesting: tuple[str, ...] = (), within: str = "") -> None:
        self._builder, self._text = builder, flow
        self._nesting = (*nesting, flow.name)
        self._report = Report(flow.locate)
        self.flow = flow.name
        self.step = ""
        self._within = within
        self._places: Counter[str] = Counter()
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
        builder = self._builder
        return BoundExpression(source, file or text, self._place(), builder.shelf, lambda: builder.functions)

    def _place(self) -> str:
        """A name for the expression's place, as stable as the step's id: no two of a flow have the same."""
        place = f"{self._within}{self.flow}/{self.step}"
        self._places[place] += 1
        count = self._places[place]
        return place if count == 1 else f"{place}#{count}"

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
        nested = FlowBuild(self._builder, other, self._nesting, f"{self._place()}/")
        return nested.chain(other.head.steps, name)

    def contract(self, ref: str) -> Checker:
        """`name@version`."""
        return ContractChecker(self._builder.project.contracts[ref])

    def function(self, ref: str) -> Callable[..., Any]:
        """`module:function` of the project's `python` folder."""
        return load_function(self._builder.project, ref)


class ContractChecker:
    """A contract as a step or a door asks it."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._shaper = Shaper(contract.bundled())

    def shape(self, value: Any) -> Any:
        """The value with arrays where the contract has only arrays."""
        return self._shaper.apply(value)

    def check(self, message: Message) -> None:
        """Raises `Rejected` whose detail lists each path at fault."""
        value = message.value
        if self._contract.is_valid(value):
            return
        violations = self._contract.validate(value)
        listed = [{"path": v.path, "message": v.message, "rule": v.rule} for v in violations]
        first = str(violations[0]) if violations else "it does not fit"
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise Rejected(f"it does not keep {self._contract.ref}: {first}{more}", code="contract", detail=listed)


def policy_of(head: FlowFile) -> Policy:
    """A flow's word on failure as the engine reads it."""
    failure = head.on_failure or OnFailure()
    retry, undo = failure.retry or Retrying(), failure.compensate or Compensating()
    return Policy(
        retry_for=float(retry.for_), retry_base=float(retry.base), retry_cap=float(retry.cap),
        max_attempts=retry.attempts, unsafe=failure.in_doubt or "park", crash_limit=failure.crashes,
        poison=failure.poison, call_timeout=float(head.timeout), concurrency=head.concurrency,
        compensate_for=float(undo.for_), compensated=undo.then,
    )  # fmt: skip
