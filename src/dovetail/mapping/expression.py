"""The way in: a text becomes an `Expression`, which is evaluated as often as you like."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from .checker import lineage
from .codegen import Program, compile_tree
from .codegen.coder import Place
from .codegen.trail import Trail
from .errors import MappingError
from .functions.registry import BUILTINS, native
from .limits import Environment, Limits, State, Unwatched, running, spend, watched
from .parser import parse
from .values import UNDEFINED, Exact, Native

DEFAULT = Limits()
#: tokens that a text for `$eval` may have
EVALUATED = 1000


class Expression:
    """A compiled expression. It holds no state of an evaluation and may be shared between threads."""

    def __init__(self, text: str, functions: Mapping[str, Native], limits: Limits) -> None:
        self.text = text
        self.limits = limits
        self._functions = functions
        #: texts that `$eval` met before
        self._inner: dict[str, Expression] = {}
        self._variants: dict[frozenset[str], Program] = {}
        try:
            if len(text) > limits.source:
                raise MappingError("S0502", position=0, value=limits.source)
            self._program = compile_tree(parse(text, limits.tokens), functions, limits)
        except MappingError as error:
            error.locate(text, error.position or 0, error.position or 0, None)
            raise
        except RecursionError:
            deep = MappingError("S0501", position=0, start=0)
            deep.locate(text, 0, 0, None)
            raise deep from None
        self._run = self._program.run
        self._open = self._program.bound
        self._stateful = self._program.stateful or self._program.undefined_inside

    def evaluate(
        self,
        input: Any = UNDEFINED,
        bindings: Mapping[str, Any] | None = None,
        *,
        environment: Environment | None = None,
    ) -> Any:
        """The expression's value on `input`, UNDEFINED if it has none.

        bindings: variables by name without `$`; they may be values or functions. environment: the world that `$now`,
        `$millis` and `$random` see (`now_ms`, `random()`), the machine's own by default. Raises MappingError.
        """
        try:
            if bindings and self._open:
                return self._bound(input, bindings, environment)
            if not self._stateful:
                try:
                    return self._run(input, NOTHING, None)
                except Unwatched:
                    pass  # a long list after all: once more, with a clock
            return self._watched(self._program, input, NOTHING, environment)
        except MappingError as error:
            self._place(error, self._program)
            raise
        except RecursionError as error:
            raise self._deep() from error

    def evaluate_text(self, state: State, text: str, focus: Any) -> Any:
        """`$eval`: a text as an expression, on the root or on `focus`."""
        inner = self._inner.get(text)
        if inner is None:
            try:
                short = min(self.limits.tokens, EVALUATED)
                inner = Expression(text, self._functions, replace(self.limits, tokens=short))
                state.tick()
            except MappingError as error:
                raise MappingError("D3120", value=error.message) from None
            if len(self._inner) < 32 and len(text) < 10_000:
                self._inner[text] = inner
        try:
            context, local = state.scope or (state.root, {})
            bindings = {**state.bindings, **local}
            program = inner._for(bindings)
            return program.run(context if focus is UNDEFINED else focus, bindings, state)
        except MappingError as error:
            if error.code == "U1001":
                raise
            inner._place(error, program)
            raise MappingError("D3121", value=error.message) from None

    def _for(self, bindings: Mapping[str, Any]) -> Program:
        """The program to run with these bindings: built-ins that they hide are looked up."""
        hidden = self._program.builtins.intersection(bindings)
        if not hidden:
            return self._program
        found = self._variants.get(hidden)
        if found is None:
            found = compile_tree(parse(self.text, self.limits.tokens), self._functions, self.limits, hidden)
            self._variants[hidden] = found
        return found

    def _bound(self, input: Any, bindings: Mapping[str, Any], environment: Any) -> Any:
        """Evaluate with variables; those that hide a built-in ask for a program of their own."""
        program = self._for(bindings)
        given = bindings
        if not CALLABLE.isdisjoint(map(type, bindings.values())):
            given = {name: native(name, one) if type(one) in CALLABLE else one for name, one in bindings.items()}
        try:
            return self._watched(program, input, given, environment)
        except MappingError as error:
            self._place(error, program)
            raise

    def _watched(self, program: Program, input: Any, given: Mapping[str, Any], environment: Any) -> Any:
        """Run with an account of its own."""
        before = running.state
        running.state = state = State(self.limits, input, given, self, environment)
        try:
            value = program.run(input, given, state)
            return outside(value) if program.undefined_inside else value
        finally:
            running.state = before

    def _place(self, error: MappingError, program: Program) -> None:
        """Name the place of an error: the innermost line of generated code that it passed through."""
        if error.line is not None:
            return
        ident = error.node
        values: dict[str, Any] = {}
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<mapping>":
                values.update(trace.tb_frame.f_locals)
                if error.node is None:
                    ident = trace.tb_lineno - 1
            trace = trace.tb_next
        if ident is not None and 0 < ident < len(program.places):
            place = program.places[ident]
            trail = at_fault(error, place)
            error.path = None if trail is None else trail.show(values)
            error.locate(self.text, place.position, place.start, place.token)
        else:
            error.locate(self.text, 0, 0, None)

    def _deep(self) -> MappingError:
        error = MappingError("U1001", value="The expression is nested too deeply while running")
        error.locate(self.text, 0, 0, None)
        return error

    @property
    def reads(self) -> tuple[tuple[str, ...], ...]:
        """The input paths that the expression reads; `*` and `**` stand for any name and any depth."""
        return lineage(self.text)[0]

    @property
    def writes(self) -> tuple[tuple[str, ...], ...]:
        """The paths that the expression writes in its result, as far as their names are fixed."""
        return lineage(self.text)[1]

    def __repr__(self) -> str:
        return f"<Expression {self.text[:60]!r}>"


def at_fault(error: MappingError, place: Place) -> Trail | None:
    """Where the value at fault came from: the operand or argument that the error is about."""
    which = 1 if error.code == "T2002" else error.details.get("index", 1) - 1 if error.code.startswith("T041") else 0
    return place.trails[which] if which < len(place.trails) else None


#: plain Python functions among the bindings become functions of the language
CALLABLE = frozenset((types.FunctionType, types.MethodType, types.BuiltinFunctionType))
NOTHING: dict[str, Any] = {}


def outside(value: Any) -> Any:
    """A value as it leaves: a match group that took no part is null, and a `$decimal` is a Decimal."""
    if isinstance(value, dict):
        spend(1)
        return {key: outside(one) for key, one in watched(value.items())}
    if isinstance(value, list):
        spend(1)
        return [None if one is UNDEFINED else outside(one) for one in watched(value)]
    return Decimal(value) if value.__class__ is Exact else value


def compile(
    text: str, *, functions: Mapping[str, Callable[..., Any] | Native] | None = None, limits: Limits | None = None
) -> Expression:
    """Compile an expression. Raises MappingError with line and column if its text is wrong.

    functions: further functions by name without `$`; plain callables, or `define(...)` for a checked signature.
    limits: see `Limits`; None means the defaults.
    """
    known: Mapping[str, Native] = BUILTINS
    if functions:
        known = {**BUILTINS, **{name: native(name, one) for name, one in functions.items()}}
    return Expression(text, known, limits or DEFAULT)
