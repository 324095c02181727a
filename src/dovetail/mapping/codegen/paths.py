"""Paths: steps, predicates, order-by, and joins."""

from __future__ import annotations

import math

from ..nodes import Node
from .coder import Base, Ctx, Val
from .objects import FLAT_KINDS
from .scope import Scope

# The forms in which a path hands its value from step to step:
#   one    a single item, even if it is a list
#   value  a list stands for its items, UNDEFINED for none, anything else for itself
#   context  as value, but where nothing is, the first step still runs once
#   items  a Python list of items
#   final  the finished value


class Paths(Base):
    """Emits paths. A path is evaluated step by step, each over the items that the step before left."""

    def path(self, node: Node, ctx: Ctx, raw: bool = False) -> tuple[Val, str]:
        """The path's value and its form; with `raw` never final, as filters and groups want it."""
        if any(step.tuple for step in node.steps):
            return self.joined_path(node, ctx, raw)
        current, form = self.begin(node, ctx)
        steps = node.steps
        if steps[0].consarray:
            current, form = self.atom(self.value(steps[0], ctx)), "value"
            steps = steps[1:]
        return self.walk(node, steps, current, form, not raw)

    def walk(self, node: Node, steps: list[Node], current: Val, form: str, ends: bool) -> tuple[Val, str]:
        for place, step in enumerate(steps):
            current, form = self.step(node, step, current, form, ends and place == len(steps) - 1)
        return current, form

    def begin(self, node: Node, ctx: Ctx) -> tuple[Val, str]:
        single = ctx.single or node.steps[0].type == "variable" or ctx.kind == "obj"
        return Val(
            ctx.name, ctx.kind, trail=ctx.trail if node.steps[0].type != "variable" else None
        ), "one" if single else "context"

    def finish(self, node: Node, current: Val, form: str) -> Val:
        """The path's value as seen from outside."""
        if form == "final":
            return current
        name = self.temp()
        if form == "items":
            self.emit(f"{name} = {'keep' if node.keep_singleton else 'settle'}({current.name})")
        else:
            self.emit(f"{name} = {'kept_one' if node.keep_singleton else 'normal'}({current.name})")
        return Val(name, trail=current.trail)

    def step(self, node: Node, step: Node, current: Val, form: str, last: bool) -> tuple[Val, str]:
        if step.type == "sort":
            return self.sort_step(step, current, form)
        if step.type == "name" and not step.stages and step.group is None:
            return self.name_step(node, step, current, form, last)
        if form == "one":
            return self.single_step(node, step, current, last)
        return self.loop_step(node, step, current, form, last)

    def name_step(self, node: Node, step: Node, current: Val, form: str, last: bool) -> tuple[Val, str]:
        here, key, name = current.name, self.const(step.value), self.temp()
        if form == "one":
            slow = "field"
        elif last:
            slow = "kept_field" if node.keep_singleton else "last_field"
        else:
            slow = "fields"
        fast = f"{here}.get({key}, U)"
        if last and node.keep_singleton:
            fast = f"kept_one({fast})"
            slow = "kept_field" if form != "one" else slow
        if form == "one" and last and node.keep_singleton:
            self.emit(f"{name} = kept_one({here}.get({key}, U) if {here}.__class__ is dict else field({here}, {key}))")
        elif form == "items":
            self.emit(f"{name} = {slow}({here}, {key})")
        elif current.kind == "obj":
            self.emit(f"{name} = {fast}")
        else:
            self.emit(f"{name} = {fast} if {here}.__class__ is dict else {slow}({here}, {key})")
        trail = current.trail.step(step.value) if current.trail is not None else None
        return Val(name, trail=trail), "final" if last else "value"

    def single_step(self, node: Node, step: Node, current: Val, last: bool) -> tuple[Val, str]:
        """A step on one item: no loop."""
        value, form = self.staged(step, Ctx(current.name, True, current.kind, current.trail))
        if form == "items":
            return value, "items"
        if not last:
            return value, "value"
        if value.kind in FLAT_KINDS and not node.keep_singleton:
            return value, "final"
        name = self.temp()
        self.emit(f"{name} = {'kept_one' if node.keep_singleton else 'normal'}({value.name})")
        return Val(name, value.kind if value.kind in FLAT_KINDS else "any", value.maybe, trail=value.trail), "final"

    def loop_step(self, node: Node, step: Node, current: Val, form: str, last: bool) -> tuple[Val, str]:
        found = self.temp()
        items = current.name
        if form in ("value", "context"):
            items = self.temp()
            slow = "items_of" if form == "context" else "steps_of"
            self.emit(f"{items} = {self.iterated(current.name, slow)}")
        self.emit(f"{found} = []")
        known: list[Val] = []

        def body(item: Ctx) -> None:
            value, value_form = self.staged(step, item)
            if value_form == "items":
                self.emit(f"{found}.append(Seq({value.name}))" if last else f"{found}.extend({value.name})")
                known.append(Val("", "any" if last else "obj", trail=value.trail))
                return
            known.append(value)
            if value.kind in FLAT_KINDS and not value.maybe:
                self.emit(f"{found}.append({self.leave(value)})")
                return
            value = self.atom(value)
            self.emit(f"if {value.name} is not U: {found}.append({self.leave(value)})")

        self.loop(items, step, body, None, current.trail)
        trail = known[0].trail.outside() if known[0].trail is not None else None
        if known[0].kind in FLAT_KINDS:
            return Val(found, "seq", False, trail=trail), "items"
        if last:
            name = self.temp()
            self.emit(f"{name} = {'last_kept' if node.keep_singleton else 'last'}({found})")
            return Val(name, trail=trail), "final"
        whole = node.group is not None and step is node.steps[-1] and not node.keep_singleton
        self.emit(f"{found} = {'flat_last' if whole else 'flat'}({found})")
        return Val(found, "seq", False, trail=trail), "items"

    def iterated(self, name: str, slow: str) -> str:
        return f"{name} if {name}.__class__ is list else ({name},) if {name}.__class__ is dict else {slow}({name})"

    def leave(self, value: Val) -> str:
        if value.kind == "num" and not isinstance(value.const, int | float):
            value = self.atom(value)
            return f"(tidy({value.name}) if {value.name}.__class__ is float else {value.name})"
        return value.name

    def staged(self, step: Node, ctx: Ctx) -> tuple[Val, str]:
        """One step on one item, with its predicates."""
        if step.type == "name":
            name = self.temp()
            key = self.const(step.value)
            self.emit(
                f"{name} = {ctx.name}.get({key}, U) if {ctx.name}.__class__ is dict else field({ctx.name}, {key})"
            )
            value = Val(name, trail=ctx.trail.step(step.value) if ctx.trail is not None else None)
        else:
            value = self.value(step, ctx)
        if not step.stages:
            return value, "value"
        return self.filters(step.stages, self.atom(value), "filtered")

    def filters(self, stages: list[Node], current: Val, form: str) -> tuple[Val, str]:
        """Predicates, one after the other. Where nothing is, a predicate still sees it once."""
        for stage in stages:
            current, form = self.filter(stage.expression, current, form)
        return current, "value" if form == "filtered" else form

    def filter(self, test: Node, current: Val, form: str) -> tuple[Val, str]:
        if test.type == "number" and test.predicate is None:
            name = self.temp()
            self.emit(f"{name} = pick({current.name}, {self.const(math.floor(test.value))})")
            return Val(name, trail=current.trail), "filtered"
        items = current.name
        if form != "items":
            items = self.temp()
            self.emit(f"{items} = {self.iterated(current.name, 'items_of')}")
        found, index = self.temp(), self.out.temp("i")
        self.emit(f"{found} = []")
        plain = self.boolean(test)

        def body(item: Ctx) -> None:
            value = self.value(test, item)
            if plain and value.kind == "bool":
                self.emit(f"if {value.name} is True: {found}.append({item.name})")
                return
            value = self.loose(value)
            self.out.open(f"if {value.name} is True:")
            self.emit(f"{found}.append({item.name})")
            self.out.close()
            self.out.open(f"elif {value.name} is not False and {value.name} is not U:")
            self.emit(f"select({value.name}, {'0' if plain else index}, len({items}), {item.name}, {found})")
            self.out.close()

        self.loop(items, test, body, None if plain else index, current.trail)
        trail = current.trail.filtered(items) if current.trail is not None else None
        return Val(found, "seq", False, trail=trail), "items"

    def boolean(self, test: Node) -> bool:
        """Whether a predicate can only answer true, false or nothing."""
        return (
            test.type == "binary"
            and test.value in ("=", "!=", "<", "<=", ">", ">=", "and", "or", "in")
            and not (test.predicate or test.group)
        )

    # order-by

    def terms(self, step: Node, joined: bool) -> str:
        made: list[str] = []
        for term in step.terms:
            if joined:
                name = self.inner(term.expression)
            else:
                item = self.out.temp("x")
                name = self.out.begin([item]).name
                value = self.value(term.expression, Ctx(item))
                self.emit(f"return {value.name}")
                self.out.end()
            made.append(f"({name}, {term.descending})")
        return f"({', '.join(made)},)"

    def sort_step(self, step: Node, current: Val, form: str) -> tuple[Val, str]:
        before = self.mark(step, "^")
        items, name = self.temp(), self.temp()
        self.emit(f"{items} = {current.name}" if form == "items" else f"{items} = steps_of({current.name})")
        if form == "one":
            self.emit(f"{items} = ({current.name},)")
        self.emit(f"S.charge({items})")
        terms = self.terms(step, False)
        self.emit(f"{name} = ordered(list({items}), {terms})")
        self.out.ident = before
        current, form = Val(name, "seq", False), "items"
        return self.filters(step.stages, current, form) if step.stages else (current, form)

    # joins: a stream of tuples, each a dict of "@" (the item), the bound variables and the ancestors

    def inner(self, node: Node) -> str:
        """A def of one tuple that evaluates `node` on it."""
        tuple_ = self.out.temp("u")
        made = self.out.begin([tuple_])
        before, self.scope = self.scope, Scope(self.scope, made, tuple_)
        straight = getattr(self, "straight", False)
        self.straight = False
        self.declare(self.scope, node)
        item = self.out.temp("x")
        self.emit(f"{item} = {tuple_}['@']")
        value = self.value(node, Ctx(item))
        self.emit(f"return {value.name}")
        self.straight = straight
        self.scope = before
        self.out.end()
        return made.name

    def joined_path(self, node: Node, ctx: Ctx, raw: bool) -> tuple[Val, str]:
        current, form = self.begin(node, ctx)
        stream: str | None = None
        for place, step in enumerate(node.steps):
            joined = stream is not None or step.tuple
            if place == 0 and step.consarray:
                current, form = self.atom(self.value(step, ctx)), "value"
                if joined:
                    stream = self.tuples(current, form)
                continue
            if not joined:
                current, form = self.step(node, step, current, form, False)
                continue
            if stream is None:
                stream = self.tuples(current, form)
            stream = self.tuple_step(step, stream, place)
        assert stream is not None
        if node.tuple or raw:
            return Val(stream, "tuples", False), "tuples"
        name = self.temp()
        self.emit(f"{name} = items_in({stream})")
        return Val(name, "seq", False), "items"

    def tuples(self, current: Val, form: str) -> str:
        name = self.temp()
        slow = "items_of" if form == "context" else "steps_of"
        source = f"({current.name},)" if form == "one" else f"{slow}({current.name})"
        self.emit(f"{name} = stream({source})")
        return name

    def tuple_step(self, step: Node, stream: str, place: int) -> str:
        before = self.mark(step)
        name = self.temp()
        if step.type == "sort":
            terms = self.terms(step, True)
            index = self.const(step.index) if step.index else "None"
            self.emit(f"{name} = sort_tuples({stream}, {terms}, {index})")
        else:
            stages, step.stages = step.stages, None
            function = self.inner(step)
            step.stages = stages
            focus = self.const(step.focus) if step.focus else "None"
            index = self.const(step.index) if step.index else "None"
            label = self.const(step.ancestor.label) if step.ancestor else "None"
            self.emit(f"S.charge({stream})")
            self.emit(f"{name} = join(S, {function}, {stream}, {focus}, {index}, {label})")
        self.tuple_stages(step.stages or [], name)
        self.out.ident = before
        return name

    def tuple_stages(self, stages: list[Node], name: str) -> None:
        for stage in stages:
            if stage.type == "index":
                self.emit(f"number_tuples({name}, {self.const(stage.value)})")
            elif stage.expression.type == "number":
                self.emit(f"{name} = pick_tuple({name}, {self.const(math.floor(stage.expression.value))})")
            else:
                self.emit(f"{name} = filter_tuples(S, {name}, {self.inner(stage.expression)})")

    def group_tuples(self, node: Node, stream: str) -> Val:
        pairs = [f"({self.inner(key)}, {self.inner(value)})" for key, value in node.pairs]
        name = self.temp()
        before = self.mark(node)
        self.emit(f"{name} = group_joined(S, {stream}, ({', '.join(pairs)}{',' if pairs else ''}))")
        self.out.ident = before
        return Val(name, "obj", False)
