"""Work turned into rows: everything that one transaction writes, without the commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import apsw
import msgspec

from dovetail.store.base import KNOWN, Entry, Progress, Work, changed
from dovetail.store.sqlite import memory
from dovetail.store.sqlite.payloads import LARGE, Payload
from dovetail.store.sqlite.payloads import kept as kept_payload
from dovetail.store.sqlite.positions import Marks

_JOURNAL = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PROGRESS = "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COUNTS = "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT (flow, word) DO UPDATE SET n = n + excluded.n"
_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Numbers:
    """The next free journal and transaction numbers."""

    seq: int
    txn: int


def large(work: Work) -> list[Entry]:
    """The entries whose bodies are still to be stowed."""
    found = [entry for entry in work.entries if len(entry.body) > LARGE and entry.stowed is None]
    if work.refused:
        found += [entry for entry, _ in work.refused if len(entry.body) > LARGE and entry.stowed is None]
    return found


def apply(connection: apsw.Connection, work: Work, numbers: Numbers, now: int) -> Numbers:
    """Write all rows of `work` in the open transaction; the numbers that are free if it is committed. Large bodies
    are stowed. Raises apsw.Error.
    """
    entries = [*work.entries, *(entry for entry, _ in work.refused)] if work.refused else work.entries
    events, progress = work.audit, work.progress
    counts = work.counts
    seq = numbers.seq
    if entries:
        kept = number(connection, entries, seq)
        insert(connection, kept)
        seq += len(kept)
        ranges, accepted = _accepted(kept)
        events = [*events, *ranges]
        counts = {**counts, **accepted}
    if work.refused:
        kept_refused = _refused(work)
        progress = [*progress, *kept_refused]
        events = [*events, *changed(kept_refused)]
        if len(kept_refused) < len(work.refused):
            counts = _taken_back(work, counts)
    if progress:
        connection.executemany(_PROGRESS, _progress_rows(progress))
    if counts:
        connection.executemany(_COUNTS, [(flow, word, n) for (flow, word), n in counts.items() if n])
    _small(connection, work, now)
    connection.execute("INSERT INTO audit VALUES (?, ?, ?)", (numbers.txn, now, _encode(events)))
    return Numbers(seq, numbers.txn + 1)


def number(connection: apsw.Connection, entries: Sequence[Entry], seq: int) -> list[Entry]:
    """Give numbers from `seq` on to the entries that are kept; mark the others as duplicates or conflicts."""
    ids = {entry.dedupe for entry in entries if entry.dedupe is not None}
    known: dict[tuple[int, str], tuple[int, bytes]] = {}
    if ids:
        rows = connection.executemany("SELECT scope, id, seq, body_hash FROM dedupe WHERE scope = ? AND id = ?", ids)
        known = {(scope, name): (earlier, digest) for scope, name, earlier, digest in rows}
    marks = Marks(connection, entries)
    kept = []
    for entry in entries:
        entry.seq = entry.duplicate_of = entry.conflict_with = 0
        place = entry.position
        if place is not None and marks.known(place):
            entry.duplicate_of = KNOWN
            continue
        if entry.dedupe is not None:
            earlier = known.get(entry.dedupe)
            if earlier is not None:
                if earlier[1] == entry.body_hash:
                    entry.duplicate_of = earlier[0]
                else:
                    entry.conflict_with = earlier[0]
            else:
                known[entry.dedupe] = seq, entry.body_hash
        if place is not None:
            marks.seen(entry, place)
        if not (entry.duplicate_of or entry.conflict_with):
            entry.seq = seq
            seq += 1
            kept.append(entry)
    marks.write()
    return kept


def insert(connection: apsw.Connection, kept: Iterable[Entry]) -> None:
    """The rows of new entries and of their dedupe ids."""
    rows = []
    ids = []
    for e in kept:
        scope = name = payload = None
        body: bytes | None = e.body
        if e.dedupe is not None:
            scope, name = e.dedupe
            ids.append((scope, name, e.seq, e.body_hash))
        if e.stowed is not None:
            payload, body = kept_payload(connection, cast(Payload, e.stowed)), None
        rows.append(
            (
                e.seq,
                e.stream,
                e.at,
                e.version,
                e.key,
                e.parent,
                e.start,
                len(e.body),
                scope,
                name,
                e.meta,
                body,
                payload,
                e.priority,
            )
        )
    if rows:
        connection.executemany(_JOURNAL, rows)
    if ids:
        connection.executemany("INSERT INTO dedupe VALUES (?, ?, ?, ?)", ids)


def _accepted(kept: Sequence[Entry]) -> tuple[list[tuple[object, ...]], dict[tuple[int, str], int]]:
    """What was accepted: events with runs of numbers, one a stream and run, and the count of each stream."""
    runs: list[list[int]] = []
    counts: dict[tuple[int, str], int] = {}
    for entry in kept:
        word = (-entry.stream, "bytes")
        counts[word] = counts.get(word, 0) + (len(entry.body) if entry.stowed is None else _stored(entry))
        if runs and runs[-1][0] == entry.stream:
            runs[-1][2] = entry.seq
        else:
            runs.append([entry.stream, entry.seq, entry.seq])
    for stream, first, last in runs:
        counts[-stream, "accepted"] = counts.get((-stream, "accepted"), 0) + last - first + 1
    return [("accepted", *run) for run in runs], counts


def _stored(entry: Entry) -> int:
    return cast(Payload, entry.stowed).stored


def _refused(work: Work) -> list[Progress]:
    """The progress of refused entries that were kept, with the numbers that these were given."""
    found = []
    for entry, progress in work.refused:
        progress.seq = entry.seq
        if entry.seq:
            found.append(progress)
    return found


def _taken_back(work: Work, counts: dict[tuple[int, str], int]) -> dict[tuple[int, str], int]:
    """The counts without the refused ones that were known already."""
    counts = dict(counts)
    for entry, progress in work.refused:
        if not entry.seq:
            word = (progress.flow, progress.state.word)
            counts[word] = counts.get(word, 0) - 1
    return counts


def _progress_rows(progress: Iterable[Progress]) -> list[tuple[object, ...]]:
    return [(p.flow, p.seq, p.state, p.at, p.attempt, p.next_at, p.key, p.parts, p.reason, p.memo) for p in progress]


def _small(connection: apsw.Connection, work: Work, now: int) -> None:
    """The parts of work that have a handful of rows at most."""
    if work.edits:
        rows = [(flow, seq, now, who, body) for flow, seq, body, who in work.edits]
        connection.executemany("INSERT OR REPLACE INTO edits VALUES (?, ?, ?, ?, ?)", rows)
    if work.claims:
        claims = [(flow, claimed, settled) for flow, (claimed, settled) in work.claims.items()]
        connection.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", claims)
    if work.memory:
        memory.write(connection, work.memory)
    for (flow, key), parked in work.parks.items():
        if parked is None:
            connection.execute("DELETE FROM parked WHERE flow = ? AND key = ?", (flow, key))
        else:
            row = (flow, key, parked.seq, parked.at, parked.strict)
            connection.execute("INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?)", row)
    if work.marks:
        connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", list(work.marks.items()))
