"""`dovetail messages`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from dovetail.cli.desk import Where, desk
from dovetail.cli.output import keep, line, notes, relative, size, table, when, word, write, write_json
from dovetail.cli.times import moment
from dovetail.clock import SystemClock
from dovetail.control.answers import MOST_LINES, Page, Search


def messages(
    *, flow: Annotated[str, Parameter(alias="-f")] = "",
    state: Annotated[list[str] | None, Parameter(alias="-s", consume_multiple=False)] = None,
    key: Annotated[str | None, Parameter(alias="-k")] = None, since: str | None = None, until: str | None = None,
    text: Annotated[str, Parameter(alias="-t")] = "", reason: str = "", step: str = "", version: int = 0,
    limit: Annotated[int, Parameter(alias="-n", validator=Number(gte=1, lte=MOST_LINES))] = 50,
    before: str = "", ids: bool = False, where: Where | None = None,
) -> int:  # fmt: skip
    """Print a page of messages.

    Parameters
    ----------
    flow
        Only this flow's; * stands for any text ('order-*').
    state
        Only messages in this state; may be given several times: pending (all that have not ended), waiting, held,
        in_doubt, split, running, compensating, done, discarded, dead.
    key
        Only messages of this key.
    since
        Only those accepted since then: 30m, 2h or 3d ago, 2026-11-21 or 2026-11-21T10:00.
    until
        Only those accepted before then.
    text
        Only those whose body contains this text.
    reason
        Only those whose reason begins with this text: an error's code, or all of its words.
    step
        Only those whose last attempt failed at this step; * stands for any text ('call:erp.*').
    version
        Only those that are on this version of their flow.
    limit
        At most this many, up to 1,000.
    before
        Continue where a page ended (its "next").
    ids
        Print only the ids, one a line, for other commands.
    """

    where = where or Where()
    search = Search(
        flow=flow, states=state or [], key=key, since=moment(since, "--since"), until=moment(until, "--until"),
        text=text, reason=reason, step=step, version=version, before=before, limit=limit,
    )  # fmt: skip
    with desk(where) as asked:
        page = asked.messages(search)
    if where.json:
        write_json(page)
    elif ids:
        sys.stdout.writelines(f"{line.id}\n" for line in page.messages)
    elif not page.messages:
        notes().print("no message matches" + (f"; there may be more: --before {page.next}" if page.next else ""))
    else:
        write(drawn(page))
        if page.next:
            notes().print(f"there are more: --before {page.next}", style="dim")
    return 0


def drawn(page: Page) -> Table:
    """The messages for people; ids are whole, so that they can be pasted."""
    now = SystemClock().now_ms()
    drawn = table(
        "id",
        "flow",
        "state",
        "accepted",
        "key",
        "size",
        "note",
        right=("size",),
        flexible=("note",),
    )
    for message in page.messages:
        note = line(message.reason)
        if message.state in ("waiting", "in_doubt", "compensating"):
            note = f"attempt {message.attempt + 1} {relative(message.next_at, now)}" + (f"; {note}" if note else "")
        if message.priority:
            note = f"{message.priority}; {note}" if note else message.priority
        drawn.add_row(
            message.id, line(message.flow), word(message.state), when(message.at), line(message.key),
            size(message.size), note[:200],
        )  # fmt: skip
    return keep(drawn, "id")
