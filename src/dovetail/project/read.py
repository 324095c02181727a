"""Reads the parts of a project, one kind of file after the other, and collects every problem."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from dovetail.catalog import Catalog, UnknownName
from dovetail.codec import CodecError, JsonCodec, built_in_codecs
from dovetail.contracts import Contract, ContractError, parse_ref
from dovetail.mapping import MappingError, builtin_names
from dovetail.project.check import mapping_problem
from dovetail.project.declared import FORMAT, ConnectionFile, Environment, FlowFile, ProjectFile
from dovetail.project.expressions import Words, compiled
from dovetail.project.functions import FUNCTIONS, mapping_functions, module_file
from dovetail.project.model import ConnectionText, SourceText
from dovetail.project.signatures import missing, most_arguments, outline
from dovetail.project.snapshot import FlowValue, contract_file, contract_files
from dovetail.project.tables import Rows, read_tables, table_files
from dovetail.project.text import Text
from dovetail.project.tree import ROOT_FILE, FileTree, beneath
from dovetail.project.values import Resolver, Surroundings, layered, merged
from dovetail.sdk import Connection, Repeat, Secret, Spec
from dovetail.spec import Location, Problem, Report, nearest, walk


class Written:
    """A file of the project. `value` has the environment's values and no placeholders; `frozen` is for the snapshot."""

    def __init__(
        self, name: str, text: Text, report: Report, value: Any, made: list[Secret], frozen: FlowValue
    ) -> None:
        self.name, self.text, self.report = name, text, report
        self.value, self.made, self.frozen = value, made, frozen


