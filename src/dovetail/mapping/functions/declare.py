"""How a function is declared: once, with all that checking, documentation and tests need."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..signature import Signature
from ..values import Native

Example = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Declared:
    """A function as declared. `examples` are expressions with their values, executed by the tests and shown in the docs."""

    name: str
    signature: str
    run: Callable[..., Any]
    help: str
    examples: tuple[Example, ...]
    stateful: bool
    arity: int | None
    family: str


Run = Callable[..., Any]


def function(
    table: list[Declared],
    signature: str,
    *examples: Example,
    name: str | None = None,
    stateful: bool = False,
    arity: int | None = None,
) -> Callable[[Run], Run]:
    """Declare a function in its family's table. The docstring's first paragraph is its help."""

    def declare(run: Run) -> Run:
        help_ = " ".join((inspect.getdoc(run) or "").split("\n\n")[0].split())
        family = run.__module__.rsplit(".", 1)[-1]
        called = name or run.__name__.rstrip("_")
        table.append(Declared(called, signature, run, help_, examples, stateful, arity, family))
        return run

    return declare


def build(declared: Declared) -> Native:
    """The function value of a declaration."""
    parameters = list(inspect.signature(declared.run).parameters.values())
    width = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters) - declared.stateful
    arity = width if declared.arity is None else declared.arity
    made = Native(declared.name, declared.run, Signature(declared.signature), arity=arity, stateful=declared.stateful)
    made.width = width
    return made
