"""`dovetail redrive`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.text import Text

from dovetail.cli.desk import Desk, Where, desk, user
from dovetail.cli.dry_run import rehearsed
from dovetail.cli.exits import OK, PROBLEMS
from dovetail.cli.output import notes, write, write_json
from dovetail.cli.redrives import ordered, skipped_lines
from dovetail.cli.times import moment, pace
from dovetail.control.answers import MessageLine, RedriveAnswer, RedriveOrder, Search
from dovetail.control.client import encoded
from dovetail.errors import Refused

AT_ONCE = 500  # messages that are redriven at once, in one transaction; more become a job


def redrive(
    ids: Annotated[list[str] | None, Parameter(name="IDS")] = None, /, *,
    flow: Annotated[str, Parameter(alias="-f")] = "", key: Annotated[str | None, Parameter(alias="-k")] = None,
    since: str | None = None, until: str | None = None, text: Annotated[str, Parameter(alias="-t")] = "",
    reason: str = "", step: str = "", of_version: int = 0,
    all: bool = False, body: Path | None = None, map: str = "", dry_run: bool = False,
    answer: Annotated[list[str] | None, Parameter(consume_multiple=False)] = None, as_new: bool = False,
    version: Literal["current", "same"] = "current", rate: str | None = None, by: str = "", note: str = "",
    detach: bool = False, yes: Annotated[bool, Parameter(alias="-y")] = False, where: Where | None = None,
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
    step
        Only those that failed at this step; * stands for any text ('call:erp.*').
    of_version
        Only those that are on this version of their flow.
    all
        Every dead letter.
    body
        Go on with this file's bytes as the body ("-": standard input); one message only.
    map
        Make every message's new body with this mapping: a file, or the expression itself.
    dry_run
        Send and write nothing: show what would be sent, and how that differs from before.
    answer
        With --dry-run, what stands in for the answer of a call that is not made, by step; may be given several times:
        'call:erp.create={"number": 7}'. Without one it is {}.
    as_new
        Run them anew from the beginning, as new messages with new effect keys: what was done at targets is done again.
        The dead letters are discarded, with a note.
    version
        Go on with the current version of the flow, or with the same that the message was on.
    rate
        Spread them out: 10/s, 300/m. Makes it a job.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    note
        Why; stands in the audit trail.
    detach
        Make it a job, however few they are, and do not wait for it.
    yes
        Do not ask before many are redriven.
    """
    where = where or Where()
    named = _named(ids or [])
    narrowed = bool(key or since or until or text or reason or step or of_version or all)
    if (named and narrowed) or not (named or narrowed or flow):
        raise Refused(
            "name ids, or choose with --flow, --key, --since, --until, --text, --reason, --step, --of-version or --all",
            code="which",
        )
    if answer and not dry_run:
        raise Refused("--answer is for --dry-run: a redrive takes what the target answers", code="answer")
    search = Search(
        flow=flow, states=["dead"], key=key, since=moment(since, "--since"), until=moment(until, "--until"), text=text,
        reason=reason, step=step, version=of_version, limit=1000,
    )  # fmt: skip
    edited = None if body is None else encoded(_read(body))
    order = RedriveOrder(
        by=by or user(), flow="" if "*" in flow else flow, version=version, rate=pace(rate), body=edited,
        map=_mapping(map), as_new=as_new, note=note, answers=dict(_answer(each) for each in answer or []),
    )  # fmt: skip
    with desk(where) as asked:
        found = named or _found(asked, search, where.json)
        if dry_run:
            return rehearsed(asked, order, found, where.json)
        if not named or (as_new and len(found) > 1):
            _confirm(len(found), yes, as_new)
        order.ids = [f"{its or order.flow}:{id}".removeprefix(":") for its, id in found]
        if found and (detach or order.rate or len(found) > AT_ONCE):
            return ordered(asked, order, detach, where.json)
        total = asked.redrive(order) if found else RedriveAnswer([])
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
    """All dead letters that match, flow by flow, oldest first, so that a key's messages keep their order."""
    found: dict[str, list[tuple[str, str]]] = {}
    with nullcontext() if quiet else notes().status("searching") as shown:
        for n, each in enumerate(_lines(asked, search), 1):
            found.setdefault(each.flow, []).append((each.flow, each.id))
            if shown is not None and n % 1000 == 0:
                shown.update(f"searching: {n:,} dead letters so far")
    return [pair for its in found.values() for pair in reversed(its)]


def _lines(asked: Desk, search: Search) -> Iterator[MessageLine]:
    """Everything that a search finds, newest first."""
    while True:
        page = asked.messages(search)
        yield from page.messages
        if not page.next:
            return
        search = msgspec.structs.replace(search, before=page.next)


def _confirm(count: int, yes: bool, as_new: bool) -> None:
    if yes or count == 0:
        return
    what = f"{count:,} dead letters" + (" as new ones" if as_new else "")
    if not sys.stdin.isatty():
        raise Refused(f"this would redrive {what}: say --yes", code="confirm")
    sys.stderr.write(f"Redrive {what}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def _told(total: RedriveAnswer) -> None:
    new = [f" as {id}" for id in total.new] or [""] * len(total.redriven)
    lines = [Text(f"redriven  {id}{its}") for id, its in zip(total.redriven[:20], new, strict=False)]
    if len(total.redriven) > 20:
        lines.append(Text(f"… {len(total.redriven):,} dead letters redriven in all"))
    lines += skipped_lines(total.skipped)
    write(*(lines or [Text("there is no dead letter to redrive")]), whole=True)


def _mapping(text: str) -> str:
    """The mapping in the file of that name, else the text itself. Raises `Refused` when there is no such file."""
    with suppress(OSError, ValueError):
        if text and Path(text).is_file():
            return Path(text).read_text()
    if text.endswith(".jsonata") and "\n" not in text:
        raise Refused(f"--map {text}: there is no such file", code="map")
    return text


def _answer(text: str) -> tuple[str, object]:
    """Step and value of `call:erp.create={"number": 7}`. Raises `Refused`."""
    step, equals, value = text.partition("=")
    try:
        if step and equals:
            return step, msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise Refused(f"--answer {step}=: not JSON: {error}", code="answer") from error
    raise Refused(f"--answer '{text}' is not step=JSON, such as call:erp.create={{\"number\": 7}}", code="answer")


def _read(path: Path) -> bytes:
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
