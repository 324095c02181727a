"""YAML 1.2 to plain values that know where they were written. The only module that knows the YAML library."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dovetail.spec import Location, Path, Report

MAX_NODES: Final = 200_000  # values in one file, aliases counted as often as they are used
_TAG: Final = "tag:yaml.org,2002:"
_KNOWN: Final = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp"))


class Text:
    """One file, read. `value` is plain data (None for an unreadable or empty file); `problems` says what is wrong."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self.value: Any = None
        self._root: Node | None = None
        self._lines: list[str] = []
        self._left = MAX_NODES
        self._report = Report(self.locate)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self._fail(line, 0, f"the byte 0x{data[error.start]:02x} is not valid UTF-8", "save the file as UTF-8")
        else:
            self._lines = text.splitlines()
            self._read(text)
        self.problems = self._report.problems

    def locate(self, path: Path, *, key: bool = False) -> Location:
        """Where the value at `path` (with `key`: the name it stands under) was written.

        A part of the path that the text does not have is passed over: a bare value stands for the field it sets, a
        single step for a list of one.
        """
        node, name = self._root, None
        for index, part in enumerate(path):
            found = _child(node, part)
            if found is None:
                name = name if index == len(path) - 1 and not isinstance(part, int) else None
                continue
            name, node = found
        place = name if key and name is not None else node
        if place is None:
            return Location(self.file, 1, 1)
        return Location(self.file, place.start_mark.line + 1, place.start_mark.column + 1)

    def inside(self, path: Path, line: int, column: int) -> Location:
        """Where line and column (from 1) of the text value at `path` are in the file, as well as that can be said."""
        node = self._root
        for part in path:
            found = _child(node, part)
            node = found[1] if found else node
        if not isinstance(node, ScalarNode):
            return self.locate(path)
        start, style = node.start_mark, node.style
        if style in ("|", ">"):
            body = self._lines[start.line + 1 :]
            indent = next((len(text) - len(text.lstrip()) for text in body if text.strip()), 0)
            return Location(self.file, start.line + 1 + line, indent + column)
        if line > 1 or node.end_mark.line != start.line:
            return Location(self.file, start.line + 1, start.column + 1)
        return Location(self.file, start.line + 1, start.column + (1 if style in ("'", '"') else 0) + column)

    def _read(self, text: str) -> None:
        try:
            self._root = YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self._fail(line, column, *_explained(error, self._lines))
        except YAMLError as error:
            self._fail(1, 1, f"not YAML: {str(error).splitlines()[0]}", "")
        except RecursionError:
            self._fail(1, 1, "nested too deeply", "")
        else:
            if self._root is not None:
                self.value = self._plain(self._root, ())

    def _fail(self, line: int, column: int, message: str, suggestion: str) -> None:
        self._report.locate = lambda path, *, key=False: Location(self.file, line, column)
        self._report.add((), message, suggestion, code="syntax")
        self._report.locate = self.locate

    def _at(self, node: Node, message: str, suggestion: str = "", code: str = "syntax") -> None:
        here = Location(self.file, node.start_mark.line + 1, node.start_mark.column + 1)
        self._report.locate = lambda path, *, key=False: here
        self._report.add((), message, suggestion, code=code)
        self._report.locate = self.locate

    def _plain(self, node: Node, parents: tuple[int, ...]) -> Any:
        self._left -= 1
        if self._left < 0 or id(node) in parents or len(parents) > 64:
            if self._left != -2:
                self._at(node, "the text is too large or too deep, or refers to itself", code="too-large")
            self._left = -2
            return None
        if str(node.tag) not in _KNOWN and not str(node.tag).endswith(":merge"):
            self._at(node, f"the tag {node.tag} is not known here", "leave the tag out")
            return None
        below = (*parents, id(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, below)
        if isinstance(node, SequenceNode):
            return [self._plain(item, below) for item in node.value]
        return _scalar(str(node.tag).removeprefix(_TAG), str(node.value))

    def _mapping(self, node: MappingNode, below: tuple[int, ...]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        first: dict[Any, Node] = {}
        for name_node, value_node in node.value:
            if str(name_node.tag).endswith(":merge"):
                self._at(name_node, "'<<' is not supported", "write the fields out")
                continue
            name = self._plain(name_node, below)
            if not isinstance(name, Hashable):
                self._at(name_node, "a name must be a plain text")
            elif name in first:
                line = first[name].start_mark.line + 1
                self._at(name_node, f"'{name}' is there twice (first on line {line})", "keep one", "duplicate-key")
            else:
                first[name] = name_node
                result[name] = self._plain(value_node, below)
        return result


def _child(node: Node | None, part: str | int) -> tuple[Node | None, Node] | None:
    if isinstance(node, SequenceNode) and isinstance(part, int):
        return (None, node.value[part]) if part < len(node.value) else None
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if isinstance(name, ScalarNode) and (name.value == part or name.value == str(part)):
                return name, value
    return None


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        digits = text.replace("_", "")
        sign, bare = (-1, digits[1:]) if digits.startswith("-") else (1, digits.lstrip("+"))
        base = {"0o": 8, "0x": 16, "0b": 2}.get(bare[:2].lower(), 10)
        return sign * (int(bare, 10) if base == 10 else int(bare[2:], base))
    if kind == "float":
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _explained(error: MarkedYAMLError, lines: list[str]) -> tuple[str, str]:
    problem = str(error.problem or error.context or "not YAML")
    mark = error.problem_mark
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "'\\t'" in problem:
        return "a tab cannot indent", "indent with spaces"
    if "mapping values are not allowed" in problem:
        return "a ':' is not expected here", "put the value in quotes if the ':' belongs to it"
    if "cannot start any token" in problem:
        return f"not YAML: {problem}", "put the value in quotes"
    if "another document" in problem:
        return "a file holds one document, and here begins another", "remove the '---'"
    if "but found" in problem or "but got" in problem:
        hint = (
            "put the whole value in quotes"
            if line.count("'") + line.count('"') > 1
            else "check brackets and indentation"
        )
        return f"not YAML: {problem.replace('<', '').replace('>', '')}", hint
    return f"not YAML: {problem}", ""
