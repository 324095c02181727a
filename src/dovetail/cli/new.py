"""`dovetail new`."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from shlex import quote

from rich.text import Text

from dovetail.cli.output import tame, write, write_json
from dovetail.errors import Refused

RENAMED = {"gitignore": ".gitignore"}


def new(folder: Path, /, *, name: str = "", json: bool = False) -> int:
    """Write the project's files.

    Parameters
    ----------
    folder
        The folder to make; it must be empty if it is there.
    name
        The project's name: lower-case letters, digits and hyphens. Default: the folder's name.
    json
        Answer in JSON.
    """
    called = name or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", called):
        raise Refused(f"'{called}' is no name for a project: lower-case letters, digits and hyphens; use --name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} is there already and not an empty folder", status=409, code="exists")
    written = [_write(source, folder / place, called) for source, place in _files(files("dovetail.cli") / "template")]
    if json:
        write_json({"project": called, "folder": str(folder), "files": sorted(map(str, written))})
        return 0
    lines = [Text(tame(str(path))) for path in sorted(written)]
    write(*lines, Text(f"\nNext: cd {tame(quote(str(folder)))} && dovetail check && dovetail run"), whole=True)
    return 0


def _files(folder: Traversable, beneath: Path = Path()) -> list[tuple[Traversable, Path]]:
    found: list[tuple[Traversable, Path]] = []
    for entry in folder.iterdir():
        place = beneath / RENAMED.get(entry.name, entry.name)
        found += _files(entry, place) if entry.is_dir() else [(entry, place)]
    return found


def _write(source: Traversable, target: Path, name: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(source.read_text(encoding="utf-8").replace("{{name}}", name), encoding="utf-8")
    return target
