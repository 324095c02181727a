"""The files a flow needs to be loaded again later, and the hash that is its version."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dovetail.project.check import Uses
from dovetail.project.tree import FileTree, beneath

_CONTRACT_REF = re.compile(rb"\.\./([A-Za-z0-9._-]+)/([0-9]+)\.json")
VARIABLES: Final = "variables.json"
_encode = msgspec.json.Encoder(order="sorted", enc_hook=str).encode


@dataclass(frozen=True, slots=True)
class FlowValue:
    """A flow's text as plain data.

    `value`: with variables in place and secrets left as placeholders. `merged`: as written, with the environment's
    values laid over it, or None if there are none. `variables`: those that were read.
    """

    value: Any
    merged: Any
    variables: Mapping[str, str]


class Snapshots:
    """Of all flows of a project."""

    def __init__(self, tree: FileTree, uses: Mapping[str, Uses], values: Mapping[str, FlowValue]) -> None:
        self._tree, self._uses, self._values = tree, uses, values

    def __call__(self, flow: str) -> dict[str, bytes]:
        """Path → bytes, with the values of the variables that were read in a file of their own."""
        files: dict[str, bytes] = {}
        variables: dict[str, str] = {}
        for name in self._flows(flow):
            own = self._values[name]
            variables.update(own.variables)
            files[flow_file(name)] = self._tree[flow_file(name)] if own.merged is None else _encode(own.merged)
            for path in self._needs(name):
                files[path] = self._tree[path]
        if variables:
            files[VARIABLES] = _encode(variables)
        return dict(sorted(files.items()))

    def digest(self, flow: str) -> str:
        """A hash of what the flow's text means: comments and layout do not count, secrets are not in it."""
        seen = hashlib.sha256()
        for path, data in self(flow).items():
            if path.startswith("flows/"):
                data = _encode(self._values[path.removeprefix("flows/").removesuffix(".yaml")].value)
            if path != VARIABLES:
                seen.update(b"%s\0%d\0%s" % (path.encode(), len(data), data))
        return seen.hexdigest()

    def _flows(self, flow: str) -> list[str]:
        """The flow and all that it uses as sub-flows."""
        found = [flow]
        for name in found:
            uses = self._uses.get(name)
            found += [other for other, _ in uses.flows if other not in found] if uses else []
        return found

    def _needs(self, flow: str) -> set[str]:
        uses = self._uses[flow]
        needs = {path for path in uses.files if path in self._tree}
        if any(path.startswith("python/") for path in needs):
            needs |= set(beneath(self._tree, "python", ".py"))  # they may import each other
        return needs.union(*(contract_files(self._tree, ref) for ref in uses.contracts))


def flow_file(name: str) -> str:
    """Where a flow is written."""
    return f"flows/{name}.yaml"


def contract_file(ref: str) -> str:
    """Where a contract (`name@version`) is written."""
    name, _, version = ref.partition("@")
    return f"contracts/{name}/{version}.json"


def contract_files(tree: FileTree, ref: str) -> set[str]:
    """The files of a contract and of all that it refers to, as far as they are there."""
    found: set[str] = set()
    pending = [contract_file(ref)]
    while pending:
        path = pending.pop()
        if path in tree and path not in found:
            found.add(path)
            refers = _CONTRACT_REF.findall(tree[path])
            pending += [f"contracts/{name.decode()}/{version.decode()}.json" for name, version in refers]
    return found


def variables_of(files: FileTree) -> dict[str, str]:
    """The variables a snapshot was made with."""
    return msgspec.json.decode(files.get(VARIABLES, b"{}"), type=dict[str, str])
