"""What a person decides about dead letters without sending them on: discard them, or let a parked key go on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dovetail.control.answers import (
    WORDS,
    Discarded,
    DiscardOrder,
    ParkedKey,
    RedriveOrder,
    Skipped,
    UnparkOrder,
)
from dovetail.control.hand import FlowPlace, places
from dovetail.control.redrive import Redrive
from dovetail.control.taking import Letter, let_go, letter_of
from dovetail.engine.lanes import PARTS
from dovetail.engine.memo import message_id, readable
from dovetail.errors import Refused
from dovetail.store.base import Parked, State, Work

if TYPE_CHECKING:
    from dovetail.control.desk import Control

MOST = 1000  # parked keys of a flow that are listed


def parked(control: Control, flow: str = "") -> list[ParkedKey]:
    """The keys that stand still, of one flow or of all."""
    asked = [control.place(flow)] if flow else list(places(control.store).values())
    found = [(place, lane) for place in asked for lane in control.store.progress.parked(place.number, None, MOST)]
    return [_line(control, place, lane) for place, lane in found]


def _line(control: Control, place: FlowPlace, lane: Parked) -> ParkedKey:
    head = control.store.progress.get(place.number, lane.seq)
    pending = control.store.progress.behind(place.number, lane.key)
    line = ParkedKey(
        flow=place.name, key=lane.key.removeprefix(PARTS), since=lane.at, behind=pending,
        failed=message_id(control.store.uid, lane.seq), strict=lane.strict,
    )  # fmt: skip
    if head is not None:
        line.state, line.reason = WORDS[head.state], head.reason
        line.behind -= head.state < State.DONE
    return line


def discard(control: Control, order: DiscardOrder) -> tuple[Work, Discarded]:
    """The work that discards these dead letters. Raises `Refused` for an order that makes no sense."""
    if not order.by.strip() or not order.reason.strip():
        raise Refused("say who discards (by) and why (reason)", status=422, code="by")
    if not order.ids:
        raise Refused("name the ids of dead letters", status=422, code="which")
    work, answer = Work(), Discarded([])
    for id in dict.fromkeys(order.ids):
        try:
            letter = letter_of(control, id, order.flow, bodiless=True)
        except Refused as error:
            if len(order.ids) == 1:
                raise
            answer.skipped.append(Skipped(id, error.message))
            continue
        _discarded(control, work, letter, order)
        answer.discarded.append(message_id(control.store.uid, letter.row.seq))
    return work, answer


def _discarded(control: Control, work: Work, letter: Letter, order: DiscardOrder) -> None:
    number, progress = letter.place.number, letter.progress
    reason = readable(f"discarded by {order.by}: {order.reason}")[:1000]
    row = replace(progress, state=State.DISCARDED, at=control.hand.now_ms(), key=None, next_at=0, reason=reason)
    work.progress.append(row)
    for word, n in ((State.DEAD.word, -1), (State.DISCARDED.word, 1)):
        work.counts[number, word] = work.counts.get((number, word), 0) + n
    work.audit.append(("discarded", number, progress.seq, order.by, readable(order.reason)))
    let_go(control, work, letter)


async def unpark(control: Control, order: UnparkOrder) -> ParkedKey:
    """Carry the order out; the lane as it was. Raises `Refused`."""
    if not order.by.strip():
        raise Refused("say who lets it go on (by)", status=422, code="by")
    if order.failed not in ("redrive", "discard", "leave"):
        raise Refused(f"failed must be redrive, discard or leave, not '{order.failed}'", status=422, code="failed")
    place = control.place(order.flow)
    parked_lane = control.store.progress.parked_lane
    lane = parked_lane(place.number, order.key) or parked_lane(place.number, PARTS + order.key)
    if lane is None:
        raise Refused(f"key '{order.key}' of flow '{order.flow}' is not parked", status=404, code="not-found")
    line = _line(control, place, lane)
    if line.state not in ("dead", ""):
        text = f"{line.failed} was redriven and is {line.state}: the key goes on when it is done"
        raise Refused(text, status=409, code="not-dead")
    if order.failed == "redrive":
        redrive = RedriveOrder(by=order.by, ids=[line.failed], flow=order.flow)
        await Redrive(control, redrive).run()
    elif order.failed == "discard" and line.state:
        reason = order.reason or "its key was let go on"
        work, _ = discard(control, DiscardOrder(order.by, reason, [line.failed], order.flow))
        await control.hand.carry_out(work)
    else:
        await _leave(control, order, lane, bool(line.state))
    return line


async def _leave(control: Control, order: UnparkOrder, lane: Parked, there: bool) -> None:
    if lane.strict and there:
        text = f"flow '{order.flow}' says poison: block: redrive or discard the dead letter first"
        raise Refused(text, status=409, code="blocked")
    event = ("unparked", lane.flow, lane.seq, order.by, readable(lane.key), readable(order.reason))
    await control.hand.carry_out(Work(parks={(lane.flow, lane.key): None}, audit=[event]))
