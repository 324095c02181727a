"""One message's journey, put together from the journal, its row of progress and a replay of its steps."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dovetail.control.answers import AttemptLine, Body, EffectLine, Journey, StepLine
from dovetail.control.hand import FlowPlace
from dovetail.engine.memo import Effect, Memo, message_id, unpack, unpack_meta
from dovetail.engine.replay import StepTrace
from dovetail.errors import DovetailError, Refused
from dovetail.store.base import Row

if TYPE_CHECKING:
    from dovetail.control.desk import Control

SHOWN = 64 * 1024  # bytes of a body that an answer carries; all of them are to be had from `Control.body`
MOST_PARTS = 100
_PRIVATE = re.compile(r"authorization|cookie|token|secret|signature|hmac|api-?key|password", re.I)


async def journey_of(control: Control, place: FlowPlace, seq: int, other_flows: list[str]) -> Journey:
    """The journey of one message through one flow."""
    row = control.store.journal.get(seq, place.number)
    if row is None:
        raise Refused(f"message {seq:x} is no longer kept", status=404, code="not-found")
    progress = control.store.progress.get(place.number, seq)
    memo, meta = unpack(progress.memo) if progress is not None else Memo(), unpack_meta(row.meta)
    uid = control.store.uid
    journey = Journey(
        message=control.line(place, row, progress), source=meta.source, type=meta.type,
        content_type=meta.content_type, headers=redacted(meta.headers), version=memo.version or row.version,
        body=shown(row.body), trace=meta.trace or "", subject=meta.subject or "",
        parent=message_id(uid, row.parent) if row.parent else meta.parent or "",
        edited=row.body is not None and row.body != control.store.journal.original(seq),
        redriven=memo.redriven, crashes=memo.crashes,
        attempts=[
            AttemptLine(a.number, a.at, a.step, a.code, a.message, a.detail, a.version) for a in memo.history
        ],
        effects=[effect_line(key, effect) for key, effect in memo.effects.items()],
        parts=[message_id(uid, part.seq) for part in control.store.journal.parts(seq, MOST_PARTS)],
        members=[message_id(uid, member) for member in meta.members],
        other_flows=other_flows,
    )  # fmt: skip
    await _steps(control, place, row, journey, memo)
    return journey


async def _steps(control: Control, place: FlowPlace, row: Row, journey: Journey, memo: Memo) -> None:
    if row.body is None:
        journey.steps_missing = "the body is no longer kept"
        return
    progress = control.store.progress.get(place.number, row.seq)
    try:
        traces = await control.hand.replay(place.name, row, progress)
    except DovetailError as error:
        journey.steps_missing = error.message
        return
    keys = {(effect.step, effect.at): key for key, effect in memo.effects.items()}
    journey.steps = step_lines(traces, keys)
    if not journey.steps and not control.hand.running:
        journey.steps_missing = "start the server, or run this in the project folder, to see the steps"


def step_lines(traces: Sequence[StepTrace], keys: dict[tuple[str, int], str]) -> list[StepLine]:
    """What a replay saw, fit to be shown."""
    return [
        StepLine(
            step=trace.step, kind=trace.kind, outcome=trace.outcome, before=shown(trace.before),
            after=shown(trace.after), error=trace.error,
            effects=[effect_line(keys.get((effect.step, effect.at), ""), effect) for effect in trace.effects],
        )
        for trace in traces
    ]  # fmt: skip


def effect_line(key: str, effect: Effect) -> EffectLine:
    """A recorded effect, fit to be shown."""
    return EffectLine(
        key=key, step=effect.place, target=effect.target, state=effect.state, attempt=effect.attempt, at=effect.at,
        status=effect.status, reply=shown(effect.body) if effect.body else None, message=effect.message,
    )  # fmt: skip


def shown(body: bytes | None) -> Body | None:
    """Bytes as text where they are text, else base64; cut to what a screen can take."""
    if body is None:
        return None
    head = body[:SHOWN]
    cut = len(body) > SHOWN
    try:
        text = head.decode("utf-8", "strict" if not cut else "ignore")
        if "\x00" not in text:
            return Body(text, len(body), "text", cut)
    except UnicodeDecodeError:
        pass
    return Body(base64.b64encode(head).decode(), len(body), "base64", cut)


def redacted(headers: dict[str, str]) -> dict[str, str]:
    """Headers with the values of those that carry credentials masked."""
    return {name: "***" if _PRIVATE.search(name) else value for name, value in headers.items()}
