"""The type of an expression as far as it can be told without a message."""

from __future__ import annotations

from typing import Any

from .nodes import Node
from .schema import Shape


class Inferred:
    """kinds: the JSON types it may have, None if unknown. many: it may be a sequence of such values. path: the input
    path that it comes from. fields and complete: the fields of an object that is made, and whether that is all."""

    __slots__ = ("complete", "fields", "function", "items", "kinds", "many", "node", "path", "shape")

    def __init__(
        self,
        kinds: frozenset[str] | None = None,
        *,
        path: tuple[str, ...] | None = None,
        shape: Shape | None = None,
        fields: dict[str, Inferred] | None = None,
        complete: bool = False,
        items: Inferred | None = None,
        many: bool = False,
        node: Node | None = None,
        function: Any = None,
    ) -> None:
        self.kinds = kinds
        self.path = path
        self.shape = shape
        self.fields = fields
        self.complete = complete
        self.items = items
        self.many = many
        self.node = node
        self.function = function

    def _with(self, **changes: Any) -> Inferred:
        values = {
            "path": self.path, "shape": self.shape, "fields": self.fields, "complete": self.complete,
            "items": self.items, "many": self.many, "node": self.node, "function": self.function,
        }  # fmt: skip
        kinds = changes.pop("kinds", self.kinds)
        return Inferred(kinds, **{**values, **changes})

    def as_many(self) -> Inferred:
        return self if self.many else self._with(many=True)

    def at(self, node: Node) -> Inferred:
        """The same, written at `node`."""
        return self._with(node=node)

    def one(self) -> Inferred:
        """What one item of it is."""
        if self.items is not None:
            return self.items
        if self.shape is not None and self.kinds is not None and "array" in self.kinds:
            below = self.shape.items()
            if below is not None:
                return of_shape(below, self.path)._with(many=False)
            if self.kinds == {"array"}:
                return Inferred(path=self.path)
        return self._with(many=False) if self.many else self

    def field(self, name: str) -> Inferred | None:
        """The type of a field, None if there is none that is known."""
        if self.fields is not None:
            return self.fields.get(name)
        if self.shape is not None:
            below = self.shape.field(name)
            if below is not None:
                return of_shape(below, (*self.path, name) if self.path is not None else None)
        return None


ANY = Inferred()


def of_shape(shape: Shape, path: tuple[str, ...] | None) -> Inferred:
    """The type of a value that a contract describes."""
    many = shape.kinds is not None and "array" in shape.kinds
    return Inferred(shape.kinds, path=path, shape=shape, many=many)


def union(one: Inferred, two: Inferred) -> Inferred:
    """Either of two types."""
    if one is two:
        return one
    kinds = one.kinds | two.kinds if one.kinds is not None and two.kinds is not None else None
    fields = None
    if one.fields is not None and two.fields is not None:
        fields = {**two.fields, **one.fields}
    items = union(one.items, two.items) if one.items is not None and two.items is not None else None
    complete = one.complete and two.complete
    return Inferred(kinds, fields=fields, complete=complete, items=items, many=one.many or two.many, node=one.node)
