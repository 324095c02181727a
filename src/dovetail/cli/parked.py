"""`dovetail parked`, `dovetail unpark` and `dovetail discard`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from dovetail.cli.desk import Where, desk, user
from dovetail.cli.exits import OK, PROBLEMS
from dovetail.cli.output import keep, line, notes, number, table, when, word, write, write_json
from dovetail.control.answers import DiscardOrder, UnparkOrder


def parked(*, flow: Annotated[str, Parameter(alias="-f")] = "", where: Where | None = None) -> int:
    """Print the keys, how many messages wait behind each, since when, and what failed.

    Parameters
    ----------
    flow
        Only this flow's.
    """
    where = where or Where()
    with desk(where) as asked:
        keys = asked.parked(flow)
    if where.json:
        write_json(keys)
        return OK
    if not keys:
        notes().print("no key is parked")
        return OK
    shown = table("failed", "flow", "key", "waiting", "since", "state", "reason", right=("waiting",),
                  flexible=("reason",))  # fmt: skip
    for key in keys:
        shown.add_row(
            key.failed, line(key.flow), line(key.key), number(key.behind), when(key.since), word(key.state),
            line(key.reason)[:200],
        )  # fmt: skip
    write(keep(shown, "failed"))
    return OK


def unpark(
    flow: str, key: str, /, *, failed: Literal["redrive", "discard", "leave"], reason: str = "", by: str = "",
    where: Where | None = None,
) -> int:  # fmt: skip
    """Unpark one key and print what it waited for.

    Parameters
    ----------
    flow
        The flow.
    key
        The key.
    failed
        What becomes of the dead letter: it is redriven first and the others follow when it is done; it is discarded;
        or it is left as it is and the others pass it (not in a flow that says block).
    reason
        Why; stands in the audit trail.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    """
    where = where or Where()
    with desk(where) as asked:
        lane = asked.unpark(UnparkOrder(by=by or user(), flow=flow, key=key, failed=failed, reason=reason))
    if where.json:
        write_json(lane)
    else:
        done = {"redrive": "goes first", "discard": "is discarded", "leave": "stays a dead letter"}[failed]
        notes().print(f"{lane.failed} {done}; {lane.behind:,} of key {line(lane.key)} follow in their order")
    return OK


def discard(
    ids: Annotated[list[str], Parameter(name="IDS")], /, *, reason: str,
    flow: Annotated[str, Parameter(alias="-f")] = "", by: str = "", where: Where | None = None,
) -> int:  # fmt: skip
    """Discard and print what was; 1 when something had to be skipped.

    Parameters
    ----------
    ids
        Ids of dead letters; "-" reads them from standard input.
    reason
        Why; stands in the audit trail and with the message.
    flow
        Of which flow, if several read the message.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    """
    where = where or Where()
    named = [word for id in ids for word in (sys.stdin.read().split() if id == "-" else [id])]
    with desk(where) as asked:
        answer = asked.discard(DiscardOrder(by=by or user(), reason=reason, ids=named, flow=flow))
    if where.json:
        write_json(answer)
    else:
        notes().print(f"{len(answer.discarded):,} discarded")
        for skipped in answer.skipped:
            notes().print(f"skipped {line(skipped.id)}: {line(skipped.why)}", style="yellow")
    return PROBLEMS if answer.skipped else OK
