"""`dovetail show`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dovetail.cli.desk import Where, desk
from dovetail.cli.output import STYLES, keep, line, relative, size, table, tame, when, word, write, write_json
from dovetail.clock import SystemClock
from dovetail.control.answers import Body, EffectLine, Journey, StepLine

MARKS = {"done": "✓", "failed": "✗", "dropped": "⊘", "pending": "…", "split": "⑂", "absorbed": "∪"}
MOST_LINES = 60  # of one body


def show(
    id: str, /, *, flow: Annotated[str, Parameter(alias="-f")] = "",
    body: bool = False, original: bool = False,
    where: Where | None = None,
) -> int:  # fmt: skip
    """Print the journey, or the bare body.

    Parameters
    ----------
    id
        The message's id, as "messages" prints it (the part behind the dash will do).
    flow
        The flow to look at, for a message that several flows read.
    body
        Write only the body's bytes, as they are (to edit them for "redrive --body").
    original
        With --body: the bytes as they were accepted, before any edit.
    """

    where = where or Where()
    with desk(where) as asked:
        if body or original:
            sys.stdout.buffer.write(asked.body(id, flow, original))
            sys.stdout.buffer.flush()
            return 0
        journey = asked.show(id, flow)
    if where.json:
        write_json(journey)
    else:
        write(*drawn(journey))
    return 0


def drawn(journey: Journey) -> list[RenderableType]:
    """The journey for people, from top to bottom."""
    parts: list[RenderableType] = [_head(journey), _attributes(journey), Text()]
    parts += _body("body" + (" (edited)" if journey.edited else ""), journey.body)
    parts += _steps(journey)
    parts += _attempts(journey)
    parts += _effects(journey)
    if journey.parts:
        parts += [Text("\nparts", "bold"), *(Text(f"  {id}") for id in journey.parts)]
    if journey.members:
        parts += [Text("\nmade of", "bold"), *(Text(f"  {id}") for id in journey.members)]
    return parts


def _head(journey: Journey) -> Text:
    message = journey.message
    head = Text(message.id, "bold").append("  ").append(word(message.state)).append(f"  in {line(message.flow)}")
    if message.state in ("waiting", "in_doubt", "compensating"):
        head.append(f", attempt {message.attempt + 1} {relative(message.next_at, SystemClock().now_ms())}", "yellow")
    if message.reason:
        head.append(f"\n{line(message.reason)}", "red" if message.state == "dead" else "yellow")
    return head


def _attributes(journey: Journey) -> RenderableType:
    message = journey.message
    facts: dict[str, str] = {
        "accepted": when(message.at), "changed": when(message.changed_at), "key": message.key,
        "source": journey.source, "type": journey.type, "subject": journey.subject,
        "content type": journey.content_type, "flow version": str(journey.version), "part of": journey.parent,
        "trace": journey.trace, "times redriven": str(journey.redriven or ""),
        "in flight at crashes": str(journey.crashes or ""), "also read by": ", ".join(journey.other_flows),
        **{f"header {name}": value for name, value in journey.headers.items()},
    }  # fmt: skip
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            grid.add_row(line(name), line(value))
    return grid


def _steps(journey: Journey) -> list[RenderableType]:
    parts: list[RenderableType] = [Text("\nsteps", "bold")]
    if journey.steps_missing:
        parts.append(Text(f"  not shown: {line(journey.steps_missing)}", "yellow"))
    words = {"done": "", "split": "its parts go on"}
    if journey.message.state in ("done", "dead", "discarded"):
        words["pending"] = "not reached"
    for step in journey.steps:
        parts += _step(step, words.get(step.outcome, step.outcome))
    return parts


def _step(step: StepLine, outcome: str) -> list[RenderableType]:
    style = STYLES.get(step.outcome, "")
    head = Text(f"  {MARKS.get(step.outcome, '?')} ", style).append(line(step.step), "bold")
    if outcome:
        head.append(f"  {outcome}", style)
    if step.error:
        head.append(f": {line(step.error)}", style)
    for effect in step.effects:
        head.append("\n      ").append(_answered(effect))
    if step.after is None:
        return [head]
    if step.before is not None and step.before.text == step.after.text:
        return [head.append("  the body stays as it is", "dim")]
    return [head, *_body("", step.after, indent=6)]


def _answered(effect: EffectLine) -> Text:
    text = Text(f"{line(effect.target)} ", "dim").append(word(effect.state))
    if effect.status:
        text.append(f" {effect.status}", "dim")
    if effect.reply is not None:
        reply = line(effect.reply.text)
        text.append(f"  {reply if len(reply) <= 100 else reply[:99] + '…'}" if effect.reply.encoding == "text"
                    else f"  {size(effect.reply.size)}", "dim")  # fmt: skip
    return text


def _attempts(journey: Journey) -> list[RenderableType]:
    if not journey.attempts:
        return []
    rows = table("attempt", "at", "step", "error", "what it said", right=("attempt",), flexible=("what it said",))
    for attempt in journey.attempts:
        said = line(attempt.message)
        if attempt.detail is not None:
            said += f"  {line(_plain(attempt.detail))}"
        rows.add_row(str(attempt.number), when(attempt.at), line(attempt.step), line(attempt.code), said)
    return [Text("\nfailed attempts", "bold"), rows]


def _effects(journey: Journey) -> list[RenderableType]:
    if not journey.effects:
        return []
    rows = table(
        "effect", "target", "state", "status", "attempt", "at", "key",
        right=("status", "attempt"), flexible=("effect",),
    )  # fmt: skip
    for effect in journey.effects:
        name = line(effect.step) + (f": {line(effect.message)}" if effect.message else "")
        rows.add_row(name, line(effect.target), word(effect.state), str(effect.status or ""), str(effect.attempt),
                     when(effect.at), effect.key)  # fmt: skip
    return [Text("\neffects", "bold"), keep(rows, "key")]


def _body(title: str, body: Body | None, indent: int = 2) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if title:
        parts.append(Text(title, "bold").append(f"  {size(body.size)}" if body else "  no longer kept", "dim"))
    if body is None:
        return parts
    text = tame(_pretty(body)) if body.encoding == "text" else f"{body.text[:400]}… (base64)"
    lines = text.splitlines()
    shown = Text("\n".join(lines[:MOST_LINES]), "cyan" if body.encoding == "text" else "dim", overflow="fold")
    if len(lines) > MOST_LINES or body.cut:
        shown.append("\n… the rest with --body", "dim")
    return [*parts, Padding(shown, (0, 0, 0, indent), expand=False)]


def _pretty(body: Body) -> str:
    """JSON over several lines, with every number as it was written; anything else as it is."""
    if body.cut or body.text[:1] not in ("{", "["):
        return body.text
    try:
        return msgspec.json.format(body.text, indent=2)
    except msgspec.DecodeError:
        return body.text


def _plain(detail: Any) -> str:
    return detail if isinstance(detail, str) else msgspec.json.encode(detail).decode()
