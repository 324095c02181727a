"""Order per key: of one key's messages only the head runs; the others wait in memory, or on disk when the wait may be
long."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from dovetail.engine.journey import Journey
from dovetail.engine.priority import LAST

PARTS = "\x1f"  # marks the lanes of parts: they stand in their parent's place and never behind it


class Lane:
    """`head` is the journal number of the message that runs or waits; `held` whether others may stand behind it on
    disk, `holds` how many were sent there, `loading` whether the first of them is being fetched. `parked`: the head
    has failed for good, and by the flow's poison policy the others wait until somebody decides. `rank`: that of the
    most urgent message that came to the lane's end, and `upto` its number: those before it are as urgent as it is."""

    __slots__ = ("head", "held", "holds", "loading", "parked", "queue", "rank", "upto", "waiting")

    def __init__(self, head: int, held: bool = False, waiting: bool = False) -> None:
        self.head = head
        self.held = held
        self.waiting = waiting
        self.loading = self.parked = False
        self.holds = self.upto = 0
        self.rank = LAST
        self.queue: deque[Journey] = deque()


class Lanes:
    """The lanes of one flow. `hold` writes a journey to disk as HELD and forgets it; `load` fetches a key's first
    held ones."""

    depth = 64

    def __init__(self, hold: Callable[[Journey], None], load: Callable[[str], None]) -> None:
        self._hold, self._load = hold, load
        self._lanes: dict[str, Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def restore(self, key: str, head: int, waiting: bool) -> None:
        """At start-up: the key has rows on disk. `waiting`: its first one is a head that a timer or its parts will
        bring back."""
        self._lanes[key] = Lane(head if waiting else 0, held=True, waiting=waiting)

    def restore_parked(self, key: str, head: int) -> None:
        """At start-up: the key stands still behind a message that failed."""
        self.restore(key, head, waiting=True)
        self._lanes[key].parked = True

    def restored_without_head(self) -> list[str]:
        """At start-up, after what was in flight has been offered: keys of which only held messages are left. They
        are being loaded from now on."""
        found = [key for key, lane in self._lanes.items() if lane.head == 0 and not lane.loading]
        for key in found:
            self._lanes[key].loading = True
        return found

    def head(self, key: str) -> int:
        """The number of a key's head, 0 if there is none."""
        lane = self._lanes.get(key)
        return lane.head if lane is not None else 0

    def holds(self, key: str) -> int:
        """How many messages of a key were sent to disk since it has a lane."""
        return self._lanes[key].holds

    def offer(self, journey: Journey, keep: bool = True) -> bool:
        """Whether it may run now. If not, the lane keeps it: in memory if there is room and it may be kept there."""
        key = journey.key
        assert key is not None
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = Lane(journey.seq)
            return True
        if lane.head == journey.seq:
            lane.waiting = False
            return True
        if journey.rank <= lane.rank:
            lane.rank, lane.upto = journey.rank, journey.seq
        if not keep or lane.held or lane.waiting or len(lane.queue) >= self.depth:
            self._to_disk(lane, journey)
        else:
            lane.queue.append(journey)
        return False

    def inherit(self, journey: Journey) -> bool:
        """Whether a more urgent message stands behind this one; then it is as urgent."""
        lane = self._lanes.get(journey.key or "")
        if lane is None or journey.seq >= lane.upto or journey.rank <= lane.rank:
            return False
        journey.rank = lane.rank
        return True

    def followed(self, key: str) -> bool:
        """Whether somebody stands behind the key's head."""
        lane = self._lanes.get(key)
        return lane is not None and (bool(lane.queue) or lane.held)

    def following(self, key: str) -> Journey | None:
        """The next one behind the head, if it is in memory."""
        lane = self._lanes.get(key)
        return lane.queue[0] if lane is not None and lane.queue else None

    def park(self, key: str, seq: int) -> bool:
        """The head failed for good: those behind it wait on disk until somebody decides. False if it is no head."""
        lane = self._lanes.get(key)
        if lane is None or lane.head != seq:
            return False
        lane.parked = lane.waiting = True
        while lane.queue:
            self._to_disk(lane, lane.queue.popleft())
        return True

    def parked(self, key: str, seq: int) -> bool:
        """Whether the lane stands still behind this one."""
        lane = self._lanes.get(key)
        return lane is not None and lane.head == seq and lane.parked

    def unpark(self, key: str, seq: int) -> bool:
        """Whether this head's lane stood still; it does no longer, and goes on at the head's `end`."""
        lane = self._lanes.get(key)
        if lane is None or lane.head != seq or not lane.parked:
            return False
        lane.parked = False
        return True

    def deepest(self, count: int) -> list[tuple[int, str]]:
        """(how many stand behind the head as far as this process has seen them, key) of the longest lanes."""
        depths = ((len(lane.queue) + lane.holds, key) for key, lane in self._lanes.items())
        return heapq.nlargest(count, (pair for pair in depths if pair[0]))

    def wait(self, journey: Journey) -> None:
        """The head goes to disk to wait; those behind it follow, so that a long wait costs no memory."""
        lane = self._lanes[journey.key or ""]
        lane.waiting = True
        while lane.queue:
            self._to_disk(lane, lane.queue.popleft())

    def _to_disk(self, lane: Lane, journey: Journey) -> None:
        lane.held = True
        lane.holds += 1
        self._hold(journey)

    def end(self, key: str, seq: int) -> Journey | None:
        """The head has ended and that is flushed; the next one to run, if it is at hand."""
        lane = self._lanes.get(key)
        if lane is None or lane.head != seq:
            return None
        if lane.queue:
            following = lane.queue.popleft()
            lane.head = following.seq
            self.inherit(following)
            return following
        if lane.held:
            lane.head, lane.waiting, lane.loading = 0, False, True
            self._load(key)
        else:
            del self._lanes[key]
        return None

    def loaded(self, key: str, seq: int) -> None:
        """What `load` found: the new head, or 0 for nothing more."""
        lane = self._lanes[key]
        lane.loading = False
        if seq:
            lane.head = seq
            lane.holds = max(0, lane.holds - 1)
        else:
            del self._lanes[key]  # a lane with held messages queues none but those that were loaded

    def line_up(self, journey: Journey) -> None:
        """One that was loaded together with the head takes its place behind it."""
        lane = self._lanes[journey.key or ""]
        lane.holds = max(0, lane.holds - 1)
        lane.queue.append(journey)
