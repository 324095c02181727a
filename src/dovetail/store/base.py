"""The store's ports, by noun: journal, state, payloads, audit; and the one transaction that moves them together.

Words. A *stream* is a numbered log: a flow's own inbox, or a topic that several flows read. The *journal* holds
every accepted message once, in its stream, and never changes. A *flow*'s state of a message is one row of
*progress*; a message that no row speaks of is *fresh* (accepted, not begun or being run for the first time). A
flow's *claim* is the journal number up to which it has taken messages into work: what lies at or below it without a
row may have been in flight when the process died.

Numbers (`seq`) are given by the store, grow with acceptance and are never used again. Times are wall-clock
milliseconds.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dovetail.errors import Damaged


class State(enum.IntEnum):
    """Where a message is, for one flow. Below 10 it is pending; from 10 on it has ended."""

    FRESH = 0  # never written: the absence of a row
    WAITING = 1  # for its next attempt at `next_at`
    HELD = 2  # behind an earlier message of its key that waits
    IN_DOUBT = 3  # as WAITING, with an effect whose outcome is unknown
    SPLIT = 4  # its parts are on their way; ends when they have ended
    RUNNING = 5  # claimed for a further attempt (a first attempt needs no row: see claim)
    COMPENSATING = 6  # as WAITING, but it failed for good: next, what was done for it is undone
    DONE = 10
    DISCARDED = 11  # by a recorded rule of the flow
    DEAD = 12  # a dead letter, with its reason

    @property
    def word(self) -> str:
        """The name as people read and type it: `in_doubt`."""
        return self.name.lower()


PENDING = (State.FRESH, State.WAITING, State.HELD, State.IN_DOUBT, State.SPLIT, State.RUNNING, State.COMPENSATING)
REDRIVEN = "redriven"  # the reason of a dead letter that was taken up again and has not begun since
DUE = (State.WAITING, State.IN_DOUBT, State.COMPENSATING)  # at their `next_at`
ENDED = (State.DONE, State.DISCARDED, State.DEAD)

KNOWN = -1  # `Entry.duplicate_of`: accepted before, by its position; under which number nobody remembers


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source has an entry from. Numbers of a (scope, partition) grow. `passing`: the partition comes to an
    end, so that it need not be remembered for ever."""

    scope: int
    partition: str
    number: int
    passing: bool = False

    @property
    def key(self) -> tuple[int, str]:
        """The partition."""
        return self.scope, self.partition


@dataclass(frozen=True, slots=True)
class Mark:
    """A partition's high-water mark: everything up to `number` was accepted; it last went up `at` (milliseconds)."""

    partition: str
    number: int
    at: int
    passing: bool


@dataclass(slots=True)
class Entry:
    """One message for the journal. `seq` is set by the commit that accepts it.

    `meta` is opaque here (attributes and headers, packed by the engine). `dedupe` is (scope, id): at most one entry per
    scope and id is ever accepted; `body_hash` tells a repeat from a conflict. `start` is the step it begins at (parts
    of a split). `position`: at or below its partition's mark, as it stood before the transaction, it is a duplicate;
    the transaction raises the mark to the highest number of those it has decided about (below the first conflict: that
    one is still to be kept). Within one transaction numbers may come in any order and with gaps. `priority`: 1 urgent,
    2 normal, 3 background, 0 when nobody said (as urgent as 2).
    """

    stream: int
    at: int
    version: int
    meta: bytes
    body: bytes
    key: str | None = None
    dedupe: tuple[int, str] | None = None
    body_hash: bytes = b""
    position: Place | None = None
    parent: int = 0
    start: int = 0
    priority: int = 0
    seq: int = 0
    # set by the commit: the earlier entry with the same dedupe id and body, or KNOWN; this one was not kept
    duplicate_of: int = 0
    conflict_with: int = 0  # set by the commit: the earlier entry with the same dedupe id and another body; not kept
    stowed: object = None  # set by `Store.stow`: where its body lies already


