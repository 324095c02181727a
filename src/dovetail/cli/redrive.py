"""`dovetail redrive`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dovetail.cli.desk import Desk, Where, desk, user
from dovetail.cli.exits import OK, PROBLEMS
from dovetail.cli.output import line, notes, write, write_json
from dovetail.cli.times import moment, pace
from dovetail.clock import SystemClock
from dovetail.control.answers import RedriveAnswer, RedriveOrder, Search, Skipped
from dovetail.control.client import encoded
from dovetail.errors import Refused

CHUNK = 200  # messages asked for at a time, so that progress can be shown


def redrive(
    ids: Annotated[list[str] | None, Parameter(name="IDS")] = None, /, *,
    flow: Annotated[str, Parameter(alias="-f")] = "", key: Annotated[str | None, Parameter(alias="-k")] = None,
    since: str | None = None, until: str | None = None, text: Annotated[str, Parameter(alias="-t")] = "",
    all: bool = False, body: Path | None = None,
    version: Literal["current", "same"] = "current", rate: str | None = None, by: str = "",
    yes: Annotated[bool, Parameter(alias="-y")] = False, where: Where | None = None,
) -> int:  # fmt: skip
    """Redrive and print what was; 1 when something had to be skipped.

    Parameters
    ----------
    ids
        Ids of dead letters.
    flow
        Only this flow's.
    key
        Only those of this key.
    since
        Only those accepted since then: 30m, 2h or 3d ago, 2026-11-21 or 2026-11-21T10:00.
    until
        Only those accepted before then.
    text
        Only those whose body contains this text.
    all
        Every dead letter.
    body
        Go on with this file's bytes as the body ("-": standard input); one message only.
    version
        Go on with the current version of the flow, or with the same that the message was on.
    rate
        Spread them out: 10/s, 300/m.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    yes
        Do not ask before many are redriven.
    """
    where = where or Where()
    named = _named(ids or [])
    narrowed = bool(key or since or until or text or all)
    if (named and narrowed) or not (named or narrowed or flow):
        raise Refused("name ids, or choose with --flow, --key, --since, --until, --text or --all", code="which")
    search = Search(
        flow=flow, states=["dead"], key=key, since=moment(since, "--since"), until=moment(until, "--until"), text=text,
        limit=1000,
    )  # fmt: skip
    edited = None if body is None else encoded(_read(body))
    order = RedriveOrder(by=by or user(), flow=flow, version=version, rate=pace(rate), body=edited)
    total = RedriveAnswer([])
    with desk(where) as asked:
        found = named or _found(asked, search, where.json)
        if not named:
            _confirm(len(found), yes)
        for answer in _carry_out(asked, order, found, where.json):
            total.redriven += answer.redriven
            total.skipped += answer.skipped
    if where.json:
        write_json(total)
    else:
        _told(total)
    return PROBLEMS if total.skipped else OK


def _named(ids: list[str]) -> list[tuple[str, str]]:
    """(flow, id) pairs; `-` stands for what standard input says."""
    words = [word for id in ids for word in (sys.stdin.read().split() if id == "-" else [id])]
    return [("", word) for word in dict.fromkeys(words)]


def _found(asked: Desk, search: Search, quiet: bool) -> list[tuple[str, str]]:
    """All dead letters that match, oldest first, so that a key's messages keep their order."""
    found: list[tuple[str, str]] = []
    with nullcontext() if quiet else notes().status("searching") as shown:
        while True:
            page = asked.messages(search)
            found += [(line.flow, line.id) for line in page.messages]
            if shown is not None:
                shown.update(f"searching: {len(found):,} dead letters so far")
            if not page.next:
                break
            search = msgspec.structs.replace(search, before=page.next)
    found.reverse()
    return found


def _confirm(count: int, yes: bool) -> None:
    if yes or count == 0:
        return
    if not sys.stdin.isatty():
        raise Refused(f"this would redrive {count:,} dead letters: say --yes", code="confirm")
    sys.stderr.write(f"Redrive {count:,} dead letters? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def _carry_out(asked: Desk, order: RedriveOrder, found: list[tuple[str, str]], quiet: bool) -> Iterator[RedriveAnswer]:
    start_at = SystemClock().now_ms() if order.rate else 0
    columns = (TextColumn("redriving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    place = 0
    with Progress(*columns, console=notes(), transient=True, disable=quiet or len(found) <= CHUNK) as progress:
        task = progress.add_task("redriving", total=len(found))
        for flow, ids in _chunks(found):
            part = msgspec.structs.replace(order, ids=ids, flow=flow or order.flow, start_at=start_at, place=place)
            answer = _one_part(asked, part, alone=len(found) == 1)
            place += len(answer.redriven)
            progress.advance(task, len(ids))
            yield answer


def _one_part(asked: Desk, part: RedriveOrder, alone: bool) -> RedriveAnswer:
    """A lone id that cannot be redriven is an error of the command; among others it is one that was skipped."""
    try:
        return asked.redrive(part)
    except Refused as error:
        if alone or error.status not in (404, 409):
            raise
        return RedriveAnswer([], [Skipped(id, error.message) for id in part.ids])


def _chunks(found: list[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
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


def _told(total: RedriveAnswer) -> None:
    lines = [Text(f"redriven  {id}") for id in total.redriven[:20]]
    if len(total.redriven) > 20:
        lines.append(Text(f"… {len(total.redriven):,} dead letters redriven in all"))
    lines += [Text(f"skipped   {line(skipped.id)}  {line(skipped.why)}", "yellow") for skipped in total.skipped[:50]]
    if len(total.skipped) > 50:
        lines.append(Text(f"… {len(total.skipped):,} skipped in all", "yellow"))
    write(*(lines or [Text("there is no dead letter to redrive")]), whole=True)


def _read(path: Path) -> bytes:
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
