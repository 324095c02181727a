"""What a class says about itself, as plain data for a screen, an editor and the reference pages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from dovetail.sdk import Connection, Repeat, Source, Step
from dovetail.spec import Spec, form, json_schema, markdown


def describe(part: type, origin: str) -> dict[str, Any]:
    """Summary and doc from the docstring; fields, schema and reference from its `Config`; abilities from the class."""
    doc = inspect.getdoc(part) or ""
    described: dict[str, Any] = {"origin": origin, "summary": doc.partition("\n\n")[0].replace("\n", " "), "doc": doc}
    config = getattr(part, "Config", None)
    if config is not None:
        described |= _settings(config)
    if issubclass(part, Connection):
        described["operations"] = _repeats(part.operations)
        described["sinks"] = _repeats(part.sinks)
        if part.OperationConfig is not None:
            described["operation"] = _settings(part.OperationConfig)
    elif issubclass(part, Source):
        described["replies"] = part.replies
    elif issubclass(part, Step):
        described["top_level"] = part.top_level
    return described


def _settings(config: type[Spec]) -> dict[str, Any]:
    return {"fields": form(config), "schema": json_schema(config), "reference": markdown(config)}


def _repeats(table: Mapping[str, Repeat]) -> dict[str, str]:
    return {name: str(repeat) for name, repeat in table.items()}
