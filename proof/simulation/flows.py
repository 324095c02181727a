"""The flows that a simulated world is drawn from, as a project's text, and what each message must cause outside.

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
        failure = f"on_failure: {{{retrying}{f', in_doubt: {self.doubt}' if self.doubt else ''}}}\n"
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
            ).encode()
        return files


@cache
def project_of(family: str, version: int, source: str, retry: str) -> Project:
    """One family's project, checked as `dovetail run` does it."""
    return checked(BY_NAME[family].files(version, source, retry))


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


# --- the families -----------------------------------------------------------------------------------------------------


def mapped(value: Mapping[str, Any], version: int, **more: Any) -> dict[str, Any]:
    """What the families' `map` makes of a body."""
    made = {"id": value["id"], "k": value["k"], "n": value["n"], "how": value["how"], **more}
    return {**made, "v": 2} if version == 2 else made


MAP = 'map: \'{"id": id, "k": k, "n": n, "how": how{v2}}\''


def each(*targets: str) -> Tell:
    """Every target gets the mapped message."""
    return lambda value, version: [(target, "", mapped(value, version)) for target in targets]


def if_paid(tell: Tell) -> Tell:
    return lambda value, version: tell(value, version) if value["paid"] else ()


def _paid(dice: random.Random, value: dict[str, Any]) -> None:
    value["paid"] = dice.random() < 0.8


def _items(dice: random.Random, value: dict[str, Any]) -> None:
    count = dice.choice((0, 1, 2, 3, 3, 5))
    value["items"] = [
        {"id": value["id"], "part": f"p{n}", "k": f"{value['k']}-{n % 2}", "n": value["n"], "how": value["how"]}
        for n in range(count)
    ]


def _parts(value: Mapping[str, Any], version: int) -> list[Content]:
    return [
        ("sys.create", item["part"], {**item, "z": 1, **({"v": 2} if version == 2 else {})}) for item in value["items"]
    ]


def _looked_up(value: Mapping[str, Any], version: int) -> list[Content]:
    more = {"v": 2} if version == 2 else {}
    return [("sys.create", "", {**_plain(value), "rate": len(value["id"]), **more})]


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": value["id"], "k": value["k"], "n": value["n"], "how": value["how"]}


def _guarded(value: Mapping[str, Any], version: int) -> list[Content]:
    return [("sys.put", "", mapped(value, version))]


FAMILIES = (
    Family(
        "orders",
        {"orders": "{head}steps:\n- filter: paid\n- " + MAP + "\n- call: orders-sys.create\n- call: orders-sys.put\n"
                   "- respond\n{failure}"},
        if_paid(each("sys.create", "sys.put")), may=if_paid(each("caller")), make=_paid, waits=True,
    ),
    Family(
        "careful",
        {"careful": "{head}steps:\n- " + MAP + "\n- call: careful-sys.fire\n- call: careful-sys.create\n{failure}"},
        each("sys.fire", "sys.create"), doubt="park", stands="in_doubt",
    ),
    Family(
        "again",
        {"again": "{head}steps:\n- " + MAP + "\n- call: again-sys.fire\n- call: again-sys.put\n{failure}"},
        each("sys.fire", "sys.put"), doubt="retry", deduped=False, keyed=False, ordered=False,
    ),
    Family(
        "asking",
        {"asking": "{head}steps:\n- " + MAP + "\n- call: asking-sys.ask\n- call: asking-sys.join\n{failure}"},
        each("sys.ask", "sys.join"),
    ),
    Family(
        "batches",
        {"batches": "{head}steps:\n- split: {expression: items, key: k}\n"
                    "- map: '$merge([$, {\"z\": 1{v2}}])'\n- call: batches-sys.create\n{failure}"},
        _parts, make=_items,
    ),
    Family(
        "news",
        {
            "news": "{head}steps:\n- " + MAP + "\n- call: news-sys.create\n- publish: told\n- call: news-sys.put\n"
                    "{failure}",
            "hears": "source: {topic: {name: told, from: earliest}}\nkey: k\nsteps:\n- call: news-ear.put\n"
                     "- call: news-ear.ask\n{failure}",
            "writes": "source: {topic: {name: told, from: earliest}}\nkey: k\nsteps:\n- send: news-pen.write\n"
                      "{failure}",
        },
        each("sys.create", "sys.put", "ear.put", "ear.ask", "pen.write"), uses=("sys", "ear", "pen"),
    ),
    Family(
        "guarded",
        {"guarded": "{head}steps:\n- " + MAP + "\n- try:\n    steps: [{call: guarded-sys.create}]\n"
                    "    catch: [{call: guarded-sys.undo}]\n- call: guarded-sys.put\n{failure}"},
        _guarded, may=each("sys.create", "sys.undo"),
    ),
    Family(
        "beside",
        {"beside": "{head}steps:\n- " + MAP + "\n- parallel:\n  - call: beside-sys.create\n  - call: beside-sys.ask\n"
                   "  - [{call: beside-sys.put}, {call: beside-sys.join}]\n{failure}"},
        each("sys.create", "sys.ask", "sys.put", "sys.join"), keyed=False, ordered=False,
    ),
    Family(
        "rates",
        {"rates": "{head}steps:\n- enrich: {operation: rates-sys.look, merge: '{\"id\": id, \"k\": k, \"n\": n, "
                  "\"how\": how, \"rate\": $vars.reply.rate{v2}}'}\n- call: rates-sys.create\n{failure}"},
        _looked_up, may=lambda value, version: [("sys.look", "", value)],
    ),
    Family(
        "lines",
        {"lines": "{head}steps:\n- " + MAP + "\n- send: lines-sys.write\n{failure}"},
        each("sys.write"), deduped=False, keyed=False, ordered=False,
    ),
    Family(
        "drops",
        {"drops": "{head}steps:\n- " + MAP + "\n- send: drops-sys.drop\n- call: drops-sys.create\n{failure}"},
        each("sys.drop", "sys.create"), doubt="park", stands="in_doubt",
    ),
)  # fmt: skip
BY_NAME = {family.name: family for family in FAMILIES}
