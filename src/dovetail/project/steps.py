"""One step of a flow's text: which word it is, its stable id, its typed settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dovetail.sdk import Spec, Step
from dovetail.spec import Path, Report, nearest, walk


class StepWords(Protocol):
    """The steps a flow may use (the catalog)."""

    def step(self, name: str) -> type[Step]:
        """The step of that word. Raises KeyError."""
        ...

    def names(self, kind: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class StepText:
    """A step as written. `path` leads to it within its file."""

    word: str
    id: str
    type: type[Step]
    config: Spec
    path: Path


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
    given = value.pop("id", None)
    config = kind.Config.convert(value, path, report)
    if not isinstance(config, kind.Config):
        return None
    step_id = given if isinstance(given, str) and given else derived_id(word, config)
    if step_id in taken:
        if given is not None:
            report.add((*path, "id"), f"another step of this flow is called '{step_id}' too", code="duplicate-id")
            return None
        n = 2
        while f"{step_id}#{n}" in taken:
            n += 1
        step_id = f"{step_id}#{n}"
    taken.add(step_id)
    return StepText(word, step_id, kind, config, path)


def settings_of(config: type[Spec], word: str, raw: Mapping[Any, Any]) -> dict[Any, Any]:
    """A step's settings as one mapping: those beside its word, and those under it.

    What stands under the word is the main field's value, unless it is a mapping whose keys are fields and the main
    field's value
    is something else.
    """
    beside = {name: value for name, value in raw.items() if name != word}
    under = raw[word]
    main = config.main_field()
    names = {declared.name for declared in config.fields()} | {"id"}
    if isinstance(under, Mapping) and set(under) <= names and (main is None or main.name in under or not under):
        return {**under, **beside}
    if main is None:
        return {**under, **beside} if isinstance(under, Mapping) else {word: under, **beside}
    return {main.name: under, **beside}


def derived_id(word: str, config: Spec) -> str:
    """A stable id: the word, and what it names if it names something, so that a step put before it changes nothing."""
    for _, declared, value in walk(config):
        if declared.main and declared.kind in ("operation", "sink", "topic", "contract", "flow", "function"):
            return f"{word}:{value}"
    return word
