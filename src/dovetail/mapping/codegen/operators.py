"""Operators, literals, conditions, blocks, variables."""

from __future__ import annotations

from ..nodes import Node
from .coder import Base, Ctx, Val
from .scope import Scope

HELPERS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "modulo"}
MIRROR = {"=": "equal", "!=": "different"}


class Operators(Base):
    """Emits what is neither path nor call."""

    def _string(self, node: Node, ctx: Ctx) -> Val:
        return Val(self.const(node.value), "str", False, node.value)

    def _number(self, node: Node, ctx: Ctx) -> Val:
        return Val(self.const(node.value), "num", False, node.value)

    def _value(self, node: Node, ctx: Ctx) -> Val:
        return Val(self.const(node.value), "bool" if node.value is not None else "null", False, node.value)

    def _name(self, node: Node, ctx: Ctx) -> Val:
        """A name as a step of a joined path."""
        name, key = self.temp(), self.const(node.value)
        self.emit(f"{name} = {ctx.name}.get({key}, U) if {ctx.name}.__class__ is dict else field({ctx.name}, {key})")
        return Val(name)

    def _regex(self, node: Node, ctx: Ctx) -> Val:
        from ..regex import Regex

        self.regexes = True
        pattern, flags = node.value
        return Val(self.out.object(Regex(pattern, flags, node.position, node.start)), "fun", False)

    def _variable(self, node: Node, ctx: Ctx) -> Val:
        if node.value == "":
            return Val(ctx.name, ctx.kind, trail=ctx.trail)
        if node.value == "$":
            return Val("c0")
        return self.variable(node.value)

    def _parent(self, node: Node, ctx: Ctx) -> Val:
        assert node.slot is not None
        return self.variable(node.slot.label)

    def _wildcard(self, node: Node, ctx: Ctx) -> Val:
        name = self.temp()
        self.emit(f"{name} = wildcard({ctx.name})")
        return Val(name)

    def _descendant(self, node: Node, ctx: Ctx) -> Val:
        name = self.temp()
        self.emit(f"{name} = descendants(S, {ctx.name})")
        return Val(name)

    def _bind(self, node: Node, ctx: Ctx) -> Val:
        variable = self.scope.variables.get(node.lhs.value)
        certain = variable is not None and variable.owner is self.out.current
        if certain and node.rhs.type == "lambda" and variable is not None and self.straight:
            variable.bound = True
        value = self.atom(self.value(node.rhs, ctx))
        self.assign(node.lhs.value, value.name)
        if certain and variable is not None and self.straight:
            variable.bound = True
        return value

    #: whether the code being emitted surely runs from the start of the innermost scope on
    straight = False

    def _block(self, node: Node, ctx: Ctx) -> Val:
        if not node.expressions:
            return Val("U")
        before, self.scope = self.scope, Scope(self.scope, self.out.current)
        self.declare(self.scope, node)
        value = Val("U")
        for part in node.expressions:
            self.straight = part.type == "bind"
            value = self.value(part, ctx)
        self.straight = False
        self.scope = before
        return value

    def _condition(self, node: Node, ctx: Ctx) -> Val:
        if node.value in ("??", "?:"):
            return self.fallback(node, ctx)
        test = self.test(node.condition, ctx)
        name = self.temp()
        self.out.open(f"if {test}:")
        one = self.value(node.then, ctx)
        self.emit(f"{name} = {one.name}")
        self.out.close()
        self.out.open("else:")
        two = Val("U", one.kind) if node.otherwise is None else self.value(node.otherwise, ctx)
        self.emit(f"{name} = {two.name}")
        self.out.close()
        return Val(name, one.kind if one.kind == two.kind else "any", one.maybe or two.maybe)

    def fallback(self, node: Node, ctx: Ctx) -> Val:
        value = self.value(node.then, ctx)
        name = self.temp()
        self.emit(f"{name} = {value.name}")
        self.out.open(f"if {name} is U:" if node.value == "??" else f"if not truth({name}):")
        other = self.value(node.otherwise, ctx)
        self.emit(f"{name} = {other.name}")
        self.out.close()
        return Val(
            name, value.kind if value.kind == other.kind else "any", other.maybe and (value.maybe or node.value == "?:")
        )

    def test(self, node: Node, ctx: Ctx) -> str:
        """A Python condition that holds when the node's value is true."""
        value = self.value(node, ctx)
        if value.kind == "bool":
            return value.name if not value.maybe else f"({value.name}) is True"
        value = self.loose(value)
        return f"{value.name} is True or {value.name} is not False and truth({value.name})"

    def _binary(self, node: Node, ctx: Ctx) -> Val:
        operator = node.value
        if operator in ("and", "or"):
            return self.logic(node, ctx)
        if operator == "&":
            return self.concat(node, ctx)
        left = self.stable(node, self.value(node.lhs, ctx))
        right = self.value(node.rhs, ctx)
        before = self.mark(node, operator, (left.trail, right.trail))
        left, right = self.atom(left), self.atom(right)
        if operator in HELPERS:
            value = self.arithmetic(operator, left, right)
        elif operator in MIRROR:
            value = self.equality(operator, left, right)
        elif operator == "in":
            value = Val(f"includes({left.name}, {right.name})", "bool", False)
        elif operator == "..":
            value = Val(f"spread(S, {left.name}, {right.name})")
        else:
            value = self.comparison(operator, left, right)
        value = self.atom(value)
        self.out.ident = before
        return value

    def stable(self, node: Node, left: Val) -> Val:
        """Keep the left value if evaluating the right side could rebind the variable that it names."""
        if left.name.startswith("v"):
            name = self.temp()
            self.emit(f"{name} = {left.name}")
            return Val(name, left.kind, left.maybe, trail=left.trail)
        return self.atom(left)

    def arithmetic(self, operator: str, left: Val, right: Val) -> Val:
        helper = HELPERS[operator]
        name = self.temp()
        maybe = left.maybe or right.maybe
        if operator in "/%":
            self.emit(f"{name} = {helper}({left.name}, {right.name})")
            return Val(name, "num", maybe)
        checks = [
            f"({one}.__class__ is int or {one}.__class__ is float)"
            for one in dict.fromkeys(side.name for side in (left, right) if side.kind != "num" or side.maybe)
        ]
        checks.append(f"-{SAFE_NAME} <= ({name} := {left.name} {operator} {right.name}) <= {SAFE_NAME}")
        self.out.open(f"if not ({' and '.join(checks)}):")
        self.emit(f"{name} = {helper}({left.name}, {right.name})")
        self.out.close()
        return Val(name, "num", maybe)

    def equality(self, operator: str, left: Val, right: Val) -> Val:
        if isinstance(left.const, str):
            left, right = right, left
        if isinstance(right.const, str):
            if operator == "=":
                return Val(f"{left.name} == {right.name}", "bool", False)
            present = f" and {left.name} is not U" if left.maybe else ""
            return Val(f"{left.name} != {right.name}{present}", "bool", False)
        name = self.temp()
        self.out.open(f"if {left.name}.__class__ is str and {right.name}.__class__ is str:")
        self.emit(f"{name} = {left.name} {'==' if operator == '=' else '!='} {right.name}")
        self.out.close()
        self.out.open("else:")
        self.emit(f"{name} = {MIRROR[operator]}({left.name}, {right.name})")
        self.out.close()
        return Val(name, "bool", False)

    def comparison(self, operator: str, left: Val, right: Val) -> Val:
        name = self.temp()
        one, two = f"{left.name}.__class__", f"{right.name}.__class__"
        numeric = [
            f"({c} is int or {c} is float)" for c, v in ((one, left), (two, right)) if v.kind != "num" or v.maybe
        ]
        texts = f"{one} is str and {two} is str"
        known = [side.kind for side in (left, right) if side.kind in ("num", "str") and not side.maybe]
        tests = texts if "str" in known else " and ".join(numeric or ["True"])
        if not known:
            tests += f" or {texts}"
        self.out.open(f"if {tests}:")
        self.emit(f"{name} = {left.name} {operator} {right.name}")
        self.out.close()
        self.out.open("else:")
        self.emit(f"{name} = compare({self.const(operator)}, {left.name}, {right.name})")
        self.out.close()
        return Val(name, "bool", True)

    def logic(self, node: Node, ctx: Ctx) -> Val:
        name = self.temp()
        before = self.mark(node, node.value)
        test = self.test(node.lhs, ctx)
        self.out.open(f"if {test}:" if node.value == "and" else f"if not ({test}):")
        second = self.test(node.rhs, ctx)
        self.emit(f"{name} = True if {second} else False")
        self.out.close()
        self.out.open("else:")
        self.emit(f"{name} = {node.value == 'or'}")
        self.out.close()
        self.out.ident = before
        return Val(name, "bool", False)

    def concat(self, node: Node, ctx: Ctx) -> Val:
        """A chain of `&` is joined in one go."""
        parts: list[Node] = []
        spine = node
        while spine.type == "binary" and spine.value == "&" and spine.predicate is None and spine.group is None:
            parts.append(spine.rhs)
            spine = spine.lhs
        parts.append(spine)
        parts.reverse()
        names: list[str] = []
        before = self.mark(node, "&")
        ident = self.out.ident
        for part in parts:
            value = self.stable(part, self.value(part, ctx))
            if value.kind != "str" or value.maybe:
                self.out.ident = ident
                name = self.temp()
                self.emit(f"{name} = {value.name} if {value.name}.__class__ is str else text(S, {value.name})")
                value = Val(name, "str", False)
            names.append(value.name)
        self.out.ident = ident
        name = self.temp()
        joined = " + ".join(names) if len(names) < 12 else f"''.join(({', '.join(names)}))"
        self.emit(f"{name} = {joined}")
        self.emit(f"if len({name}) > 256: long(S, {name})")
        self.out.ident = before
        return Val(name, "str", False)

    def negative(self, node: Node, ctx: Ctx) -> Val:
        value = self.value(node.expression, ctx)
        before = self.mark(node, "-", (value.trail,))
        name = self.temp()
        self.emit(f"{name} = negate({value.name})")
        self.out.ident = before
        return Val(name, "num", value.maybe)


SAFE_NAME = "9007199254740992"
