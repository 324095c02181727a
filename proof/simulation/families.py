"""What a family of flows is: a project's text, and what each message of it must cause outside.

A family is one flow with a door and the flows that hear of it. Its text may say `{head}`, `{failure}` and, for
its second version, `{v2}`; what a message causes is told by `wants`, per version, as (target, part, content).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from dovetail.catalog import Catalog
from dovetail.project.load import check_tree
from dovetail.project.model import Project
from dovetail.project.values import Surroundings
from dovetail.testkit.history import Want
from proof.simulation.outside import JSON, PLUGIN, fingerprint

CATALOG = Catalog.builtin().with_plugin(PLUGIN)
Content = tuple[str, str, Any]  # target, part, value
RETRIES = {
    "long": ("retry: {for: 60s, base: 500ms, cap: 5s}", 128),
    "short": ("retry: {attempts: 3, base: 200ms, cap: 2s}", 3),
    "once": ("retry: {attempts: 1, base: 200ms, cap: 2s}", 1),
}


@dataclass
class Draft:
    """A message as a client means to send it. `how` tells what its targets make of it: see `World.plan`."""

    id: str
    family: Family
    value: dict[str, Any]
    dedupe: str
    how: str = ""
    conflicting: bool = False

    @property
    def body(self) -> bytes:
        return JSON.encode(self.value)

    def renamed(self, id: str) -> Draft:
        """The same under another id, for a client who cannot know whether the first was taken."""
        return replace(self, id=id, value={**self.value, "id": id}, dedupe=id)

    def conflict(self) -> Draft:
        """Another body under the same name."""
        return replace(self, id=f"{self.id}!c", value={**self.value, "n": -1}, how="", conflicting=True)

    def wants(self, versions: Iterable[int], optional: bool = False) -> list[Want]:
        """The effects it must (or may) have, with the contents that any of the versions gives them."""
        told = self.family.may if optional else self.family.wants
        found: dict[tuple[str, str], list[str]] = {}
        for version in versions:
            for target, part, content in told(self.value, version):
                found.setdefault((f"{self.family.name}-{target}", part), []).append(fingerprint(content))
        return [(target, part, hashes) for (target, part), hashes in found.items()]


Tell = Callable[[Mapping[str, Any], int], Sequence[Content]]


@dataclass(frozen=True, eq=False)
class Family:
    """`flows`: text by name, `{family}` in it is the family's name; the first one has the door."""

    name: str
    flows: Mapping[str, str]
    wants: Tell
    may: Tell = lambda value, version: ()
    keyed: bool = True
    deduped: bool = True
    ordered: bool = True
    doubt: str = ""  # park or retry, for families with `fire`
    poison: str = ""  # park_key or block: what a dead letter means for the later ones of its key
    compensate: bool = False  # whether it has something to undo, and is discarded then
    stands: str = ""  # why a message of it may be a dead letter in the end
    waits: bool = False  # its clients may wait for the answer
    uses: Sequence[str] = ("sys",)
    hows: Sequence[str] = ("reject", "hang", "kill")
    make: Callable[[random.Random, dict[str, Any]], None] = lambda dice, value: None
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def door(self) -> str:
        """The flow that clients send to."""
        return next(iter(self.flows))

    def files(self, version: int, source: str, retry: str) -> dict[str, bytes]:
        """Its part of a project."""
        head = f"source: {{{source}: {{}}}}\n" + ("key: k\n" if self.keyed else "")
        head += "dedupe: id\n" if self.deduped else ""
        retrying, concurrency = RETRIES[retry]
        more = f", in_doubt: {self.doubt}" if self.doubt else ""
        more += f", poison: {self.poison}" if self.poison else ""
        more += ", compensate: {for: 60s, then: discard}" if self.compensate else ""
        failure = f"on_failure: {{{retrying}{more}}}\n"
        failure += f"timeout: 2s\nconcurrency: {concurrency}\n"
        words = {"{head}": head, "{failure}": failure, "{v2}": ', "v": 2' if version == 2 else ""}
        files = {}
        for name, text in self.flows.items():
            for word, meaning in words.items():
                text = text.replace(word, meaning)
            files[f"flows/{name}.yaml"] = f"flow: {name}\n{text}".encode()
        for name in self.uses:
            flow = next((flow for flow, text in self.flows.items() if f"{self.name}-{name}." in text), self.door)
            files[f"connections/{self.name}-{name}.yaml"] = (
                f"connection: {self.name}-{name}\nconnector: outside\nsystem: {self.name}\nflow: {flow}\n"
                f"ordered: {str(self.ordered).lower()}\ncareful: {str(self.doubt != 'retry').lower()}\n"
                f"parks: {str(bool(self.poison)).lower()}\n"
            ).encode()
        return files


@cache
def project_of(family: Family, version: int, source: str, retry: str) -> Project:
    """One family's project, checked as `dovetail run` does it."""
    return checked(family.files(version, source, retry))


def checked(files: Mapping[str, bytes]) -> Project:
    """A project of these files. Raises AssertionError with its problems."""
    tree = {"dovetail.yaml": b"project: world\n", **files}
    project, problems = check_tree(tree, CATALOG, Surroundings(), Path("/nowhere"))
    assert project is not None, "\n".join(map(str, problems))
    return project


_reloaded: dict[frozenset[tuple[str, bytes]], Project] = {}


def reloaded(files: Mapping[str, bytes], connections: Mapping[str, bytes]) -> Project:
    """An older version's project; the same text is checked once."""
    key = frozenset(files.items())
    if key not in _reloaded:
        _reloaded[key] = checked({**connections, **files})
    return _reloaded[key]


def merged(projects: Sequence[Project]) -> Project:
    """Several families side by side in one project."""
    flows = {name: text for project in projects for name, text in project.flows.items()}
    connections = {name: text for project in projects for name, text in project.connections.items()}
    files = {path: data for project in projects for path, data in project.files.items()}
    of = {name: project for project in projects for name in project.flows}
    return replace(
        projects[0], flows=flows, connections=connections, files=files, snapshot=lambda flow: of[flow].snapshot(flow)
    )


def mapped(value: Mapping[str, Any], version: int, **more: Any) -> dict[str, Any]:
    """What the families' `map` makes of a body."""
    made = {"id": value["id"], "k": value["k"], "n": value["n"], "how": value["how"], **more}
    return {**made, "v": 2} if version == 2 else made


MAP = 'map: \'{"id": id, "k": k, "n": n, "how": how{v2}}\''


def each(*targets: str) -> Tell:
    """Every target gets the mapped message."""
    return lambda value, version: [(target, "", mapped(value, version)) for target in targets]
