"""What a JSON Schema says about a value's shape: the part of it that a mapping can be checked against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

KINDS = frozenset(("object", "array", "string", "number", "boolean", "null"))
DEEPEST = 40
#: words that may add fields in ways that are not followed here
UNREAD = frozenset(("patternProperties", "then", "else", "dependentSchemas", "$dynamicRef"))


class Shape:
    """A value's possible types and fields. `kinds` is None where anything may come.

    declared: fields by name. closed: no other field can exist. listed: others may exist, but the contract is silent.
    """

    def __init__(self, schema: Any, root: Any = None) -> None:
        self.root = schema if root is None else root
        self.parts = list(parts(schema, self.root))
        self._fields: dict[str, Shape] = {}
        self.kinds = self._kinds()
        names: dict[str, list[Any]] = {}
        for part in self.parts:
            for name, below in part.get("properties", {}).items():
                names.setdefault(name, []).append(below)
        self.declared = names
        self.required = frozenset(name for part in self.parts for name in required(part))
        self.closed = bool(names) and any(
            part.get("additionalProperties") is False or part.get("unevaluatedProperties") is False
            for part in self.parts
        )
        loose = any(
            part.get("additionalProperties") not in (None, False)
            or not UNREAD.isdisjoint(part)
            or pointed_out(part.get("$ref"), self.root)
            for part in self.parts
        )
        self.listed = bool(names) and not loose

    def _kinds(self) -> frozenset[str] | None:
        found: frozenset[str] | None = None
        for part in self.parts:
            one = kinds_of(part)
            if one is not None:
                found = one if found is None else (found | one if part.get("\x00choice") else found & one or one)
        return found

    def field(self, name: str) -> Shape | None:
        """The shape of a field; None if the schema does not name it."""
        if name not in self.declared:
            return None
        found = self._fields.get(name)
        if found is None:
            below = self.declared[name]
            found = Shape(below[0] if len(below) == 1 else {"anyOf": below}, self.root)
            self._fields[name] = found
        return found

    def items(self) -> Shape | None:
        """The shape of an array's items."""
        for part in self.parts:
            below = part.get("items")
            if isinstance(below, dict):
                return Shape(below, self.root)
        return None


def parts(schema: Any, root: Any, depth: int = 0, choice: bool = False) -> Iterator[dict[str, Any]]:
    """The schema and all that it refers to or combines, one level."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return
    yield {**schema, "\x00choice": True} if choice else schema
    target = schema.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        yield from parts(pointed(root, target[1:]), root, depth + 1, choice)
    for one in schema.get("allOf", ()):
        yield from parts(one, root, depth + 1, choice)
    for word in ("anyOf", "oneOf"):
        for one in schema.get(word, ()):
            yield from parts(one, root, depth + 1, True)


def pointed(root: Any, pointer: str) -> Any:
    """The part of a schema that a JSON pointer names, None if there is none."""
    found = root
    for piece in pointer.split("/")[1:]:
        piece = piece.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or piece not in found:
            return None
        found = found[piece]
    return found


def pointed_out(ref: Any, root: Any) -> bool:
    """Whether a reference leads to where nothing can be seen."""
    return ref is not None and not (isinstance(ref, str) and ref.startswith("#") and pointed(root, ref[1:]) is not None)


def required(part: dict[str, Any]) -> list[str]:
    return [] if part.get("\x00choice") else list(part.get("required", ()))


def kinds_of(part: dict[str, Any]) -> frozenset[str] | None:
    types = part.get("type")
    if types is None:
        if "const" in part:
            return frozenset((kind_of(part["const"]),))
        if isinstance(part.get("enum"), list):
            return frozenset(map(kind_of, part["enum"]))
        return None
    named = [types] if isinstance(types, str) else types
    return frozenset("number" if one == "integer" else one for one in named)


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "number"
