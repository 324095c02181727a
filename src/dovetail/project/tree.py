"""A project's text as a value: relative path → bytes. A folder gives one; for an older version, the store does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from dovetail.errors import ProjectError

FileTree = Mapping[str, bytes]

MAX_FILE: Final = 4 * 2**20  # bytes
MAX_FILES: Final = 10_000
ROOT_FILE: Final = "dovetail.yaml"
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "connections": (".yaml",),
    "flows": (".yaml",),
    "maps": (".jsonata",),
    "contracts": (".json",),
    "apis": (".yaml",),
    "tests": (".yaml",),
    "python": (".py",),
    "tables": (".csv", ".json"),
}
_NEARLY: Final = {".yaml": (".yml",), ".jsonata": (".jsonat", ".jsonnata")}


def read_folder(folder: Path) -> dict[str, bytes]:
    """The project files beneath `folder`; other files are left alone, and links out of it are not followed.

    Raises ProjectError if there is no project, or a file is too large.
    """
    if not (folder / ROOT_FILE).is_file():
        raise ProjectError(f"{folder} is not a Dovetail project: it has no {ROOT_FILE}; 'dovetail new' makes one")
    root = folder.resolve()
    tree = {ROOT_FILE: _read(root / ROOT_FILE, ROOT_FILE)}
    for name, suffixes in _KINDS.items():
        for path in sorted(path for path in (root / name).rglob("*") if path.suffix in suffixes):
            relative = path.relative_to(root).as_posix()
            if any(part.startswith(".") for part in path.relative_to(root).parts) or not path.is_file():
                continue
            if not path.resolve().is_relative_to(root):
                raise ProjectError(f"{relative} is a link out of the project folder; copy the file instead")
            if len(tree) == MAX_FILES:
                raise ProjectError(f"{folder} has more than {MAX_FILES} project files")
            tree[relative] = _read(path, relative)
    return tree


def strays(folder: Path) -> Iterator[tuple[str, str]]:
    """Files and folders that look as if they were meant to be read and are not, with what to call them."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        if entry.name in _KINDS:
            suffixes = _KINDS[entry.name]
            for path in sorted(entry.rglob("*")):
                right = next((one for one in suffixes if path.suffix in _NEARLY.get(one, ())), "")
                if right and path.is_file():
                    yield path.relative_to(folder).as_posix(), path.with_suffix(right).relative_to(folder).as_posix()
        else:
            near = get_close_matches(entry.name.lower(), _KINDS, n=1, cutoff=0.8)
            if near and any(path.suffix in _KINDS[near[0]] for path in entry.rglob("*")):
                yield entry.name, near[0]


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ProjectError(f"{name} cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise ProjectError(f"{name} is larger than {MAX_FILE} bytes")
    return data


def beneath(tree: FileTree, folder: str, suffix: str) -> list[str]:
    """The paths in `folder` (and its folders) that end in `suffix`, in order."""
    return sorted(path for path in tree if path.startswith(f"{folder}/") and path.endswith(suffix))
