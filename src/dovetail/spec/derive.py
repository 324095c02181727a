"""What is derived from a Spec: JSON Schema, a page of reference, a form, a redacted view, a walk over its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dovetail.spec.compound import Group, Many, Table, Tagged, Union_
from dovetail.spec.field import Field
from dovetail.spec.kinds import Choice, Kind
from dovetail.spec.problem import Path
from dovetail.spec.scalars import MASK, Scalar, Secret
from dovetail.spec.spec import Spec


def json_schema(spec: type[Spec]) -> dict[str, Any]:
    """JSON Schema 2020-12 of what may be written, for editors. Nested chains of steps refer to `#/$defs/step`."""
    schema = object_schema(spec)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"step": {"type": "object"}},
        **schema,
    }


def object_schema(spec: type[Spec]) -> dict[str, Any]:
    """The schema of one Spec without the head."""
    kinds = spec.kinds()
    properties = {declared.name: _field_schema(declared, kinds[declared.attribute]) for declared in spec.fields()}
    whole: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [declared.name for declared in spec.fields() if declared.required]
    if required:
        whole["required"] = required
    main = spec.main_field()
    ways = [] if spec.shorthand is None else [spec.shorthand]
    if main is not None and not any(declared.required and not declared.main for declared in spec.fields()):
        ways.append(_field_schema(main, kinds[main.attribute]))
    return {"anyOf": [*ways, whole]} if ways else whole


def _field_schema(declared: Field, kind: Kind) -> dict[str, Any]:
    chain = {"type": "array", "items": {"$ref": "#/$defs/step"}}
    shape: dict[str, Any] = chain if declared.kind == "steps" else kind.schema()
    schema = {**shape, "description": declared.help}
    if not declared.required and declared.default is not None:
        schema["default"] = declared.default
    if declared.example is not None:
        schema["examples"] = [declared.example]
    if declared.secret:
        schema["writeOnly"] = True
    return schema


def form(spec: type[Spec]) -> list[dict[str, Any]]:
    """One entry per field: name, label, help, type, required, default, example, secret, kind and its input's needs."""
    kinds = spec.kinds()
    return [
        {
            **kinds[declared.attribute].form(),
            "name": declared.name,
            "label": declared.name.replace("_", " "),
            "help": declared.help,
            "required": declared.required,
            "default": None if declared.required else declared.default,
            "example": declared.example,
            "secret": declared.secret,
            "kind": declared.kind,
        }
        for declared in spec.fields()
    ]


def markdown(spec: type[Spec], level: int = 3) -> str:
    """Reference: a table of the fields, then one for each nested Spec under a heading of `level`."""
    lines: list[str] = []
    pending: list[tuple[str, type[Spec]]] = [("", spec)]
    seen: set[type[Spec]] = set()
    while pending:
        title, current = pending.pop(0)
        if current in seen:
            continue
        seen.add(current)
        if title:
            lines += ["", f"{'#' * level} {title}", ""]
        lines += ["| field | value | default | meaning |", "|---|---|---|---|"]
        for declared in current.fields():
            kind = current.kinds()[declared.attribute]
            lines.append(_row(declared, kind))
            pending += [
                (f"`{title.strip('`') + '.' if title else ''}{name}`", inner)
                for name, inner in _nested(declared.name, kind)
            ]
    return "\n".join(lines) + "\n"


def _row(declared: Field, kind: Kind) -> str:
    default = "required" if declared.required else "" if declared.default is None else f"`{declared.default}`"
    meaning = declared.help + (f" Example: `{declared.example}`" if declared.example is not None else "")
    cells = [f"`{declared.name}`", _label(kind, declared), default, meaning]
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _label(kind: Kind, declared: Field) -> str:
    if declared.kind:
        return declared.kind if not isinstance(kind, Many | Table) or declared.kind == "steps" else f"{declared.kind}s"
    if isinstance(kind, Many):
        return f"list of {_label(kind.item, declared)}"
    if isinstance(kind, Table):
        return f"mapping to {_label(kind.item, declared)}"
    if isinstance(kind, Choice):
        return ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, Union_):
        return " or ".join(_label(member, declared) for member in kind.members)
    return kind.label


def _nested(name: str, kind: Kind) -> Iterator[tuple[str, type[Spec]]]:
    if isinstance(kind, Group):
        yield name, kind.of
    elif isinstance(kind, Tagged):
        for tag, member in kind.members.items():
            yield f"{name}.{tag}", member
    elif isinstance(kind, Many | Table):
        yield from _nested(name, kind.item)
    elif isinstance(kind, Union_):
        for choice in kind.members:
            yield from _nested(name, choice)


def redact(value: Any) -> Any:
    """Plain data of an instance with `***` in place of every secret, fit to be shown."""
    if isinstance(value, Spec):
        inner = {declared.name: redact(getattr(value, declared.attribute)) for declared in value.fields()}
        return {value.tag: inner} if value.tag else inner
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Scalar):
        return str(value)
    if isinstance(value, Mapping):
        return {name: redact(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def walk(value: Spec, path: Path = ()) -> Iterator[tuple[Path, Field, Any]]:
    """Every field that was set, nested ones too, with its path in the text; lists and tables are walked by entry.

    The path of a main field that may have been written bare is `path + (its name,)`; locators fall back to the parent.
    """
    for declared in value.fields():
        item = getattr(value, declared.attribute)
        yield from _walk(item, (*path, declared.name), declared)


def _walk(item: Any, path: Path, declared: Field) -> Iterator[tuple[Path, Field, Any]]:
    if item is None:
        return
    if isinstance(item, Spec):
        yield from walk(item, (*path, item.tag) if item.tag else path)
    elif declared.kind != "steps" and isinstance(item, list | tuple):
        for index, entry in enumerate(item):
            yield from _walk(entry, (*path, index), declared)
    elif declared.kind != "steps" and isinstance(item, Mapping):
        for name, entry in item.items():
            yield from _walk(entry, (*path, name), declared)
    else:
        yield path, declared, item
