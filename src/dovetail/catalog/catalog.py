"""Name to class, for everything a project can name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from dovetail.catalog import builtin
from dovetail.catalog.describe import describe
from dovetail.sdk import Connection, Plugin, ProjectError, Source, Step
from dovetail.spec import nearest

Kind = Literal["step", "connection", "source"]
KINDS: tuple[Kind, ...] = ("step", "connection", "source")
BASES: dict[Kind, type] = {"step": Step, "connection": Connection, "source": Source}
GROUP = "dovetail.plugins"


class UnknownName(KeyError):
    """Nothing of this kind has this name. `suggestion` says what there is instead."""

    def __init__(self, kind: Kind, name: str, known: Iterable[str]) -> None:
        super().__init__(name)
        self.kind, self.name = kind, name
        self.suggestion = nearest(name, known)

    def __str__(self) -> str:
        return f"there is no {self.kind} '{self.name}'" + (f" ({self.suggestion})" if self.suggestion else "")


@dataclass(frozen=True, slots=True)
class Part:
    """One name's meaning: a class, or where to import it (`module:Class`). `origin` is the package it came with."""

    what: str | type
    origin: str = "dovetail"

    def load(self) -> type:
        """The class; imported on first use."""
        if isinstance(self.what, str):
            module, _, name = self.what.partition(":")
            found: type = getattr(import_module(module), name)
            return found
        return self.what


class Catalog:
    """Steps, connections and sources by name. Never changes: `with_guests` and `with_plugin` give another one."""

    def __init__(self, parts: Mapping[Kind, Mapping[str, Part]]) -> None:
        self._parts: dict[Kind, dict[str, Part]] = {kind: dict(parts.get(kind, {})) for kind in KINDS}

    @classmethod
    def builtin(cls) -> Catalog:
        """What comes with Dovetail."""
        tables: dict[Kind, dict[str, str]] = {
            "step": builtin.STEPS,
            "connection": builtin.CONNECTIONS,
            "source": builtin.SOURCES,
        }
        return cls({kind: {name: Part(where) for name, where in table.items()} for kind, table in tables.items()})

    def with_guests(self) -> Catalog:
        """This catalog and every installed package with an entry point in the group `dovetail.plugins`.

        Raises `ProjectError` for a package that cannot be imported, is no plugin, or takes a name that is taken.
        """
        catalog = self
        for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
            catalog = catalog.with_plugin(_plugin(point))
        return catalog

    def with_plugin(self, plugin: Plugin) -> Catalog:
        """This catalog and one plugin. Raises `ProjectError` for a name that is taken or a class that does not fit."""
        parts: dict[Kind, dict[str, Part]] = {kind: dict(table) for kind, table in self._parts.items()}
        brought: dict[Kind, Mapping[str, type]] = {
            "step": plugin.steps,
            "connection": plugin.connections,
            "source": plugin.sources,
        }
        for kind, classes in brought.items():
            for name, part in classes.items():
                _fits(plugin, kind, name, part)
                if name in parts[kind]:
                    taken = parts[kind][name].origin
                    raise ProjectError(f"plugin '{plugin.name}': the {kind} '{name}' is taken by '{taken}'; rename it")
                parts[kind][name] = Part(part, plugin.name)
        return Catalog(parts)

    def step(self, name: str) -> type[Step]:
        """The step of that name. Raises `UnknownName`, a KeyError with the nearest names."""
        found: type[Step] = self._load("step", name)
        return found

    def connection(self, name: str) -> type[Connection]:
        """The kind of connection of that name. Raises `UnknownName`."""
        found: type[Connection] = self._load("connection", name)
        return found

    def source(self, name: str) -> type[Source]:
        """The source of that name. Raises `UnknownName`."""
        found: type[Source] = self._load("source", name)
        return found

    def names(self, kind: Kind) -> list[str]:
        """All names of a kind, in order."""
        return sorted(self._parts[kind])

    def origin(self, kind: Kind, name: str) -> str:
        """The package a name came with. Raises `UnknownName`."""
        return self._part(kind, name).origin

    def describe(self, name: str, kind: Kind | None = None) -> dict[str, Any]:
        """All there is to know about a name as plain data: `{kind: {summary, doc, fields, schema, reference, …}}`.

        A name may be several things (`file` is a source and a connection); `kind` asks for one. Raises `UnknownName`.
        """
        kinds = [one for one in KINDS if name in self._parts[one] and kind in (None, one)]
        if not kinds:
            known = [other for one in KINDS if kind in (None, one) for other in self._parts[one]]
            raise UnknownName(kind or "connection", name, known)
        return {one: describe(self._load(one, name), self._parts[one][name].origin) for one in kinds}

    def _part(self, kind: Kind, name: str) -> Part:
        found = self._parts[kind].get(name)
        if found is None:
            raise UnknownName(kind, name, self._parts[kind])
        return found

    def _load(self, kind: Kind, name: str) -> Any:
        return self._part(kind, name).load()


def _plugin(point: EntryPoint) -> Plugin:
    try:
        plugin = point.load()
    except Exception as error:
        raise ProjectError(f"plugin '{point.name}' ({point.value}) cannot be imported: {error!r}") from error
    if not isinstance(plugin, Plugin):
        raise ProjectError(f"plugin '{point.name}': {point.value} is not a dovetail.sdk.Plugin")
    return plugin


def _fits(plugin: Plugin, kind: Kind, name: str, part: Any) -> None:
    if not (isinstance(part, type) and issubclass(part, BASES[kind])):
        raise ProjectError(f"plugin '{plugin.name}': the {kind} '{name}' is not a dovetail.sdk.{BASES[kind].__name__}")
    if not hasattr(part, "Config"):
        raise ProjectError(f"plugin '{plugin.name}': the {kind} '{name}' has no Config, so nobody can write it")
