"""`dovetail connectors`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import RenderableType
from rich.markdown import Markdown
from rich.text import Text

from dovetail.cli.output import table, write, write_json
from dovetail.control.answers import Connector
from dovetail.control.vocabulary import installed


def connectors(
    name: Annotated[str, Parameter(show_default=False)] = "", /, *,
    kind: Annotated[Literal["connection", "source", "step"] | None, Parameter(alias="-k")] = None,
    json: bool = False,
) -> int:  # fmt: skip
    """Print the list, or the page of one.

    Parameters
    ----------
    name
        The one to describe: its settings with their meaning, its operations and how their repeats are safe.
    kind
        Only connections, sources or steps.
    json
        Answer in JSON.
    """

    words = installed()
    if name:
        found = words.describe(name, kind or "")
        if json:
            write_json(found)
        else:
            _describe(found)
        return 0
    listed = words.all(kind or "")
    if json:
        write_json(listed)
        return 0
    rows = table("name", "kind", "what it does", "from", flexible=("what it does",))
    for line in listed:
        rows.add_row(line.name, line.kind, line.summary, line.origin)
    write(rows)
    return 0


def _describe(found: Connector) -> None:
    head = Text(found.name, "bold").append(f"  {found.kind}", "dim")
    parts: list[RenderableType] = [head, Text(found.description), Text(), Markdown(found.reference)]
    for title, ways in (("operation", found.operations), ("sink", found.sinks)):
        if ways:
            rows = table(title, "repeat")
            for name, repeat in ways.items():
                rows.add_row(name, repeat)
            parts += [Text(), rows]
    write(*parts)