@dataclass(slots=True)
class Progress:
    """The whole state of one message in one flow. `memo` is opaque: effects, history, whatever the engine must not
    forget."""

    flow: int
    seq: int
    state: State
    at: int
    attempt: int = 0
    next_at: int = 0
    key: str | None = None
    parts: int = 0  # SPLIT: how many parts have not ended
    reason: str = ""
    memo: bytes = b""


@dataclass(slots=True)
class Memory:
    """What a step remembers under a key. Item 0 is the head; items from 1 on are a list that grows without touching the
    head. `value` is opaque; None in a change takes the item away, and with item 0 the whole key.

    `flow` 0 is shared by all flows. `due` (of a head): when somebody must look at it, in the engine's milliseconds, 0
    for never. `version`: the flow version that wrote it last.
    """

    flow: int
    scope: str
    key: str
    item: int
    value: bytes | None
    at: int = 0
    due: int = 0
    version: int = 0


@dataclass(slots=True)
class Parked:
    """A key whose lane stands still behind a message that failed. `strict`: nobody may pass it while it is a dead
    letter."""

    flow: int
    key: str
    seq: int
    at: int
    strict: bool = False


@dataclass(slots=True)
class Row:
    """A journal entry read back. `body` may be None when only the attributes were asked for, or the body was pruned.

    `after` leaves very large bodies out and sets `beside`: `Journal.fetch` brings them.
    """

    seq: int
    stream: int
    at: int
    version: int
    meta: bytes
    body: bytes | None
    key: str | None
    parent: int
    start: int
    size: int
    priority: int = 0
    beside: int = 0
    edited: bool = False  # somebody put another body in the original's place


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long a flow's messages are kept after they ended, in milliseconds, by how they ended; and how many bytes.

    `answers` is how long what targets answered is kept with messages that ended well. `dedupe` counts from acceptance:
    an id is remembered that long even when its message is gone. `most_bytes` (0: no limit) bounds the bodies of a
    flow's stream; above it, those of messages that ended well are let go, oldest first, except one in `SAMPLE`.
    """

    done: int
    discarded: int
    dead: int
    answers: int
    dedupe: int
    most_bytes: int = 0

    @classmethod
    def uniform(cls, age: int) -> Keeping:
        """Everything as long as `age`."""
        return cls(age, age, age, age, age)


SAMPLE = 100  # one in so many bodies of ended messages stays when a flow is over its bytes


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept: by flow number, for flows that are not named there, and the audit's events (milliseconds).

    `forget` takes the answers of targets out of a memo (they are opaque to the store).
    """

    flows: Mapping[int, Keeping]
    others: Keeping
    audit: int
    forget: Callable[[bytes], bytes] = bytes

    def of(self, flow: int) -> Keeping:
        """What holds for a flow."""
        return self.flows.get(flow, self.others)


@dataclass(slots=True)
class Pruned:
    """What one step of pruning did, in numbers. `ids` counts marks of positions, too. `more`: the next step would find
    something, too."""

    messages: int = 0
    bodies: int = 0
    answers: int = 0
    ids: int = 0
    events: int = 0
    files: int = 0
    more: bool = False

    @property
    def total(self) -> int:
        """Everything that was let go."""
        return self.messages + self.bodies + self.answers + self.ids + self.events + self.files


