"""How a function is declared: once, with all that checking, documentation and tests need."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..signature import Signature
from ..values import Native

Example = tuple[str, Any]
Run = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Declared:
    """A function as declared. `examples` are expressions and values, executed by the tests and shown in the docs."""

    name: str
    signature: str
    run: Callable[..., Any]
    help: str
    examples: tuple[Example, ...]
    stateful: bool
    arity: int | None
    family: str
    quick: Run | None = None
    quick_arity: tuple[int, ...] = ()


def function(
    table: list[Declared],
    signature: str,
    *examples: Example,
    name: str | None = None,
    stateful: bool = False,
    arity: int | None = None,
    quick: Run | None = None,
    quick_arity: tuple[int, ...] = (1,),
) -> Callable[[Run], Run]:
    """Declare a function in its family's table. The docstring's first paragraph is its help.

    quick: a shortcut that answers common arguments without any check, and HOLE where it does not apply.
    """

    def declare(run: Run) -> Run:
        help_ = " ".join((inspect.getdoc(run) or "").split("\n\n")[0].split())
        family = run.__module__.rsplit(".", 1)[-1]
        called = name or run.__name__.rstrip("_")
        table.append(Declared(called, signature, run, help_, examples, stateful, arity, family, quick, quick_arity))
        return run

    return declare


def build(declared: Declared) -> Native:
    """The function value of a declaration."""
    parameters = list(inspect.signature(declared.run).parameters.values())
    width = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters) - declared.stateful
    arity = width if declared.arity is None else declared.arity
    made = Native(declared.name, declared.run, Signature(declared.signature), arity=arity, stateful=declared.stateful)
    made.width = width
    made.answer = declared.signature.rpartition(":")[2].rstrip(">") if ":" in declared.signature else ""
    made.quick, made.quick_arity = declared.quick, declared.quick_arity
    return made
