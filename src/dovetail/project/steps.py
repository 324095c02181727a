"""One step of a flow's text: which word it is, its stable id, its typed settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dovetail.sdk import Spec, Step
from dovetail.spec import Path, Report, nearest, walk


class StepWords(Protocol):
    """The steps a flow may use (the catalog)."""

    def step(self, name: str) -> type[Step]:
        """The step of that word. Raises KeyError."""
        ...

    def names(self, kind: Literal["step"]) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class StepText:
    """A step as written. `path` leads to it within its file."""

    word: str
    id: str
    type: type[Step]
    config: Spec
    path: Path
    at: Callable[[Path], Path]  # from a path of the settings to where that was written


def read_step(raw: Any, path: Path, words: StepWords, taken: set[str], report: Report) -> StepText | None:
    """Read one step. `taken` are the ids of its flow so far; problems go to the report, and None comes back."""
    if isinstance(raw, str):
        raw = {raw: {}}
    if not isinstance(raw, Mapping) or not raw:
        report.add(path, "a step is one word with its settings", 'for example `- filter: status = "paid"`', code="step")
        return None
    known = set(words.names("step"))
    word = next((name for name in raw if name in known), None)
    if word is None:
        first = next(iter(raw))
        report.add((*path, first), f"unknown step '{first}'", nearest(str(first), known), code="unknown-step", key=True)
        return None
    kind = words.step(word)
    value = settings_of(kind.Config, word, raw)
    at = places_of(word, raw, value, path)
    given = value.pop("id", None)
    if given is not None and not (isinstance(given, str) and given):
        report.add((*path, "id"), "an id is a text", 'put it in quotes: "1"', code="wrong-type")
        return None
    for other in [name for name in value if name in known and name not in _names(kind.Config)]:
        hint = f"begin it with '- {other}:'"
        report.add(at((*path, other)), f"'{other}' is a step of its own", hint, code="two-steps", key=True)
        return None
    inner = Report(lambda found, *, key=False: report.locate(at(found), key=key))
    config = kind.Config.convert(value, path, inner)
    report.problems += inner.problems
    if not isinstance(config, kind.Config):
        return None
    step_id = _id(given, derived_id(word, config), path, taken, report)
    return StepText(word, step_id, kind, config, path, at) if step_id else None


def _id(given: str | None, derived: str, path: Path, taken: set[str], report: Report) -> str:
    """The step's id, now taken; nothing if the text gives one that is taken already."""
    if given in taken:
        report.add((*path, "id"), f"another step of this flow is called '{given}' too", code="duplicate-id")
        return ""
    found, n = given or derived, 2
    while found in taken:
        found, n = f"{derived}#{n}", n + 1
    taken.add(found)
    return found


def _names(config: type[Spec]) -> set[str]:
    return {declared.name for declared in config.fields()}


def places_of(word: str, raw: Mapping[Any, Any], value: Mapping[Any, Any], path: Path) -> Callable[[Path], Path]:
    """Where each of a step's settings was written: beside its word, under it, or as the word's own value."""
    beside = {name for name in raw if name != word}
    under = raw[word] if isinstance(raw[word], Mapping) and all(raw[word][n] is value.get(n) for n in raw[word]) else {}

    def at(found: Path) -> Path:
        name, rest = (found[len(path)], found[len(path) + 1 :]) if len(found) > len(path) else (None, ())
        if name is None or name in beside:
            return found
        return (*path, word, name, *rest) if name in under else (*path, word, *rest)

    return at


def settings_of(config: type[Spec], word: str, raw: Mapping[Any, Any]) -> dict[Any, Any]:
    """A step's settings as one mapping: those beside its word, and those under it."""
    beside = {name: value for name, value in raw.items() if name != word}
    under = raw[word]
    main = config.main_field()
    if isinstance(under, Mapping) and not (config.is_bare(under) and "id" not in under):
        return {**under, **beside}
    if under is None and (main is None or not main.required):
        return beside
    return {main.name if main is not None else word: under, **beside}


def derived_id(word: str, config: Spec) -> str:
    """A stable id: the word, and what it names if it names something, so that a step put before it changes nothing."""
    for _, declared, value in walk(config):
        if declared.main and declared.kind in ("operation", "sink", "topic", "contract", "flow", "function"):
            return f"{word}:{value}"
    return word