@dataclass(slots=True)
class Work:
    """What one transaction does, all or nothing.

    `entries` are accepted in order; those with a dedupe id may turn out a duplicate or a conflict (see `Entry`), the
    rest of
    the work stands all the same. `progress` rows replace what was there (the newest per (flow, seq) wins). `refused`
    are entries
    to be kept as dead letters at once, each with the progress row to store beside it (its `seq` is filled in).
    `parks` by (flow, key): the lane stands still from now on, or (None) goes on.
    `counts` are differences: (flow, state word) -> n, those of `refused` among them (the store takes back those that it
    does not keep, because their positions are known); the store itself counts what it accepts as (-stream, "accepted")
    and the bytes of bodies that it keeps as (-stream, "bytes").
    `audit` is a list of plain events; the store adds ("accepted", stream, first number, last number) for what it kept,
    and what `changed` says of the refused ones, whose numbers nobody else knows.
    """

    entries: list[Entry] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    refused: list[tuple[Entry, Progress]] = field(default_factory=list)
    edits: list[tuple[int, int, bytes, str]] = field(default_factory=list)  # flow, seq, new body, who
    claims: dict[int, tuple[int, int]] = field(default_factory=dict)  # flow -> (claimed up to, settled up to)
    marks: dict[str, bytes] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)  # in the order they were made: the later one wins
    parks: dict[tuple[int, str], Parked | None] = field(default_factory=dict)
    counts: dict[tuple[int, str], int] = field(default_factory=dict)
    audit: list[tuple[object, ...]] = field(default_factory=list)


def changed(rows: Sequence[Progress]) -> list[tuple[object, ...]]:
    """The audit's word on rows of progress: one event with (flow, message, state, attempt) for each; none for none."""
    return [("state", [(row.flow, row.seq, int(row.state), row.attempt) for row in rows])] if rows else []


@dataclass(frozen=True, slots=True)
class Query:
    """A search over messages, newest first. Empty fields do not restrict. `text` is looked for in bodies, byte by
    byte; not in very large ones that lie in files.

    `before` (a journal number) is where the last page ended, 0 to begin. `stream` is the one that the flow reads; it
    must be given.
    """

    flow: int = 0
    stream: int = 0
    states: Sequence[State] = ()
    key: str | None = None
    since: int = 0
    until: int = 0
    text: bytes = b""
    before: int = 0
    limit: int = 50


class Journal(ABC):
    """Accepted messages, in their streams."""

    @abstractmethod
    def after(
        self, flow: int, stream: int, seq: int, limit: int, max_bytes: int, priority: int = 0
    ) -> list[Row]:  # fmt: skip
        """Up to `limit` fresh entries of `stream` behind `seq` (no progress row for `flow`), in order, at least one
        if there is one, at most about `max_bytes` of bodies. `priority` (not 0): only those of this one, found by
        index however many others lie between."""

    @abstractmethod
    def earlier(self, flow: int, stream: int, key: str, seq: int, before: int, limit: int) -> list[Row]:
        """Up to `limit` fresh entries of a key that have a priority, behind `seq` and before `before`, in order; very
        large bodies are left out as by `after`."""

    @abstractmethod
    def first(self, stream: int, priority: int, seq: int) -> int:
        """The first number behind `seq` with this priority (not 0), fresh or not; 0 if there is none."""

    @abstractmethod
    def without_priority(self, stream: int, seq: int) -> bool:
        """Whether an entry behind `seq` has the priority 0 (counted by index; for start-up)."""

    @abstractmethod
    def get(self, seq: int, flow: int = 0) -> Row | None:
        """One entry with its body (as last edited for `flow`), or None."""

    @abstractmethod
    def original(self, seq: int) -> bytes | None:
        """The body as it was accepted."""

    @abstractmethod
    def parts(self, parent: int, limit: int) -> list[Row]:
        """Entries that a split of `parent` made, in order, without bodies."""

    @abstractmethod
    def last(self, stream: int) -> int:
        """The newest number in `stream`, 0 if it is empty."""

    @abstractmethod
    async def fetch(self, row: Row) -> bytes | None:
        """The body of a row that `after` gave without it (`beside`), read beside the event loop."""

    @abstractmethod
    async def prune(self, retention: Retention, now_ms: int, limit: int) -> Pruned:
        """One small step: let go of up to `limit` of each kind of thing whose time is over.

        Messages go, with all that hangs on them, when they have ended for every flow that reads their stream
        (`Register.set_readers`), long enough ago for each, and are pending for none; parts only after the whole.
        Their dedupe ids are remembered until the window is over, and so are the marks of partitions that come to an
        end, from when they last went up; other marks are never forgotten. Bodies and answers go earlier as `Keeping`
        says; what a pending message or a dead letter needs never does. One call looks at a bounded stretch of the
        journal and the next goes on from there.
        """


