"""Common ground of the code generator: values at compile time, variables, dispatch, and putting a program together."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from typing import Any

from .. import arithmetic, comparing, invoke, joins, ordering, runtime, transform
from ..limits import Limits
from ..nodes import Node
from ..values import (
    EMPTY,
    FLAT,
    LISTS,
    SAFE,
    UNDEFINED,
    Cons,
    Function,
    Kept,
    Lambda,
    Native,
    Seq,
    TailCall,
    normal,
    settle,
)  # fmt: skip
from .emit import Def, Writer
from .scope import Scope, Variable, bound_names, has_closure
from .trail import Trail

#: marks a variable that no binding has reached yet
UNBOUND = type("Unbound", (), {"__slots__": ()})()


class Val:
    """What an emitted value is known to be: a Python name, its kind, and whether it may be UNDEFINED.

    kind: `any`, `str`, `bool`, `num` (int or float), `obj` (a dict), `fun`, or `seq` (a list of items, to be settled).
    """

    __slots__ = ("const", "kind", "maybe", "name", "trail")

    def __init__(
        self,
        name: str,
        kind: str = "any",
        maybe: bool = True,
        const: Any = UNDEFINED,
        trail: Trail | None = None,
    ) -> None:
        self.trail = trail
        self.name = name
        self.kind = kind
        self.maybe = maybe
        self.const = const


class Ctx:
    """The context value `$`. A `single` one is one item for a path even if it is a list."""

    __slots__ = ("kind", "name", "single", "trail")

    def __init__(self, name: str, single: bool = False, kind: str = "any", trail: Trail | None = None) -> None:
        self.trail = trail
        self.name = name
        self.single = single
        self.kind = kind


class Place:
    """Where a node stands in the text, for errors: see `MappingError`."""

    __slots__ = ("position", "start", "token", "trails")

    def __init__(self, position: int, start: int, token: str | None, trails: tuple[Trail | None, ...] = ()) -> None:
        self.position = position
        self.start = start
        self.token = token
        self.trails = trails


class Program:
    """A compiled tree. `run(context, bindings, state)` evaluates it."""

    def __init__(self, run: Callable[[Any, Any, Any], Any], places: list[Place], builtins: frozenset[str]) -> None:
        self.run = run
        self.places = places
        self.builtins = builtins
        #: whether it needs the account of an evaluation, and whether bindings can make a difference to it
        self.stateful = True
        self.bound = True
        self.undefined_inside = False


class Base:
    """State and small services that the parts of the generator share."""

    def __init__(self, functions: Mapping[str, Native], limits: Limits, dynamic: frozenset[str]) -> None:
        self.out = Writer(limits.tokens)
        self.functions = functions
        self.limits = limits
        #: names of built-ins that this evaluation's bindings hide
        self.dynamic = dynamic
        self.places: list[Place] = [Place(0, 0, None)]
        self.used: set[str] = set()
        self.scope = Scope(None, self.out.main)
        self.depth = 0
        self.joined: set[str] = set()
        self.regexes = False

    # writing

    def emit(self, line: str) -> None:
        self.out.emit(line)

    def temp(self) -> str:
        return self.out.temp()

    def const(self, value: Any) -> str:
        return self.out.constant(value)

    def atom(self, val: Val) -> Val:
        """The value under a plain name, so that it can be used more than once."""
        if val.name.isidentifier():
            return val
        name = self.temp()
        self.emit(f"{name} = {val.name}")
        return Val(name, val.kind, val.maybe, val.const, val.trail)

    def loose(self, val: Val) -> Val:
        """The value under a name that no constant hides behind."""
        if val.name.isidentifier() and val.name[0] not in "kU":
            return val
        name = self.temp()
        self.emit(f"{name} = {val.name}")
        return Val(name, val.kind, val.maybe, trail=val.trail)

    def mark(self, node: Node, token: str | None = None, trails: tuple[Trail | None, ...] = ()) -> int:
        """Number a node for errors; lines written from now on belong to it. Answers the number before."""
        before = self.out.ident
        self.places.append(Place(node.position, node.start, token, trails))
        self.out.ident = len(self.places) - 1
        return before

    # variables

    def declare(self, scope: Scope, node: Node) -> None:
        """Make the Python names of the variables that `:=` binds in this scope."""
        for name in sorted(bound_names(node)):
            if name not in scope.variables:
                made = Variable(self.out.temp("v"), scope.owner, False)
                scope.variables[name] = made
                self.emit(f"{made.name} = N")

    def assign(self, name: str, value: str) -> None:
        scope: Scope | None = self.scope
        while scope is not None and name not in scope.variables:
            scope = scope.parent
        assert scope is not None
        variable = scope.variables[name]
        if variable.owner is not self.out.current:
            self.foreign(variable)
        self.emit(f"{variable.name} = {value}")

    def foreign(self, variable: Variable) -> None:
        here: Def | None = self.out.current
        if here is not None and here is not variable.owner:
            here.foreign.add(variable.name)

    def variable(self, name: str) -> Val:
        """The value of `$name`: the nearest binding that has run."""
        steps: list[str] = []
        scope: Scope | None = self.scope
        key: str | None = None
        while scope is not None:
            if scope.tuple is not None and (name in self.joined or name.startswith("!")):
                key = key or self.const(name)
                steps.append(f"{scope.tuple}.get({key}, N)")
            variable = scope.variables.get(name)
            if variable is not None:
                steps.append(variable.name)
                if variable.bound:
                    return self._first(steps, None)
            scope = scope.parent
        native = self.functions.get(name)
        if native is not None and name not in self.dynamic:
            self.used.add(name)
            return self._first(steps, self.out.object(native))
        return self._first(steps, f"B.get({self.const(name)}, U)" if name else "U")

    def _first(self, steps: list[str], final: str | None) -> Val:
        """Code for the first of several places that holds a value."""
        if final is None:
            final = steps.pop()
        if not steps:
            return Val(final)
        name = self.temp()
        opened = 0
        for step in steps:
            self.emit(f"{name} = {step}")
            self.out.open(f"if {name} is N:")
            opened += 1
        self.emit(f"{name} = {final}")
        for _ in range(opened):
            self.out.close()
        return Val(name)

    def builtin(self, name: str) -> Native | None:
        """The built-in that `$name` surely is here."""
        if name in self.dynamic or name in self.joined:
            return None
        scope: Scope | None = self.scope
        while scope is not None:
            if name in scope.variables:
                return None
            scope = scope.parent
        found = self.functions.get(name)
        if found is not None:
            self.used.add(name)
        return found

    # loops

    def loop(
        self,
        items: str,
        node: Node,
        body: Callable[[Ctx], None],
        numbered: str | None = None,
        trail: Trail | None = None,
    ) -> None:
        """Run `body` for each of `items`; in a def of its own where closures or deep nesting ask for it."""
        item = self.out.temp("x")
        spilled = has_closure(node) or self.out.crowded()
        if not items.isidentifier():
            name = self.temp()
            self.emit(f"{name} = {items}")
            items = name
        inner = None if trail is None else trail.loop(item, items)
        self.emit(f"S.left -= len({items})")
        source = f"{items} if S.left >= 0 else S.turns({items})"
        head = f"{numbered}, {item} in enumerate({source})" if numbered else f"{item} in {source}"
        if not spilled:
            self.out.open(f"for {head}:", loop=True)
            body(Ctx(item, trail=inner))
            self.out.close(loop=True)
            return
        params = [item] if numbered is None else [item, numbered]
        made = self.out.begin(params)
        body(Ctx(item, trail=inner))
        self.emit("return")
        self.out.end()
        self.out.open(f"for {head}:", loop=True)
        self.emit(f"{made.name}({', '.join(params)})")
        self.out.close(loop=True)

    def value(self, node: Node, ctx: Ctx) -> Val:
        raise NotImplementedError

    def raw(self, node: Node, ctx: Ctx) -> Val:
        raise NotImplementedError


def known(variables: dict[str, Any]) -> dict[str, Any]:
    """The variables that have been bound by now."""
    return {name: value for name, value in variables.items() if value is not UNBOUND}


_state = re.compile(r"\bS\b")
_bindings = re.compile(r"\bB\b")

ENVIRONMENT: dict[str, Any] = {
    "U": UNDEFINED, "N": UNBOUND, "Seq": Seq, "Kept": Kept, "Cons": Cons, "Lambda": Lambda, "Native": Native,
    "TailCall": TailCall, "EMPTY": EMPTY, "LISTS": LISTS, "FLAT": FLAT, "SAFE": SAFE, "normal": normal,
    "settle": settle, "known": known, "Function": Function,
    **{
        name: value
        for module in (runtime, comparing, arithmetic, ordering, invoke, joins, transform)
        for name, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    },
    "HOLE": invoke.HOLE,
    "__builtins__": {"enumerate": enumerate, "len": len, "int": int, "float": float, "str": str, "dict": dict,
                     "bool": bool, "list": list, "tuple": tuple},
}  # fmt: skip


def compile_tree(
    tree: Node, functions: Mapping[str, Native], limits: Limits, dynamic: frozenset[str] = frozenset()
) -> Program:
    """Compile a resolved tree. `dynamic` names the built-ins that bindings will hide."""
    from .expressions import Coder

    coder = Coder(functions, limits, dynamic)
    coder.main(tree)
    module = coder.out.build()
    code = compile(module, "<mapping>", "exec", dont_inherit=True)
    world = {**ENVIRONMENT, **coder.out.objects}
    exec(code, world)
    program = Program(world["main"], coder.places, frozenset(coder.used))
    source = coder.out
    lines = [line for made in (source.main, *source.defs.values()) for _, line, _ in made.lines]
    program.stateful = any(_state.search(line) for line in lines)
    program.bound = bool(coder.used) or any(_bindings.search(line) for line in lines)
    program.undefined_inside = coder.regexes or not coder.used.isdisjoint(("decimal", "eval"))
    return program
