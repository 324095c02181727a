"""`dovetail status`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Group
from rich.live import Live
from rich.text import Text

from dovetail.cli.desk import Where, desk
from dovetail.cli.output import line, number, size, span, table, word, write, write_json
from dovetail.control.answers import FlowStatus, Status


def status(
    *, watch: Annotated[bool, Parameter(alias="-w")] = False, every: float = 1.0,
    where: Where | None = None,
) -> int:  # fmt: skip
    """Print the numbers once, or keep them on the screen.

    Parameters
    ----------
    watch
        Keep the numbers on the screen up to date until Ctrl-C (with --json: one line of JSON each time).
    every
        Seconds between two looks.
    """
    where = where or Where()
    with desk(where) as asked:
        if not watch:
            answer = asked.status()
            if where.json:
                write_json(answer)
            else:
                write(drawn(answer))
            return 0
        with asyncio.Runner() as waiting:
            _watch(asked.status, max(0.1, every), where.json, waiting)
    return 0


def _watch(ask: Callable[[], Status], every: float, as_json: bool, waiting: asyncio.Runner) -> None:
    with nullcontext() if as_json else Live(auto_refresh=False) as live:
        while True:
            answer = ask()
            if live is None:
                sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
                sys.stdout.flush()
            else:
                live.update(drawn(answer), refresh=True)
            try:
                waiting.run(asyncio.sleep(every))
            except KeyboardInterrupt:
                return


def drawn(status: Status) -> Group:
    """The whole answer for people."""
    parts: list[object] = [_head(status), Text()]
    flows = table(
        "flow", "accepted", "pending", "done", "discarded", "dead", "bytes", "pending ones",
        right=("accepted", "pending", "done", "discarded", "dead", "bytes"), flexible=("pending ones",),
    )  # fmt: skip
    for flow in status.flows:
        flows.add_row(*_flow_row(flow))
    parts.append(flows if status.flows else Text("no flow has run on this store yet", "dim"))
    if status.targets:
        targets = table("target", "breaker")
        for target in status.targets:
            targets.add_row(line(target.target), word(target.breaker))
        parts += [Text(), targets]
    usage = status.usage
    parts += [
        Text(),
        Text(
            f"store {line(status.store)}: {size(usage.get('store', 0))}, log {size(usage.get('wal', 0))}, "
            f"large bodies {size(usage.get('files', 0))}, "
            f"{size(usage.get('free', 0))} free on the disk{_full(status.disk)}",
            "dim",
        ),
    ]
    return Group(*parts)  # type: ignore[arg-type]


def _full(disk: str) -> str:
    """What a full disk means, in words."""
    return {"full": ": FULL, nothing is accepted", "very full": ": VERY FULL, nothing is accepted or fetched"}.get(
        disk, ""
    )


def _head(status: Status) -> Text:
    head = Text(line(status.project), "bold")
    if not status.running:
        return head.append("  not running: these are the numbers of its store", "yellow")
    head.append("  running", "green").append(f" for {span(status.uptime)}, process {status.pid}", "dim")
    if status.ready:
        return head.append(", ready", "green")
    return head.append(f", not ready: {line('; '.join(status.reasons))}", "bold red")


def _flow_row(flow: FlowStatus) -> list[str | Text]:
    split = Text(", ").join(Text(f"{n:,} ").append(word(state)) for state, n in flow.states.items())
    if flow.waiting_for:
        split.append(f"  held back by {line(flow.waiting_for)}", "yellow")
    if len(flow.ready) > 1 or set(flow.ready) - {"normal"}:
        split.append("  ready: " + ", ".join(f"{n:,} {priority}" for priority, n in flow.ready.items()), "dim")
    for step, count in flow.remembers.items():
        split.append(f"  {line(step)} remembers {count:,}", "dim")
    if flow.parked:
        split.append(f"  {flow.parked:,} keys parked", "yellow")
    dead = number(flow.dead)
    if flow.dead:
        dead.stylize("bold red")
    return [line(flow.flow), number(flow.accepted), number(flow.pending), number(flow.done), number(flow.discarded),
            dead, size(flow.bytes), split]  # fmt: skip
