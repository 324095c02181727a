"""From a folder, or the files of an older version, to a checked project; or to everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dovetail.catalog import Catalog
from dovetail.contracts import Contract
from dovetail.errors import ProjectError
from dovetail.project.check import FlowCheck, Names, Uses
from dovetail.project.declared import FlowFile, ProjectFile
from dovetail.project.expressions import Words
from dovetail.project.model import ConnectionText, FlowText, Project, SourceText
from dovetail.project.read import Reader, Written, repeats
from dovetail.project.snapshot import Snapshots, variables_of
from dovetail.project.tables import Rows
from dovetail.project.tree import ROOT_FILE, FileTree, read_folder, strays
from dovetail.project.values import Surroundings
from dovetail.sdk import Repeat, Secret
from dovetail.spec import Location, Problem, nearest, walk

UNSET: Final = frozenset(("variable-missing", "secret-missing"))  # codes of problems


def load_project(
    folder: Path, catalog: Catalog, environment: str = "dev", environ: Mapping[str, str] | None = None, *,
    strict: bool = True,
) -> tuple[Project | None, list[Problem]]:  # fmt: skip
    """The project in `folder` and every problem found, in file order; no project if one of them is an error.

    `environ` is the process's environment. Without `strict`, variables and secrets that are not set are warnings, and
    what depends on them is left out: enough to check a project where its secrets are not. Raises ProjectError if the
    folder is no project.
    """
    around = Surroundings.of(folder, environment, os.environ if environ is None else environ, strict=strict)
    project, problems = check_tree(read_folder(folder), catalog, around, folder)
    ignored = [Problem(name, 0, 0, "this is not read", f"call it {right}", "stray", level="warning")
               for name, right in strays(folder)]  # fmt: skip
    return project, sorted([*problems, *ignored], key=lambda problem: problem.order)


def load_snapshot(
    files: FileTree, catalog: Catalog, environment: str, environ: Mapping[str, str], folder: Path
) -> Project:
    """The project as it is today with the flows of a snapshot in the place of its own. Raises ProjectError."""
    folder_now = read_folder(folder).items()
    today = {path: data for path, data in folder_now if path.startswith("connections/") or path == ROOT_FILE}
    around = Surroundings.of(folder, environment, {**environ, **variables_of(files)})
    project, problems = check_tree({**today, **files}, catalog, around, folder, layers=False)
    if project is None:
        errors = [problem for problem in problems if problem.level == "error"]
        raise ProjectError("an older version of a flow cannot be loaded: " + "; ".join(map(str, errors)), errors)
    return project


def secret_values(project: Project) -> set[str]:
    """Every secret of the project's settings, revealed: what must never be printed."""
    configs = [connection.config for connection in project.connections.values()]
    configs += [
        operation for connection in project.connections.values() for operation in connection.operations.values()
    ]
    configs += [flow.source.config for flow in project.flows.values() if flow.source is not None]
    configs += [flow.head for flow in project.flows.values()]
    found = {value.reveal() for config in configs for _, _, value in walk(config) if isinstance(value, Secret)}
    return found - {""}


def check_tree(
    tree: FileTree, catalog: Catalog, around: Surroundings, folder: Path, *, layers: bool = True
) -> tuple[Project | None, list[Problem]]:
    """Like `load_project`, of a tree in memory. Without `layers` the environment's values for flows are left out."""
    loading = Loading(Reader(tree, catalog, around, layers=layers))
    project = loading.project(around.environment, folder)
    once = dict.fromkeys(loading.reader.problems)  # what is wrong with a mapping is found by every flow that uses it
    problems = sorted(once, key=lambda problem: problem.order)
    return (None if any(problem.level == "error" for problem in problems) else project), problems


