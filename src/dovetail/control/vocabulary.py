"""The words a project may use: steps, connectors and sources, with all that is known of each."""

from __future__ import annotations

import inspect
from typing import Any

from dovetail.catalog import Catalog, Kind
from dovetail.control.answers import Connector, ConnectorLine
from dovetail.errors import Refused
from dovetail.sdk import Connection, Spec
from dovetail.spec import json_schema, markdown, nearest

KINDS: tuple[Kind, ...] = ("connection", "source", "step")


class Vocabulary:
    """Lists and describes what a catalog holds."""

    def __init__(self, words: Catalog) -> None:
        self._words = words

    def all(self, kind: str = "") -> list[ConnectorLine]:
        """Every word, of one kind if asked. Raises `Refused` (422) for a kind that is none."""
        if kind and kind not in KINDS:
            raise Refused(f"there is no kind '{kind}'; known: {', '.join(KINDS)}", status=422, code="kind")
        return [
            ConnectorLine(name, each, _summary(self._type(each, name)), self._words.origin(each, name))
            for each in KINDS
            if kind in ("", each)
            for name in sorted(self._words.names(each))
        ]

    def describe(self, name: str, kind: str = "") -> Connector:
        """One word; where several kinds share it the connection comes first. Raises `Refused` (404)."""
        found = [line for line in self.all(kind) if line.name == name]
        if not found:
            hint = nearest(name, {line.name for line in self.all(kind)})
            raise Refused(f"there is nothing called '{name}'; {hint}", status=404, code="not-found")
        type_ = self._type(found[0].kind, name)
        config: type[Spec] = type_.Config
        description = Connector(
            name=name, kind=found[0].kind, summary=found[0].summary, description=_description(type_),
            reference=markdown(config), schema=json_schema(config),
        )  # fmt: skip
        if issubclass(type_, Connection):
            description.operations = {word: str(repeat) for word, repeat in type_.operations.items()}
            description.sinks = {word: str(repeat) for word, repeat in type_.sinks.items()}
            if type_.OperationConfig is not None:
                description.reference += f"\nEach entry of `operations`:\n\n{markdown(type_.OperationConfig)}"
        return description

    def _type(self, kind: str, name: str) -> Any:
        if kind == "connection":
            return self._words.connection(name)
        return self._words.source(name) if kind == "source" else self._words.step(name)


def _description(type_: type[Any]) -> str:
    module = inspect.getmodule(type_)
    own = inspect.getdoc(type_) if type_.__doc__ else ""
    return "\n\n".join(text for text in (own, inspect.getdoc(module) if module else "") if text)


def _summary(type_: type[Any]) -> str:
    """The first sentence of its docstring."""
    first = _description(type_).partition("\n\n")[0].replace("\n", " ")
    return first.split(". ")[0].rstrip(".")


def installed() -> Vocabulary:
    """The words of this installation: built-ins and guests. Raises `ProjectError` for a guest that does not fit."""
    return Vocabulary(Catalog.builtin().with_guests())
