"""`dovetail map`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from dovetail.cli.output import notes, tame, write_json
from dovetail.control.preview import Preview, PreviewError, explained
from dovetail.errors import Refused

FORMATS = {".csv": "csv", ".xml": "xml", ".txt": "text", ".ndjson": "ndjson", ".jsonl": "ndjson"}


def map_(
    mapping: Annotated[Path | None, Parameter(show_default=False)] = None,
    input: Annotated[Path | None, Parameter(show_default=False)] = None, /, *,
    expression: Annotated[str | None, Parameter(alias="-x")] = None,
    bind: Annotated[list[str] | None, Parameter(alias="-b", consume_multiple=False)] = None,
    from_: Annotated[str, Parameter(name="--from")] = "", to: str = "json",
    explain: bool = False, repl: bool = False, json: bool = False,
) -> int:  # fmt: skip
    """Print the result.

    Parameters
    ----------
    mapping
        The mapping's file.
    input
        The input's file; without it (or with "-") standard input, if something is piped in. With --expression or --repl
        the only name is the input's.
    expression
        Evaluate this text in place of a file.
    bind
        A variable: name=JSON (or plain text); may be given several times: --bind 'vars={"erp": {"no": 7}}'.
    from_
        The input's format: json, csv, xml, text, form, ndjson. Default: by the file's name, else json.
    to
        The result's format.
    explain
        Evaluate nothing: print the parsed tree, the paths the mapping reads and the fields it writes.
    repl
        Read expressions from standard input, one a line, and evaluate each on the input's file, until the end
        (Ctrl-D). An error does not end it.
    json
        Answer in JSON, with "defined" false for a mapping that gives nothing; errors in JSON, too.
    """
    _one_of(mapping, input, expression, explain, repl)
    if expression is not None or repl:
        mapping, input = None, mapping
    text, name = (mapping.read_text(), str(mapping)) if mapping is not None else (expression or "", "expression")
    if explain:
        told = explained(text, name)
        write_json(told) if json else sys.stdout.write(_told(told))
        return 0
    bindings = dict(map(_binding, bind or []))
    given = from_ or FORMATS.get(input.suffix if input is not None else "", "json")
    body = None if repl and input is None else _input(input)
    preview = Preview(body, given=given, wanted=to, bindings=bindings)
    if repl:
        return _repl(preview, to, json)
    _answer(preview.evaluate(text, name), to, json)
    return 0


def _one_of(mapping: Path | None, input: Path | None, expression: str | None, explain: bool, repl: bool) -> None:
    if repl:
        if expression is not None or explain or input is not None or str(mapping) == "-":
            raise Refused("--repl takes the input's file alone: it reads expressions from standard input", code="which")
    elif (mapping is None) == (expression is None) and not (expression is not None and input is None):
        raise Refused("name a mapping's file, or give --expression", code="which")


def _repl(preview: Preview, to: str, json: bool) -> int:
    """One expression a line; an empty line is passed over."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  (input() then knows arrow keys and a history)
    number = 0
    while (line := _line()) is not None:
        number += 1
        if not line.strip():
            continue
        try:
            text = "\n" * (number - 1) + line.rstrip("\r\n")  # so that errors count the lines that were read
            _answer(preview.evaluate(text, "expression"), to, json)
        except PreviewError as error:
            if json:
                write_json({"error": {"code": error.code, "message": error.message}})
            else:
                notes().print(tame(error.message), style="red", markup=False)
    return 0


def _line() -> str | None:
    if not sys.stdin.isatty():
        return sys.stdin.readline() or None
    try:
        return input("> ")
    except EOFError:
        sys.stdout.write("\n")
        return None


def _told(told: dict[str, Any]) -> str:
    """Tree, reads and writes for people."""
    parts = ["tree", *_branch(told["tree"], 1)]
    for title in ("reads", "writes"):
        parts += ["", title, *(f"  {tame(path)}" for path in told[title] or ["(nothing)"])]
    return "\n".join(parts) + "\n"


def _branch(node: dict[str, Any], depth: int, label: str = "") -> list[str]:
    """A node on a line, what is beneath it indented."""
    value = msgspec.json.encode(node["value"]).decode() if "value" in node else ""
    marks = " ".join(f"{name}={node[name]}" for name in ("focus", "index", "descending", "keep_array") if name in node)
    words = " ".join(filter(None, (f"{label}:" if label else "", node["type"], value, marks)))
    lines = [f"{'  ' * depth}{tame(words)}  ({node['line']}:{node['column']})"]
    for name, below in node.items():
        if name == "value":
            continue
        if isinstance(below, dict):
            lines += _branch(below, depth + 1, name)
        elif isinstance(below, list):
            for one in below:
                for part, role in zip(one, ("key", "value"), strict=True) if isinstance(one, list) else ((one, name),):
                    lines += _branch(part, depth + 1, role)
    return lines


def _input(path: Path | None) -> bytes | None:
    if path is not None and str(path) != "-":
        return path.read_bytes()
    if path is None and sys.stdin.isatty():
        return None
    return sys.stdin.buffer.read() or None


def _binding(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.removeprefix("$").isidentifier():
        raise Refused(f"--bind '{text[:40]}' is not name=value", code="bind")
    return name.removeprefix("$"), value


def _answer(result: bytes | None, to: str, json: bool) -> None:
    if json:
        write_json({"defined": False} if result is None else {"defined": True, "result": _plain(result, to)})
    elif result is None:
        notes().print("nothing: the result is undefined", style="yellow")
    else:
        _write(result, to)


def _plain(result: bytes, to: str) -> Any:
    return msgspec.Raw(result) if to == "json" else result.decode(errors="replace")


def _write(result: bytes, to: str) -> None:
    if to == "json":
        result = msgspec.json.format(result, indent=2)
    sys.stdout.buffer.write(result if result.endswith(b"\n") else result + b"\n")
    sys.stdout.buffer.flush()
