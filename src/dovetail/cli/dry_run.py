"""`dovetail redrive --dry-run`: what would be sent, and how it differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich.text import Text

from dovetail.cli.desk import Desk
from dovetail.cli.exits import OK, PROBLEMS
from dovetail.cli.output import line, notes, tame, write, write_json
from dovetail.control.answers import Alike, DryRun, DryRunAnswer, RedriveOrder, Skipped
from dovetail.control.difference import alike
from dovetail.errors import Refused

CHUNK = 200  # messages asked for at a time, so that progress can be shown
WHOLE = 5  # messages that are shown one by one; more are shown in groups
SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def rehearsed(asked: Desk, order: RedriveOrder, found: list[tuple[str, str]], as_json: bool) -> int:
    """Ask and print; 1 when some would fail again or had to be skipped."""
    total = DryRunAnswer([])
    for flow, ids in chunks(found):
        part = msgspec.structs.replace(order, ids=ids, flow=flow or order.flow)
        try:
            answer = asked.dry_run(part)
        except Refused as error:
            if len(found) == 1 or error.status not in (404, 409):
                raise
            answer = DryRunAnswer([], skipped=[Skipped(id, error.message) for id in ids])
        total.runs += answer.runs
        total.skipped += answer.skipped
    total.groups = alike(total.runs)
    for step in sorted(set(order.answers) - {step for run in total.runs for step in run.assumed}):
        notes().print(tame(f"no message reads an answer of '{step}' that only the real call gives"), style="yellow")
    if as_json:
        write_json(total)
    else:
        write(*_drawn(total), whole=True)
    return PROBLEMS if total.skipped or any(run.ends == "failed" for run in total.runs) else OK


def chunks(found: list[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Up to `CHUNK` ids of one flow each, in order."""
    ids: list[str] = []
    flow = ""
    for its, id in found:
        if ids and (its != flow or len(ids) >= CHUNK):
            yield flow, ids
            ids = []
        flow = its
        ids.append(id)
    if ids:
        yield flow, ids


def _drawn(total: DryRunAnswer) -> list[Text]:
    failing = sum(run.ends == "failed" for run in total.runs)
    sending = sum(len(run.now) for run in total.runs)
    drawn = [Text(f"dry run: {len(total.runs):,} dead letters, {sending:,} sendings, {failing:,} would fail again")]
    if len(total.runs) <= WHOLE:
        for run in total.runs:
            drawn += _one(run)
    else:
        for group in total.groups:
            drawn += _group(group)
    drawn += [Text(f"skipped   {line(each.id)}  {line(each.why)}", "yellow") for each in total.skipped[:50]]
    return drawn


def _one(run: DryRun) -> Sequence[Text]:
    drawn = [Text(f"{run.id}  {line(run.flow)}  {_versions(run)}: {_end(run.ends, run.step)}")]
    if run.why:
        drawn.append(Text(f"  {line(run.why)}", "yellow"))
    for change in run.changes:
        sign, style = SIGNS[change.kind]
        values = " → ".join(line(value) for value in (change.was, change.now) if value)
        drawn.append(Text(f"  {sign} {line(change.path)}  {values}", style))
    if not run.changes:
        drawn.append(Text("  the same would be sent as before", "dim"))
    drawn += _assumed(run)
    if run.untouched:
        drawn.append(Text(f"  {run.untouched} done effects stay as they are", "dim"))
    return drawn


def _group(group: Alike) -> Sequence[Text]:
    end = _end(group.ends, group.reason)
    drawn = [Text(f"{group.count:,}  {line(group.flow)}  {_versions(group)}: {end}")]
    if group.why:
        drawn.append(Text(f"  {line(group.why)}", "yellow"))
    for change in group.changes:
        sign, style = SIGNS[change.partition(" ")[0]]
        drawn.append(Text(f"  {sign} {line(change.partition(' ')[2])}", style))
    if not group.changes:
        drawn.append(Text("  the same would be sent as before", "dim"))
    drawn += _assumed(group)
    drawn.append(Text(f"  for example {group.example}", "dim"))
    return drawn


def _assumed(told: DryRun | Alike) -> Iterator[Text]:
    """What stood in for answers that only the real call gives."""
    for step, value in told.assumed.items():
        given = line(msgspec.json.encode(value).decode()[:200])
        yield Text(f"  {line(step)} is not called now: {given} stands in for its answer (--answer)", "yellow")


def _versions(run: DryRun | Alike) -> str:
    """A text that the store has not seen yet has no number."""
    return f"version {run.before} → {run.version or 'a new one'}"


def _end(word: str, where: str) -> str:
    words = {"failed": "would fail again", "open": "depends on an answer that only the real call gives,"}
    return f"{words.get(word, word)}{f' at {line(where)}' if where else ''}"
