"""`dovetail check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from dovetail.cli.desk import find_project
from dovetail.cli.exits import OK, PROBLEMS
from dovetail.cli.output import line, write, write_json
from dovetail.control.answers import Checked, ProblemLine
from dovetail.control.checking import check as checked
from dovetail.spec import Problem


def check(
    folder: Annotated[Path | None, Parameter(show_default=False)] = None, /, *,
    env: Annotated[str, Parameter(alias="-e", env_var="DOVETAIL_ENV")] = "dev",
    without_secrets: bool = False, strict: bool = False, json: bool = False,
) -> int:  # fmt: skip
    """Print the problems; 1 when there is an error.

    Parameters
    ----------
    folder
        The project folder. Default: this folder or the nearest one above it with a dovetail.yaml.
    env
        The environment to check it for.
    without_secrets
        Where variables and secrets are not set (in CI, say): their absence is a warning, and what hangs on them is not
        checked.
    strict
        Warnings are errors, too (but for what --without-secrets lets pass).
    json
        Answer in JSON.
    """
    answer = checked(find_project(folder), env, os.environ, secrets=not without_secrets, strict=strict)
    if json:
        write_json(answer)
    else:
        write(*map(drawn, answer.problems), _summary(answer), whole=True)
    return OK if answer.ok else PROBLEMS


def drawn(problem: ProblemLine | Problem) -> Text:
    """One problem: where, what, and what to write instead."""
    place = ":".join([line(problem.file), *(str(number) for number in (problem.line, problem.column) if number)])
    text = Text(f"{place}: " if place else "", "bold")
    text.append(f"{problem.level}: ", "red" if problem.level == "error" else "yellow")
    text.append(line(problem.message), "")
    if problem.suggestion:
        text.append(f"\n    {line(problem.suggestion)}", "cyan")
    return text


def _summary(answer: Checked) -> Text:
    errors = sum(problem.level == "error" for problem in answer.problems)
    warnings = len(answer.problems) - errors
    counts = ", ".join(_counted(n, word) for n, word in ((errors, "error"), (warnings, "warning")) if n)
    if not answer.ok:
        return Text(counts or "this is no project", "bold red")
    what = f"{_counted(len(answer.flows), 'flow')}, {_counted(len(answer.connections), 'connection')}"
    return Text(f"{line(answer.project)}: {what}, {counts or 'no problems'}", "yellow" if warnings else "green")


def _counted(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
