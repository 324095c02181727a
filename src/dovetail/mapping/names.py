"""The names that an expression takes from outside: functions that it calls, and variables that it does not set."""

from __future__ import annotations

from dataclasses import dataclass

from .nodes import Node
from .parser import parse


@dataclass(frozen=True, slots=True)
class Name:
    """One use of `$name`. `arguments`: those of a call, a literal text as such and None for any other; None as a whole
    if the name is not called there. line and column count from 1."""

    name: str
    line: int
    column: int
    arguments: tuple[str | None, ...] | None = None


def names(text: str) -> list[Name]:
    """Every use of a name that the expression does not bind itself, in the order of the text. Built-ins are among them.

    A name that is bound anywhere in the text counts as bound everywhere. Raises MappingError.
    """
    walk = Walk(text)
    walk.node(parse(text))
    return sorted((one for one in walk.found if one.name not in walk.bound), key=lambda one: (one.line, one.column))


class Walk:
    """Over one tree."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[Name] = []
        self.bound: set[str] = {"", "$"}
        self._seen: set[int] = set()

    def node(self, node: Node) -> None:
        if id(node) in self._seen:
            return
        self._seen.add(id(node))
        if node.type == "bind":
            self.bind(node.lhs)
        elif node.type == "lambda":
            for parameter in node.arguments:
                self.bind(parameter)
        elif node.type == "apply" and node.rhs.type == "function":
            self.call(node.rhs, (node.lhs,))
        elif node.type in ("function", "partial"):
            self.call(node, ())
        elif node.type == "variable":
            self.use(node, None)
        elif node.type == "index" and isinstance(node.value, str):
            self.bound.add(node.value)
        self.bound.update(name for name in (node.focus, node.index) if name is not None)
        for child in node.children():
            self.node(child)

    def bind(self, variable: Node) -> None:
        self._seen.add(id(variable))
        self.bound.add(variable.value)

    def call(self, node: Node, first: tuple[Node, ...]) -> None:
        self._seen.add(id(node))
        if node.procedure.type == "variable":
            given = (*first, *node.arguments)
            self.use(node.procedure, tuple(one.value if one.type == "string" else None for one in given))
            self._seen.add(id(node.procedure))
        for child in node.children():
            self.node(child)

    def use(self, node: Node, arguments: tuple[str | None, ...] | None) -> None:
        line = self.text.count("\n", 0, node.start) + 1
        column = node.start - self.text.rfind("\n", 0, node.start)
        self.found.append(Name(node.value, line, column, arguments))
