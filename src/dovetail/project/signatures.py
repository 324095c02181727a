"""What the project's Python says of itself: names, signatures and imports, read from its text.

`check` must know them and promises to run nothing: it also reads what strangers propose. What only shows when a module
runs (a decorator's result, a name that is assigned) is taken on trust.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_KINDS = {
    "posonlyargs": inspect.Parameter.POSITIONAL_ONLY,
    "args": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "vararg": inspect.Parameter.VAR_POSITIONAL,
    "kwonlyargs": inspect.Parameter.KEYWORD_ONLY,
    "kwarg": inspect.Parameter.VAR_KEYWORD,
}


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters, annotations as text, and where it is written."""

    value: inspect.Signature
    line: int
    column: int


@dataclass(slots=True)
class Outline:
    """A module's names; None for one whose signature only running it would tell. `complete`: it has no others.

    `imports` are the modules that it cannot do without, with line and column; a relative one begins with a dot.
    """

    names: dict[str, Signature | None] = field(default_factory=dict)
    complete: bool = True
    imports: list[tuple[str, int, int]] = field(default_factory=list)


def outline(source: bytes) -> Outline | None:
    """Read a module; None when it does not parse (which is told once, for the file)."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    found, renamed = Outline(), _renamed(module)
    for node in _statements(module.body):
        if isinstance(node, _Function):
            plain = None if node.decorator_list else _signature(node.args, renamed)
            found.names[node.name] = Signature(plain, node.lineno, node.col_offset + 1) if plain else None
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.complete = found.complete and all(alias.name != "*" for alias in node.names)
            found.names |= {(alias.asname or alias.name).partition(".")[0]: None for alias in node.names}
        else:
            found.names |= dict.fromkeys(_bound(node))
    for node in module.body:  # one within `try` or `if` may be missing
        found.imports += [(name, node.lineno, node.col_offset + 1) for name in _imported(node)]
    return found


def most_arguments(signature: Signature | None) -> int | None:
    """How many arguments a call may give by their place; None where nothing bounds them, or only running it would
    tell."""
    kinds = [one.kind for one in signature.value.parameters.values()] if signature is not None else []
    if signature is None or inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in by_place for kind in kinds)


def missing(outline: Outline) -> Iterator[tuple[str, int, int]]:
    """The modules among its imports that are not installed here; none of them is imported."""
    for name, line, column in outline.imports:
        if name.startswith(".") or importlib.util.find_spec(name) is None:
            yield name, line, column


def _statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """All statements that run when the module does."""
    for node in body:
        yield node
        if not isinstance(node, _Function | ast.ClassDef):
            for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _statements(getattr(node, name, None) or ())


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement gives a value."""
    if isinstance(node, ast.ClassDef):
        yield node.name
        return
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." * node.level + (node.module or "") if node.level else (node.module or "").partition(".")[0]


def _renamed(module: ast.Module) -> dict[str, str]:
    """What `from x import Y as Z` calls otherwise: Z → Y."""
    imports = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    return {alias.asname: alias.name for node in imports for alias in node.names if alias.asname}


def _signature(args: ast.arguments, renamed: Mapping[str, str]) -> inspect.Signature:
    plain = [*args.posonlyargs, *args.args]
    optional = {arg.arg for arg in plain[len(plain) - len(args.defaults) :]}
    optional |= {arg.arg for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is not None}
    found: list[inspect.Parameter] = []
    for name, kind in _KINDS.items():
        given = getattr(args, name) or []
        for arg in given if isinstance(given, list) else [given]:
            default = ... if arg.arg in optional else inspect.Parameter.empty
            found.append(inspect.Parameter(arg.arg, kind, default=default, annotation=_annotation(arg, renamed)))
    return inspect.Signature(found)


def _annotation(arg: ast.arg, renamed: Mapping[str, str]) -> str:
    """The annotation's own name: `Message` for `Message`, `"Message"`, `sdk.Message` and another name for it."""
    if arg.annotation is None:
        return ""
    quoted = arg.annotation.value if isinstance(arg.annotation, ast.Constant) else None
    text = quoted if isinstance(quoted, str) else ast.unparse(arg.annotation)
    name = text.rpartition(".")[2]
    return renamed.get(name, name)
