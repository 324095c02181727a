"""Dead letters, taken up again where they stopped."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from dovetail.control.answers import WORDS, DryRun, DryRunAnswer, RedriveAnswer, RedriveOrder, Skipped
from dovetail.control.difference import alike, differences, outgoing
from dovetail.control.hand import FlowPlace
from dovetail.control.preview import Preview, PreviewError
from dovetail.engine.memo import Memo, message_id, pack, unpack, unpack_meta
from dovetail.errors import DovetailError, Refused
from dovetail.store.base import REDRIVEN, Progress, Row, State, Work

if TYPE_CHECKING:
    from dovetail.control.desk import Control

CHUNK = 500  # messages a transaction


class Redrive:
    """One order being carried out. A dead letter becomes WAITING, due at once or by the order's rate.

    Its memo keeps the effects that were made and the history; the attempts of the retry schedule begin anew.
    """

    def __init__(self, control: Control, order: RedriveOrder) -> None:
        self._control, self._order = control, order
        self._answer = RedriveAnswer([])
        self._place = order.place
        self._work = Work()
        self._ids: list[str] = []

    async def run(self) -> RedriveAnswer:
        """Everything the order names. Raises `Refused` for an order that makes no sense; nothing was done then."""
        body = self._check()
        ids = self._order.ids or await self._found()
        for start in range(0, len(ids), CHUNK):
            for id in ids[start : start + CHUNK]:
                self._one(id, body)
            await self._flush()
        return self._answer

    def _check(self) -> bytes | None:
        order = self._order
        if not order.by.strip():
            raise Refused("say who redrives (by)", status=422, code="by")
        if bool(order.ids) == (order.search is not None):
            raise Refused("name either ids or a search", status=422, code="which")
        if order.version not in ("current", "same"):
            raise Refused(f"version must be current or same, not '{order.version}'", status=422, code="version")
        if order.rate < 0:
            raise Refused("rate must not be negative", status=422, code="rate")
        if order.map and order.body is not None:
            raise Refused("give a body or a mapping (map), not both", status=422, code="body")
        if order.body is None:
            return None
        if len(order.ids) != 1:
            raise Refused("an edited body goes with one message's id", status=422, code="body")
        try:
            return base64.b64decode(order.body, validate=True)
        except binascii.Error as error:
            raise Refused("body must be base64", status=422, code="body") from error

    async def _found(self) -> list[str]:
        """Ids of the dead letters that the search finds, oldest first, so that a key's messages keep their order."""
        search = self._order.search
        assert search is not None
        if search.states not in ([], ["dead"]):
            raise Refused("only dead letters can be redriven", status=422, code="state")
        search = msgspec.structs.replace(search, states=["dead"], limit=1000, before="")
        found: list[str] = []
        while True:
            page = await self._control.messages(search)
            found += [f"{line.flow}\n{line.id}" for line in page.messages]
            if not page.next:
                break
            search = msgspec.structs.replace(search, before=page.next)
        found.reverse()
        self._answer.more = len(found) > self._order.limit
        return found[: self._order.limit]

    def _one(self, id: str, body: bytes | None) -> None:
        flow, _, id = id.rpartition("\n")
        try:
            place, row, progress = self._dead_letter(id, flow or self._order.flow)
            version = self._control.hand.current_version(place.name)
            body = self._mended(self._control.store.journal.get(row.seq, place.number) or row, body)
        except Refused as error:
            if len(self._order.ids) == 1:
                raise
            self._answer.skipped.append(Skipped(id, error.message))
            return
        control, order = self._control, self._order
        memo = unpack(progress.memo)
        before = memo.version or row.version
        if order.version == "current":
            memo.version = version
        memo.redriven += 1
        memo.first_try_at, memo.sleep, memo.crashes = 0, 0.0, 0
        due = order.start_at or control.hand.now_ms()
        if order.rate:
            due += int(self._place * 1000 / order.rate)
        now = control.hand.now_ms()
        self._place += 1
        self._work.progress.append(
            Progress(place.number, row.seq, State.WAITING, now, 0, due, progress.key, reason=REDRIVEN, memo=pack(memo))
        )
        dead = (place.number, State.DEAD.word)
        self._work.counts[dead] = self._work.counts.get(dead, 0) - 1
        event = ["redriven", place.number, row.seq, order.by, before, memo.version]
        if body is not None:
            self._work.edits.append((place.number, row.seq, body, order.by))
            event.append(blake2b(body, digest_size=16).hexdigest())
        self._work.audit.append(tuple(event))
        self._ids.append(message_id(control.store.uid, row.seq))

    def _mended(self, row: Row, body: bytes | None) -> bytes | None:
        """The body to go on with, None for the one that is there. Raises `Refused` when the mapping makes none."""
        if not self._order.map:
            return body
        codec = unpack_meta(row.meta).codec
        try:
            made = Preview(row.body, given=codec, wanted=codec).evaluate(self._order.map, "map")
        except PreviewError as error:
            raise Refused(error.message, status=409, code="map") from error
        if made is None:
            raise Refused("the mapping gives nothing for this message", status=409, code="map")
        return made

    async def dry_run(self) -> DryRunAnswer:
        """The same messages, rehearsed: nothing is sent, and nothing is written about them."""
        body = self._check()
        answer = DryRunAnswer([])
        for id in self._order.ids or await self._found():
            flow, _, id = id.rpartition("\n")
            try:
                answer.runs.append(await self._rehearsed(id, flow or self._order.flow, body))
            except DovetailError as error:
                if len(self._order.ids) == 1:
                    raise
                answer.skipped.append(Skipped(id, error.message))
            await asyncio.sleep(0)  # the engine goes first
        answer.groups, answer.more = alike(answer.runs), self._answer.more
        return answer

    async def _rehearsed(self, id: str, flow: str, body: bytes | None) -> DryRun:
        hand = self._control.hand
        place, row, progress = self._dead_letter(id, flow)
        row = self._control.store.journal.get(row.seq, place.number) or row
        memo: Memo = unpack(progress.memo)
        before = memo.version or row.version
        version = hand.current_version(place.name) if self._order.version == "current" else before
        mended = self._mended(row, body)
        after = row if mended is None else replace(row, body=mended)
        now = await hand.rehearse(place.name, after, progress, version)
        was = await hand.rehearse(place.name, row, progress, before)
        return DryRun(
            message_id(self._control.store.uid, row.seq), place.name, before, version, now.ends, now.step, now.code,
            now.why, now.untouched, [outgoing(each) for each in was.sent], [outgoing(each) for each in now.sent],
            differences(was.sent, now.sent),
        )  # fmt: skip

    def _dead_letter(self, id: str, flow: str) -> tuple[FlowPlace, Row, Progress]:
        control = self._control
        row = control.row(id)
        readers = [found for found in control.readers(row) if flow in ("", found[0].name)]
        if not readers:
            raise Refused(f"flow '{flow}' never had message {id}", status=404, code="not-found")
        dead = [(place, progress) for place, progress in readers if progress and progress.state is State.DEAD]
        if not dead:
            state = WORDS[readers[0][1].state if readers[0][1] else State.FRESH]
            raise Refused(f"{id} is not a dead letter: it is {state}", status=409, code="not-dead")
        if len(dead) > 1:
            names = ", ".join(place.name for place, _ in dead)
            raise Refused(f"{id} is a dead letter of several flows ({names}): say which", status=409, code="flow")
        place, progress = dead[0]
        if row.body is None:
            raise Refused(f"the body of message {id} is no longer kept", status=409, code="pruned")
        return place, row, progress

    async def _flush(self) -> None:
        if self._work.progress:
            await self._control.hand.carry_out(self._work)
            self._answer.redriven += self._ids
            self._work, self._ids = Work(), []
        await asyncio.sleep(0)
