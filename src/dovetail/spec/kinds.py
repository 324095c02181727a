"""What a field may hold, the simple kinds: each checks, describes and draws itself."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from dovetail.spec.problem import Path, Report, nearest
from dovetail.spec.scalars import Loose, Scalar, Secret

if TYPE_CHECKING:
    from dovetail.spec.field import Field


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


INVALID: Final = _Mark("INVALID")  # what a conversion gives after it reported a problem
UNKNOWN: Final = _Mark("UNKNOWN")  # a value somebody else already complained about: no further word on it
PLACEHOLDER = {"type": "string", "pattern": r"^\$\{"}


class Kind(ABC):
    """`label` reads after "must be"."""

    label: str

    @abstractmethod
    def convert(self, value: Any, path: Path, report: Report) -> Any:
        """The typed value, or INVALID after the problem was reported."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """JSON Schema."""

    def form(self) -> dict[str, Any]:
        """What a form needs to draw an input."""
        return {"type": "text"}

    def takes(self, value: Any) -> bool:
        """Whether the value has the right outward shape (used to choose among the members of a union)."""
        return not isinstance(value, Mapping | list)


def show(value: Any) -> str:
    """A value as a message quotes it: short, and never a secret."""
    if isinstance(value, Secret):
        return "a secret"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _name(path: Path) -> str:
    for part in reversed(path):
        if isinstance(part, str):
            return f"'{part}'"
    return f"item {int(path[-1]) + 1}" if path else "the value"


def wrong(report: Report, path: Path, kind: Kind, value: Any, suggestion: str = "") -> Any:
    if value is UNKNOWN:
        return INVALID
    report.add(path, f"{_name(path)} must be {kind.label}, not {show(value)}", suggestion, code="wrong-type")
    return INVALID


class Anything(Kind):
    label = "anything"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        return INVALID if value is UNKNOWN else value

    def schema(self) -> dict[str, Any]:
        return {}

    def takes(self, value: Any) -> bool:
        return True


class Text(Kind):
    label = "text"

    def __init__(self, field: Field | None = None) -> None:
        self.field = field

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, Secret):
            names = "write the value itself, or ${env:NAME}; secrets go only into fields that keep them"
            report.add(
                path, f"{_name(path)} is not kept secret, so it cannot take a secret", names, code="secret-exposed"
            )
            return INVALID
        if isinstance(value, str):
            return str(value) if type(value) is not str else value
        if isinstance(value, bool | int | float | Decimal):
            return wrong(report, path, self, value, f'put it in quotes: "{show(value)}"')
        return wrong(report, path, self, value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class Hidden(Kind):
    label = "a secret text"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, str):
            return value if isinstance(value, Secret) else Secret(value)
        return wrong(report, path, self, value, "write ${secret:name}")

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}

    def form(self) -> dict[str, Any]:
        return {"type": "password"}


class Number(Kind):
    """int, float or Decimal."""

    def __init__(self, of: type[int] | type[float] | type[Decimal]) -> None:
        self.of = of
        self.label = "a whole number" if of is int else "a number"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        plain = value
        if isinstance(value, Loose):
            try:
                plain = int(value) if self.of is int else Decimal(value)
            except (ValueError, InvalidOperation):
                return wrong(report, path, self, value)
        if isinstance(plain, bool) or not isinstance(plain, int | float | Decimal):
            looks = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value)
            return wrong(report, path, self, value, f"write {value} without quotes" if looks else "")
        if self.of is int and not isinstance(plain, int):
            return wrong(report, path, self, value)
        return self.of(str(plain)) if self.of is Decimal else self.of(plain)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer" if self.of is int else "number"}, PLACEHOLDER]}

    def form(self) -> dict[str, Any]:
        return {"type": "integer" if self.of is int else "number"}


class YesNo(Kind):
    label = "true or false"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, Loose) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        guess = {"yes": "true", "on": "true", "no": "false", "off": "false", "true": "true", "false": "false"}
        known = guess.get(str(value).lower()) if isinstance(value, str) else None
        return wrong(report, path, self, value, f"write {known}" if known else "")

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "boolean"}, PLACEHOLDER]}

    def form(self) -> dict[str, Any]:
        return {"type": "checkbox"}


class Notation(Kind):
    """Duration, Size, Rate and any other `Scalar`."""

    def __init__(self, of: type[Scalar]) -> None:
        self.of = of
        self.label = f"{of.label} such as {of.example}"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, self.of):
            return value
        if isinstance(value, str) and not isinstance(value, Secret):
            try:
                return self.of.parse(value)
            except ValueError as error:
                return wrong(report, path, self, value, str(error))
        guess = f"write {value}{self.of.example.lstrip('0123456789')}" if type(value) in (int, float) else ""
        return wrong(report, path, self, value, guess)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": self.of.pattern}, PLACEHOLDER]}

    def form(self) -> dict[str, Any]:
        return {"type": self.of.__name__.lower(), "placeholder": self.of.example}


class Choice(Kind):
    """A `Literal` or a `StrEnum`."""

    def __init__(self, values: Mapping[Any, Any]) -> None:
        self.values = dict(values)
        self.label = " or ".join(str(value) for value in self.values) if len(self.values) < 5 else "one of a list"

    def convert(self, value: Any, path: Path, report: Report) -> Any:
        plain = int(value) if isinstance(value, Loose) and value.isdigit() and int(value) in self.values else value
        try:
            if plain in self.values and isinstance(plain, bool) == isinstance(self.values[plain], bool):
                return self.values[plain]
        except TypeError:  # unhashable: a mapping or a list
            pass
        return wrong(report, path, self, value, nearest(str(value), map(str, self.values)) if self.takes(value) else "")

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(self.values)}, PLACEHOLDER]}

    def form(self) -> dict[str, Any]:
        return {"type": "select", "options": list(self.values)}
