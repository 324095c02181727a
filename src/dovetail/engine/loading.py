"""Journeys out of what is on disk: an entry with its attributes, a row of progress, and the version it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dovetail.engine.execute import Compiled
from dovetail.engine.intake import check
from dovetail.engine.journey import Journey
from dovetail.engine.lanes import PARTS
from dovetail.engine.memo import Memo, Meta, message_id, unpack, unpack_meta
from dovetail.engine.priority import RANK
from dovetail.errors import Damaged, DovetailError, Rejected
from dovetail.sdk import Codec, Codecs, Message
from dovetail.store.base import Entry, Progress, Row, State

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun


class Loader:
    """Brings messages of one flow into memory."""

    def __init__(self, flow: FlowRun) -> None:
        self._flow = flow
        self._engine = flow.engine

    def fresh(self, entry: Entry | Row, message: Message | None = None) -> Journey | None:
        """Bring a message into memory for the first time. None if it is not to be run: it has its row then."""
        try:
            if self._flow.reads_topic and self._foreign(entry):
                return None
            journey = self.journey(entry, message)
        except Exception as error:
            row = Progress(self._flow.number, entry.seq, State.FRESH, entry.at, attempt=1)
            self._flow.settle.unloadable(entry, row, unloaded(error))
            return None
        if self._flow.reads_topic and not entry.start:
            try:
                check(journey.version.version, journey.message)
            except Exception as error:
                self._flow.settle.refused(journey, error)
                return None
            journey.key = journey.message.key
        return journey

    def _foreign(self, entry: Entry | Row) -> bool:
        """Parts, what steps emitted and what runs as new are for one subscriber of the topic; for any other, a row says
        so."""
        if not (entry.start or entry.parent) or unpack_meta(entry.meta).owner == self._flow.number:
            return False
        row = Progress(
            self._flow.number, entry.seq, State.DISCARDED, self._engine.clock.now_ms(), reason="made for another flow"
        )
        self._engine.writer.put(row, row.state.word)
        return True

    def journey(self, entry: Entry | Row, message: Message | None = None, progress: Progress | None = None) -> Journey:
        """Bring a message into memory. Raises whatever stands in the way: its version, its bytes."""
        memo = unpack(progress.memo) if progress is not None and progress.memo else None
        emitted = ""
        if message is None:
            meta = unpack_meta(entry.meta)
            message, emitted = self.message(entry, meta), meta.emitted
        else:
            message.id = message_id(self._engine.store.uid, entry.seq)
            message.time_ms, message.ref = entry.at, entry.seq
            message.origin = message.origin or message.id
        number = memo.version if memo is not None and memo.version else entry.version
        if progress is None and self._flow.versions.moved:
            number = self._moved(entry)
            if number != entry.version:
                memo = Memo(version=number)  # further attempts are made there, too
        version = self._flow.versions.get(number) if number else self._flow.versions.chosen(message)
        key = entry.key if progress is None else progress.key
        message.key = key.removeprefix(PARTS) if key is not None else None
        start = self.start(entry, version, emitted)
        journey = Journey(entry.seq, entry.at, message, version, key=key, start=start, parent=entry.parent)
        journey.memo = memo
        journey.floating, journey.emitted = not entry.version, emitted
        journey.priority = entry.priority
        if self._flow.reads_topic and version.version.priority is not None and not entry.start:
            journey.priority = version.version.priority(message)
        journey.rank = RANK[journey.priority]
        if progress is not None:
            journey.recorded = True
            journey.attempt = progress.attempt + 1
        return journey

    def _moved(self, entry: Entry | Row) -> int:
        """The version on which a fresh message begins. A part stays when the other version lacks the step that made
        it."""
        number = self._flow.versions.moved.get(entry.version, entry.version)
        if number == entry.version or not entry.start:
            return number
        return number if self._made_by(entry) in self._flow.versions.get(number).index else entry.version

    def _made_by(self, entry: Entry | Row) -> str:
        """The step behind which a part begins."""
        return self._flow.versions.get(entry.version).version.steps[entry.start - 1].id

    def start(self, entry: Entry | Row, version: Compiled, emitted: str) -> int:
        """Where a message begins. A part: behind the step that made it, wherever that stands in the version it runs
        on; what a step emitted: at that step. Raises `Rejected` when the version lacks the step."""
        if not entry.start:
            return 0
        if version.number == entry.version:
            return entry.start - bool(emitted)
        split = self._made_by(entry)
        if split not in version.index:
            raise Rejected(f"version {version.number} has no step {split}, behind which it begins", code="unloadable")
        return version.index[split] + (not emitted)

    def message(self, entry: Entry | Row, meta: Meta) -> Message:
        """A message as the journal has it."""
        codecs = self._engine.codecs
        message = Message(
            entry.body or b"", codec=codec_of(codecs, meta), content_type=meta.content_type, headers=meta.headers,
            id=message_id(self._engine.store.uid, entry.seq), source=meta.source, type=meta.type, time_ms=entry.at,
            subject=meta.subject, key=entry.key.removeprefix(PARTS) if entry.key is not None else None,
            trace=meta.trace, ref=entry.seq, parent=meta.parent,
            sound=meta.sound and not (isinstance(entry, Row) and entry.edited),
            variables=codecs.by_name("json").decode(meta.variables) if meta.variables else None,
        )  # fmt: skip
        message.origin = meta.origin or message.id
        return message

    async def load(self, progress: Progress) -> Journey | None:
        """A message that has a row, with its body; a message whose text or version is gone becomes a dead letter."""
        row: Row | None = None
        try:
            row = self._engine.store.journal.get(progress.seq, self._flow.number)
            if row is None or row.body is None:
                raise Rejected("its body is no longer there")
            return self.journey(row, progress=progress)
        except Damaged:
            raise
        except Exception as error:
            self._flow.settle.unloadable(row, progress, unloaded(error))
            return None


def unloaded(error: Exception) -> Rejected:
    """Why a message could not be brought into memory."""
    text = error.message if isinstance(error, DovetailError) else f"{type(error).__name__}: {error}"
    return Rejected(f"it cannot be loaded: {text}", code="unloadable")


def codec_of(codecs: Codecs, meta: Meta) -> Codec:
    """The codec an entry's bytes are in, with the parameters (charset, boundary) of its content type."""
    if meta.codec != "json" or meta.content_type != "application/json":
        codec = codecs.for_content_type(meta.content_type)
        if codec.name == meta.codec:
            return codec
    return codecs.by_name(meta.codec)
