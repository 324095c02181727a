"""Texts that an expression may give as its value, as they stand in it."""

from __future__ import annotations

from dataclasses import dataclass

from .nodes import Node
from .parser import parse


@dataclass(frozen=True, slots=True)
class Literal:
    """A text in the expression; line and column count from 1."""

    text: str
    line: int
    column: int


def literals(text: str) -> list[Literal]:
    """The whole expression if it is a text, and the texts that its conditions choose between, in the order of the text.
    Others that only come out when it runs are not found. Raises MappingError."""
    found: list[Literal] = []
    left = [parse(text)]
    while left:
        node = left.pop()
        if node.type == "string":
            line = text.count("\n", 0, node.start) + 1
            found.append(Literal(str(node.value), line, node.start - text.rfind("\n", 0, node.start)))
        left += _results(node)
    return sorted(found, key=lambda one: (one.line, one.column))


def _results(node: Node) -> list[Node]:
    """The parts that may be the whole's value."""
    if node.type == "condition":
        return [part for part in (node.then, node.otherwise) if part is not None]
    if node.type == "block" and node.expressions:
        return [node.expressions[-1]]
    if node.type == "path" and len(node.steps) == 1:
        return [node.steps[0]]
    return []
