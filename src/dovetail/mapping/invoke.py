"""Calling functions: checked arguments, tail calls, `~>`, partial application."""

from __future__ import annotations

from typing import Any

from .errors import MappingError
from .values import UNDEFINED, Function, Lambda, Native, TailCall, is_function, normal

U = UNDEFINED
HOLE: Any = type("Hole", (), {"__slots__": (), "__repr__": lambda self: "?"})()


def start(state: Any, function: Any, args: tuple[Any, ...], context: Any) -> Any:
    """Call once; the answer may be a TailCall."""
    kind = function.__class__
    if kind is Lambda:
        if function.signature is not None:
            args = tuple(function.signature.validate(args, context))
        count = function.arity
        if len(args) != count:
            args = args[:count] if len(args) > count else args + (U,) * (count - len(args))
        return function.run(*args)
    if kind is Native:
        return native(state, function, args, context)
    if isinstance(function, Function):
        return function.run(*args)  # type: ignore[attr-defined]
    if is_function(function):
        return function(*args)
    raise MappingError("T1006", value=function)


def native(state: Any, function: Native, args: tuple[Any, ...], context: Any) -> Any:
    """Call a built-in or registered function with its arguments checked."""
    signature = function.signature
    if signature is not None:
        args = tuple(signature.validate(args, context))
    if function.stateful:
        return function.run(state, *args)
    return function.run(*args)


def learn(
    state: Any, function: Native, args: tuple[Any, ...], context: Any, fit: set[Any], places: tuple[int, ...]
) -> Any:
    """Call with arguments checked, and remember their classes if the check let them through as they were."""
    checked = function.signature.validate(args, context)
    same = len(args) <= len(checked) and all(map(_is, args, checked)) and not _typed(function.signature)
    if same and len(fit) < 64 and all(one is U for one in checked[len(args) :]):
        kinds = tuple(args[place].__class__ for place in places)
        fit.add(kinds[0] if len(kinds) == 1 else kinds)
    if function.stateful:
        return function.run(state, *checked)
    return function.run(*checked)


def learn_context(state: Any, function: Native, context: Any, fit: set[Any]) -> Any:
    """Call with the context as the only argument, and remember its class if the check lets it through."""
    checked = function.signature.validate((), context)
    same = checked[0] is context and context is not U and all(one is U for one in checked[1:])
    if same and len(fit) < 64 and not _typed(function.signature):
        fit.add(context.__class__)
    if function.stateful:
        return function.run(state, *checked)
    return function.run(*checked)


def _is(one: Any, two: Any) -> bool:
    return one is two


def _typed(signature: Any) -> bool:
    return any(one.type == "a" and one.subtype is not None for one in signature.parameters)


def invoke(state: Any, function: Any, args: tuple[Any, ...], context: Any) -> Any:
    """Call and carry on while the answer is a call in tail position."""
    result = start(state, function, args, context)
    while result.__class__ is TailCall:
        result = resume(state, result, context)
    return result


def resume(state: Any, call: TailCall, context: Any) -> Any:
    state.left -= 1
    if state.left < 0:
        state.tick()
    try:
        return start(state, call.function, call.args, context)
    except MappingError as error:
        if error.position is None and error.node is None:
            error.node = call.node
        raise


def bounce(state: Any, call: TailCall, context: Any) -> Any:
    """Finish a call that ended in a tail call."""
    result: Any = call
    while result.__class__ is TailCall:
        result = resume(state, result, context)
    return result


def call(state: Any, function: Any, *args: Any) -> Any:
    """Call from a higher-order function: no context, as many arguments as the function takes."""
    if function.__class__ is Lambda and function.signature is None and function.arity == len(args):
        result = function.run(*args)
        return bounce(state, result, None) if result.__class__ is TailCall else result
    return invoke(state, function, args, None)


def arity(function: Any) -> int:
    """How many arguments a higher-order function may pass."""
    return function.arity if isinstance(function, Function) else 1


def missing(name: str, known: bool, code: str) -> Any:
    """Refuse a call of a path that is no function, with a hint if only the `$` was forgotten."""
    raise MappingError(code if known else ("T1006" if code == "T1005" else "T1008"), token=name)


def chain(state: Any, value: Any, function: Any) -> Any:
    """`value ~> function`: apply it, or compose two functions."""
    if not is_function(function):
        raise MappingError("T2006", value=function)
    if is_function(value):
        return Lambda(lambda x: normal(invoke(state, function, (normal(invoke(state, value, (x,), None)),), None)), 1)
    return invoke(state, function, (value,), None)


def partial(state: Any, function: Any, args: tuple[Any, ...]) -> Any:
    """`$f(a, ?)`: a function of the holes."""
    if not is_function(function):
        raise MappingError("T1008")
    count = function.width if function.__class__ is Native else arity(function)
    fixed = tuple(args[:count]) + (U,) * (count - len(args))
    holes = [place for place, one in enumerate(fixed) if one is HOLE]

    def run(*given: Any) -> Any:
        filled = list(fixed)
        for place, value in zip(holes, given, strict=True):
            filled[place] = value
        while filled and filled[-1] is U:
            filled.pop()
        if function.__class__ is Lambda:
            return function.run(*filled, *(U,) * (count - len(filled)))
        return normal(invoke(state, function, tuple(filled), U))

    return Lambda(run, len(holes))
