"""Lookup tables: `tables/<name>.csv` or `tables/<name>.json`, rows as objects."""

from __future__ import annotations

from typing import Any

from dovetail.codec import CodecError, CsvCodec, JsonCodec
from dovetail.project.tree import FileTree, beneath
from dovetail.spec import Problem

Rows = list[dict[str, Any]]


def table_files(tree: FileTree) -> dict[str, str]:
    """The files of tables by the table's name; of two with one name the first."""
    found: dict[str, str] = {}
    for suffix in (".csv", ".json"):
        for file in beneath(tree, "tables", suffix):
            found.setdefault(file.removeprefix("tables/").removesuffix(suffix), file)
    return found


def read_tables(tree: FileTree) -> tuple[dict[str, Rows], list[Problem]]:
    """All tables by name, and what is wrong with their files."""
    files = table_files(tree)
    problems = [
        Problem(file, 1, 1, f"there is {files[name]} too: a table has one file", "remove one of them", "name")
        for name, file in ((one.removeprefix("tables/").removesuffix(".json"), one)
                           for one in beneath(tree, "tables", ".json"))
        if files[name] != file
    ]  # fmt: skip
    tables: dict[str, Rows] = {}
    for name, file in sorted(files.items()):
        try:
            tables[name] = rows_of(file, tree[file])
        except CodecError as error:
            problems.append(Problem(file, error.line or 1, error.column or 1, error.reason, code="syntax"))
    return tables, problems


def rows_of(file: str, data: bytes) -> Rows:
    """A table's rows; the values of a CSV file are texts. Raises CodecError."""
    if file.endswith(".csv"):
        return CsvCodec().decode(data)
    rows = JsonCodec().decode(data)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CodecError('a table is a list of objects, such as [{"shop": "pc", "erp": "EA"}]')
    return rows
