"""`dovetail map`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from dovetail.cli.output import notes, write_json
from dovetail.control.preview import preview
from dovetail.errors import Refused

FORMATS = {".csv": "csv", ".xml": "xml", ".txt": "text", ".ndjson": "ndjson", ".jsonl": "ndjson"}


def map_(
    mapping: Annotated[Path | None, Parameter(show_default=False)] = None,
    input: Annotated[Path | None, Parameter(show_default=False)] = None, /, *,
    expression: Annotated[str | None, Parameter(alias="-x")] = None,
    bind: Annotated[list[str] | None, Parameter(alias="-b", consume_multiple=False)] = None,
    from_: Annotated[str, Parameter(name="--from")] = "", to: str = "json",
    json: bool = False,
) -> int:  # fmt: skip
    """Print the result.

    Parameters
    ----------
    mapping
        The mapping's file.
    input
        The input's file; without it (or with "-") standard input, if something is piped in. With --expression the only
        name is the input's.
    expression
        Evaluate this text in place of a file.
    bind
        A variable: name=JSON (or plain text); may be given several times: --bind 'vars={"erp": {"no": 7}}'.
    from_
        The input's format: json, csv, xml, text, form, ndjson. Default: by the file's name, else json.
    to
        The result's format.
    json
        Answer in JSON, with "defined" false for a mapping that gives nothing; errors in JSON, too.
    """
    if (mapping is None) == (expression is None) and not (expression is not None and input is None):
        raise Refused("name a mapping's file, or give --expression", code="which")
    if expression is not None:
        mapping, input = None, mapping
    bindings = dict(map(_binding, bind or []))
    text, name = (mapping.read_text(), str(mapping)) if mapping is not None else (expression or "", "expression")
    given = from_ or FORMATS.get(input.suffix if input is not None else "", "json")
    body = _input(input)
    result = preview(text, name, body, given=given, wanted=to, bindings=bindings)
    if json:
        write_json(_answer(result, to))
    elif result is None:
        notes().print("nothing: the result is undefined", style="yellow")
    else:
        _write(result, to)
    return 0


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


def _answer(result: bytes | None, to: str) -> Any:
    if result is None:
        return {"defined": False}
    return {"defined": True, "result": msgspec.Raw(result) if to == "json" else result.decode(errors="replace")}


def _write(result: bytes, to: str) -> None:
    if to == "json":
        result = msgspec.json.format(result, indent=2)
    sys.stdout.buffer.write(result if result.endswith(b"\n") else result + b"\n")
    sys.stdout.buffer.flush()
