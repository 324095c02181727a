"""Array and object constructors, and grouping."""

from __future__ import annotations

from ..nodes import Node
from .coder import Base, Ctx, Val

FLAT_KINDS = ("str", "num", "bool", "obj", "fun", "null", "flat")


class Objects(Base):
    """Emits `[...]`, `{...}` and `path{...}`."""

    def array(self, node: Node, ctx: Ctx) -> Val:
        if len(node.expressions) == 1 and node.expressions[0].type == "binary" and node.expressions[0].value == "..":
            return self.range(node, ctx)
        values = []
        simple = True
        found = self.temp()
        mark = len(self.out.current.lines)
        self.emit(f"{found} = []")
        for item in node.expressions:
            value = self.item(item, ctx)
            values.append(value)
            if value.kind in FLAT_KINDS and not value.maybe:
                self.emit(f"{found}.append({self.escape(value)})")
                continue
            simple = False
            if item.type == "unary" and item.value == "[":
                self.emit(f"{found}.append({value.name})")
            else:
                self.emit(f"extend(S, {found}, {self.escape(value)})")
        if simple and values and len(self.out.current.lines) == mark + 1 + len(values):
            # nothing but constants and names: one list display
            del self.out.current.lines[mark:]
            self.emit(f"{found} = [{', '.join(self.escape(value) for value in values)}]")
        if len(values) > 8 or not simple:
            self.emit(f"if len({found}) > 256: S.cells(len({found}))")
        if node.consarray:
            self.emit(f"{found} = Cons({found})")
        return Val(found, "cons" if node.consarray else "list", False)

    def range(self, node: Node, ctx: Ctx) -> Val:
        """`[a..b]`: the range is the array."""
        value = self.raw(node.expressions[0], ctx)
        found = self.temp()
        self.emit(f"{found} = [] if {value.name} is U else {value.name}")
        if node.consarray:
            self.emit(f"{found} = Cons({found})")
        return Val(found, "cons" if node.consarray else "list", False)

    def item(self, item: Node, ctx: Ctx) -> Val:
        value = self.value(item, ctx)
        return value if value.kind in FLAT_KINDS and not value.maybe else self.atom(value)

    def escape(self, value: Val) -> str:
        """A computed number as it leaves for the outside."""
        if value.kind == "num" and not isinstance(value.const, int | float):
            value = self.atom(value)
            return f"(proper({value.name}) if {value.name}.__class__ is float else {value.name})"
        return value.name

    def construct(self, node: Node, ctx: Ctx) -> Val:
        """`{...}` on the context."""
        if not all(key.type == "string" and not key.predicate for key, _ in node.pairs) or len(
            {key.value for key, _ in node.pairs}
        ) < len(node.pairs):
            return self.group(node, ctx.name if not ctx.single else f"({ctx.name},)", ctx.single, ctx)
        if not ctx.single and ctx.kind != "obj" and node.pairs:
            name = self.temp()
            self.emit(f"{name} = {ctx.name} if {ctx.name}.__class__ is dict else merged({ctx.name})")
            ctx = Ctx(name, trail=ctx.trail)
        return self.fixed(node, ctx)

    def fixed(self, node: Node, ctx: Ctx) -> Val:
        """An object whose keys are all known: one value after the other."""
        made = self.temp()
        self.emit(f"{made} = {{}}")
        for key, item in node.pairs:
            before = self.mark(key)
            if key.value in ("_jsonata_lambda", "_jsonata_function"):
                self.emit(f"check_key({self.const(key.value)})")
            self.out.ident = before
            value = self.value(item, ctx)
            if value.maybe:
                value = self.atom(value)
                self.emit(f"if {value.name} is not U: {made}[{self.const(key.value)}] = {self.escape(value)}")
            else:
                self.emit(f"{made}[{self.const(key.value)}] = {self.escape(value)}")
        return Val(made, "obj", False)

    def group(self, node: Node, source: str, exact: bool, ctx: Ctx) -> Val:
        """`items{key: value}`: gather the items by key, then evaluate each group's value once."""
        groups, made = self.temp(), self.temp()
        items = self.temp()
        before = self.mark(node)
        ident = self.out.ident
        self.emit(f"{items} = {source}" if exact else f"{items} = items_of({source}) or (U,)")
        self.emit(f"{groups} = {{}}")

        def gather(item: Ctx) -> None:
            self.emit("pass")
            for place, (key, _) in enumerate(node.pairs):
                value = self.value(key, item)
                self.out.ident = ident
                self.emit(f"grouped({groups}, {value.name}, {place}, {item.name})")

        self.loop(items, node, gather)
        self.emit(f"{made} = {{}}")
        entry, key_name, value_name = self.temp(), self.temp(), self.temp()

        def evaluate(name: Ctx) -> None:
            self.emit(f"{key_name} = {name.name}")
            self.emit(f"{entry} = {groups}[{key_name}]")
            inner = Ctx(self.temp())
            self.emit(f"{inner.name} = {entry}[1]")
            for place, (_, item) in enumerate(node.pairs):
                if len(node.pairs) > 1:
                    self.out.open(f"if {entry}[0] == {place}:")
                value = self.atom(self.value(item, inner))
                self.emit(f"{value_name} = {self.escape(value)}")
                if len(node.pairs) > 1:
                    self.out.close()
            if not node.pairs:
                self.emit(f"{value_name} = U")
            self.emit(f"if {value_name} is not U: {made}[{key_name}] = {value_name}")

        self.loop(f"list({groups})", node, evaluate)
        self.out.ident = before
        return Val(made, "obj", False)
