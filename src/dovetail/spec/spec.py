"""Declare once as a typed class; everything else about it is derived.

class Config(Spec):
    url: str = field(help="Where the service listens.", example="https://erp.example.com")
    key: Secret = field(help="The API key.")
    timeout: Duration = field(default="30s", help="How long one call may take in all.")
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self, dataclass_transform, get_type_hints

from dovetail.errors import ProjectError
from dovetail.spec.compound import kind_of
from dovetail.spec.field import Field, field
from dovetail.spec.kinds import INVALID, UNKNOWN, Kind, Text, show, wrong
from dovetail.spec.problem import Locator, Path, Problem, Report, nearest, nowhere


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Spec:
    """A set of settings. An instance is complete, checked and frozen; attributes are typed values.

    `tag` (a class argument) is the key under which this Spec stands when it is a member of a union. Calling the class
    checks its arguments like text and raises `ProjectError`.
    """

    tag: ClassVar[str] = ""
    shorthand: ClassVar[dict[str, Any] | None] = None  # JSON Schema of one more way to write it that `convert` takes
    _declared: ClassVar[dict[str, Field]] = {}
    _kinds: ClassVar[dict[str, Kind]] = {}

    def __init_subclass__(cls, tag: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if tag:
            cls.tag = tag
        own: dict[str, Field] = {}
        for name, annotation in inspect.get_annotations(cls).items():
            if name.startswith("_") or "ClassVar" in str(annotation):
                continue
            declared = cls.__dict__.get(name)
            if not isinstance(declared, Field):
                raise TypeError(f"{cls.__name__}.{name}: declare it with field(help=…)")
            if hasattr(Spec, name):
                raise TypeError(f"{cls.__name__}.{name}: the name is taken in Python; write {name}_, read as {name}")
            if declared.secret and "Secret" not in str(annotation):
                raise TypeError(f"{cls.__name__}.{name}: a secret field is annotated Secret, so that it is never shown")
            declared.attribute = name
            declared.name = declared.name or name.rstrip("_")
            declared.secret = declared.secret or "Secret" in str(annotation)
            own[name] = declared
        cls._declared = {**cls._declared, **own}

    def __init__(self, **values: Any) -> None:
        names = {name: declared.name for name, declared in type(self)._declared.items()}
        report = Report()
        converted = self._fields_from({names.get(name, name): value for name, value in values.items()}, (), report)
        _raise(report)
        self.__dict__.update(converted)

    @classmethod
    def parse(cls, value: Any, locate: Locator = nowhere, path: Path = ()) -> Self:
        """The typed instance of a plain value. Raises `ProjectError` with every problem found."""
        instance, problems = cls.check(value, locate, path)
        if instance is None:
            raise ProjectError("\n".join(map(str, problems)), problems)
        return instance

    @classmethod
    def check(cls, value: Any, locate: Locator = nowhere, path: Path = ()) -> tuple[Self | None, list[Problem]]:
        """The typed instance (None if there is an error) and all problems, in file order."""
        report = Report(locate)
        instance = cls.convert(value, path, report)
        return (None if instance is INVALID else instance), sorted(report.problems, key=lambda problem: problem.order)

    @classmethod
    def convert(cls, value: Any, path: Path, report: Report) -> Any:
        """Like `check`, adding to a report; INVALID if there is an error."""
        if isinstance(value, cls):
            return value
        main = cls.main_field()
        if main is not None and value is not None and cls.is_bare(value):
            result = _convert(cls, main, value, path, report)
            values = INVALID if result is INVALID else cls._defaults({main.attribute: result}, path, report)
        elif isinstance(value, Mapping):
            values = cls._fields_from(value, path, report)
        else:
            names = ", ".join(declared.name for declared in cls.fields())
            return wrong(report, path, kind_of(cls, cls.__name__), value, f"write its fields: {names}" if names else "")
        if values is INVALID:
            return INVALID
        instance = cls.__new__(cls)
        instance.__dict__.update(values)
        return INVALID if cls._broken_rules(instance, path, report) else instance

    @classmethod
    def fields(cls) -> list[Field]:
        """The declared fields in order, inherited ones first."""
        return list(cls._declared.values())

    @classmethod
    def kinds(cls) -> dict[str, Kind]:
        """The kind of each field, by attribute."""
        cached: dict[str, Kind] | None = cls.__dict__.get("_kinds")
        if cached is None:
            hints = get_type_hints(cls)
            cached = {name: kind_of(hints[name], f"{cls.__name__}.{name}") for name in cls._declared}
            cls._kinds = cached
        return cached

    @classmethod
    def main_field(cls) -> Field | None:
        """The field that a bare value sets."""
        return next((declared for declared in cls._declared.values() if declared.main), None)

    @classmethod
    def is_bare(cls, value: Any) -> bool:
        """Whether `value` is the main field's value rather than a mapping of fields.

        A mapping is one only where the main field itself holds a mapping, and nothing speaks for fields.
        """
        main = cls.main_field()
        if main is None or not isinstance(value, Mapping):
            return main is not None
        if main.name in value or not cls.kinds()[main.attribute].takes(value):
            return False
        return main.required or not value or not set(value) <= {declared.name for declared in cls.fields()}

    def rules(self) -> Iterable[tuple[str, str]]:
        """Rules across fields, for a subclass to say: pairs of (field name in text, what is wrong)."""
        return ()

    @classmethod
    def _fields_from(cls, value: Mapping[Any, Any], path: Path, report: Report) -> Any:
        known = {declared.name: declared for declared in cls._declared.values()}
        values: dict[str, Any] = {}
        for name, item in value.items():
            declared = known.get(name) if isinstance(name, str) else None
            if declared is None:
                place = (*path, name)
                report.add(
                    place, f"unknown field {show(name)}", nearest(str(name), known), code="unknown-field", key=True
                )
                values["?"] = INVALID
            else:
                values[declared.attribute] = _convert(cls, declared, item, (*path, name), report)
        return cls._defaults(values, path, report)

    @classmethod
    def _defaults(cls, values: dict[str, Any], path: Path, report: Report) -> Any:
        for declared in cls._declared.values():
            if declared.attribute in values:
                continue
            if declared.required:
                example = f"add {declared.name}: {declared.example}" if declared.example is not None else ""
                report.add(
                    path, f"missing field '{declared.name}'", example or declared.help, code="missing-field", key=True
                )
                values[declared.attribute] = INVALID
            else:
                values[declared.attribute] = _default(cls, declared)
        if any(item is INVALID for item in values.values()):
            return INVALID
        return {name: values[name] for name in cls._declared}

    @classmethod
    def _broken_rules(cls, instance: Self, path: Path, report: Report) -> bool:
        broken = list(instance.rules())
        for name, message in broken:
            report.add((*path, name), message, code="rule")
        return bool(broken)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def _raise(report: Report) -> None:
    if report.problems:
        raise ProjectError("\n".join(map(str, report.problems)), report.problems)


def _default(cls: type[Spec], declared: Field) -> Any:
    if declared.default is None:
        return None
    report = Report()
    value = _convert(cls, declared, declared.default, (declared.name,), report)
    if report.problems:
        raise TypeError(f"{cls.__name__}.{declared.attribute}: its own default is wrong: {report.problems[0]}")
    return value


def _convert(cls: type[Spec], declared: Field, value: Any, path: Path, report: Report) -> Any:
    kind = cls.kinds()[declared.attribute]
    if value is None and declared.default is None:
        return None
    result = kind.convert(value, path, report)
    if result is INVALID or value is UNKNOWN:
        return INVALID
    bad = _out_of_bounds(declared, result, kind)
    if bad:
        report.add(path, f"'{declared.name}' {bad}", f"for example {declared.example}" if declared.example else "",
                   code="out-of-bounds")  # fmt: skip
        return INVALID
    return result


def _out_of_bounds(declared: Field, value: Any, kind: Kind) -> str:
    if declared.pattern and isinstance(value, str) and not re.fullmatch(declared.pattern, value):
        return f"must look like {declared.pattern}, not {show(value)}"
    if declared.min is None and declared.max is None:
        return ""
    sized = isinstance(value, str | list | tuple | dict)
    measure = len(value) if sized else value
    for limit, word, outside in ((declared.min, "least", -1), (declared.max, "most", 1)):
        bound = kind.convert(limit, (), Report()) if isinstance(limit, str) and not isinstance(kind, Text) else limit
        if bound is not None and (measure - bound) * outside > 0:
            return f"must {'have' if sized else 'be'} at {word} {limit}{' entries or characters' if sized else ''}"
    return ""
