"""Dead letters, taken up again where they stopped."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from dovetail.control.answers import DryRun, DryRunAnswer, RedriveAnswer, RedriveOrder, Skipped
from dovetail.control.difference import alike, differences, outgoing
from dovetail.control.preview import PreviewError, explained
from dovetail.control.taking import Taking, letter_of, mended
from dovetail.engine.memo import message_id
from dovetail.errors import DovetailError, Refused

if TYPE_CHECKING:
    from dovetail.control.desk import Control

CHUNK = 500  # messages a transaction


class Redrive:
    """One order being carried out at once, or rehearsed."""

    def __init__(self, control: Control, order: RedriveOrder) -> None:
        self._control, self._order = control, order
        self._answer = RedriveAnswer([])

    async def run(self) -> RedriveAnswer:
        """Everything the order names. Raises `Refused` for an order that makes no sense; nothing was done then."""
        body = check(self._order)
        selected = Selection(self._control, self._order)
        ids = self._order.ids or await selected.found()
        self._answer.more = selected.more
        start, taken = self._control.hand.now_ms(), 0
        for first in range(0, len(ids), CHUNK):
            taking = Taking(self._control, self._order, body)
            for id in ids[first : first + CHUNK]:
                due = start + int((taken + len(taking.ids)) * 1000 / self._order.rate) if self._order.rate else start
                self._one(taking, id, due)
            taken += len(taking.ids)
            await self._flush(taking)
        return self._answer

    def _one(self, taking: Taking, id: str, due: int) -> None:
        flow, _, id = id.rpartition(":")
        try:
            taking.add(letter_of(self._control, id, flow or self._order.flow), due)
        except Refused as error:
            if len(self._order.ids) == 1:
                raise
            self._answer.skipped.append(Skipped(id, error.message))

    async def _flush(self, taking: Taking) -> None:
        if taking.ids:
            if self._order.note:
                taking.work.audit.append(("redrive", self._order.by, len(taking.ids), self._order.note))
            await self._control.hand.carry_out(taking.work)
            self._answer.redriven += taking.ids
            self._answer.new += [message_id(self._control.store.uid, entry.seq) for entry in taking.work.entries]
        await asyncio.sleep(0)

    async def dry_run(self) -> DryRunAnswer:
        """The same messages, rehearsed: nothing is sent, and nothing is written."""
        body = check(self._order)
        if self._order.as_new:
            raise Refused("a dry run is for messages that go on; one that runs as new sends everything", code="as-new")
        answer = DryRunAnswer([])
        selected = Selection(self._control, self._order)
        for id in self._order.ids or await selected.found():
            flow, _, id = id.rpartition(":")
            try:
                answer.runs.append(await self._rehearsed(id, flow or self._order.flow, body))
            except DovetailError as error:
                if len(self._order.ids) == 1:
                    raise
                answer.skipped.append(Skipped(id, error.message))
            await asyncio.sleep(0)  # the engine goes first
        answer.groups, answer.more = alike(answer.runs), selected.more
        return answer

    async def _rehearsed(self, id: str, flow: str, body: bytes | None) -> DryRun:
        hand = self._control.hand
        letter = letter_of(self._control, id, flow)
        place, row, progress = letter.place, letter.row, letter.progress
        _, before = letter.version()
        edited = mended(self._order, row, body)
        after = row if edited is None else replace(row, body=edited)
        wanted, answers = None if self._order.version == "current" else before, self._order.answers
        now = await hand.rehearse(place.name, after, progress, wanted, answers)
        was = await hand.rehearse(place.name, row, progress, before, answers)
        return DryRun(
            message_id(self._control.store.uid, row.seq), place.name, before, now.version, now.ends, now.step,
            now.code, now.why, now.untouched, [outgoing(each) for each in was.sent],
            [outgoing(each) for each in now.sent], differences(was.sent, now.sent),
            now.assumed,
        )  # fmt: skip


class Selection:
    """The dead letters that an order means."""

    def __init__(self, control: Control, order: RedriveOrder) -> None:
        self._control, self._order = control, order
        self.more = False  # the search found further ones beyond the limit

    async def found(self) -> list[str]:
        """Those that the search finds, as `flow:id`; oldest first, so that a key's messages keep their order. Raises
        `Refused`."""
        search = self._order.search
        assert search is not None
        if search.states not in ([], ["dead"]):
            raise Refused("only dead letters can be redriven", status=422, code="state")
        search = msgspec.structs.replace(search, states=["dead"], limit=1000, before="")
        found: list[str] = []
        while True:
            page = await self._control.messages(search)
            found += [f"{line.flow}:{line.id}" for line in page.messages]
            if not page.next:
                break
            search = msgspec.structs.replace(search, before=page.next)
        found.reverse()
        self.more = len(found) > self._order.limit
        return found[: self._order.limit]


def check(order: RedriveOrder) -> bytes | None:
    """The body that the order brings. Raises `Refused` for an order that makes no sense."""
    if not order.by.strip():
        raise Refused("say who redrives (by)", status=422, code="by")
    if bool(order.ids) == (order.search is not None):
        raise Refused("name either ids or a search", status=422, code="which")
    if order.version not in ("current", "same"):
        raise Refused(f"version must be current or same, not '{order.version}'", status=422, code="version")
    if order.as_new and order.version == "same":
        raise Refused("what runs as new takes the current version", status=422, code="version")
    if order.rate < 0:
        raise Refused("rate must not be negative", status=422, code="rate")
    if order.map and order.body is not None:
        raise Refused("give a body or a mapping (map), not both", status=422, code="body")
    if order.map:
        try:
            explained(order.map, "map")
        except PreviewError as error:
            raise Refused(error.message, status=422, code="map") from error
    if order.body is not None and len(order.ids) != 1:
        raise Refused("an edited body goes with one message's id", status=422, code="body")
    return body_of(order)


def body_of(order: RedriveOrder) -> bytes | None:
    """The body that the order brings. Raises `Refused`."""
    if order.body is None:
        return None
    try:
        return base64.b64decode(order.body, validate=True)
    except binascii.Error as error:
        raise Refused("body must be base64", status=422, code="body") from error
