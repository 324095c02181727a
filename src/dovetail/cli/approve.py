"""`dovetail approvals` and `dovetail approve`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from dovetail.cli.desk import Where, desk, user
from dovetail.cli.exits import OK
from dovetail.cli.output import keep, line, table, when, write, write_json
from dovetail.control.answers import ApprovalOrder


def approvals(*, flow: Annotated[str, Parameter(alias="-f")] = "", where: Where | None = None) -> int:
    """Print them, oldest message first.

    Parameters
    ----------
    flow
        Only this flow's.
    """
    where = where or Where()
    with desk(where) as asked:
        found = asked.approvals(flow)
    if where.json:
        write_json(found)
        return OK
    if not found:
        write(Text("Nothing waits for a decision."))
        return OK
    made = table("message", "flow", "step", "by", "what", "since", "until", flexible=("what",))
    for each in found:
        made.add_row(
            each.message, line(each.flow), line(each.step), line(each.by), line(each.what), when(each.since),
            when(each.deadline),
        )  # fmt: skip
    write(keep(made, "message"))
    return OK


def approve(
    id: str, /, *, no: bool = False, comment: Annotated[str, Parameter(alias="-c")] = "", by: str = "",
    flow: Annotated[str, Parameter(alias="-f")] = "", step: str = "", where: Where | None = None,
) -> int:  # fmt: skip
    """Print what was decided.

    Parameters
    ----------
    id
        The message, as `dovetail approvals` lists it.
    no
        Reject it.
    comment
        Why; stands in the audit trail and at `$vars.approval.comment`.
    by
        Who decides; stands in the audit trail. Default: the user of this session.
    flow
        The flow, when the message waits in several.
    step
        The step, when the message waits at several.
    """
    where = where or Where()
    order = ApprovalOrder(id=id, by=by or user(), approve=not no, comment=comment, flow=flow, step=step)
    with desk(where) as asked:
        decided = asked.approve(order)
    if where.json:
        write_json(decided)
    else:
        said = "rejected" if no else "approved"
        write(Text(f"{decided.message} {said} at {decided.flow} {decided.step}"))
    return OK