class Reader:
    """The files of one project. `problems` collects what is wrong with any of them."""

    def __init__(self, tree: FileTree, catalog: Catalog, around: Surroundings, *, layers: bool = True) -> None:
        self.tree, self.catalog, self.around = tree, catalog, around
        self.problems: list[Problem] = []
        self._layers = layers  # whether the environment's values are laid over the flows
        self._root = Text(ROOT_FILE, b"")
        self._environment = Environment()

    # -- dovetail.yaml -----------------------------------------------------------------------------------------------

    def root(self) -> ProjectFile | None:
        """`dovetail.yaml`. A project of a newer format is refused before anything else is looked at."""
        self._root = text = Text(ROOT_FILE, self.tree[ROOT_FILE])
        self.problems += text.problems
        version = text.value.get("dovetail") if isinstance(text.value, dict) else None
        if isinstance(version, int) and version > FORMAT:
            place = text.locate(("dovetail",))
            message = f"this project is written in format {version}; this Dovetail reads formats up to {FORMAT}"
            self.problems = [Problem(*place, message, "install a newer Dovetail", "newer-project", ("dovetail",))]
            return None
        if text.problems:
            return None
        head, problems = ProjectFile.check(text.value if text.value is not None else {}, text.locate)
        self.problems += problems
        if head is not None:
            self._choose(head.environments)
        return head

    def _choose(self, declared: Mapping[str, Environment]) -> None:
        wanted = self.around.environment
        self._environment = declared.get(wanted, self._environment)
        if wanted not in declared and wanted != "dev" and self._layers:
            place = self._root.locate(("environments",), key=True)
            hint = nearest(wanted, declared) or f"write environments: {{{wanted}: {{}}}} in dovetail.yaml, or take dev"
            self._say(place, f"there is no environment '{wanted}'", hint, "unknown-environment")
        for name, environment in declared.items():
            for kind, given in (("connections", environment.connections), ("flows", environment.flows)):
                known = self.names(kind)
                for other in given:
                    if other not in known and self._layers:
                        place = self._root.locate(("environments", name, kind, other), key=True)
                        self._say(
                            place, f"there is no {kind[:-1]} '{other}'", nearest(other, known), f"unknown-{kind[:-1]}"
                        )

    def _say(self, place: Location, message: str, suggestion: str = "", code: str = "wrong") -> None:
        self.problems.append(Problem(*place, message, suggestion, code))

    # -- files of YAML -----------------------------------------------------------------------------------------------

    def written(self, kind: str) -> list[Written]:
        """The files of `connections` or `flows`, with the environment's values and without placeholders."""
        over: Mapping[str, Any] = getattr(self._environment, kind) if kind != "flows" or self._layers else {}
        found: list[Written] = []
        for name in self.names(kind):
            file = f"{kind}/{name}.yaml"
            text = Text(file, self.tree[file])
            self.problems += text.problems
            if text.problems:
                continue
            report, value = Report(text.locate), text.value if text.value is not None else {}
            if name in over:
                prefix = ("environments", self.around.environment, kind, name)
                report.locate = layered(text.locate, self._root.locate, prefix, over[name])
                value = merged(value, over[name])
            resolver = Resolver(self.around, self._environment.env)
            resolved = resolver.resolve(value, report)
            hidden = Resolver(self.around, self._environment.env, hide=True).resolve(value, Report())
            frozen = FlowValue(hidden, value if name in over else None, resolver.used)
            found.append(Written(name, text, report, resolved, resolver.made, frozen))
        return found

    def names(self, kind: str) -> list[str]:
        """The names of all connections or flows, readable or not."""
        return [file.split("/", 1)[1].removesuffix(".yaml") for file in beneath(self.tree, kind, ".yaml")]

    def contract_refs(self) -> list[str]:
        """The names of all contracts, usable or not."""
        files = beneath(self.tree, "contracts", ".json")
        return ["@".join(file.removeprefix("contracts/").removesuffix(".json").rsplit("/", 1)) for file in files]

    def connection(self, one: Written) -> tuple[ConnectionText | None, type[Connection] | None]:
        """A connection: the fields that all share, those of its connector, and its operations. Also the connector."""
        value = one.value
        if not isinstance(value, dict):
            one.report.problems += ConnectionFile.check(value, one.report.locate)[1]
            return None, None
        shared = set(ConnectionFile.own())
        kind = self._connector(one, value.get("connector"))
        own = {declared.name for declared in kind.Config.fields()} if kind is not None else set()
        for name in [name for name in value if name not in shared | own]:
            hint = nearest(str(name), shared | own)
            if kind is not None or hint.startswith("did you mean"):
                one.report.add((name,), f"unknown field '{name}'", hint, code="unknown-field", key=True)
        head = ConnectionFile.convert({k: v for k, v in value.items() if k in shared}, (), one.report)
        self._same_name(one, "connection", value)
        if kind is None:
            return None, None
        config = kind.Config.convert({k: v for k, v in value.items() if k in own}, (), one.report)
        operations = self._operations(kind.OperationConfig, value.get("operations") or {}, one.report)
        self._secrets(one, config, operations)
        if not (isinstance(head, ConnectionFile) and isinstance(config, Spec)) or one.report.failed:
            return None, kind
        return ConnectionText(one.name, one.text.file, one.report.locate, head, kind, config, operations), kind

    def _connector(self, one: Written, word: Any) -> type[Connection] | None:
        if not isinstance(word, str):
            return None  # missing or no text: the shared fields say so
        try:
            return self.catalog.connection(word)
        except UnknownName as error:
            one.report.add(
                ("connector",), f"there is no connector '{word}'", error.suggestion, code="unknown-connector"
            )
            return None

    def _operations(self, kind: type[Spec] | None, given: Any, report: Report) -> dict[str, Spec]:
        found: dict[str, Spec] = {}
        if not isinstance(given, dict):
            return found
        for name, value in given.items():
            if kind is None:
                message = "this connector has its own operations and takes no others"
                report.add(("operations",), message, code="unknown-field", key=True)
                break
            operation = kind.convert(value if value is not None else {}, ("operations", name), report)
            if isinstance(operation, kind):
                found[str(name)] = operation
        return found

    def _secrets(self, one: Written, config: Any, operations: Mapping[str, Spec]) -> None:
        made = {id(secret) for secret in one.made}
        places = [((), config), *((("operations", name), operation) for name, operation in operations.items())]
        for base, settings in places:
            for path, declared, value in walk(settings, base) if isinstance(settings, Spec) else ():
                if isinstance(value, Secret) and id(value) not in made:
                    message = f"the secret '{declared.name}' stands in the text"
                    one.report.add(path, message, "write ${secret:name}", code="secret-in-text", level="warning")

    def flow(self, one: Written) -> tuple[FlowFile | None, SourceText | None]:
        """A flow's own fields and its source; its steps are checked afterwards."""
        head, problems = FlowFile.check(one.value, one.report.locate)
        one.report.problems += problems
        self._same_name(one, "flow", one.value)
        source = one.value.get("source") if isinstance(one.value, dict) else None
        return head, self._source(one, source) if isinstance(source, dict) else None

    def _source(self, one: Written, given: dict[Any, Any]) -> SourceText | None:
        if len(given) != 1:
            one.report.add(("source",), "a flow has one source", "write one, such as webhook: {path: /hooks/orders}")
            return None
        ((word, value),) = given.items()
        try:
            kind = self.catalog.source(str(word))
        except UnknownName as error:
            one.report.add(
                ("source", word), f"unknown source '{word}'", error.suggestion, code="unknown-source", key=True
            )
            return None
        config = kind.Config.convert(value if value is not None else {}, ("source", word), one.report)
        return SourceText(word, kind, config) if isinstance(config, Spec) else None

    def _same_name(self, one: Written, field: str, value: Any) -> None:
        given = value.get(field) if isinstance(value, dict) else None
        if isinstance(given, str) and given != one.name:
            message = f"the {field} is called '{given}' but its file is {one.text.file}"
            one.report.add((field,), message, f"rename the file to {given}.yaml, or write {one.name}", code="name")

    # -- mappings, contracts, functions ------------------------------------------------------------------------------

    def words(self) -> Words:
        """What expressions may name beside the language's own."""
        module = outline(self.tree.get(FUNCTIONS, b""))
        signatures = module.names if module is not None else {}
        functions = {name: most_arguments(signatures.get(name)) for name in mapping_functions(self.tree)}
        return Words(table_files(self.tree), functions, frozenset(built_in_codecs().names()))

    def maps(self, words: Words) -> dict[str, str]:
        """Mapping texts by path; each is compiled once to see whether it can be."""
        found: dict[str, str] = {}
        for file in beneath(self.tree, "maps", ".jsonata"):
            try:
                found[file] = self.tree[file].decode("utf-8-sig")
                compiled(found[file])
                self.problems += words.problems(found[file], partial(Location, file))
            except UnicodeDecodeError as error:
                line = self.tree[file].count(b"\n", 0, error.start) + 1
                self._say(Location(file, line), "the text is not valid UTF-8", "save the file as UTF-8", "syntax")
            except MappingError as error:
                self.problems.append(mapping_problem(error, Location(file, error.line or 1, error.column or 1)))
        return found

    def contracts(self) -> dict[str, Contract]:
        """Contracts by `name@version`."""
        schemas: dict[str, Any] = {}
        for file in beneath(self.tree, "contracts", ".json"):
            folder, _, version = file.removeprefix("contracts/").removesuffix(".json").rpartition("/")
            try:
                parse_ref(f"{folder}@{version}")
                schemas[f"{folder}@{version}"] = JsonCodec().decode(self.tree[file])
            except ValueError:
                hint = "write contracts/<name>/<version>.json, with a whole number as the version"
                self._say(Location(file, 1, 1), "the file's name is not a contract's", hint, "name")
            except CodecError as error:
                self._say(Location(file, error.line, error.column), error.reason, code="syntax")
        found: dict[str, Contract] = {}
        for ref, schema in schemas.items():
            reach = contract_files(self.tree, ref)
            try:
                others = {other: schemas[other] for other in schemas if contract_file(other) in reach}
                found[ref] = Contract(*parse_ref(ref), schema, others)
            except ContractError as error:
                self._contract_problem(ref, error)
        return found

    def _contract_problem(self, ref: str, error: ContractError) -> None:
        file = f"contracts/{ref.replace('@', '/')}.json"
        parts = [part.replace("~1", "/").replace("~0", "~") for part in error.pointer.split("/")[1:]]
        path = tuple(int(part) if part.isdigit() else part for part in parts)
        place = Text(file, self.tree[file]).locate(path)
        self._say(place, f"the schema cannot be used: {error.message}", code="contract")

    def functions(self) -> None:
        """The project's own Python must at least parse, and find what it imports; it is not run here."""
        for file in beneath(self.tree, "python", ".py"):
            try:
                ast.parse(self.tree[file])
            except SyntaxError as error:
                self._say(
                    Location(file, error.lineno or 1, error.offset or 1), f"not Python: {error.msg}", code="syntax"
                )
            except ValueError as error:
                self._say(Location(file, 1, 1), f"not Python: {error}", code="syntax")
            self._imports(file)
        for name, line in mapping_functions(self.tree).items():
            if name in builtin_names():
                place, hint = Location(FUNCTIONS, line, 1), "choose another name, or begin it with '_'"
                self._say(place, f"the mapping language has a function ${name} already", hint, "taken")

    def _imports(self, file: str) -> None:
        module = outline(self.tree[file])
        for name, line, column in missing(module) if module is not None else ():
            own = name.startswith(".") or module_file(name) in self.tree
            message, hint = f"the module '{name}' is not installed here", "install it beside dovetail"
            if own:
                message = "the project's modules do not see each other"
                hint = "put what they share into one of them, or into a package that is installed"
            level: Literal["error", "warning"] = "error" if own else "warning"
            self.problems.append(Problem(file, line, column, message, hint, "import", level=level))

    def tables(self) -> dict[str, Rows]:
        """Lookup tables by name."""
        found, problems = read_tables(self.tree)
        self.problems += problems
        return found


def repeats(kind: type[Connection], given: Any, operations: Mapping[str, Spec]) -> dict[str, Repeat | None]:
    """The operations of a connection by name, with how a repeat is safe; None for one that could not be read."""
    found: dict[str, Repeat | None] = dict(kind.operations)
    for name in given if isinstance(given, dict) else ():
        operation = operations.get(str(name))
        found[str(name)] = getattr(operation, "repeat", Repeat.NONE) if operation is not None else None
    return found
