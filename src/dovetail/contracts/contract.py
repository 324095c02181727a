"""What a message must look like: JSON Schema 2020-12 by name and version.

Formats (`date-time`, `email`, …) are checked, patterns run on a linear engine, and `$ref` reaches only into the schema
itself and into other contracts, by their relative path: `../shop.customer/1.json#/$defs/address`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from dovetail.errors import ProjectError

_REF = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)@([1-9][0-9]*)")
_OTHER = re.compile(r"\.\./([A-Za-z0-9._-]+)/([0-9]+)\.json(?:#(.*))?")
_BASE: Final = "contract:///"
_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")
MAX_VIOLATIONS: Final = 50


class ContractError(ProjectError):
    """The schema itself cannot be used. `pointer` leads to the place inside the schema, as a JSON pointer."""

    code = "contract"

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a value breaks a contract. `path` is a JSON pointer into it, `rule` the schema's keyword."""

    path: str
    message: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path or 'the value'}: {self.message}"


def parse_ref(ref: str) -> tuple[str, int]:
    """`shop.order@2` → (`shop.order`, 2). Raises ValueError."""
    match = _REF.fullmatch(ref)
    if match is None:
        raise ValueError(f"'{ref}' is not a contract; write name@version, such as shop.order@2")
    return match[1], int(match[2])


class Contract:
    """A compiled schema. `others` are the schemas that `$ref` may reach, by `name@version`.

    Raises ContractError for a schema that is not one, or that refers to what is not there.
    """

    def __init__(self, name: str, version: int, schema: Any, others: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.version = version
        self.schema = schema
        self._others = others or {}
        reachable = {**self._others, self.ref: schema}
        resources = [(_uri(*parse_ref(ref)), other) for ref, other in reachable.items()]
        try:
            registry = jsonschema_rs.Registry(resources, draft=jsonschema_rs.Draft202012, retriever=_retrieve)
            self._validator = jsonschema_rs.Draft202012Validator(
                schema, registry=registry, base_uri=_uri(name, version), validate_formats=True, retriever=_retrieve,
                pattern_options=jsonschema_rs.RegexOptions(),
            )  # fmt: skip
        except jsonschema_rs.ValidationError as error:
            raise ContractError(_short(_fault(error)), _pointer(error.instance_path)) from None
        except (jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
            raise ContractError(_short(str(error))) from None
        self.is_valid = self._validator.is_valid

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def bundled(self) -> Any:
        """The schema on its own: other contracts that it refers to are among its `$defs`, as `name@version`."""
        waiting = [self.ref]
        reached: dict[str, Any] = {}
        while waiting:
            ref = waiting.pop()
            if ref not in reached and (ref == self.ref or ref in self._others):
                reached[ref] = _pointing(self.schema if ref == self.ref else self._others[ref], ref, self.ref, waiting)
        own = reached.pop(self.ref)
        return {**own, "$defs": {**own.get("$defs", {}), **reached}} if reached else own

    def validate(self, value: Any) -> list[Violation]:
        """Every violation (at most 50), in the order of the schema; an empty list, and quickly, for a valid value."""
        if self.is_valid(value):
            return []
        found: list[Violation] = []
        for error in self._validator.iter_errors(value):
            words = [part for part in error.schema_path if isinstance(part, str)]
            found.append(
                Violation(_pointer(error.instance_path), _short(error.message), words[-1] if words else "false")
            )
            if len(found) == MAX_VIOLATIONS:
                break
        return found


def _fault(error: jsonschema_rs.ValidationError) -> str:
    """What is wrong with a schema, where its own schema says it in a roundabout way."""
    keyword = error.instance_path[-1] if error.instance_path else ""
    if keyword == "type" and isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AnyOf):
        given = json.dumps(error.instance)
        return f"{given} is no type: write {', '.join(_TYPES[:-1])} or {_TYPES[-1]}, or a list of these"
    if keyword == "items" and isinstance(error.instance, list):
        return "a list of schemas, one for each place, is written as prefixItems"
    return str(error.message)


def _pointing(node: Any, within: str, root: str, found: list[str]) -> Any:
    """A part of the schema `within` with its references as the bundle of `root` needs them; those it makes to other
    contracts are added to `found`."""
    if isinstance(node, list):
        return [_pointing(one, within, root, found) for one in node]
    if not isinstance(node, dict):
        return node
    moved = {name: _pointing(one, within, root, found) for name, one in node.items()}
    ref = node.get("$ref")
    if isinstance(ref, str):
        other = _OTHER.fullmatch(ref)
        target, pointer = (f"{other[1]}@{other[2]}", other[3] or "") if other else (within, ref.removeprefix("#"))
        if other or ref.startswith("#"):
            found.append(target)
            moved["$ref"] = "#" + (f"/$defs/{target}" if target != root else "") + pointer
    return moved


def _uri(name: str, version: int) -> str:
    return f"{_BASE}{name}/{version}.json"


def _retrieve(uri: str) -> Any:
    if uri.startswith(_BASE):
        raise ValueError(f"there is no contract {uri.removeprefix(_BASE).removesuffix('.json').replace('/', '@')}")
    raise ValueError(f"{uri} is outside of the project; nothing is fetched")


def _pointer(path: Any) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
