"""Decisions that people make: what waits for one, and making it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dovetail.codec import JsonCodec
from dovetail.control.answers import ApprovalLine, ApprovalOrder
from dovetail.engine.memo import message_id
from dovetail.engine.signals import EVENTS, SHARED
from dovetail.errors import Refused
from dovetail.store.base import ENDED, Store

if TYPE_CHECKING:
    from dovetail.control.desk import Control

NAME = "approval"  # the events that the step `approve` waits for
PAGE = 500
MOST_COMMENT = 2000  # characters


def waiting(store: Store, flow: str = "", prefix: str = "") -> list[ApprovalLine]:
    """What waits for a decision, by message; of one flow, or of the keys that begin with `prefix`."""
    return [line for _, line in _found(store, prefix) if flow in ("", line.flow)]


def _found(store: Store, prefix: str) -> Iterator[tuple[str, ApprovalLine]]:
    """(event key, line) of each."""
    after = prefix
    while heads := store.memory.heads(SHARED, f"{EVENTS}{NAME}", after, PAGE):
        for head in heads:
            if not head.key.startswith(prefix):
                return
            for item in store.memory.items(SHARED, head.scope, head.key):
                asked = JsonCodec().decode(item.value or b"{}")
                progress = store.progress.get(asked["flow"], asked["ref"])
                if asked["event"] is None and progress is not None and progress.state not in ENDED:
                    yield head.key, _line(asked["info"])
        after = heads[-1].key


def _line(info: dict[str, Any]) -> ApprovalLine:
    return ApprovalLine(
        message=info["message"], flow=info["flow"], step=info["step"], by=info["by"], what=info["what"],
        since=info["since"], deadline=info["until"] or 0,
    )  # fmt: skip


async def decide(control: Control, order: ApprovalOrder) -> ApprovalLine:
    """Approve or reject a message; the line that waited. Raises `Refused` when nothing waits, or more than one does."""
    if not order.by.strip():
        raise Refused("say who decides", status=422, code="by")
    if len(order.comment) > MOST_COMMENT:
        raise Refused(f"a comment has at most {MOST_COMMENT} characters", status=422, code="comment")
    row = control.row(order.id)
    prefix = f"{message_id(control.store.uid, row.seq)}/"
    found = [
        (key, line)
        for key, line in _found(control.store, prefix)
        if order.flow in ("", line.flow) and order.step in ("", line.step)
    ]
    if not found:
        raise Refused(f"message {order.id} waits for no decision", status=404, code="not-found")
    if len(found) > 1:
        places = ", ".join(f"{line.flow} {line.step}" for _, line in found)
        raise Refused(f"it waits for several decisions ({places}): say --flow and --step", status=409, code="several")
    [(key, line)] = found
    said = "approved" if order.approve else "rejected"
    note = f"{said} by {order.by}" + (f": {order.comment}" if order.comment else "")
    event = {"approved": order.approve, "by": order.by, "comment": order.comment, "at": control.now(), "note": note}
    audit = (said, line.flow, row.seq, line.step, order.by, order.comment)
    if not await control.hand.tell(NAME, key, event, audit):
        raise Refused(f"message {order.id} waits for no decision any more", status=409, code="decided")
    return line