class Loading:
    """One pass over a project's files."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._connections: dict[str, ConnectionText] = {}
        self._heads: dict[str, tuple[Written, FlowFile | None, SourceText | None]] = {}
        self._uses: dict[str, Uses] = {}

    def project(self, environment: str, folder: Path) -> Project | None:
        """The project, unless too much is missing to make one."""
        reader = self.reader
        head = reader.root()
        if head is None:
            return None
        words = reader.words()
        maps, contracts, tables = reader.maps(words), reader.contracts(), reader.tables()
        reader.functions()
        schemas = {ref: contract.bundled() for ref, contract in contracts.items()}
        names = self._names(frozenset(reader.contract_refs()), words, schemas)
        self._check_flows(names)
        self._across_flows()
        unset = any(problem.code in UNSET for problem in reader.problems)
        if unset or not self._all_flows_read() or len(self._connections) < len(names.operations):
            return None
        return self._made(head, environment, folder, maps, contracts, tables)

    def _names(self, contracts: frozenset[str], words: Words, schemas: Mapping[str, Any]) -> Names:
        """Read the connections; what all flows may refer to."""
        reader = self.reader
        operations: dict[str, Mapping[str, Repeat | None] | None] = dict.fromkeys(reader.names("connections"))
        sinks = dict(operations)
        for written in reader.written("connections"):
            connection, kind = reader.connection(written)
            reader.problems += written.report.problems
            if connection is not None:
                self._connections[written.name] = connection
            if kind is not None:
                given = written.value.get("operations")
                operations[written.name] = repeats(kind, given, connection.operations if connection else {})
                sinks[written.name] = dict(kind.sinks)
        return Names(operations, sinks, contracts, frozenset(reader.names("flows")),
                     words.formats, reader.tree, words, schemas)  # fmt: skip

    def _check_flows(self, names: Names) -> None:
        for written in self.reader.written("flows"):
            head, source = self.reader.flow(written)
            self._heads[written.name] = (written, head, source)
            check = FlowCheck(names, self.reader.catalog, written.text, written.report, written.made)
            if head is not None:
                check.head(head)
            if source is not None:
                check.source(source.type, source.config, ("source", source.word))
            self._uses[written.name] = check.uses
            self.reader.problems += written.report.problems

    def _across_flows(self) -> None:
        """Topics, flows within flows, and effects that must not be repeated without a word about it."""
        for name, uses in self._uses.items():
            for other, place in uses.flows:
                if name in self._reached(other):
                    self._say(place, f"the flow '{name}' would run itself", "", "endless")
            _, head, source = self._heads[name]
            if (
                source is not None
                and head is not None
                and (head.on_failure is None or head.on_failure.in_doubt is None)
            ):
                self._unsafe(uses)
            if source is not None and head is not None and head.dedupe is None:
                self._sent_twice(name, source, uses)
        self._taken_routes()
        if not self._all_flows_read():
            return  # who knows what the others publish
        published = [use for uses in self._uses.values() for use in uses.publishes]
        subscribed = [use for uses in self._uses.values() for use in uses.subscribes]
        self._unheard(published, {topic for topic, _ in subscribed}, "no flow subscribes to", "unheard-topic")
        self._unheard(subscribed, {topic for topic, _ in published}, "no flow publishes to", "silent-topic")

    def _unsafe(self, uses: Uses) -> None:
        inner = [(f"{other}: {operation}", place) for other, place in uses.flows for flow in self._reached(other)
                 for operation, _ in self._uses[flow].unsafe]  # fmt: skip
        for operation, place in [*uses.unsafe, *inner]:
            message = (
                f"'{operation}' must not be done twice, and this flow does not say what happens when that is in doubt"
            )
            hint = "write on_failure: {in_doubt: park} (a person decides) or {in_doubt: retry} (it may be done twice)"
            self._say(place, message, hint, "unsafe-repeat")

    def _sent_twice(self, name: str, source: SourceText, uses: Uses) -> None:
        """A trap: what is sent twice is two messages, with an effect each."""
        twice = [*uses.twice, *(its for other, _ in uses.flows for flow in self._reached(other)
                                for its in self._uses[flow].twice)]  # fmt: skip
        if not twice or not source.type.nameless(source.config):
            return
        place = self._heads[name][0].report.locate(("source", source.word), key=True)
        message = f"what is sent twice here is done twice by '{twice[0]}': nothing names the messages"
        hint = "write dedupe: with what names one in its body, such as dedupe: id"
        self.reader.problems.append(Problem(*place, message, hint, "no-dedupe", level="warning"))

    def _all_flows_read(self) -> bool:
        return len(self._heads) == len(self.reader.names("flows")) and all(
            flow and (source is None) == (flow.source is None) for _, flow, source in self._heads.values()
        )

    def _taken_routes(self) -> None:
        taken: dict[str, str] = {}
        for name, uses in self._uses.items():
            for route, place in uses.routes:
                if route in taken:
                    self._say(place, f"the flow '{taken[route]}' has {route} already", "choose another path", "taken")
                taken.setdefault(route, name)

    def _reached(self, flow: str) -> list[str]:
        """The flow and all flows that run inside of it."""
        found = [flow] if flow in self._uses else []
        for name in found:
            found += [other for other, _ in self._uses[name].flows if other not in found and other in self._uses]
        return found

    def _unheard(self, uses: list[tuple[str, Location]], known: set[str], what: str, code: str) -> None:
        for topic, place in uses:
            if topic not in known:
                hint = nearest(topic, known)
                hint = hint if hint.startswith("did you mean") else ""
                self.reader.problems.append(Problem(*place, f"{what} the topic '{topic}'", hint, code, level="warning"))

    def _say(self, place: Location, message: str, suggestion: str, code: str) -> None:
        self.reader.problems.append(Problem(*place, message, suggestion, code))

    def _made(
        self, head: ProjectFile, environment: str, folder: Path, maps: dict[str, str], contracts: dict[str, Contract],
        tables: dict[str, Rows],
    ) -> Project:  # fmt: skip
        values = {name: written.frozen for name, (written, _, _) in self._heads.items()}
        snapshots = Snapshots(self.reader.tree, self._uses, values)
        flows = {
            name: FlowText(name, written.text.file, written.report.locate, flow, source, snapshots.digest(name))
            for name, (written, flow, source) in self._heads.items()
            if flow is not None
        }
        return Project(
            head=head, environment=environment, folder=folder, flows=flows, connections=self._connections, maps=maps,
            contracts=contracts, tables=tables, files=self.reader.tree, snapshot=snapshots,
        )  # fmt: skip