class Progresses(ABC):
    """The state of messages, flow by flow."""

    @abstractmethod
    def get(self, flow: int, seq: int) -> Progress | None: ...

    @abstractmethod
    def due(self, flow: int, now: int, limit: int) -> list[Progress]:
        """Rows of the states in `DUE` with next_at <= now, earliest first."""

    @abstractmethod
    def next_due(self, flow: int) -> int | None:
        """The earliest next_at, or None when nothing waits."""

    @abstractmethod
    def interrupted(self, flow: int) -> list[Progress]:
        """RUNNING rows: at start-up, the further attempts that were in flight when the process died. In order of
        seq."""

    @abstractmethod
    def held(self, flow: int, key: str, limit: int) -> list[Progress]:
        """The first HELD rows of a key, in order."""

    @abstractmethod
    def head(self, flow: int, key: str) -> Progress | None:
        """The first row of a key that is pending, not HELD, and has begun (its reason is not REDRIVEN): it may have a
        higher number than those behind it (a dead letter that was taken up again and stands in line)."""

    @abstractmethod
    def blocked(self, flow: int) -> Iterator[tuple[str, int]]:
        """Every key with a row that is WAITING, IN_DOUBT, HELD, SPLIT or RUNNING, with its first number."""

    @abstractmethod
    def parked(self, flow: int, after: str | None, limit: int) -> list[Parked]:
        """Keys that stand still, in order, those behind the key `after`."""

    @abstractmethod
    def parked_lane(self, flow: int, key: str) -> Parked | None:
        """That key, if it stands still."""

    @abstractmethod
    def parked_keys(self, flow: int) -> int:
        """How many keys stand still."""

    @abstractmethod
    def behind(self, flow: int, key: str) -> int:
        """How many rows of a key are pending, whatever their state (counted by index)."""

    @abstractmethod
    def find(self, query: Query) -> tuple[list[tuple[Row, Progress | None]], int]:
        """Messages of one flow that match, newest first; entries come without bodies. Fresh ones have no progress.

        One call looks at a bounded number of messages, so a page may be short or empty before the end is reached.
        The second value is the `before` of the next page, 0 when there is none.
        """

    @abstractmethod
    def counts(self) -> dict[tuple[int, str], int]:
        """(flow, state word) or (-stream, "accepted") -> how many ever, and (-stream, "bytes") -> bytes of bodies that
        are kept; maintained by `commit`, so reading them is cheap."""

    @abstractmethod
    def fresh(self, flow: int, stream: int, seq: int) -> int:
        """How many entries of `stream` behind `seq` are fresh for `flow` (counted; for start-up)."""

    @abstractmethod
    def pending(self, flow: int) -> dict[State, int]:
        """How many rows are in each pending state (counted by index; for start-up)."""


