"""What an expression is made of, for people: the parsed tree, the paths it reads and the fields it writes."""

from __future__ import annotations

from typing import Any

from .checker import lineage
from .nodes import Node
from .parser import parse

NAMES = {"lhs": "left", "rhs": "right", "otherwise": "else"}
PARTS = (
    "lhs", "rhs", "expression", "procedure", "condition", "then", "otherwise", "pattern", "update", "delete", "body",
    "group", "expressions", "terms", "steps", "stages", "predicate", "arguments",
)  # fmt: skip


def explain(text: str) -> dict[str, Any]:
    """`tree` (nested dicts with type, value, line, column), `reads` and `writes` (dotted paths)."""
    reads, writes = lineage(text)
    return {
        "tree": described(text, parse(text)),
        "reads": [".".join(path) for path in reads],
        "writes": [".".join(path) for path in writes],
    }


def described(text: str, node: Node) -> dict[str, Any]:
    """A node as plain data; only what is there."""
    made: dict[str, Any] = {"type": node.type}
    if node.value is not None and not isinstance(node.value, Node):
        made["value"] = "/".join(("", *node.value)) if isinstance(node.value, tuple) else node.value
    made["line"] = text.count("\n", 0, node.start) + 1
    made["column"] = node.start - text.rfind("\n", 0, node.start)
    for mark in ("focus", "index", "descending", "keep_array"):
        if getattr(node, mark):
            made[mark] = getattr(node, mark)
    for part in PARTS:
        below = getattr(node, part)
        if isinstance(below, Node):
            made[NAMES.get(part, part)] = described(text, below)
        elif below:
            made[part] = [described(text, one) for one in below]
    if node.pairs:
        made["pairs"] = [[described(text, key), described(text, value)] for key, value in node.pairs]
    return made
