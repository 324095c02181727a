"""What was decided about a flow beside its text: which version new messages get, which one takes a share, which moved.

A decision speaks of one text of the flow (by its digest). When the text in the folder is another one, that text counts
and the decision is void; so nobody has to remember a rollback when the mended flow is deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from dovetail.engine.definition import Application, Canary, FlowDefinition, FlowVersion
from dovetail.project.build import Builder
from dovetail.project.keeping import audit, disk, keeping
from dovetail.project.model import FlowText, Project
from dovetail.sdk import Connection, Source
from dovetail.store.base import Store

HISTORY = 50  # versions remembered as having been current
Reload = Callable[[Mapping[str, bytes]], Project]


class Decision(msgspec.Struct):
    """`current` gets new messages although the text is another version; `canary` (a version, 0 for none) takes
    `percent` of the keys, and `keys`. `digest`: the text that this was decided about."""

    digest: str
    current: int
    canary: int = 0
    percent: float = 0.0
    keys: list[str] = []


class Deployed:
    """The decisions of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def decision(self, flow: str, digest: str) -> Decision | None:
        """What was decided about this text of the flow."""
        data = self._store.register.mark(decision_mark(flow))
        found = msgspec.msgpack.decode(data, type=Decision) if data else None
        return found if found is not None and found.digest == digest else None

    def history(self, flow: str) -> list[int]:
        """The versions that were current, oldest first."""
        data = self._store.register.mark(history_mark(flow))
        return msgspec.msgpack.decode(data, type=list[int]) if data else []

    def noted(self, application: Application) -> dict[str, bytes]:
        """The marks to write when these versions become current."""
        marks: dict[str, bytes] = {}
        for flow in application.flows:
            known = self.history(flow.name)
            if known[-1:] != [flow.current.number]:
                marks[history_mark(flow.name)] = msgspec.msgpack.encode([*known, flow.current.number][-HISTORY:])
        return marks

    def moved(self, flow: str) -> dict[int, int]:
        """Versions whose messages begin on another one."""
        data = self._store.register.mark(moved_mark(flow))
        return msgspec.msgpack.decode(data, type=dict[int, int]) if data else {}


def decision_mark(flow: str) -> str:
    """The name of the mark that keeps a flow's decision (bytes of `Decision`, or nothing)."""
    return f"deployed/{flow}"


def history_mark(flow: str) -> str:
    """The name of the mark that keeps which versions were current."""
    return f"history/{flow}"


def moved_mark(flow: str) -> str:
    """The name of the mark that keeps which versions were moved (bytes of a mapping)."""
    return f"moved/{flow}"


class Assembly:
    """Makes an application of a project and a store. `reload` reads an older version's files again."""

    def __init__(
        self, builder: Builder, store: Store, reload: Reload, running: Application | None = None, *,
        register: bool = True,
    ) -> None:  # fmt: skip
        """`running`: its sources are taken over where nothing about them changed. Without `register`, a text that the
        store does not know yet gets the number 0, and nothing is written."""
        self._builder, self._store, self._reload = builder, store, reload
        self._register = register
        self._deployed = Deployed(store)
        flows = running.flows if running is not None else ()
        self._sources = {flow.name: flow.source for flow in flows}

    def application(self) -> Application:
        """Everything the engine runs. Raises ProjectError."""
        project = self._builder.project
        connections = self._builder.connections
        return Application(
            flows=[self._flow(text) for _, text in sorted(project.flows.items())],
            connections=connections, rates=rates_of(connections), keeping=keeping(project.head, None),
            audit=audit(project.head), disk=disk(project.head),
        )  # fmt: skip

    def _flow(self, text: FlowText) -> FlowDefinition:
        name = text.name
        number = self._number(name)
        version = self._version(number, text)
        load = Older(self._builder, self._store, self._reload, name, number)
        decided = self._deployed.decision(name, text.digest)
        canary: Canary | None = None
        if decided is None or decided.current == version:
            current, source = self._builder.version(name, version), self._source(text)
        else:
            current, source = load(decided.current), self._source(load.project(decided.current).flows[name])
            if decided.canary == version:
                trial = self._builder.version(name, version)
                canary = Canary(trial, decided.percent, frozenset(decided.keys))
        new = {current.number, canary.version.number if canary is not None else 0}  # theirs begin where they were put
        moved = {old: now for old, now in self._deployed.moved(name).items() if old not in new}
        return FlowDefinition(
            name=name, current=current, source=source, load=load,
            from_start=source.from_start if source is not None else False, text=text.digest, source_of=load.source,
            canary=canary, moved=moved, keeping=keeping(self._builder.project.head, text.head.retention),
        )  # fmt: skip

    def _number(self, name: str) -> int:
        register = self._store.register
        return register.number("flow", name) if self._register else register.names("flow").get(name, 0)

    def _version(self, flow: int, text: FlowText) -> int:
        register = self._store.register
        if self._register:
            packed = msgspec.msgpack.encode(self._builder.project.snapshot(text.name))
            return register.version(flow, text.digest, packed, self._builder.clock.now_ms())
        return next((number for number, digest, _ in register.versions(flow) if digest == text.digest), 0)

    def _source(self, text: FlowText) -> Source | None:
        """The flow's source: the one that runs, if nothing about it has changed."""
        return kept(source_of(text), self._sources.get(text.name))


def source_of(text: FlowText) -> Source | None:
    """The source of a flow's text, not yet opened."""
    return text.source.type(text.source.config, text.name) if text.source is not None else None


def kept(source: Source | None, running: Source | None) -> Source | None:
    """The source that runs, if `source` is the same in every setting."""
    if source is not None and running is not None and type(running) is type(source) and running.config == source.config:
        return running
    return source


class Older:
    """How an older version of a flow is loaded: its text from the store, the connections of today."""

    def __init__(self, builder: Builder, store: Store, reload: Reload, name: str, number: int) -> None:
        self._builder, self._store, self._reload = builder, store, reload
        self._name, self._number = name, number

    def project(self, version: int) -> Project:
        """The project with the flow as it stood in that version. Raises ProjectError."""
        text = self._store.register.version_text(self._number, version)
        return self._reload(msgspec.msgpack.decode(text, type=dict[str, bytes]))

    def __call__(self, version: int) -> FlowVersion:
        """The version, compiled. Raises ProjectError."""
        today = self._builder
        again = Builder(
            self.project(version), today.words, today.codecs, today.observer, today.clock, today.connections
        )  # fmt: skip
        return again.version(self._name, version)

    def source(self, version: int) -> Source | None:
        """Where its messages came from, not yet opened. Raises ProjectError."""
        return source_of(self.project(version).flows[self._name])


def rates_of(connections: Mapping[str, Connection]) -> dict[str, float]:
    """Calls a second that connections allow, by target."""
    rates = {name: getattr(connection.config, "rate", None) for name, connection in connections.items()}
    return {name: float(rate) for name, rate in rates.items() if rate is not None}
