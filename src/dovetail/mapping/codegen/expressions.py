"""The whole generator: which part emits which node, and what is common to all nodes."""

from __future__ import annotations

from collections.abc import Callable

from ..nodes import Node
from .calls import Calls
from .coder import Ctx, Val
from .objects import Objects
from .operators import Operators
from .paths import Paths
from .trail import Trail

#: kinds whose values are never a sequence that has to be settled
SETTLED = ("flat", "str", "num", "bool", "obj", "fun", "null", "list", "cons", "tuples")
#: indentation from which on code goes into a def of its own
DEEP = 60
#: nodes whose evaluation takes time, and how many of them lie between two looks at the clock
BUSY = frozenset(("path", "function", "apply", "binary", "wildcard", "descendant", "group"))
OFTEN = 100
#: nodes that hand on a value that has been settled
PASSING = ("variable", "block", "condition", "bind", "parent")


class Coder(Operators, Objects, Paths, Calls):
    """Emits a tree."""

    def main(self, tree: Node) -> None:
        stack = [tree]
        while stack:
            one = stack.pop()
            self.joined.update(name for name in (one.focus, one.index) if name)
            if one.type == "index":
                self.joined.add(one.value)
            stack.extend(one.children())
        self.emit("c0 = c")
        wrap = Node("block")
        wrap.expressions = [tree]
        self.declare(self.scope, wrap)
        self.straight = tree.type == "bind"
        value = self.value(tree, Ctx("c", single=True, trail=Trail()))
        value = self.atom(value)
        self.emit(f"return {self.escape(value)}")

    def value(self, node: Node, ctx: Ctx) -> Val:
        """Emit a node; answers its settled value."""
        if self.out.current.indent >= DEEP:
            return self.apart(node, ctx)
        self.depth += 1
        straight = self.straight
        self.straight = straight and node.type == "bind"
        if node.type == "path":
            result = self.path_value(node, ctx)
        elif node.predicate is None and node.group is None:
            result = self.settled(node, self.raw(node, ctx))
        else:
            result = self.refined(node, ctx)
        self.straight = straight
        self.depth -= 1
        if node.type in BUSY:
            self.since += 1
            if self.since >= OFTEN:
                self.look()
        return result

    #: nodes that were emitted since code last looked at the clock
    since = 0

    def look(self) -> None:
        """Long code without a loop charges its length as well."""
        self.emit(f"S.left -= {self.since}")
        self.emit("if S.left < 0: S.tick()")
        self.since = 0

    def apart(self, node: Node, ctx: Ctx) -> Val:
        """A node in a def of its own, as Python does not indent without end."""
        straight, self.straight = self.straight, False
        made = self.out.begin([])
        value = self.value(node, ctx)
        self.emit(f"return {value.name}")
        self.out.end()
        self.straight = straight
        name = self.temp()
        self.emit(f"{name} = {made.name}()")
        return Val(name, value.kind, value.maybe)

    def path_value(self, node: Node, ctx: Ctx) -> Val:
        node.keep_singleton = node.keep_singleton or node.keep_array
        if node.group is not None:
            current, form = self.path(node, ctx, raw=True)
            if form == "tuples":
                return self.group_tuples(node.group, current.name)
            source = f"({current.name},)" if form == "one" else current.name
            if form == "value":
                kept = node.keep_singleton and node.steps[-1].consarray
                source = f"({current.name},)" if kept else f"steps_of({current.name})"
            name = self.temp()
            self.emit(f"{name} = {source} or (U,)")
            return self.group(node.group, name, True, ctx)
        if node.steps[0].consarray and not any(step.tuple for step in node.steps):
            return self.constructed_path(node, ctx)
        current, form = self.path(node, ctx)
        if form == "tuples":
            return current
        return self.finish(node, current, form)

    def constructed_path(self, node: Node, ctx: Ctx) -> Val:
        """A path that starts with `[...]`: if that is empty, it is the path's value."""
        first = self.atom(self.value(node.steps[0], ctx))
        name = self.temp()
        self.out.open(f"if not {first.name}:")
        self.emit(f"{name} = {f'Kept([{first.name}])' if node.keep_singleton else first.name}")
        self.out.close()
        self.out.open("else:")
        current, form = self.walk(node, node.steps[1:], first, "value", True)
        self.emit(f"{name} = {self.finish(node, current, form).name}")
        self.out.close()
        return Val(name)

    def plain_list(self, node: Node, ctx: Ctx) -> Val:
        """A path's items as a bare list where that comes naturally, else its value."""
        self.depth += 1
        straight, self.straight = self.straight, False
        current, form = self.path(node, ctx)
        name = self.temp()
        if form == "items" and not node.keep_singleton:
            self.emit(f"{name} = {current.name} if {current.name} and {current.name} != [U] else U")
        else:
            self.emit(f"{name} = {self.finish(node, current, form).name}")
        self.straight = straight
        self.depth -= 1
        return Val(name, trail=current.trail)

    def refined(self, node: Node, ctx: Ctx) -> Val:
        """A node that is no path, with its predicates and its group."""
        current = self.atom(self.raw(node, ctx))
        if current.kind == "tuples":
            self.tuple_stages(node.predicate or [], current.name)
            return current if node.group is None else self.group_tuples(node.group, current.name)
        form = "value"
        if node.predicate is not None:
            current, form = self.filters(node.predicate, current, "filtered")
        if node.group is not None:
            return self.group(node.group, current.name, False, ctx)
        name = self.temp()
        if form == "items":
            self.emit(f"{name} = {'keep' if node.keep_array else 'settle'}({current.name})")
        else:
            self.emit(f"{name} = {'kept_one' if node.keep_array else 'normal'}({current.name})")
        return Val(name, trail=current.trail)

    def settled(self, node: Node, raw: Val) -> Val:
        if raw.kind in SETTLED or (node.type in PASSING and not node.keep_array):
            return raw
        raw = self.atom(raw)
        name = self.temp()
        if node.keep_array:
            self.emit(f"{name} = keep_value({raw.name})")
            raw, name = Val(name), self.temp()
        self.emit(f"{name} = normal({raw.name}) if {raw.name}.__class__ is Seq else {raw.name}")
        return Val(name)

    def raw(self, node: Node, ctx: Ctx) -> Val:
        """Emit a node without settling its value."""
        if node.type == "unary":
            if node.value == "[":
                return self.array(node, ctx)
            return self.construct(node, ctx) if node.value == "{" else self.negative(node, ctx)
        method: Callable[[Node, Ctx], Val] = getattr(self, f"_{node.type}")
        return method(node, ctx)
