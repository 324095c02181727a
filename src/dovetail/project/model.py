"""A project as read and checked: frozen values with the places they were written at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dovetail.contracts import Contract
from dovetail.project.declared import ConnectionFile, FlowFile, ProjectFile
from dovetail.sdk import Connection, Source, Spec
from dovetail.spec import Locator


@dataclass(frozen=True, slots=True)
class SourceText:
    """A flow's source as written."""

    word: str
    type: type[Source]
    config: Spec


@dataclass(frozen=True, slots=True)
class FlowText:
    """A flow as written. `digest` is its version: a hash of everything that its messages' fate depends on, secrets
    excluded."""

    name: str
    file: str
    locate: Locator
    head: FlowFile
    source: SourceText | None
    digest: str


@dataclass(frozen=True, slots=True)
class ConnectionText:
    """A connection as written; `operations` are the project's own ones, typed."""

    name: str
    file: str
    locate: Locator
    head: ConnectionFile
    type: type[Connection]
    config: Spec
    operations: Mapping[str, Spec]


@dataclass(frozen=True, slots=True)
class Project:
    """A checked project. `maps` are mapping texts by path; `contracts` by `name@version`; `tables` are the rows of
    lookup tables by name; `files` everything that was read."""

    head: ProjectFile
    environment: str
    folder: Path
    flows: Mapping[str, FlowText]
    connections: Mapping[str, ConnectionText]
    maps: Mapping[str, str]
    contracts: Mapping[str, Contract]
    tables: Mapping[str, list[dict[str, Any]]]
    files: Mapping[str, bytes]
    snapshot: Callable[[str], dict[str, bytes]]  # the files that a flow needs to be loaded again

    @property
    def name(self) -> str:
        """The project's name."""
        return self.head.project


def text_of(project: Project, text: str) -> tuple[str, str]:
    """(mapping text, file it stands in or "") of a field that holds an expression or names a `.jsonata` file.
    KeyError if the file is not there."""
    if text.endswith(".jsonata") and "\n" not in text:
        return project.maps[text], text
    return text, ""
