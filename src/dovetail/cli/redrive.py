"""`dovetail redrive`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dovetail.cli.desk import Desk, Where, desk, user
from dovetail.cli.dry_run import CHUNK, chunks, rehearsed
from dovetail.cli.exits import OK, PROBLEMS
from dovetail.cli.output import line, notes, write, write_json
from dovetail.cli.times import moment, pace
from dovetail.clock import SystemClock
from dovetail.control.answers import MessageLine, RedriveAnswer, RedriveOrder, Search, Skipped
from dovetail.control.client import encoded
from dovetail.errors import Refused


def redrive(
    ids: Annotated[list[str] | None, Parameter(name="IDS")] = None, /, *,
    flow: Annotated[str, Parameter(alias="-f")] = "", key: Annotated[str | None, Parameter(alias="-k")] = None,
    since: str | None = None, until: str | None = None, text: Annotated[str, Parameter(alias="-t")] = "",
    reason: str = "",
    all: bool = False, body: Path | None = None, map: str = "", dry_run: bool = False,
    version: Literal["current", "same"] = "current", rate: str | None = None, by: str = "",
    yes: Annotated[bool, Parameter(alias="-y")] = False, where: Where | None = None,
) -> int:  # fmt: skip
    """Redrive and print what was; 1 when something had to be skipped.

    Parameters
    ----------
    ids
        Ids of dead letters.
    flow
        Only this flow's; * stands for any text ('order-*').
    key
        Only those of this key.
    since
        Only those accepted since then: 30m, 2h or 3d ago, 2026-11-21 or 2026-11-21T10:00.
    until
        Only those accepted before then.
    text
        Only those whose body contains this text.
    reason
        Only those whose reason begins with this text: an error's code, or all of its words.
    all
        Every dead letter.
    body
        Go on with this file's bytes as the body ("-": standard input); one message only.
    map
        Make every message's new body with this mapping: a file, or the expression itself.
    dry_run
        Send and write nothing: show what would be sent, and how that differs from before.
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
    narrowed = bool(key or since or until or text or reason or all)
    if (named and narrowed) or not (named or narrowed or flow):
        raise Refused(
            "name ids, or choose with --flow, --key, --since, --until, --text, --reason or --all", code="which"
        )
    search = Search(
        flow=flow, states=["dead"], key=key, since=moment(since, "--since"), until=moment(until, "--until"), text=text,
        limit=1000,
    )  # fmt: skip
    edited = None if body is None else encoded(_read(body))
    order = RedriveOrder(
        by=by or user(), flow="" if "*" in flow else flow, version=version, rate=pace(rate), body=edited,
        map=_mapping(map),
    )  # fmt: skip
    total = RedriveAnswer([])
    with desk(where) as asked:
        found = named or _found(asked, search, reason, where.json)
        if dry_run:
            return rehearsed(asked, order, found, where.json)
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


def _found(asked: Desk, search: Search, reason: str, quiet: bool) -> list[tuple[str, str]]:
    """All dead letters that match, flow by flow, oldest first, so that a key's messages keep their order."""
    found: list[tuple[str, str]] = []
    with nullcontext() if quiet else notes().status("searching") as shown:
        for flow in _flows(asked, search.flow):
            page = msgspec.structs.replace(search, flow=flow)
            its: list[tuple[str, str]] = []
            for line in _lines(asked, page):
                if line.reason.startswith(reason):
                    its.append((line.flow, line.id))
            its.reverse()
            found += its
            if shown is not None:
                shown.update(f"searching: {len(found):,} dead letters so far")
    return found


def _flows(asked: Desk, named: str) -> list[str]:
    """The flows that a name or a pattern means; "" stands for all of them. Raises `Refused`."""
    if "*" not in named:
        return [named]
    flows = [status.flow for status in asked.status().flows if fnmatchcase(status.flow, named)]
    if not flows:
        raise Refused(f"no flow's name is like '{named}'", status=404, code="not-found")
    return flows


def _lines(asked: Desk, search: Search) -> Iterator[MessageLine]:
    """Everything that a search finds, newest first."""
    while True:
        page = asked.messages(search)
        yield from page.messages
        if not page.next:
            return
        search = msgspec.structs.replace(search, before=page.next)


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
        for flow, ids in chunks(found):
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


def _told(total: RedriveAnswer) -> None:
    lines = [Text(f"redriven  {id}") for id in total.redriven[:20]]
    if len(total.redriven) > 20:
        lines.append(Text(f"… {len(total.redriven):,} dead letters redriven in all"))
    lines += [Text(f"skipped   {line(skipped.id)}  {line(skipped.why)}", "yellow") for skipped in total.skipped[:50]]
    if len(total.skipped) > 50:
        lines.append(Text(f"… {len(total.skipped):,} skipped in all", "yellow"))
    write(*(lines or [Text("there is no dead letter to redrive")]), whole=True)


def _mapping(text: str) -> str:
    """The mapping in the file of that name, else the text itself."""
    try:
        return Path(text).read_text() if text and Path(text).is_file() else text
    except (OSError, ValueError):
        return text


def _read(path: Path) -> bytes:
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
