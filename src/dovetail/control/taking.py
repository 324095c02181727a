"""Dead letters become waiting messages again, or begin as new ones: what one transaction writes."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from dovetail.control.answers import WORDS, RedriveOrder
from dovetail.control.hand import FlowPlace
from dovetail.control.preview import Preview, PreviewError
from dovetail.engine.memo import Memo, message_id, pack, pack_meta, unpack, unpack_meta
from dovetail.errors import Refused
from dovetail.store.base import REDRIVEN, Entry, Progress, Row, State, Work

if TYPE_CHECKING:
    from dovetail.control.desk import Control


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter of one flow. `row` has the body as last edited."""

    place: FlowPlace
    row: Row
    progress: Progress

    def version(self) -> tuple[Memo, int]:
        """What is remembered of it, and the flow version that it was on."""
        memo = unpack(self.progress.memo)
        return memo, memo.version or self.row.version


def letter_at(control: Control, place: FlowPlace, seq: int, *, bodiless: bool = False) -> Letter:
    """The dead letter with this journal number. Raises `Refused` when there is none, or none with a body unless it may
    be `bodiless`."""
    id = message_id(control.store.uid, seq)
    row = control.store.journal.get(seq, place.number)
    progress = control.store.progress.get(place.number, seq)
    if row is None:
        raise Refused(f"there is no message {id}", status=404, code="not-found")
    if progress is None or progress.state is not State.DEAD:
        state = WORDS[progress.state if progress is not None else State.FRESH]
        raise Refused(f"{id} is not a dead letter: it is {state}", status=409, code="not-dead")
    if row.body is None and not bodiless:
        raise Refused(f"the body of message {id} is no longer kept", status=409, code="pruned")
    return Letter(place, row, progress)


def letter_of(control: Control, id: str, flow: str, *, bodiless: bool = False) -> Letter:
    """The dead letter that an id means, in that flow or in the only one that has it as such. Raises `Refused`."""
    row = control.row(id)
    readers = [found for found in control.readers(row) if flow in ("", found[0].name)]
    if not readers:
        raise Refused(f"flow '{flow}' never had message {id}", status=404, code="not-found")
    dead = [place for place, progress in readers if progress is not None and progress.state is State.DEAD]
    if len(dead) > 1:
        names = ", ".join(place.name for place in dead)
        raise Refused(f"{id} is a dead letter of several flows ({names}): say which", status=409, code="flow")
    return letter_at(control, dead[0] if dead else readers[0][0], row.seq, bodiless=bodiless)


def let_go(control: Control, work: Work, letter: Letter) -> None:
    """A dead letter ends in this transaction: a key that is parked behind it goes on."""
    number, key = letter.place.number, letter.progress.key
    lane = control.store.progress.parked_lane(number, key) if key is not None else None
    if lane is not None and lane.seq == letter.row.seq:
        work.parks[number, lane.key] = None


def mended(order: RedriveOrder, row: Row, body: bytes | None) -> bytes | None:
    """The body to go on with, None for the one that is there. Raises `Refused` when the mapping makes none."""
    if not order.map:
        return body
    codec = unpack_meta(row.meta).codec
    try:
        made = Preview(row.body, given=codec, wanted=codec).evaluate(order.map, "map")
    except PreviewError as error:
        raise Refused(error.message, status=409, code="map") from error
    if made is None:
        raise Refused("the mapping gives nothing for this message", status=409, code="map")
    return made


class Taking:
    """Takes dead letters up again in one transaction (`work`).

    As they are, they become WAITING: their memo keeps the effects that were made and the history; the attempts of the
    retry schedule begin anew. As new ones they are accepted once more, and the dead letters are discarded in the same
    transaction, so that nobody can redrive them beside the new ones.
    """

    def __init__(self, control: Control, order: RedriveOrder, body: bytes | None) -> None:
        self._control, self._order, self._body = control, order, body
        self._versions: dict[str, int] = {}
        self.work = Work()
        self.ids: list[str] = []

    def add(self, letter: Letter, due: int) -> None:
        """One more, to run at `due` (the engine's milliseconds). Raises `Refused`."""
        place, row = letter.place, letter.row
        version = self._version(place.name)
        body = mended(self._order, row, self._body)
        memo, before = letter.version()
        if self._order.as_new:
            event = self._as_new(letter, body, memo, version)
        else:
            if self._order.version == "current":
                memo.version = version
            event = ["redriven", place.number, row.seq, self._order.by, before, memo.version]
            self._again(letter, body, memo, due)
        if body is not None:
            event.append(blake2b(body, digest_size=16).hexdigest())
        self.work.audit.append(tuple(event))
        self._count(place, State.DEAD, -1)
        self.ids.append(message_id(self._control.store.uid, row.seq))

    def _version(self, flow: str) -> int:
        """The version that new messages of the flow get. Raises `Refused` when it is not there to run anything."""
        if flow not in self._versions:
            self._versions[flow] = self._control.hand.current_version(flow)
        return self._versions[flow]

    def _count(self, place: FlowPlace, state: State, n: int) -> None:
        key = (place.number, state.word)
        self.work.counts[key] = self.work.counts.get(key, 0) + n

    def _again(self, letter: Letter, body: bytes | None, memo: Memo, due: int) -> None:
        place, row = letter.place, letter.row
        memo.redriven += 1
        memo.first_try_at, memo.sleep, memo.crashes, memo.deaths = 0, 0.0, 0, 0
        self.work.progress.append(
            Progress(
                place.number, row.seq, State.WAITING, self._control.hand.now_ms(), 0, due, letter.progress.key,
                reason=REDRIVEN, memo=pack(memo),
            )
        )  # fmt: skip
        if body is not None:
            self.work.edits.append((place.number, row.seq, body, self._order.by))

    def _as_new(self, letter: Letter, body: bytes | None, memo: Memo, version: int) -> list[object]:
        """A part, or what a step emitted, begins where it began, on the version that made it; anything else from the
        flow's beginning. Other subscribers of a topic see whose it is, and leave it alone."""
        place, row, now = letter.place, letter.row, self._control.hand.now_ms()
        if memo.history and memo.history[-1].step == "door":
            text = "it was refused at the door and has never run: redrive it as it is"
            raise Refused(text, status=409, code="as-new")
        if memo.undoing is not None:
            text = "what was done for it is still to be undone: redrive it, so that this comes to its end"
            raise Refused(text, status=409, code="as-new")
        meta = unpack_meta(row.meta)
        meta.owner = place.number
        started = row.version if row.start else 0 if place.shared else version
        self.work.entries.append(
            Entry(
                stream=row.stream, at=now, version=started, meta=pack_meta(meta),
                body=body if body is not None else row.body or b"", key=row.key, parent=row.seq, start=row.start,
                priority=row.priority,
            )
        )  # fmt: skip
        was = letter.progress
        note = f"run as new by {self._order.by}; it was: {was.reason}"[:1000]
        self.work.progress.append(
            Progress(place.number, row.seq, State.DISCARDED, now, was.attempt, reason=note, memo=was.memo)
        )
        self._count(place, State.DISCARDED, 1)
        let_go(self._control, self.work, letter)
        return ["run_as_new", place.number, row.seq, self._order.by, letter.version()[1], version]
