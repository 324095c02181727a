"""A redrive that is carried out part by part: as it is ordered and answered, and as the store keeps it."""

from __future__ import annotations

import msgspec

from dovetail.control.answers import RedriveOrder, Skipped
from dovetail.store.base import Memory

SHARED, SCOPE = 0, "dovetail/redrive"  # where the store keeps jobs: memory that belongs to no flow
PART = 500  # messages of a selection that are kept together
RUNNING, PAUSED, CANCELLED, DONE = "running", "paused", "cancelled", "done"


class JobLine(msgspec.Struct):
    """A redrive that is carried out part by part. `state`: running, paused, cancelled or done (all were sent on).

    `selected` messages were chosen when it was ordered; `sent` have been taken up again, `skipped` could not be, `left`
    are still to come.
    """

    id: str
    by: str
    at: int
    state: str
    selected: int
    sent: int
    skipped: int
    left: int
    note: str = ""
    rate: float = 0.0
    version: str = "current"
    map: str = ""
    as_new: bool = False
    changed_at: int = 0
    changed_by: str = ""


class Job(JobLine):
    """One of them, with how those that were sent on fare: `done`, `failed` again, or `under_way`. `skips` are the first
    of those that were skipped."""

    done: int = 0
    failed: int = 0
    under_way: int = 0
    skips: list[Skipped] = msgspec.field(default_factory=list)


class JobAnswer(msgspec.Struct):
    """A job was ordered; `skipped` are ids that are no dead letters, `more` as in `RedriveAnswer`."""

    job: JobLine
    skipped: list[Skipped] = msgspec.field(default_factory=list)
    more: bool = False


class JobOrder(msgspec.Struct, forbid_unknown_fields=True):
    """What is to become of a job: `action` is pause, resume or cancel."""

    by: str
    action: str


class Chosen(msgspec.Struct, array_like=True):
    """One message of a selection, by its flow's number and its own; `why` it was skipped, if it was."""

    flow: int
    seq: int
    why: str = ""


class Plan(msgspec.Struct):
    """A job as the store keeps it. `cursor`: how many of the selection have been dealt with. `next_at`: before that
    time (the engine's milliseconds) nothing more is sent on."""

    number: int
    order: RedriveOrder
    at: int
    selected: int
    state: str = RUNNING
    cursor: int = 0
    skipped: int = 0
    next_at: int = 0
    changed_at: int = 0
    changed_by: str = ""

    def line(self) -> JobLine:
        """The job as a list shows it."""
        order = self.order
        return JobLine(
            str(self.number), order.by, self.at, self.state, self.selected, self.cursor - self.skipped, self.skipped,
            self.selected - self.cursor, order.note, order.rate, order.version, order.map, order.as_new,
            self.changed_at, self.changed_by,
        )  # fmt: skip

    def head(self) -> Memory:
        """The change that writes it down."""
        return Memory(SHARED, SCOPE, key_of(self.number), 0, msgspec.msgpack.encode(self), self.changed_at)

    def part(self, index: int, chosen: list[Chosen]) -> Memory:
        """The change that writes a part of its selection down."""
        return Memory(SHARED, SCOPE, key_of(self.number), index + 1, msgspec.msgpack.encode(chosen), self.at)


def key_of(number: int) -> str:
    """The key of a job's memory: in the order of the numbers."""
    return f"{number:010d}"


def plan_of(memory: Memory) -> Plan:
    """A job read back."""
    return msgspec.msgpack.decode(memory.value or b"", type=Plan)


def chosen_of(memory: Memory) -> list[Chosen]:
    """A part of a selection read back."""
    return msgspec.msgpack.decode(memory.value or b"", type=list[Chosen])
