"""Writing Python: lines of numbered names become `ast` nodes, and constants become `ast.Constant`.

No text of an expression ever becomes Python source. A line is written only by this package, from fixed fragments and
names such as `t12` (a temporary), `k3` (a constant) and `g5` (an object); `k3` is replaced by its constant in the tree.
Line numbers are the numbers of the nodes that a line was written for, so that a traceback leads back to the expression.
"""

from __future__ import annotations

import ast
from typing import Any

from ..errors import MappingError
from ..limits import spend

#: characters of code for each token that an expression may have
SHARE = 64
#: a def is split off before Python's limit of 20 nested blocks, and before lines get too deep
BLOCKS = 12
INDENT = 40


class Def:
    """A Python function being written."""

    def __init__(self, name: str, params: list[str], parent: Def | None) -> None:
        self.name = name
        self.params = params
        self.parent = parent
        self.lines: list[tuple[int, str, int]] = []
        self.indent = 0
        self.blocks = 0
        self.loops = 0
        self.foreign: set[str] = set()


class Writer:
    """Holds the defs, the constants and the objects of one program."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.room = tokens * SHARE
        self.main = Def("main", ["c", "B", "S"], None)
        self.current = self.main
        self.defs: dict[str, Def] = {}
        self.constants: list[Any] = []
        self.known: dict[tuple[type, Any], str] = {}
        self.objects: dict[str, Any] = {}
        self.named: dict[int, str] = {}
        self.count = 0
        self.ident = 0

    def emit(self, line: str) -> None:
        here = self.current
        here.lines.append((here.indent, line, self.ident))
        spend(1)
        self.room -= len(line) + here.indent
        if self.room < 0:
            raise MappingError("S0503", position=0, start=0, value=self.tokens)

    def temp(self, prefix: str = "t") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def constant(self, value: Any) -> str:
        """The name that stands for a str, number, bool or None."""
        key = (value.__class__, value)
        name = self.known.get(key)
        if name is None:
            name = f"k{len(self.constants)}"
            self.constants.append(value)
            self.known[key] = name
        return name

    def object(self, value: Any) -> str:
        """The name of any other object, such as a function or a compiled pattern."""
        name = self.named.get(id(value))
        if name is None:
            name = f"g{len(self.objects)}"
            self.objects[name] = value
            self.named[id(value)] = name
        return name

    def open(self, line: str, loop: bool = False) -> None:
        """Write a line that opens a block."""
        self.emit(line)
        self.current.indent += 1
        if loop:
            self.current.blocks += 1
            self.current.loops += 1

    def close(self, loop: bool = False) -> None:
        self.current.indent -= 1
        if loop:
            self.current.blocks -= 1
            self.current.loops -= 1

    def begin(self, params: list[str], prefix: str = "f") -> Def:
        """Start a nested def at this point; lines go into it until `end`."""
        made = Def(self.temp(prefix), params, self.current)
        self.defs[made.name] = made
        self.emit(f"D_{made.name}")
        self.current = made
        return made

    def end(self) -> Def:
        made = self.current
        assert made.parent is not None
        self.current = made.parent
        return made

    def crowded(self) -> bool:
        return self.current.blocks >= BLOCKS or self.current.indent >= INDENT

    def build(self) -> ast.Module:
        return ast.Module(body=[self._function(self.main)], type_ignores=[])

    def _function(self, made: Def) -> ast.FunctionDef:
        head = f"def {made.name}({', '.join(made.params)}):"
        body = [f" nonlocal {', '.join(sorted(made.foreign))}"] if made.foreign else []
        body += [" " * (indent + 1) + line for indent, line, _ in made.lines]
        tree = ast.parse("\n".join([head, *body]))
        function = tree.body[0]
        assert isinstance(function, ast.FunctionDef)
        shift = len(body) - len(made.lines) + 1
        idents = [0] * shift + [ident for _, _, ident in made.lines]
        return _Filler(self, idents).visit(function)  # type: ignore[no-any-return]


class _Filler(ast.NodeTransformer):
    """Puts constants and nested defs in their places and numbers the lines."""

    def __init__(self, writer: Writer, idents: list[int]) -> None:
        self.writer = writer
        self.idents = idents

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Name) and node.value.id.startswith("D_"):
            return self.writer._function(self.writer.defs[node.value.id[2:]])
        lineno = getattr(node, "lineno", None)
        if lineno is not None:
            place: Any = node
            place.lineno = place.end_lineno = self.idents[lineno - 1] + 1
            place.col_offset = place.end_col_offset = 0
        if isinstance(node, ast.Name) and node.id[0] == "k" and node.id[1:].isdigit():
            constant = ast.Constant(self.writer.constants[int(node.id[1:])])
            return ast.copy_location(constant, node)
        return self.generic_visit(node)
