"""A project's text, checked, and the words that it may use."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class ProblemLine(Struct):
    """One thing to mend in a project's text; `level` is error or warning."""

    level: str
    code: str
    file: str
    line: int
    column: int
    message: str
    suggestion: str = ""


class Checked(Struct):
    """What reading a project found; `ok` when it would run."""

    ok: bool
    problems: list[ProblemLine]
    project: str = ""
    environment: str = ""
    flows: list[str] = []
    connections: list[str] = []


class ConnectorLine(Struct):
    """One word of a project's vocabulary: a step, a connector or a source."""

    name: str
    kind: str
    summary: str
    origin: str = ""


class Connector(Struct):
    """All about one of them; `fields` is form data, `reference` a page of Markdown, `schema` JSON Schema."""

    name: str
    kind: str
    summary: str
    description: str
    reference: str
    schema: dict[str, Any]
    operations: dict[str, str] = {}
    sinks: dict[str, str] = {}
