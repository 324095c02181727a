"""What a flow names must be there: operations, mappings, contracts, topics, other flows, functions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

from dovetail.contracts import parse_ref
from dovetail.errors import ProjectError
from dovetail.mapping import MappingError, check
from dovetail.project import priority
from dovetail.project.declared import FlowFile
from dovetail.project.expressions import Words, compiled
from dovetail.project.functions import module_file
from dovetail.project.signatures import Signature, outline
from dovetail.project.steps import StepText, StepWords, read_step
from dovetail.project.text import Text
from dovetail.project.tree import FileTree
from dovetail.sdk import Repeat, Source, Spec, Step
from dovetail.spec import Location, Path, Problem, Report, Secret, nearest, walk

Place = Callable[[Path], Path]
NONE: Final[Mapping[str, str | None]] = MappingProxyType({})
Known = Mapping[str, Repeat | None] | None


@dataclass(frozen=True, slots=True)
class Names:
    """All that a flow may refer to. `operations` and `sinks`: by connection, how a repeat is safe, None if unknown."""

    operations: Mapping[str, Known]
    sinks: Mapping[str, Known]
    contracts: frozenset[str]
    flows: frozenset[str]
    formats: frozenset[str]
    files: FileTree
    words: Words
    schemas: Mapping[str, Any]  # of the contracts that can be used


@dataclass(slots=True)
class Uses:
    """What a flow refers to, with the places, for what is checked across flows."""

    publishes: list[tuple[str, Location]] = field(default_factory=list)
    subscribes: list[tuple[str, Location]] = field(default_factory=list)
    flows: list[tuple[str, Location]] = field(default_factory=list)
    unsafe: list[tuple[str, Location]] = field(default_factory=list)  # operations whose repeat is a second effect
    twice: list[str] = field(default_factory=list)  # operations that a second message does a second time
    files: set[str] = field(default_factory=set)
    contracts: set[str] = field(default_factory=set)
    routes: list[tuple[str, Location]] = field(default_factory=list)  # method and path of each door, one flow's alone


class FlowCheck:
    """Checks one flow; problems go to its report."""

    def __init__(self, names: Names, words: StepWords, text: Text, report: Report, made: list[Secret]) -> None:
        self.uses = Uses()
        self._names, self._words, self._text, self._report = names, words, text, report
        self._body: str | None = None  # the contract that the body keeps at the place that is looked at
        self._target: str | None = None  # the contract that the value of this expression must keep
        self._step_type: type[Step] | None = None
        self._made = {id(secret) for secret in made}
        self._by_kind: dict[str, Callable[[Any, Path], None]] = {
            "expression": self._expression, "operation": self._operation, "sink": self._sink, "topic": self._topic,
            "contract": self._contract, "flow": self._flow, "function": self._function, "format": self._format,
            "priority": self._priority,
        }  # fmt: skip

    def head(self, head: FlowFile) -> None:
        """The flow's own fields, and all its steps."""
        self._body = head.contract if head.source is not None else None  # it is held against what comes in
        self._settings(head, (), _as_is, nested=False)
        self._body = None

    def source(self, kind: type[Source], config: Spec, path: Path) -> None:
        """The settings of its source."""
        self._settings(config, path, _as_is, nested=True, subscribing=True)
        for name, message, hint in kind.traps(config):
            self._report.add((*path, name), message, hint, code="trap", level="warning")
        for found, declared, value in walk(config, path):
            if declared.kind == "route":
                for method in dict.fromkeys(getattr(config, "methods", ["any"])):
                    self.uses.routes.append((f"{method} {value}", self._report.locate(found)))

    def _settings(self, config: Spec, base: Path, at: Place, *, nested: bool, subscribing: bool = False,
                  targets: Mapping[str, str | None] = NONE) -> None:  # fmt: skip
        for path, declared, value in walk(config, base):
            place = at(path)
            if isinstance(value, Secret) and id(value) not in self._made:
                self._report.add(place, f"the secret '{declared.name}' stands in the text", "write ${secret:name}",
                                 code="secret-in-text", level="warning")  # fmt: skip
            if declared.kind == "steps" and isinstance(value, list):
                self._steps(value, place, nested=nested)
            elif declared.kind == "topic" and subscribing:
                self.uses.subscribes.append((value, self._report.locate(place)))
            elif isinstance(value, str) and declared.kind in self._by_kind and value != declared.default:
                self._target = targets.get(declared.name) if len(path) == len(base) + 1 else None
                self._by_kind[declared.kind](value, place)

    def _steps(self, raw: list[Any], path: Path, *, nested: bool) -> None:
        taken: set[str] = set()
        before = self._body
        for index, item in enumerate(raw):
            step = read_step(item, (*path, index), self._words, taken, self._report)
            if step is not None:
                self._step(step, nested)
            else:
                self._body = None
        self._body = before

    def _step(self, step: StepText, nested: bool) -> None:
        if nested and step.type.top_level:
            message = f"'{step.word}' must be one of the flow's own steps, not inside another step"
            self._report.add(step.path, message, "move it out", code="nested")
        before, self._body = self._body, self._body if step.type.sees_body else None
        self._step_type = step.type
        targets = {name: getattr(step.config, contract) for name, contract in step.type.makes_body.items()}
        self._settings(step.config, step.path, step.at, nested=True, targets=targets)
        made = next(filter(None, targets.values()), None)
        self._body = made or (before if step.type.keeps_body else None)

    def _expression(self, text: str, path: Path) -> None:
        if text.endswith(".jsonata") and "\n" not in text:
            self.uses.files.add(text)
            if text not in self._names.files:
                known = [file for file in self._names.files if file.endswith(".jsonata")]
                self._report.add(path, f"there is no mapping '{text}'", nearest(text, known), code="unknown-mapping")
                return
            source = self._names.files[text].decode("utf-8-sig", "replace")
            with contextlib.suppress(MappingError):  # that was told for the file
                self.uses.files |= self._names.words.files(source)
                self._against(source, partial(Location, text))
            return
        try:
            compiled(text)
            self.uses.files |= self._names.words.files(text)
            at = partial(self._text.inside, path)
            self._report.problems += self._names.words.problems(text, at)
            self._against(text, at)
        except MappingError as error:
            place = self._text.inside(path, error.line or 1, error.column or 1)
            self._report.problems.append(mapping_problem(error, place, path))

    def _priority(self, text: str, path: Path) -> None:
        with contextlib.suppress(MappingError):  # told below
            found = [] if text.endswith(".jsonata") else priority.problems(text, partial(self._text.inside, path))
            self._report.problems += found
            if found or priority.is_word(text):
                return
        self._expression(text, path)

    def _against(self, text: str, at: Callable[[int, int], Location]) -> None:
        """Hold an expression against the contract of the body that it reads, and of the one that it makes."""
        schemas = self._names.schemas
        source, target = (schemas.get(ref) if ref is not None else None for ref in (self._body, self._target))
        if source is None and target is None:
            return
        for found in check(text, source, target):
            message = found.message.split("; did you mean ")[0]
            for side, ref in (("source", self._body), ("target", self._target)):
                message = message.replace(f"the {side} contract", f"the contract {ref}")
            hint = f"did you mean '{found.nearest}'?" if found.nearest else ""
            level: Literal["error", "warning"] = "error" if found.severity == "error" else "warning"
            self._report.problems.append(Problem(*at(found.line, found.column), message, hint, found.code, level=level))

    def _operation(self, name: str, path: Path) -> None:
        self._of_connection(name, path, self._names.operations, "operation")

    def _sink(self, name: str, path: Path) -> None:
        self._of_connection(name, path, self._names.sinks, "sink")

    def _of_connection(self, name: str, path: Path, known: Mapping[str, Known], what: str) -> None:
        connection, dot, rest = name.partition(".")
        if not dot:
            self._report.add(path, f"'{name}' names no {what}", f"write connection.{what}", code=f"unknown-{what}")
            return
        if connection not in known:
            hint = nearest(connection, known) or f"add connections/{connection}.yaml"
            self._report.add(path, f"there is no connection '{connection}'", hint, code="unknown-connection")
            return
        offered = known[connection]
        if offered is None:
            return  # its own text is wrong, and that was said there
        if rest not in offered:
            message = f"the connection '{connection}' has no {what} '{rest}'"
            hint = nearest(rest, offered) or f"it has no {what}s"
            self._report.add(path, message, hint, code=f"unknown-{what}")
            return
        repeat = offered[rest]
        if repeat is Repeat.NONE:
            self.uses.unsafe.append((name, self._report.locate(path)))
        if repeat not in (None, Repeat.NATURAL):
            self.uses.twice.append(name)

    def _topic(self, name: str, path: Path) -> None:
        self.uses.publishes.append((name, self._report.locate(path)))

    def _contract(self, ref: str, path: Path) -> None:
        self.uses.contracts.add(ref)
        try:
            name, _ = parse_ref(ref)
        except ValueError as error:
            self._report.add(path, str(error), code="unknown-contract")
            return
        if ref not in self._names.contracts:
            versions = [known for known in self._names.contracts if known.startswith(f"{name}@")]
            hint = (
                nearest(ref, versions or self._names.contracts) or "contracts are files contracts/<name>/<version>.json"
            )
            self._report.add(path, f"there is no contract '{ref}'", hint, code="unknown-contract")

    def _flow(self, name: str, path: Path) -> None:
        if name not in self._names.flows:
            self._report.add(path, f"there is no flow '{name}'", nearest(name, self._names.flows), code="unknown-flow")
        else:
            self.uses.flows.append((name, self._report.locate(path)))

    def _function(self, ref: str, path: Path) -> None:
        word, colon, name = ref.partition(":")
        file = module_file(word)
        if not colon or not name:
            self._report.add(path, f"'{ref}' names no function", "write module:function", code="unknown-function")
        elif file not in self._names.files:
            known = [item[7:-3].replace("/", ".") for item in self._names.files if item.startswith("python/")]
            self._report.add(path, f"there is no file {file}", nearest(word, known), code="unknown-function")
        else:
            self.uses.files.add(file)
            module = outline(self._names.files[file])
            signature = module.names.get(name) if module is not None else None
            if signature is not None:
                self._fits(name, signature, Location(file, signature.line, signature.column))
            elif module is not None and module.complete and name not in module.names:
                functions = [one for one, signature in module.names.items() if signature is not None]
                message = f"{file} has no function '{name}'"
                self._report.add(path, message, nearest(name, functions), code="unknown-function")

    def _fits(self, name: str, signature: Signature, place: Location) -> None:
        """Whether the step can call the function."""
        if self._step_type is None:
            return
        try:
            self._step_type.check_function(signature.value)
        except ProjectError as error:
            message = f"'{name}' cannot be called with a message"
            self._report.problems.append(Problem(*place, message, error.message, "wrong-function"))

    def _format(self, name: str, path: Path) -> None:
        if name not in self._names.formats:
            self._report.add(
                path, f"there is no format '{name}'", nearest(name, self._names.formats), code="unknown-format"
            )


def mapping_problem(error: MappingError, place: Location, path: Path = ()) -> Problem:
    """A mapping that does not compile, as a problem."""
    return Problem(*place, f"the mapping does not compile: {error.message}", code=f"mapping-{error.code}", path=path)


def _as_is(path: Path) -> Path:
    return path
