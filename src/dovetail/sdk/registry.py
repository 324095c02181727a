"""How a guest's parts are named: the object an entry point of the group `dovetail.plugins` refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dovetail.sdk.connector import Connection, Source
from dovetail.sdk.step import Step


@dataclass(frozen=True, slots=True)
class Plugin:
    """Steps by the word a flow uses, connections by the word a connection file uses, sources by the word under
    `source:`."""

    name: str
    version: str = "0"
    steps: Mapping[str, type[Step]] = field(default_factory=dict)
    connections: Mapping[str, type[Connection]] = field(default_factory=dict)
    sources: Mapping[str, type[Source]] = field(default_factory=dict)