class Register(ABC):
    """Names and numbers: streams and flows, versions with their text, marks."""

    @abstractmethod
    def number(self, kind: str, name: str) -> int:
        """The number of a `flow` or a `stream`, given on first use (committed before it returns)."""

    @abstractmethod
    def names(self, kind: str) -> dict[str, int]:
        """All of a kind."""

    @abstractmethod
    def version(self, flow: int, digest: str, text: bytes, at: int) -> int:
        """The number of a flow version, given on first use together with the text needed to load it again."""

    @abstractmethod
    def versions(self, flow: int) -> list[tuple[int, str, int]]:
        """(number, digest, first seen), oldest first."""

    @abstractmethod
    def version_text(self, flow: int, number: int) -> bytes:
        """What `version` was given."""

    @abstractmethod
    def claim(self, flow: int) -> tuple[int, int]:
        """The flow's claim and its settled prefix, (0, 0) at first. At or below the second every entry has its row."""

    @abstractmethod
    def set_claim(self, flow: int, seq: int) -> None:
        """Set both outside of the work of messages (a new subscriber that starts at a topic's end); committed at
        once."""

    @abstractmethod
    def set_readers(self, stream: int, flows: Sequence[int]) -> None:
        """Which flows read a stream now; committed at once. Nothing of a stream is pruned before this was said."""

    @abstractmethod
    def readers(self) -> dict[int, list[int]]:
        """Stream -> the flows that read it, as `set_readers` was last told."""

    @abstractmethod
    def mark(self, name: str) -> bytes | None: ...

    @abstractmethod
    def position(self, scope: int, partition: str) -> int | None:
        """How far a partition has come, None if it is not known."""

    @abstractmethod
    def positions(self, scope: int, limit: int) -> tuple[int, list[Mark]]:
        """How many partitions of a scope are known, and up to `limit` of them: lasting ones first, then those that went
        up last."""


class Memories(ABC):
    """What steps remember, by (flow, scope, key)."""

    @abstractmethod
    def get(self, flow: int, scope: str, key: str, item: int = 0) -> Memory | None:
        """One item, the head by default."""

    @abstractmethod
    def items(self, flow: int, scope: str, key: str) -> list[Memory]:
        """The key's list, in order; without its head."""

    @abstractmethod
    def due(self, flow: int, now: int, limit: int) -> list[Memory]:
        """Heads with 0 < due <= now, earliest first."""

    @abstractmethod
    def next_due(self, flow: int) -> int | None:
        """The earliest due of a head, or None."""

    @abstractmethod
    def heads(self, flow: int, scope: str, after: str, limit: int) -> list[Memory]:
        """Heads of a scope with a key greater than `after`, by key."""


class Audit(ABC):
    """Events of state changes, written by `commit` in the same transaction."""

    @abstractmethod
    def events(self, after: int, limit: int) -> list[tuple[int, int, tuple[object, ...]]]:
        """(transaction, time, event) behind transaction `after`."""


class Store(ABC):
    """One store. Reading ports are synchronous and short; `commit` is the only way to write messages."""

    uid: str  # made once, when the store was: prefixes message ids so that no other store's ids are met again
    clean: bool  # whether the last user closed it; False means messages may have been in flight

    journal: Journal
    progress: Progresses
    register: Register
    memory: Memories
    audit: Audit

    damaged: Callable[[Damaged], None] = staticmethod(lambda error: None)  # told once, when stored bytes have changed

    large = 64 << 10  # bodies over this many bytes should be stowed before they are committed

    @abstractmethod
    async def stow(self, entries: Iterable[Entry]) -> None:
        """Write large bodies beside, so that the commit that accepts them is short. What is not committed afterwards
        is let go. Raises Unavailable; then nothing of them stands."""

    @abstractmethod
    async def commit(self, work: Work) -> None:
        """Apply in one transaction and flush. When it returns, it survives power loss.

        Raises `dovetail.errors.Unavailable` when nothing was written and a later try may work (disk full, busy);
        `StoreError` when the store can no longer be trusted: whether this work was kept is then unknown until it is
        opened again, and the dedupe ids tell. Text that is no UTF-8 (lone surrogates) raises UnicodeEncodeError and
        keeps nothing, so look for it at the door. One commit at a time, in the order of the calls; a cancelled one has
        ended, one way or the other, when the cancellation arrives.
        """

    @abstractmethod
    def usage(self) -> Mapping[str, int]:
        """Bytes: `store`, `wal`, `files` (very large bodies), `free` and `disk` (what is left of the disk, and all)."""

    @abstractmethod
    async def close(self, clean: bool = True) -> None:
        """Close; with `clean` the next opener knows that nothing was in flight."""
