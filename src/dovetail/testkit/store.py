"""A store in memory. It sits the same exam as the real ones and keeps nothing when the process ends."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TypeVar

from dovetail.clock import Clock, Ids
from dovetail.errors import StoreError
from dovetail.store import base
from dovetail.store.base import (
    DUE,
    ENDED,
    KNOWN,
    PENDING,
    REDRIVEN,
    SAMPLE,
    Entry,
    Mark,
    Memory,
    Parked,
    Progress,
    Pruned,
    Query,
    Retention,
    Row,
    State,
    Work,
    changed,
)

Event = tuple[int, int, tuple[object, ...]]
R = TypeVar("R", Entry, Memory, Parked, Progress, Row)
_ALL = {kind: attrgetter(*(one.name for one in fields(kind))) for kind in (Entry, Memory, Parked, Progress, Row)}


def copied(row: R) -> R:
    """Another one like it: what is kept changes by commits alone. As `dataclasses.replace`, in a tenth of the time."""
    return type(row)(*_ALL[type(row)](row))


@dataclass(slots=True)
class Disk:
    """What a store in memory keeps. Open a store on the same disk again to see what a restart would find."""

    uid: str = ""
    clean: bool = True
    seq: int = 0
    txn: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    streams: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    dedupe: dict[tuple[int, str], tuple[int, bytes]] = field(default_factory=dict)
    progress: dict[int, dict[int, Progress]] = field(default_factory=lambda: defaultdict(dict))
    edits: dict[tuple[int, int], bytes] = field(default_factory=dict)
    counts: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    claims: dict[int, tuple[int, int]] = field(default_factory=dict)
    readers: dict[int, set[int]] = field(default_factory=dict)
    marks: dict[str, bytes] = field(default_factory=dict)
    memory: dict[tuple[int, str, str], dict[int, Memory]] = field(default_factory=dict)
    parked: dict[tuple[int, str], Parked] = field(default_factory=dict)
    names: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    versions: dict[int, list[tuple[str, int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    audit: list[Event] = field(default_factory=list)
    remembered: dict[tuple[int, str], int] = field(default_factory=dict)  # ids of pruned entries: when accepted
    positions: dict[tuple[int, str], Mark] = field(default_factory=dict)
    emptied: set[int] = field(default_factory=set)  # entries whose body was let go


def _row(entry: Entry, body: bytes | None = None) -> Row:
    e = entry
    size = len(e.body if body is None else body)
    return Row(e.seq, e.stream, e.at, e.version, e.meta, body, e.key, e.parent, e.start, size, e.priority)


class _Journal(base.Journal):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def after(
        self, flow: int, stream: int, seq: int, limit: int, max_bytes: int, priority: int = 0
    ) -> list[Row]:  # fmt: skip
        numbers, told = self._disk.streams[stream], self._disk.progress[flow]
        found: list[Row] = []
        for number in numbers[bisect_right(numbers, seq) :]:
            if number in told:
                continue
            entry = self._disk.entries[number]
            if priority and entry.priority != priority:
                continue
            max_bytes -= len(entry.body)
            if len(found) == limit or (found and max_bytes < 0):
                break
            found.append(_row(entry, entry.body))
        return found

    def earlier(self, flow: int, stream: int, key: str, seq: int, before: int, limit: int) -> list[Row]:
        told = self._disk.progress[flow]
        entries = [self._disk.entries[n] for n in self._disk.streams[stream] if seq < n < before and n not in told]
        return [_row(entry, entry.body) for entry in entries if entry.key == key and entry.priority][:limit]

    def first(self, stream: int, priority: int, seq: int) -> int:
        numbers = self._disk.streams[stream]
        return next((n for n in numbers if n > seq and self._disk.entries[n].priority == priority), 0)

    def without_priority(self, stream: int, seq: int) -> bool:
        return any(n > seq and not self._disk.entries[n].priority for n in self._disk.streams[stream])

    def get(self, seq: int, flow: int = 0) -> Row | None:
        entry = self._disk.entries.get(seq)
        if entry is None:
            return None
        found = _row(entry, self._disk.edits.get((flow, seq), entry.body))
        found.edited = (flow, seq) in self._disk.edits
        if seq in self._disk.emptied and (flow, seq) not in self._disk.edits:
            found.body = None
        return found

    def original(self, seq: int) -> bytes | None:
        entry = self._disk.entries.get(seq)
        return None if entry is None or seq in self._disk.emptied else entry.body

    def parts(self, parent: int, limit: int) -> list[Row]:
        found = [_row(entry) for entry in self._disk.entries.values() if parent and entry.parent == parent]
        return found[:limit]

    def last(self, stream: int) -> int:
        numbers = self._disk.streams[stream]
        return numbers[-1] if numbers else 0

    async def fetch(self, row: Row) -> bytes | None:
        return row.body

    async def prune(self, retention: Retention, now_ms: int, limit: int) -> Pruned:
        disk, pruned = self._disk, Pruned()
        for entry in list(disk.entries.values()):
            if pruned.messages < limit and self._over(entry, retention, now_ms):
                pruned.messages += 1
                self._forget(entry)
        self._bodies(retention, limit, pruned)
        self._answers(retention, now_ms, pruned)
        for (scope, name), at in list(disk.remembered.items()):
            windows = [retention.of(flow).dedupe for flow in disk.readers.get(scope, ())]
            if at < now_ms - max(windows, default=retention.others.dedupe):
                pruned.ids += 1
                del disk.remembered[scope, name]
                disk.dedupe.pop((scope, name), None)
        for (scope, name), mark in list(disk.positions.items()):
            windows = [retention.of(flow).dedupe for flow in disk.readers.get(scope, ())]
            if mark.passing and mark.at < now_ms - max(windows, default=retention.others.dedupe):
                pruned.ids += 1
                del disk.positions[scope, name]
        events = [event for event in disk.audit if event[0] == disk.txn or event[1] >= now_ms - retention.audit]
        pruned.events, disk.audit = len(disk.audit) - len(events), events
        return pruned

    def _over(self, entry: Entry, retention: Retention, now: int) -> bool:
        """Whether a whole message may go."""
        states = self._states(entry)
        if states is None or entry.parent in self._disk.entries:
            return False
        if any(lane.seq == entry.seq for lane in self._disk.parked.values()):
            return False
        return all(
            row.at < now - getattr(retention.of(flow), row.state.word)
            for flow, row in states.items()
        )  # fmt: skip

    def _states(self, entry: Entry) -> dict[int, Progress] | None:
        """What flows say of an entry that has ended for every reader and is pending for none; else None."""
        readers = self._disk.readers.get(entry.stream)
        states = {flow: rows[entry.seq] for flow, rows in self._disk.progress.items() if entry.seq in rows}
        if readers is None or not readers <= states.keys() or any(row.state not in ENDED for row in states.values()):
            return None
        return states

    def _bodies(self, retention: Retention, limit: int, pruned: Pruned) -> None:
        """Bodies of messages that ended well, while their stream holds too much; the sample goes last."""
        disk = self._disk
        for stream, flows in disk.readers.items():
            limits = [retention.of(flow).most_bytes for flow in flows]
            for thorough in (False, True):
                for entry in [disk.entries[seq] for seq in disk.streams[stream]]:
                    over = limits and all(limits) and disk.counts[-stream, "bytes"] > max(limits)
                    states = self._states(entry)
                    ended_well = states is not None and all(row.state is not State.DEAD for row in states.values())
                    if not over or not ended_well or entry.seq in disk.emptied or pruned.bodies >= limit:
                        continue
                    if thorough or entry.seq % SAMPLE:
                        disk.emptied.add(entry.seq)
                        disk.counts[-stream, "bytes"] -= len(entry.body)
                        pruned.bodies += 1

    def _answers(self, retention: Retention, now: int, pruned: Pruned) -> None:
        for flow, rows in self._disk.progress.items():
            for row in rows.values():
                if (
                    row.memo
                    and row.state in (State.DONE, State.DISCARDED)
                    and row.at < now - retention.of(flow).answers
                ):
                    shorter = retention.forget(row.memo)
                    pruned.answers += shorter != row.memo
                    row.memo = shorter

    def _forget(self, entry: Entry) -> None:
        disk = self._disk
        del disk.entries[entry.seq]
        disk.streams[entry.stream].remove(entry.seq)
        if entry.seq not in disk.emptied:
            disk.counts[-entry.stream, "bytes"] -= len(entry.body)
        if entry.dedupe is not None:
            disk.remembered[entry.dedupe] = entry.at
        for flow, rows in disk.progress.items():
            rows.pop(entry.seq, None)
            disk.edits.pop((flow, entry.seq), None)


class _Progresses(base.Progresses):
    look = 1000  # messages that one call of `find` looks at

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def _rows(self, flow: int, *states: State) -> list[Progress]:
        rows = self._disk.progress[flow]
        return [copied(rows[seq]) for seq in sorted(rows) if rows[seq].state in states]

    def get(self, flow: int, seq: int) -> Progress | None:
        found = self._disk.progress[flow].get(seq)
        return None if found is None else copied(found)

    def due(self, flow: int, now: int, limit: int) -> list[Progress]:
        rows = [row for row in self._rows(flow, *DUE) if row.next_at <= now]
        return sorted(rows, key=lambda row: row.next_at)[:limit]

    def next_due(self, flow: int) -> int | None:
        return min((row.next_at for row in self._rows(flow, *DUE)), default=None)

    def interrupted(self, flow: int) -> list[Progress]:
        return self._rows(flow, State.RUNNING)

    def held(self, flow: int, key: str, limit: int) -> list[Progress]:
        return [row for row in self._rows(flow, State.HELD) if row.key == key][:limit]

    def head(self, flow: int, key: str) -> Progress | None:
        states = [state for state in PENDING if state is not State.HELD]
        rows = self._rows(flow, *states)
        return next((row for row in rows if row.key == key and row.reason != REDRIVEN), None)

    def blocked(self, flow: int) -> Iterator[tuple[str, int]]:
        first: dict[str, int] = {}
        for row in self._rows(flow, *PENDING):
            if row.key is not None:
                first.setdefault(row.key, row.seq)
        return iter(sorted(first.items()))

    def parked(self, flow: int, after: str | None, limit: int) -> list[Parked]:
        found = [row for (number, key), row in sorted(self._disk.parked.items()) if number == flow]
        return [copied(row) for row in found if after is None or row.key > after][:limit]

    def parked_lane(self, flow: int, key: str) -> Parked | None:
        found = self._disk.parked.get((flow, key))
        return None if found is None else copied(found)

    def parked_keys(self, flow: int) -> int:
        return sum(number == flow for number, _ in self._disk.parked)

    def behind(self, flow: int, key: str) -> int:
        return sum(row.key == key for row in self._rows(flow, *PENDING))

    def find(self, query: Query) -> tuple[list[tuple[Row, Progress | None]], int]:
        numbers = self._disk.streams[query.stream]
        end = bisect_left(numbers, query.before) if query.before else len(numbers)
        found: list[tuple[Row, Progress | None]] = []
        for looked, number in enumerate(reversed(numbers[:end])):
            if looked == self.look:
                return found, number + 1
            entry, progress = self._disk.entries[number], self.get(query.flow, number)
            if _matches(query, entry, progress):
                found.append((_row(entry), progress))
            if len(found) == query.limit:
                return found, number
        return found, 0

    def counts(self) -> dict[tuple[int, str], int]:
        return dict(self._disk.counts)

    def fresh(self, flow: int, stream: int, seq: int) -> int:
        return sum(number > seq and number not in self._disk.progress[flow] for number in self._disk.streams[stream])

    def pending(self, flow: int) -> dict[State, int]:
        found: dict[State, int] = defaultdict(int)
        for row in self._rows(flow, *PENDING):
            found[row.state] += 1
        return dict(found)


def _matches(query: Query, entry: Entry, progress: Progress | None) -> bool:
    state = State.FRESH if progress is None else progress.state
    return (
        (not query.states or state in query.states)
        and (query.key is None or query.key == entry.key)
        and (not query.since or entry.at >= query.since)
        and (not query.until or entry.at < query.until)
        and query.text in entry.body
    )


class _Register(base.Register):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def number(self, kind: str, name: str) -> int:
        names = self._disk.names[kind]
        return names.setdefault(name, len(names) + 1)

    def names(self, kind: str) -> dict[str, int]:
        return dict(self._disk.names[kind])

    def version(self, flow: int, digest: str, text: bytes, at: int) -> int:
        versions = self._disk.versions[flow]
        for number, (known, _, _) in enumerate(versions, 1):
            if known == digest:
                return number
        versions.append((digest, at, text))
        return len(versions)

    def versions(self, flow: int) -> list[tuple[int, str, int]]:
        return [(number, digest, at) for number, (digest, at, _) in enumerate(self._disk.versions[flow], 1)]

    def version_text(self, flow: int, number: int) -> bytes:
        versions = self._disk.versions[flow]
        if not 1 <= number <= len(versions):
            raise StoreError(f"the store holds no version {number} of flow number {flow}")
        return versions[number - 1][2]

    def claim(self, flow: int) -> tuple[int, int]:
        return self._disk.claims.get(flow, (0, 0))

    def set_claim(self, flow: int, seq: int) -> None:
        self._disk.claims[flow] = (seq, seq)

    def set_readers(self, stream: int, flows: Sequence[int]) -> None:
        self._disk.readers[stream] = set(flows)

    def readers(self) -> dict[int, list[int]]:
        return {stream: sorted(flows) for stream, flows in sorted(self._disk.readers.items()) if flows}

    def mark(self, name: str) -> bytes | None:
        return self._disk.marks.get(name)

    def position(self, scope: int, partition: str) -> int | None:
        found = self._disk.positions.get((scope, partition))
        return None if found is None else found.number

    def positions(self, scope: int, limit: int) -> tuple[int, list[Mark]]:
        found = [mark for (number, _), mark in self._disk.positions.items() if number == scope]
        found.sort(key=lambda mark: (mark.passing, -mark.at, mark.partition))
        return len(found), found[:limit]


class _Memories(base.Memories):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def get(self, flow: int, scope: str, key: str, item: int = 0) -> Memory | None:
        found = self._disk.memory.get((flow, scope, key), {}).get(item)
        return None if found is None else copied(found)

    def items(self, flow: int, scope: str, key: str) -> list[Memory]:
        found = self._disk.memory.get((flow, scope, key), {})
        return [copied(found[item]) for item in sorted(found) if item]

    def _heads(self) -> list[Memory]:
        return [copied(items[0]) for items in self._disk.memory.values() if 0 in items]

    def due(self, flow: int, now: int, limit: int) -> list[Memory]:
        found = [head for head in self._heads() if head.flow == flow and 0 < head.due <= now]
        return sorted(found, key=lambda head: head.due)[:limit]

    def next_due(self, flow: int) -> int | None:
        return min((head.due for head in self._heads() if head.flow == flow and head.due), default=None)

    def heads(self, flow: int, scope: str, after: str, limit: int) -> list[Memory]:
        found = [head for head in self._heads() if (head.flow, head.scope) == (flow, scope) and head.key > after]
        return sorted(found, key=lambda head: head.key)[:limit]


class _Audit(base.Audit):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def events(self, after: int, limit: int) -> list[Event]:
        wanted = sorted({txn for txn, _, _ in self._disk.audit if txn > after})[:limit]
        return [event for event in self._disk.audit if event[0] in wanted]


def _encodable(work: Work) -> None:
    """Text must be UTF-8, as on disk. Raises UnicodeEncodeError."""
    for entry in [*work.entries, *(entry for entry, _ in work.refused)]:
        (entry.key or "").encode()
        (entry.dedupe or (0, ""))[1].encode()
        (entry.position.partition if entry.position else "").encode()
    for row in work.progress:
        ((row.key or "") + row.reason).encode()
    for memory in work.memory:
        (memory.scope + memory.key).encode()


class _Met:
    """The entries with positions that one transaction decides about."""

    def __init__(self, marks: dict[tuple[int, str], Mark]) -> None:
        self._marks, self.decided = marks, list[Entry]()

    def knows(self, entry: Entry) -> bool:
        place = entry.position
        if place is None:
            return False
        mark = self._marks.get(place.key)
        return any(place == other.position for other in self.decided) or (
            mark is not None and place.number <= mark.number
        )

    def raise_marks(self) -> None:
        """To the highest number of each partition, but below its first conflict."""
        placed = [(entry, entry.position) for entry in self.decided if entry.position is not None]
        for entry, place in placed:
            mine = [(other.conflict_with, at.number) for other, at in placed if at.key == place.key]
            number = min([max(n for _, n in mine), *(n - 1 for conflict, n in mine if conflict)])
            known = self._marks.get(place.key)
            number = max(number, known.number) if known is not None else number
            self._marks[place.key] = Mark(place.partition, number, entry.at, place.passing)


class MemoryStore(base.Store):
    """A store on a `Disk`. Leave it without `close` to act a crash: only what `commit` returned for is on the disk.

    `failures` are raised by the next commits, one each and the first first, which then keep nothing.
    """

    def __init__(self, disk: Disk, clock: Clock, hook: Callable[[str], None] | None = None) -> None:
        self._disk, self._clock = disk, clock
        self._hook = hook or (lambda name: None)
        self._turn = asyncio.Lock()
        self.failures: list[Exception] = []
        self.uid, self.clean = disk.uid, disk.clean
        disk.clean = False
        self.journal = _Journal(disk)
        self.progress = _Progresses(disk)
        self.register = _Register(disk)
        self.memory = _Memories(disk)
        self.audit = _Audit(disk)

    @classmethod
    async def open(
        cls, disk: Disk, *, clock: Clock, ids: Ids, hook: Callable[[str], None] | None = None
    ) -> MemoryStore:
        """A store on `disk`, new or used."""
        disk.uid = disk.uid or ids.token(5)
        return cls(disk, clock, hook)

    async def stow(self, entries: Iterable[Entry]) -> None:
        """Nothing is large here."""

    async def commit(self, work: Work) -> None:
        async with self._turn:
            await asyncio.sleep(0)
            if self.failures:
                raise self.failures.pop(0)
            _encodable(work)
            self._hook("store_before_commit")
            self._apply(work)
            self._hook("store_after_commit")

    def _apply(self, work: Work) -> None:
        disk = self._disk
        events = list(work.audit)
        met = _Met(disk.positions)
        for entry in [*work.entries, *(entry for entry, _ in work.refused)]:
            if self._accept(entry, met):
                last = events[-1] if len(events) > len(work.audit) else ()
                if last[1:2] == (entry.stream,):
                    events[-1] = (*last[:3], entry.seq)
                else:
                    events.append(("accepted", entry.stream, entry.seq, entry.seq))
        met.raise_marks()
        for entry, progress in work.refused:
            progress.seq = entry.seq
            disk.counts[progress.flow, progress.state.word] -= not entry.seq
        events += changed([progress for _, progress in work.refused if progress.seq])
        for row in [*work.progress, *(progress for _, progress in work.refused if progress.seq)]:
            disk.progress[row.flow][row.seq] = copied(row)
        for flow, seq, body, _ in work.edits:
            disk.edits[flow, seq] = body
        for key, n in work.counts.items():
            disk.counts[key] += n
        disk.claims.update(work.claims)
        disk.marks.update(work.marks)
        for change in work.memory:
            self._remember(change)
        for name, parked in work.parks.items():
            if parked is None:
                disk.parked.pop(name, None)
            else:
                disk.parked[name] = copied(parked)
        disk.txn += 1
        disk.audit += [(disk.txn, self._clock.now_ms(), event) for event in events]

    def _remember(self, change: Memory) -> None:
        place = (change.flow, change.scope, change.key)
        if change.value is None and not change.item:
            self._disk.memory.pop(place, None)
        elif change.value is None:
            self._disk.memory.get(place, {}).pop(change.item, None)
        else:
            self._disk.memory.setdefault(place, {})[change.item] = copied(change)

    def _accept(self, entry: Entry, met: _Met) -> bool:
        disk = self._disk
        entry.seq = entry.duplicate_of = entry.conflict_with = 0
        if met.knows(entry):
            entry.duplicate_of = KNOWN
            return False
        if entry.dedupe is not None and entry.dedupe in disk.dedupe:
            earlier, digest = disk.dedupe[entry.dedupe]
            if digest == entry.body_hash:
                entry.duplicate_of = earlier
            else:
                entry.conflict_with = earlier
            met.decided.append(entry)
            return False
        met.decided.append(entry)
        disk.seq = entry.seq = disk.seq + 1
        disk.entries[entry.seq] = copied(entry)
        disk.streams[entry.stream].append(entry.seq)
        disk.counts[-entry.stream, "accepted"] += 1
        disk.counts[-entry.stream, "bytes"] += len(entry.body)
        if entry.dedupe is not None:
            disk.dedupe[entry.dedupe] = entry.seq, entry.body_hash
        return True

    def usage(self) -> Mapping[str, int]:
        return {"store": sum(len(entry.body) for entry in self._disk.entries.values()), "wal": 0, "files": 0,
                "free": 1 << 40, "disk": 1 << 41}  # fmt: skip

    async def close(self, clean: bool = True) -> None:
        self._disk.clean = clean
