"""What may be forgotten now: looked up in small stretches, from where the last look ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from dovetail.store.base import SAMPLE, Keeping, Retention, State
from dovetail.store.sqlite.database import Database

_LOOK = 10  # entries looked at for one that may go
_ENDED = 10
_END = 2**63 - 1
_WELL = (State.DONE, State.DISCARDED)
_FIELD = {State.DONE: "done", State.DISCARDED: "discarded", State.DEAD: "dead"}

Entry = tuple[int, int, int, int, bool]  # seq, stream, parent, accepted at, whether it has a body


@dataclass(slots=True)
class Found:
    """What one step lets go. `answers` are (memo, flow, seq); `ids` are (accepted at, scope, id)."""

    messages: list[int] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)
    answers: list[tuple[bytes, int, int]] = field(default_factory=list)
    ids: list[tuple[int, int, str]] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    positions: list[tuple[int, str]] = field(default_factory=list)
    unused: set[int] = field(default_factory=set)
    flows: list[int] = field(default_factory=list)
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.messages or self.bodies or self.answers or self.ids or self.events or self.unused
                    or self.positions)  # fmt: skip


class Candidates:
    """Walks the journal from its oldest entry on, a bounded stretch a call, and begins again at the end."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._at = 0
        self._thorough = False  # the last lap left a flow over its bytes: this one takes the sample, too
        self._emptied = 0  # bodies let go in this lap
        self._rows = 0  # large bodies looked at for one that nothing refers to
        self.unused: set[int] = set()  # numbers of large bodies that could not go yet

    def look(self, retention: Retention, now: int, limit: int) -> Found:
        """Up to `limit` of each kind."""
        found = Found(flows=self._flows())
        self._walk(found, retention, now, limit)
        windows = self._windows(retention)
        found.ids = self._forgotten(windows, retention.others.dedupe, now, limit)
        found.positions = self._passed(windows, retention.others.dedupe, now, limit)
        found.events = [
            txn for (txn,) in self._db.read(
                "SELECT txn FROM (SELECT txn, at FROM audit WHERE txn < (SELECT max(txn) FROM audit) "
                "ORDER BY txn LIMIT ?) WHERE at < ?", (limit, now - retention.audit)
            )
        ]  # fmt: skip
        found.unused, self.unused = self.unused | self._unreferenced(limit), set()
        kinds = (found.messages, found.bodies, found.answers, found.ids, found.events, found.positions)
        found.more = any(len(kind) >= limit for kind in kinds)
        return found

    def _walk(self, found: Found, retention: Retention, now: int, limit: int) -> None:
        """One stretch, from where the last one ended on and round the end once."""
        over = self._over(retention)
        self._stretches(found, retention, now, limit, over)
        self._emptied += len(found.bodies)

    def _stretches(self, found: Found, retention: Retention, now: int, limit: int, over: dict[int, int]) -> None:
        youngest = now if over else now - shortest(retention)
        left = limit * _LOOK
        for low, high in ((self._at, _END), (0, self._at)):
            sql = """SELECT seq, stream, parent, at, body IS NOT NULL OR payload IS NOT NULL FROM journal
                     WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"""
            rows = self._db.read(sql, (low, high, left))
            stretch = list(takewhile(lambda row: row[3] <= youngest, rows))
            last = Stretch(self, stretch, retention, now, over).sort(found, limit)
            left -= len(stretch)
            if last:
                self._at = last
                return
            if left <= 0:
                self._at = stretch[-1][0]
                return
            if high == _END:
                self._thorough = bool(over) and not (self._emptied + len(found.bodies))
                self._emptied = -len(found.bodies)  # they are added to the next lap
        self._at = 0

    def _over(self, retention: Retention) -> dict[int, int]:
        """Streams whose bodies weigh more than their readers may keep, and by how much."""
        limits: dict[int, int] = {}
        for stream, flow in self._db.read("SELECT stream, flow FROM readers WHERE flow > 0"):
            most = retention.of(flow).most_bytes
            if most:
                limits[stream] = max(most, limits.get(stream, 0))
        kept = dict(self._db.read("SELECT -flow, n FROM counts WHERE word = 'bytes'"))
        return {stream: kept[stream] - most for stream, most in limits.items() if kept.get(stream, 0) > most}

    def _windows(self, retention: Retention) -> dict[int, int]:
        """How long ids are remembered, by scope: the stream of a source."""
        windows: dict[int, int] = {}
        for stream, flow in self._db.read("SELECT stream, flow FROM readers"):
            windows[stream] = max(windows.get(stream, 0), retention.of(flow).dedupe)
        return windows

    def _forgotten(self, windows: dict[int, int], others: int, now: int, limit: int) -> list[tuple[int, int, str]]:
        """Ids of pruned messages whose window is over."""
        sql = "SELECT at, scope, id FROM remembered WHERE at < ? ORDER BY at LIMIT ?"
        rows = self._db.read(sql, (now - min([*windows.values(), others]), limit * _LOOK))
        return [row for row in rows if row[0] < now - windows.get(row[1], others)][:limit]

    def _passed(self, windows: dict[int, int], others: int, now: int, limit: int) -> list[tuple[int, str]]:
        """Partitions that come to an end and have not gone on for a whole window."""
        sql = """SELECT at, scope, partition FROM positions INDEXED BY positions_passing
                 WHERE passing = 1 AND at < ? ORDER BY at LIMIT ?"""
        rows = self._db.read(sql, (now - min([*windows.values(), others]), limit * _LOOK))
        return [(scope, name) for at, scope, name in rows if at < now - windows.get(scope, others)][:limit]

    def _unreferenced(self, limit: int) -> set[int]:
        """Rows of large bodies that no message refers to, from a stretch of them: a crash may leave some."""
        rows = self._db.read(
            "SELECT id, EXISTS (SELECT 1 FROM journal WHERE payload = payloads.id) FROM payloads WHERE id > ? "
            "ORDER BY id LIMIT ?", (self._rows, limit),
        )  # fmt: skip
        self._rows = rows[-1][0] if len(rows) == limit else 0
        return {number for number, used in rows if not used}

    def _flows(self) -> list[int]:
        """Every flow that may have said something about a message."""
        rows = self._db.read("SELECT number FROM names WHERE kind = 'flow' UNION SELECT flow FROM readers")
        return [flow for (flow,) in rows]

    # --- what a stretch asks ---------------------------------------------------------------------------------------

    def sample(self, seq: int) -> bool:
        """Whether this one's body stays when a flow is over its bytes."""
        return not self._thorough and seq % SAMPLE == 0

    def read(self, sql: str, bindings: Sequence[Any] = ()) -> list[Any]:
        """Rows of the store."""
        return self._db.read(sql, bindings)

    def there(self, seq: int) -> bool:
        """Whether an entry is still kept."""
        return self._db.one("SELECT 1 FROM journal WHERE seq = ?", (seq,)) is not None


