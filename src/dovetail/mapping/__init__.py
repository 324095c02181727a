"""The mapping language: JSONata 2.2, compiled to Python.

    expression = compile('items[qty > 0].{"sku": sku, "total": price * qty}')
    expression.evaluate({"items": [...]})

An expression is immutable and may be evaluated from many threads at once.
"""

from __future__ import annotations

from .checker import Finding, check
from .errors import MappingError
from .expression import Expression, compile
from .functions.registry import builtin_names, define
from .limits import Limits
from .literals import Literal, literals
from .names import Name, names
from .shape import Shaper, shape
from .values import UNDEFINED

__all__ = [
    "UNDEFINED",
    "Expression",
    "Finding",
    "Limits",
    "Literal",
    "MappingError",
    "Name",
    "Shaper",
    "builtin_names",
    "check",
    "compile",
    "define",
    "literals",
    "names",
    "shape",
]
