"""Which Python name holds a variable, and whether it is surely bound by now."""

from __future__ import annotations

from ..nodes import Node
from .emit import Def


class Variable:
    """A variable of one scope: its Python name, the def that owns it, and whether a binding has surely run."""

    __slots__ = ("bound", "name", "owner")

    def __init__(self, name: str, owner: Def, bound: bool) -> None:
        self.name = name
        self.owner = owner
        self.bound = bound


class Scope:
    """A block, a lambda or a step of a joined path (then `tuple` names the dict of its bindings)."""

    def __init__(self, parent: Scope | None, owner: Def, tuple_: str | None = None) -> None:
        self.parent = parent
        self.owner = owner
        self.tuple = tuple_
        self.variables: dict[str, Variable] = {}


def bound_names(node: Node) -> set[str]:
    """The names that `:=` binds in the scope of `node` itself, not in blocks and lambdas below it."""
    names: set[str] = set()
    stack = node.children()
    while stack:
        one = stack.pop()
        if one.type == "bind":
            names.add(one.lhs.value)
        if one.type not in ("block", "lambda"):
            stack.extend(one.children())
    return names


def has_closure(node: Node) -> bool:
    """Whether evaluating `node` makes a function that could outlive the evaluation."""
    stack = [node]
    while stack:
        one = stack.pop()
        if one.type in ("lambda", "partial", "transform", "sort") or one.tuple:
            return True
        stack.extend(one.children())
    return False
