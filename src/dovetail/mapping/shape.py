"""Giving a result the target contract's shape: JSONata lets one-element arrays collapse, a contract does not."""

from __future__ import annotations

from typing import Any

from .schema import Shape
from .values import UNDEFINED


class Shaper:
    """A schema, ready to shape values. It changes nothing but this: where only an array may stand, a lone value becomes
    an array of one, and a required array that is missing becomes an empty one."""

    def __init__(self, schema: Any) -> None:
        self._shape = Shape(schema)
        self._known: dict[int, tuple[list[tuple[str, Shape, bool, bool]], Shape | None]] = {}

    def apply(self, value: Any) -> Any:
        """The value in the schema's shape; a copy where something had to change."""
        return self._value(value, self._shape)

    def _plan(self, shape: Shape) -> tuple[list[tuple[str, Shape, bool, bool]], Shape | None]:
        plan = self._known.get(id(shape))
        if plan is None:
            fields = []
            for name in shape.declared:
                below = shape.field(name)
                assert below is not None
                fields.append((name, below, lists_only(below), name in shape.required))
            plan = fields, shape.items()
            self._known[id(shape)] = plan
        return plan

    def _value(self, value: Any, shape: Shape) -> Any:
        if lists_only(shape) and not isinstance(value, list):
            if value is None and shape.kinds is not None and "null" in shape.kinds:
                return value
            value = [] if value is UNDEFINED else [value]
        if isinstance(value, dict):
            return self._object(value, shape)
        if isinstance(value, list):
            below = self._plan(shape)[1]
            if below is not None:
                return [self._value(one, below) for one in value]
        return value

    def _object(self, value: dict[str, Any], shape: Shape) -> dict[str, Any]:
        changed: dict[str, Any] | None = None
        for name, below, lists, needed in self._plan(shape)[0]:
            one = value.get(name, UNDEFINED)
            if one is UNDEFINED and not (lists and needed):
                continue
            made = self._value(one, below)
            if made is not one:
                if changed is None:
                    changed = dict(value)
                changed[name] = made
        return value if changed is None else changed


def lists_only(shape: Shape) -> bool:
    return shape.kinds is not None and shape.kinds - {"null"} == {"array"}


def shape(value: Any, schema: Any) -> Any:
    """The value in the schema's shape; see `Shaper`, which is the faster way for many values."""
    return Shaper(schema).apply(value)
