"""What is wrong with a text, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Path = tuple[str | int, ...]


class Location(NamedTuple):
    """A place in a file. Lines and columns count from 1; 0 means unknown."""

    file: str = ""
    line: int = 0
    column: int = 0


class Locator(Protocol):
    """Finds where a value (with `key`: the name it stands under) was written; else where its nearest parent was."""

    def __call__(self, path: Path, *, key: bool = False) -> Location: ...


def nowhere(path: Path, *, key: bool = False) -> Location:
    """The locator of values that come from no file."""
    return Location()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. `code` is a short stable word; `path` leads to the value at fault; a warning stops nothing."""

    file: str
    line: int
    column: int
    message: str
    suggestion: str = ""
    code: str = "wrong"
    path: Path = ()
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        if self.file:
            place = ":".join([self.file, *(str(number) for number in (self.line, self.column) if number)]) + ": "
        else:
            place = f"{show_path(self.path)}: " if self.path else ""
        mark = "warning: " if self.level == "warning" else ""
        return f"{place}{mark}{self.message}" + (f" ({self.suggestion})" if self.suggestion else "")

    @property
    def order(self) -> tuple[bool, str, int, int, str]:
        """Sort key: what stands in the way before what is only doubtful, each in file order."""
        return (self.level != "error", self.file, self.line, self.column, self.message)


class Report:
    """Collects problems while a value is checked."""

    def __init__(self, locate: Locator = nowhere) -> None:
        self.locate = locate
        self.problems: list[Problem] = []

    def add(
        self, path: Path, message: str, suggestion: str = "", *, code: str = "wrong", key: bool = False,
        level: Literal["error", "warning"] = "error",
    ) -> None:  # fmt: skip
        """Note a problem at `path`; with `key` at the name rather than at its value."""
        place = self.locate(path, key=key)
        self.problems.append(Problem(*place, message, suggestion, code, path, level))

    @property
    def failed(self) -> bool:
        """Whether there is a problem that is not merely a warning."""
        return any(problem.level == "error" for problem in self.problems)


def show_path(path: Path) -> str:
    """`steps[2].call`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for a misspelled word; else what there is to choose from; else nothing."""
    choices = sorted(known)
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{by_lower[close[0]]}'?"
    if not choices:
        return ""
    shown = ", ".join(choices[:12]) + (", …" if len(choices) > 12 else "")
    return f"known: {shown}"
