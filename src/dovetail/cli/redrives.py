"""`dovetail redrives`, and how a redrive that became a job is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dovetail.cli.desk import Desk, Where, desk, user
from dovetail.cli.exits import OK, PROBLEMS
from dovetail.cli.output import keep, line, notes, number, table, when, write, write_json
from dovetail.control.answers import RedriveOrder, Skipped
from dovetail.control.job import Job, JobAnswer, JobLine, JobOrder
from dovetail.errors import Refused

EVERY = 0.5  # seconds between two looks
STYLES = {"running": "cyan", "paused": "yellow", "cancelled": "dim", "done": "green"}


def redrives(
    id: str = "", /, *, pause: bool = False, resume: bool = False, cancel: bool = False,
    watch: Annotated[bool, Parameter(alias="-w")] = False, by: str = "", where: Where | None = None,
) -> int:  # fmt: skip
    """Print the jobs, or one of them.

    Parameters
    ----------
    id
        A job's number. Without it, all jobs are listed.
    pause
        Send on nothing more for now. What was sent on runs to its end.
    resume
        Go on where it was paused.
    cancel
        Send on nothing more. What is left stays a dead letter.
    watch
        Keep the numbers on the screen until the job is over and all that it sent on has ended.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    """
    where = where or Where()
    actions = [name for name, wanted in (("pause", pause), ("resume", resume), ("cancel", cancel)) if wanted]
    if len(actions) > 1 or ((actions or watch) and not id):
        raise Refused("name one job, and one of --pause, --resume and --cancel", code="which")
    with desk(where) as asked:
        if not id:
            jobs = asked.jobs()
            write_json(jobs) if where.json else _list(jobs)
            return OK
        for action in actions:
            asked.change_job(id, JobOrder(by=by or user(), action=action))
        job = _watched(asked, id, where.json) if watch else asked.job(id)
    write_json(job) if where.json else write(*_drawn(job), whole=True)
    return OK


def ordered(asked: Desk, order: RedriveOrder, detach: bool, as_json: bool) -> int:
    """Make it a job; wait until everything was sent on, unless no server is there to do it. 1 when some were
    skipped."""
    answer = asked.order_job(order)
    id = answer.job.id
    if not asked.running:
        notes().print(f"job {id} is written down: the next `dovetail run` carries it out")
    elif detach:
        notes().print(f"job {id} goes on by itself: `dovetail redrives {id}`")
    else:
        try:
            notes().print(f"job {id}: {answer.job.selected:,} dead letters")
            _wait(asked, answer, as_json)
        except KeyboardInterrupt:
            notes().print(f"\njob {id} goes on by itself: `dovetail redrives {id}`, or --cancel")
            raise
    job = asked.job(id)
    if as_json:
        write_json(job)
    else:
        write(*_drawn(job), *skipped_lines(answer.skipped), whole=True)
    return PROBLEMS if job.skipped or answer.skipped else OK


def _wait(asked: Desk, answer: JobAnswer, as_json: bool) -> None:
    """Show how far it has come, until everything was sent on, or somebody stops it."""
    columns = (TextColumn("redriving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    job, id = answer.job, answer.job.id
    with Progress(*columns, console=notes(), transient=True, disable=as_json) as progress, asyncio.Runner() as waiting:
        task = progress.add_task("redriving", total=job.selected)
        while job.state == "running":
            waiting.run(asyncio.sleep(EVERY / 5))
            job = next(each for each in asked.jobs() if each.id == id)
            progress.update(task, completed=job.selected - job.left)


def _watched(asked: Desk, id: str, as_json: bool) -> Job:
    """Keep it on the screen until there is nothing more to see."""
    with Live(console=notes(), auto_refresh=False, transient=True) as live, asyncio.Runner() as waiting:
        while True:
            job = asked.job(id)
            if job.state != "running" and not job.under_way:
                return job
            if not as_json:
                live.update(Text("\n").join(_drawn(job)), refresh=True)
            waiting.run(asyncio.sleep(EVERY))


def _list(jobs: Sequence[JobLine]) -> None:
    if not jobs:
        notes().print("no redrive became a job so far")
        return
    counts = ("selected", "sent on", "skipped", "left")
    drawn: Table = table("job", "ordered", "by", "state", *counts, "note", right=counts, flexible=("note",))
    for job in jobs:
        drawn.add_row(
            job.id, when(job.at), line(job.by), Text(job.state, STYLES[job.state]), number(job.selected),
            number(job.sent), number(job.skipped), number(job.left), line(job.note),
        )  # fmt: skip
    write(keep(drawn, "job"))


def _drawn(job: Job) -> list[Text]:
    head = Text(f"job {job.id}  ").append(job.state, STYLES[job.state])
    head.append(f"  by {line(job.by)}, {when(job.at)}" + (f": {line(job.note)}" if job.note else ""))
    if job.changed_by:
        head.append(f"  ({job.state} by {line(job.changed_by)}, {when(job.changed_at)})", "dim")
    lines = [
        head,
        Text(f"  {job.selected:,} selected, {job.sent:,} sent on, {job.skipped:,} skipped, {job.left:,} left"),
    ]
    fares = Text(f"  of those sent on: {job.done:,} done, ")
    fares.append(f"{job.failed:,} failed again", "red" if job.failed else "")
    lines.append(fares.append(f", {job.under_way:,} under way"))
    how = [f"{job.rate:g} a second"] if job.rate else []
    how += ["on the version that they were on"] if job.version == "same" else []
    how += ["as new messages"] if job.as_new else []
    how += [f"bodies mended by {line(job.map)[:80]}"] if job.map else []
    if how:
        lines.append(Text(f"  {', '.join(how)}", "dim"))
    return lines + skipped_lines(job.skips)


def skipped_lines(skipped: Sequence[Skipped]) -> list[Text]:
    """Those that were skipped, and why; the first ones."""
    lines = [Text(f"skipped   {line(each.id)}  {line(each.why)}", "yellow") for each in skipped[:50]]
    return lines + ([Text(f"… {len(skipped):,} skipped in all", "yellow")] if len(skipped) > 50 else [])
