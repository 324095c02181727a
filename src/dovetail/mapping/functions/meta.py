"""Errors on purpose, and text as an expression."""

from __future__ import annotations

from typing import Any

from ..comparing import truth
from ..errors import MappingError
from ..values import UNDEFINED
from .declare import Declared, function

U = UNDEFINED
FUNCTIONS: list[Declared] = []


@function(FUNCTIONS, "<s?:x>")
def error(message: Any = U) -> Any:
    """Stop with a message: the mapping fails with code D3137."""
    raise MappingError("D3137", value=message if message else "$error() function evaluated")


@function(FUNCTIONS, "<bs?:x>", ('$assert(1 = 1, "wrong")', U), name="assert")
def assert_(condition: Any, message: Any = U) -> Any:
    """Stop with a message (code D3141) unless the condition is true."""
    if not truth(condition):
        raise MappingError("D3141", value=message if message else "$assert() statement failed")
    return U


@function(FUNCTIONS, "<sx?:x>", ('$eval("[1, $uppercase(\\"a\\")]")', [1, "A"]), name="eval", stateful=True)
def eval_(state: Any, text: Any, focus: Any = U) -> Any:
    """Evaluate a text as an expression, on `focus` or on the context; it sees the variables in sight."""
    if text is U:
        return U
    if not state.limits.evaluate:
        raise MappingError("D4001")
    return state.world.evaluate_text(state, text, focus)
