"""Checking a mapping against contracts, before any message comes: paths that cannot exist, fields that are not wanted,
required ones that are never written, and types that cannot fit. Also the lineage: what an expression reads and writes.

An expression is evaluated on types instead of values. What is not known is never reported.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .functions.registry import BUILTINS
from .inferred import ANY, Inferred, of_shape, union
from .nodes import Node
from .parser import parse
from .schema import Shape

RESULTS = {"s": "string", "n": "number", "b": "boolean"}
ITEMS = frozenset(("map", "filter", "single", "reduce", "sort"))
DEEPEST = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check found. `severity` is `error` if it cannot work, `warning` if the contract does not say so.

    code: unknown-path, unknown-field, missing-field or type-clash. line and column count from 1. nearest: a name that
    was perhaps meant.
    """

    code: str
    severity: str
    message: str
    line: int
    column: int
    path: str
    nearest: str | None = None


class Scope:
    """Variables by name, inside out."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Inferred] = {}

    def get(self, name: str) -> Inferred | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None


class Checker:
    """Walks one expression. `reads` collects the input paths, `findings` what is wrong."""

    def __init__(self, text: str, tree: Node, source: Shape | None) -> None:
        self.text = text
        self.findings: list[Finding] = []
        self.reads: dict[tuple[str, ...], None] = {}
        self.scope = Scope()
        self.root = of_shape(source, ()) if source is not None else Inferred(path=())
        self.calls = 0
        self.result = self.node(tree, self.root)

    def report(self, code: str, severity: str, message: str, node: Node, path: str, near: str | None = None) -> None:
        line = self.text.count("\n", 0, node.start) + 1
        column = node.start - self.text.rfind("\n", 0, node.start)
        found = Finding(code, severity, message, line, column, path, near)
        if found not in self.findings:
            self.findings.append(found)

    # nodes

    def node(self, node: Node, ctx: Inferred) -> Inferred:
        handler: Callable[[Node, Inferred], Inferred] | None = getattr(self, f"_{node.type}", None)
        result = ANY if handler is None else handler(node, ctx)
        if node.predicate:
            result = self.filtered(node.predicate, result)
        if node.group is not None and node.type != "path":
            result = self.grouped(node.group, result.one())
        return result

    def _string(self, node: Node, ctx: Inferred) -> Inferred:
        return Inferred(frozenset(("string",)))

    def _number(self, node: Node, ctx: Inferred) -> Inferred:
        return Inferred(frozenset(("number",)))

    def _value(self, node: Node, ctx: Inferred) -> Inferred:
        return Inferred(frozenset(("null" if node.value is None else "boolean",)))

    def _variable(self, node: Node, ctx: Inferred) -> Inferred:
        if node.value == "":
            return ctx
        if node.value == "$":
            return self.root
        return self.scope.get(node.value) or ANY

    def _path(self, node: Node, ctx: Inferred) -> Inferred:
        current = ctx
        many = ctx.many
        outer, self.scope = self.scope, Scope(self.scope)
        for step in node.steps:
            if step.type == "sort":
                for term in step.terms:
                    self.node(term.expression, current.one())
            else:
                found = self.step(step, current.one())
                many = many or found.many
                if step.focus is not None:
                    self.scope.names[step.focus] = found.one()
                else:
                    current = found
                if step.index is not None:
                    self.scope.names[step.index] = Inferred(frozenset(("number",)))
            for stage in step.stages or ():
                if stage.type == "index":
                    self.scope.names[stage.value] = Inferred(frozenset(("number",)))
                    continue
                if stage.expression.type == "number":
                    many = False
                    current = current.one()
                    continue
                self.node(stage.expression, self.scope.names[step.focus] if step.focus else current.one())
        if node.group is not None:
            current = self.grouped(node.group, current.one())
            many = False
        self.scope = outer
        return current.as_many() if many else current

    def step(self, step: Node, ctx: Inferred) -> Inferred:
        if step.type == "name":
            return self.field(ctx, step.value, step)
        return self.node(step, ctx)

    def _name(self, node: Node, ctx: Inferred) -> Inferred:
        return self.field(ctx, node.value, node)

    def field(self, ctx: Inferred, name: str, node: Node) -> Inferred:
        """The type of a field; reported if it cannot exist."""
        if ctx.path is not None:
            self.reads[(*ctx.path, name)] = None
        found = ctx.field(name)
        if found is not None:
            return found
        shape = ctx.shape
        where = ".".join((*(ctx.path or ()), name))
        if shape is not None and shape.listed:
            near = nearest(name, shape.declared)
            hint = f"; did you mean {near}?" if near else ""
            severity = "error" if shape.closed else "warning"
            self.report("unknown-path", severity, f"{where} is not in the source contract{hint}", node, where, near)
        elif shape is not None and shape.kinds is not None and not shape.kinds & {"object", "array"}:
            kinds = " or ".join(sorted(shape.kinds))
            message = f"{where} cannot exist: {'.'.join(ctx.path or ()) or 'the input'} is {kinds}"
            self.report("unknown-path", "error", message, node, where)
        elif ctx.fields is not None and ctx.complete:
            near = nearest(name, ctx.fields)
            hint = f"; did you mean {near}?" if near else ""
            self.report(
                "unknown-path", "error", f"{name} is not a field of the object made here{hint}", node, name, near
            )
        return Inferred(path=(*ctx.path, name) if ctx.path is not None else None)

    def _wildcard(self, node: Node, ctx: Inferred) -> Inferred:
        if ctx.path is not None:
            self.reads[(*ctx.path, "*")] = None
        return ANY

    def _descendant(self, node: Node, ctx: Inferred) -> Inferred:
        if ctx.path is not None:
            self.reads[(*ctx.path, "**")] = None
        return ANY

    def _block(self, node: Node, ctx: Inferred) -> Inferred:
        outer, self.scope = self.scope, Scope(self.scope)
        result = ANY
        for part in node.expressions:
            result = self.node(part, ctx)
        self.scope = outer
        return result

    def _bind(self, node: Node, ctx: Inferred) -> Inferred:
        value = self.node(node.rhs, ctx)
        self.scope.names[node.lhs.value] = value
        return value

    def _condition(self, node: Node, ctx: Inferred) -> Inferred:
        if node.condition is not None:
            self.node(node.condition, ctx)
        one = self.node(node.then, ctx)
        if node.otherwise is None:
            return one
        return union(one, self.node(node.otherwise, ctx))

    def _binary(self, node: Node, ctx: Inferred) -> Inferred:
        left, right = self.node(node.lhs, ctx), self.node(node.rhs, ctx)
        operator = node.value
        if operator in ("+", "-", "*", "/", "%"):
            for side, one in (("left", left), ("right", right)):
                self.want(one, "number", node, f"the {side} side of {operator}")
            return Inferred(frozenset(("number",)))
        if operator == "&":
            return Inferred(frozenset(("string",)))
        if operator == "..":
            return Inferred(frozenset(("number",))).as_many()
        if operator in ("<", "<=", ">", ">="):
            self.comparable(left, right, node)
        return Inferred(frozenset(("boolean",)))

    def want(self, found: Inferred, kind: str, node: Node, what: str) -> None:
        if found.kinds is not None and kind not in found.kinds and not found.many:
            where = ".".join(found.path or ())
            named = f"{what} ({where})" if where else what
            message = f"{named} must be a {kind}, it is {' or '.join(sorted(found.kinds))}"
            self.report("type-clash", "error", message, node, where)

    def comparable(self, left: Inferred, right: Inferred, node: Node) -> None:
        if left.kinds is None or right.kinds is None or left.many or right.many:
            return
        if not left.kinds & right.kinds & {"number", "string"}:
            one, two = " or ".join(sorted(left.kinds)), " or ".join(sorted(right.kinds))
            where = ".".join(left.path or right.path or ())
            self.report("type-clash", "error", f"{node.value} cannot compare {one} with {two}", node, where)

    def _unary(self, node: Node, ctx: Inferred) -> Inferred:
        if node.value == "-":
            value = self.node(node.expression, ctx)
            self.want(value, "number", node, "the operand of -")
            return Inferred(frozenset(("number",)))
        if node.value == "[":
            items: Inferred | None = None
            for part in node.expressions:
                one = self.node(part, ctx).one()
                items = one if items is None else union(items, one)
            return Inferred(frozenset(("array",)), items=items or ANY, node=node)
        return self.grouped(node, ctx)

    def grouped(self, node: Node, ctx: Inferred) -> Inferred:
        """An object constructor or a group."""
        fields: dict[str, Inferred] = {}
        complete = True
        for key, item in node.pairs:
            self.node(key, ctx)
            value = self.node(item, ctx)
            if key.type == "string":
                fields[key.value] = value.at(key)
            else:
                complete = False
        return Inferred(frozenset(("object",)), fields=fields, complete=complete, node=node)

    def filtered(self, stages: list[Node], value: Inferred) -> Inferred:
        for stage in stages:
            if stage.type != "filter":
                continue
            if stage.expression.type == "number":
                value = value.one()
            else:
                self.node(stage.expression, value.one())
        return value

    # functions

    def _lambda(self, node: Node, ctx: Inferred) -> Inferred:
        return Inferred(frozenset(("function",)), function=(node, self.scope, ctx))

    def _partial(self, node: Node, ctx: Inferred) -> Inferred:
        for argument in node.arguments:
            if argument.type != "hole":
                self.node(argument, ctx)
        return ANY

    def _apply(self, node: Node, ctx: Inferred) -> Inferred:
        first = self.node(node.lhs, ctx)
        if node.rhs.type == "function":
            return self.function(node.rhs, ctx, [first])
        return self.called(self.node(node.rhs, ctx), [first])

    def _function(self, node: Node, ctx: Inferred) -> Inferred:
        return self.function(node, ctx, [])

    def _transform(self, node: Node, ctx: Inferred) -> Inferred:
        for part in (node.pattern, node.update, node.delete):
            if part is not None:
                self.node(part, Inferred())
        return ANY

    def function(self, node: Node, ctx: Inferred, first: list[Inferred]) -> Inferred:
        args = first + [self.node(argument, ctx) for argument in node.arguments]
        procedure = node.procedure
        if procedure.type != "variable" or self.scope.get(procedure.value) is not None:
            return self.called(self.node(procedure, ctx), args)
        name = procedure.value
        if name in ITEMS and len(args) > 1:
            return self.higher(name, args)
        if name == "lookup" and len(node.arguments) + len(first) == 2 and node.arguments[-1].type == "string":
            return self.field(args[0].one(), node.arguments[-1].value, node.arguments[-1])
        for one in args:
            if one.function is not None:
                self.called(one, [])
        if name in ("reverse", "distinct", "shuffle", "sort", "clone") and args:
            return args[0]
        native = BUILTINS.get(name)
        if native is not None and native.answer in RESULTS:
            return Inferred(frozenset((RESULTS[native.answer],)))
        return ANY

    def higher(self, name: str, args: list[Inferred]) -> Inferred:
        item = args[0].one()
        number = Inferred(frozenset(("number",)))
        if name == "reduce":
            self.called(args[1], [ANY, item, number, args[0]])
            return ANY
        if name == "sort":
            self.called(args[1], [item, item])
            return args[0]
        answer = self.called(args[1], [item, number, args[0]])
        if name == "map":
            return answer.as_many()
        return item if name == "single" else args[0]

    def called(self, function: Inferred, args: list[Inferred]) -> Inferred:
        """The type of a call: a lambda's body is walked with the types of its arguments."""
        if function.function is None or self.calls >= DEEPEST:
            return ANY
        node, scope, ctx = function.function
        self.calls += 1
        outer, self.scope = self.scope, Scope(scope)
        for place, parameter in enumerate(node.arguments):
            self.scope.names[parameter.value] = args[place] if place < len(args) else ANY
        result = self.node(node.body, ctx)
        self.scope = outer
        self.calls -= 1
        return result

    # the target

    def against(self, found: Inferred, target: Shape, tree: Node, path: tuple[str, ...] = ()) -> None:
        """Compare what is written with what is wanted."""
        node = found.node or tree
        where = ".".join(path) or "the result"
        if found.kinds is not None and target.kinds is not None and not self.fit(found, target):
            one, two = " or ".join(sorted(found.kinds)), " or ".join(sorted(target.kinds))
            self.report("type-clash", "error", f"{where} must be {two}, it is {one}", node, ".".join(path))
            return
        inner = found.one()
        below = target.items()
        if below is not None and (target.kinds is None or "array" in target.kinds):
            target = below
        if inner.fields is None:
            return
        for name, value in inner.fields.items():
            wanted = target.field(name)
            if wanted is not None:
                self.against(value, wanted, value.node or node, (*path, name))
            elif target.listed:
                near = nearest(name, target.declared)
                hint = f"; did you mean {near}?" if near else ""
                full = ".".join((*path, name))
                severity = "error" if target.closed else "warning"
                message = f"{full} is not in the target contract{hint}"
                self.report("unknown-field", severity, message, value.node or node, full, near)
        if inner.complete:
            for name in sorted(target.required - inner.fields.keys()):
                full = ".".join((*path, name))
                self.report("missing-field", "error", f"{full} is required and never written", node, full)

    def fit(self, found: Inferred, target: Shape) -> bool:
        """Whether some value of the one type fits the other, given that lone values become arrays where they must."""
        assert found.kinds is not None and target.kinds is not None
        kinds = set(found.kinds)
        if "array" in target.kinds:
            below = target.items()
            wanted = below.kinds if below is not None else None
            inner = found.one().kinds
            if wanted is None or inner is None or inner & wanted or ("array" in kinds and found.items is None):
                return True
        if found.many:
            kinds.add("array")
        return bool(kinds & target.kinds)