class Stretch:
    """Some entries in order, and what each flow says of them."""

    def __init__(
        self, candidates: Candidates, entries: list[Entry], retention: Retention, now: int, over: dict[int, int]
    ) -> None:
        self._candidates, self._entries = candidates, entries
        self._retention, self._now, self._over = retention, now, over
        self._readers: dict[int, set[int]] = defaultdict(set)
        self._states: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)  # seq -> flow -> (state, at)
        self._parked: set[int] = set()  # keys stand still behind them
        self._answered: list[tuple[int, int]] = []
        if entries:
            self._read()

    def _read(self) -> None:
        first, last = self._entries[0][0], self._entries[-1][0]
        for stream, flow in self._candidates.read("SELECT stream, flow FROM readers"):
            self._readers[stream].add(flow)
        sql = "SELECT seq FROM parked WHERE seq BETWEEN ? AND ?"
        self._parked = {seq for (seq,) in self._candidates.read(sql, (first, last))}
        for (flow,) in self._candidates.read(
            "SELECT number FROM names WHERE kind = 'flow' UNION SELECT flow FROM readers"
        ):
            keeping = self._retention.of(flow)
            sql = "SELECT seq, state, at, length(memo) > 0 FROM progress WHERE flow = ? AND seq BETWEEN ? AND ?"
            for seq, state, at, memo in self._candidates.read(sql, (flow, first, last)):
                self._states[seq][flow] = state, at
                if memo and state in _WELL and at < self._now - keeping.answers:
                    self._answered.append((flow, seq))

    def sort(self, found: Found, limit: int) -> int:
        """Put what may go into `found`; the last entry looked at when there was more than `limit`, else 0."""
        gone: set[int] = set()
        stopped = 0
        for seq, stream, parent, _, has_body in self._entries:
            if self._message(seq, stream) and (not parent or parent in gone or not self._candidates.there(parent)):
                found.messages.append(seq)
                gone.add(seq)
            elif has_body and self._body(seq, stream):
                found.bodies.append(seq)
            if max(len(found.messages), len(found.bodies)) >= limit:
                stopped = seq
                break
        self._answers(found, gone, stopped)
        return stopped

    def _ended(self, seq: int, stream: int) -> bool:
        """Ended for every reader, pending for nobody, and no key stands still behind it."""
        wanted = self._readers.get(stream)
        states = self._states.get(seq, {})
        if wanted is None or seq in self._parked or not states.keys() >= wanted - {0}:
            return False
        return all(state >= _ENDED for state, _ in states.values())

    def _message(self, seq: int, stream: int) -> bool:
        return self._ended(seq, stream) and all(
            at < self._now - time_of(self._retention.of(flow), state)
            for flow, (state, at) in self._states.get(seq, {}).items()
        )

    def _body(self, seq: int, stream: int) -> bool:
        """Whether a body goes because its stream holds too much."""
        if stream not in self._over or self._candidates.sample(seq) or not self._ended(seq, stream):
            return False
        if any(state not in _WELL for state, _ in self._states[seq].values()):
            return False
        left = self._over[stream]
        if left <= 0:
            return False
        sql = "SELECT coalesce((SELECT stored FROM payloads WHERE id = payload), size) FROM journal WHERE seq = ?"
        self._over[stream] = left - self._candidates.read(sql, (seq,))[0][0]
        return True

    def _answers(self, found: Found, gone: set[int], stopped: int) -> None:
        for flow, seq in self._answered:
            if seq in gone or (stopped and seq > stopped):
                continue
            [(memo,)] = self._candidates.read("SELECT memo FROM progress WHERE flow = ? AND seq = ?", (flow, seq))
            shorter = self._retention.forget(memo)
            if shorter != memo:
                found.answers.append((shorter, flow, seq))


def time_of(keeping: Keeping, state: int) -> int:
    """How long a message that ended so is kept."""
    return int(getattr(keeping, _FIELD[State(state)]))


def shortest(retention: Retention) -> int:
    """The shortest time after which anything of a message may go."""
    every = [retention.others, *retention.flows.values()]
    return min(min(one.done, one.discarded, one.dead, one.answers) for one in every)
