"""The parsed tree. One class serves every kind of node; which fields are filled depends on `type`."""

from __future__ import annotations

from typing import Any


class Slot:
    """Where a `%` finds its value: the label under which an earlier step keeps its context."""

    __slots__ = ("index", "label", "level")

    def __init__(self, label: str, level: int, index: int) -> None:
        self.label = label
        self.level = level
        self.index = index


class Node:
    """A piece of the expression. `position` is the end of its token, `start` its beginning, both from 0."""

    __slots__ = (
        "ancestor",
        "arguments",
        "body",
        "condition",
        "consarray",
        "delete",
        "descending",
        "expression",
        "expressions",
        "focus",
        "group",
        "ident",
        "index",
        "keep_array",
        "keep_singleton",
        "lhs",
        "otherwise",
        "pairs",
        "pattern",
        "position",
        "predicate",
        "procedure",
        "rhs",
        "seeking",
        "signature",
        "slot",
        "stages",
        "start",
        "steps",
        "terms",
        "then",
        "thunk",
        "tuple",
        "type",
        "update",
        "value",
    )

    def __init__(self, type_: str, value: Any = None, position: int = 0, start: int = 0) -> None:
        self.type = type_
        self.value = value
        self.position = position
        self.start = start
        self.ident = 0
        self.lhs: Any = None
        self.rhs: Any = None
        self.expression: Any = None
        self.expressions: list[Node] = []
        self.pairs: list[tuple[Node, Node]] = []
        self.terms: list[Node] = []
        self.descending = False
        self.arguments: list[Node] = []
        self.procedure: Any = None
        self.body: Any = None
        self.signature: Any = None
        self.thunk = False
        self.condition: Any = None
        self.then: Any = None
        self.otherwise: Any = None
        self.pattern: Any = None
        self.update: Any = None
        self.delete: Any = None
        self.steps: list[Node] = []
        self.stages: list[Node] | None = None
        self.predicate: list[Node] | None = None
        self.group: Node | None = None
        self.keep_array = False
        self.keep_singleton = False
        self.consarray = False
        self.tuple = False
        self.focus: str | None = None
        self.index: str | None = None
        self.ancestor: Slot | None = None
        self.slot: Slot | None = None
        self.seeking: list[Slot] | None = None

    def children(self) -> list[Node]:
        """Every node directly below, in the order of the text where that matters."""
        found: list[Node] = []
        for one in (self.lhs, self.rhs, self.expression, self.procedure, self.condition, self.then, self.otherwise):
            if isinstance(one, Node):
                found.append(one)
        for one in (self.pattern, self.update, self.delete, self.body, self.group):
            if isinstance(one, Node):
                found.append(one)
        for many in (self.expressions, self.terms, self.steps, self.stages, self.predicate, self.arguments):
            found.extend(many or ())
        for pair in self.pairs:
            found.extend(pair)
        return found
