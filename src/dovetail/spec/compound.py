"""What a field may hold, the kinds made of others, and the way from a Python annotation to a kind."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from dovetail.spec.kinds import (
    INVALID,
    Anything,
    Choice,
    Hidden,
    Kind,
    Notation,
    Number,
    Text,
    YesNo,
    show,
    wrong,
)
from dovetail.spec.problem import Path, Report, nearest
from dovetail.spec.scalars import Scalar, Secret

if TYPE_CHECKING:
    from dovetail.spec.spec import Spec


class Many(Kind):
    """A list (or a tuple) of one kind."""

    def __init__(self, item: Kind, of: type[list[Any]] | type[tuple[Any, ...]]) -> None:
        self.item, self.of = item, of
        self.label = "a list"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, list | tuple):
            guess = f"write [{value}]" if isinstance(value, str | int) and not isinstance(value, Secret) else ""
            return wrong(report, path, self, value, guess)
        items = [self.item.convert(item, (*path, index), report) for index, item in enumerate(value)]
        return INVALID if INVALID in items else self.of(items)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema()}

    def form(self) -> dict[str, Any]:
        return {"type": "list", "item": self.item.form()}

    def takes(self, value: Any) -> bool:
        return isinstance(value, list | tuple)


class Table(Kind):
    """A mapping of free names to one kind."""

    label = "a mapping of names to values"

    def __init__(self, item: Kind) -> None:
        self.item = item

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            return wrong(report, path, self, value)
        result: dict[str, Any] = {}
        for name, item in value.items():
            if not isinstance(name, str):
                suggestion = f'put it in quotes: "{name}"'
                report.add(
                    (*path, name), f"the name {show(name)} must be text", suggestion, code="wrong-type", key=True
                )
                result[str(name)] = INVALID
            else:
                result[name] = self.item.convert(item, (*path, name), report)
        return INVALID if INVALID in result.values() else result

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.item.schema()}

    def form(self) -> dict[str, Any]:
        return {"type": "table", "item": self.item.form()}

    def takes(self, value: Any) -> bool:
        return isinstance(value, Mapping)


class Group(Kind):
    """A nested `Spec`."""

    def __init__(self, of: type[Spec]) -> None:
        self.of = of
        self.label = "a mapping"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        return self.of.convert(value, path, report)

    def schema(self) -> dict[str, Any]:
        from dovetail.spec.derive import object_schema

        return object_schema(self.of)

    def form(self) -> dict[str, Any]:
        from dovetail.spec.derive import form

        return {"type": "group", "fields": form(self.of)}

    def takes(self, value: Any) -> bool:
        return isinstance(value, Mapping | self.of) or (
            self.of.main_field() is not None and not isinstance(value, list | Mapping)
        )


class Tagged(Kind):
    """One of several Specs, chosen by the key it stands under: `{hmac: {…}}`; a bare `hmac` when it needs no more."""

    def __init__(self, members: list[type[Spec]]) -> None:
        self.members = {member.tag: member for member in members}
        self.label = "a mapping with one of " + ", ".join(self.members)

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, tuple(self.members.values())):
            return value
        if isinstance(value, str) and value in self.members and not isinstance(value, Secret):
            return self.members[value].convert({}, path, report)
        if not isinstance(value, Mapping):
            guess = nearest(str(value), self.members) if isinstance(value, str) else ""
            return wrong(report, path, self, value, guess)
        for name in value:
            if name not in self.members:
                report.add((*path, name), f"unknown field '{name}'", nearest(str(name), self.members),
                           code="unknown-field", key=True)  # fmt: skip
                return INVALID
        if len(value) != 1:
            return wrong(report, path, self, value, "keep exactly one")
        ((tag, inner),) = value.items()
        return self.members[tag].convert({} if inner is None else inner, (*path, tag), report)

    def schema(self) -> dict[str, Any]:
        from dovetail.spec.derive import object_schema

        choices: list[dict[str, Any]] = [
            {
                "type": "object",
                "properties": {tag: object_schema(member)},
                "required": [tag],
                "additionalProperties": False,
            }
            for tag, member in self.members.items()
        ]
        bare = [tag for tag, member in self.members.items() if not any(f.required for f in member.fields())]
        return {"anyOf": choices + ([{"enum": bare}] if bare else [])}

    def form(self) -> dict[str, Any]:
        from dovetail.spec.derive import form

        return {"type": "choice", "choices": {tag: form(member) for tag, member in self.members.items()}}

    def takes(self, value: Any) -> bool:
        return isinstance(value, (Mapping, *self.members.values())) or (
            isinstance(value, str) and value in self.members
        )


class Union_(Kind):
    """Several kinds; the value's outward shape picks among them."""

    def __init__(self, members: list[Kind], optional: bool) -> None:
        self.members, self.optional = members, optional
        self.label = " or ".join(member.label for member in members)

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if value is None and self.optional:
            return None
        fitting = [member for member in self.members if member.takes(value)]
        if not fitting:
            return wrong(report, path, self if len(self.members) > 1 else self.members[0], value)
        for member in fitting:
            attempt = Report(report.locate)
            result = member.convert(value, path, attempt)
            if result is not INVALID:
                return result
        if len(fitting) > 1 and not isinstance(value, Mapping):
            return wrong(report, path, self, value)
        report.problems += attempt.problems
        return INVALID

    def schema(self) -> dict[str, Any]:
        schemas = [member.schema() for member in self.members] + ([{"type": "null"}] if self.optional else [])
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def form(self) -> dict[str, Any]:
        forms = [member.form() for member in self.members]
        return forms[0] if len(forms) == 1 else {"type": "any", "of": forms}

    def takes(self, value: Any) -> bool:
        return (value is None and self.optional) or any(member.takes(value) for member in self.members)


_PLAIN: dict[Any, Any] = {str: Text, Secret: Hidden, bool: YesNo, Any: Anything, object: Anything}


def kind_of(annotation: Any, where: str) -> Kind:
    """The kind an annotation stands for. Raises TypeError for one that no text can express."""
    from dovetail.spec.spec import Spec

    if annotation in _PLAIN:
        kind: Kind = _PLAIN[annotation]()
        return kind
    if annotation in (int, float, Decimal):
        return Number(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return Choice({value: value for value in args})
    if origin in (Union, types.UnionType):
        return _union([arg for arg in args if arg is not types.NoneType], types.NoneType in args, where)
    if origin in (list, tuple) and args:
        return Many(kind_of(args[0], where), origin)
    if origin in (dict, Mapping) and len(args) == 2 and args[0] is str:
        return Table(kind_of(args[1], where))
    if isinstance(annotation, type):
        if issubclass(annotation, Spec):
            return Group(annotation)
        if issubclass(annotation, Scalar):
            return Notation(annotation)
        if issubclass(annotation, enum.StrEnum):
            return Choice({member.value: member for member in annotation})
    raise TypeError(f"{where}: a field cannot be annotated {annotation!r}")


def _union(members: list[Any], optional: bool, where: str) -> Kind:
    from dovetail.spec.spec import Spec

    tagged = [member for member in members if isinstance(member, type) and issubclass(member, Spec) and member.tag]
    kinds = [kind_of(member, where) for member in members if member not in tagged]
    return Union_([*kinds, *([Tagged(tagged)] if tagged else [])], optional)