def nearest(name: str, names: Any) -> str | None:
    """The known name that a misspelled one most likely means."""
    by_case = {one.lower(): one for one in names}
    if name.lower() in by_case:
        return str(by_case[name.lower()])
    close = difflib.get_close_matches(name, list(names), 1, 0.6)
    return close[0] if close else None


def check(text: str, source_schema: Any = None, target_schema: Any = None) -> list[Finding]:
    """What does not fit between an expression and its contracts (JSON Schema), in the order of the text.

    Raises MappingError if the text itself is wrong.
    """
    tree = parse(getattr(text, "text", text))
    checker = Checker(getattr(text, "text", text), tree, None if source_schema is None else Shape(source_schema))
    if target_schema is not None:
        checker.against(checker.result, Shape(target_schema), tree)
    return sorted(checker.findings, key=lambda one: (one.line, one.column, one.path))


def lineage(text: str) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """The input paths that an expression reads, and the paths that it writes in its result."""
    checker = Checker(text, parse(text), None)
    written: dict[tuple[str, ...], None] = {}

    def walk(value: Inferred, path: tuple[str, ...]) -> None:
        inner = value.one()
        if inner.fields is None or len(path) > DEEPEST:
            if path:
                written[path] = None
            return
        for name, below in inner.fields.items():
            walk(below, (*path, name))

    walk(checker.result, ())
    return tuple(checker.reads), tuple(written)
