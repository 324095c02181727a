"""A project read from its folder, with everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dovetail.catalog import Catalog
from dovetail.control.answers import Checked, ProblemLine
from dovetail.project.load import UNSET, load_project


def check(
    folder: Path, environment: str, environ: Mapping[str, str], *, secrets: bool = True, strict: bool = False
) -> Checked:
    """Every problem in the project, in file order. Needs no server and no store, and connects to nothing.

    Without `secrets`, variables and secrets that are not set are warnings. With `strict` all other warnings are errors.
    """
    project, problems = load_project(folder, Catalog.builtin().with_guests(), environment, environ, strict=secrets)
    lines = [
        ProblemLine(
            "error" if strict and problem.code not in UNSET else problem.level, problem.code, problem.file,
            problem.line, problem.column, problem.message, problem.suggestion,
        )
        for problem in sorted(problems, key=lambda problem: problem.order)
    ]  # fmt: skip
    return Checked(
        ok=not any(line.level == "error" for line in lines), problems=lines,
        project=project.name if project is not None else "", environment=environment,
        flows=sorted(project.flows) if project is not None else [],
        connections=sorted(project.connections) if project is not None else [],
    )  # fmt: skip
