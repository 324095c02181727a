"""What steps remember while the engine runs: changes that are on their way to the disk stand in front of the store."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from dovetail.engine.writer import Moves
from dovetail.sdk import Clock, Codec
from dovetail.store.base import Memories as Port
from dovetail.store.base import Memory

REMEMBERS = "remembers:"  # the words under which the keys of a scope are counted begin so


class Slot:
    """One key's memory: its head decoded, and those changes of its list that are not flushed yet."""

    __slots__ = ("_blank", "_items", "_keeper", "due", "key", "place", "unflushed", "value", "version")

    def __init__(self, keeper: Keeper, place: tuple[int, str, str], head: Memory | None) -> None:
        self._keeper, self.place, self.key = keeper, place, place[2]
        self.value: Any = keeper.codec.decode(head.value) if head is not None and head.value else None
        self.due = head.due if head is not None else 0
        self.version = head.version if head is not None else 0
        self.unflushed = 0
        self._items: dict[int, Memory] = {}
        self._blank: Memory | None = None  # the change that emptied it, while the store does not know

    def put(self, value: Any, due: int | None = None) -> None:
        """Another head. `due` as in the store."""
        data = self._keeper.codec.encode(value)
        if self.value is None:
            self._keeper.count(self, 1)
        self.value = value
        if due is not None:
            self.due = due
        self._keeper.change(self, 0, data)

    def set(self, number: int, value: bytes | None) -> None:
        """One of the list; None takes it away."""
        self._items[number] = self._keeper.change(self, number, value)

    def get(self, number: int) -> bytes | None:
        """One of the list."""
        change = self._items.get(number)
        if change is None and self._blank is None:
            change = self._keeper.port.get(*self.place, number)
        return change.value if change is not None else None

    def items(self) -> list[tuple[int, bytes]]:
        """The list, in order."""
        found = {} if self._blank is not None else {row.item: row.value for row in self._keeper.port.items(*self.place)}
        found |= {number: change.value for number, change in self._items.items()}
        return [(number, value) for number, value in sorted(found.items()) if value is not None]

    def clear(self) -> None:
        """Nothing is remembered any more."""
        if self.value is not None:
            self._keeper.count(self, -1)
        self.value, self.due = None, 0
        self._items = {}
        self._blank = self._keeper.change(self, 0, None)

    def flushed(self, change: Memory) -> None:
        """The store knows of this change."""
        self.unflushed -= 1
        if self._blank is change:
            self._blank = None
        elif self._items.get(change.item) is change:
            del self._items[change.item]


class Keeper:
    """The memory of all flows. `moves` gives what the next commit writes, `armed` is told of every time that is set,
    once the store knows it."""

    most = 8192  # keys at hand; those that are flushed can be read again

    def __init__(self, port: Port, codec: Codec, clock: Clock, moves: Callable[[], Moves]) -> None:
        self.port, self.codec, self._clock, self._moves = port, codec, clock, moves
        self.armed: Callable[[int], None] = lambda due: None
        self._slots: dict[tuple[int, str, str], Slot] = {}
        self._batch: tuple[Moves, list[tuple[Slot, Memory]]] | None = None

    def slot(self, flow: int, scope: str, key: str) -> Slot:
        """The memory under a key."""
        place = (flow, scope, key)
        found = self._slots.pop(place, None)
        if found is None:
            found = Slot(self, place, self.port.get(*place))
        self._slots[place] = found
        if len(self._slots) > self.most:
            self._forget()
        return found

    def _forget(self) -> None:
        """Let go of the oldest few that the store has as they are."""
        for place, slot in list(islice(self._slots.items(), 64)):
            if not slot.unflushed:
                del self._slots[place]

    def change(self, slot: Slot, item: int, value: bytes | None) -> Memory:
        """Write this with the next commit."""
        due = slot.due if item == 0 else 0
        change = Memory(*slot.place, item, value, self._clock.now_ms(), due, slot.version)
        moves = self._moves()
        if self._batch is None or self._batch[0] is not moves:
            batch: list[tuple[Slot, Memory]] = []
            self._batch = moves, batch
            moves.after.append(lambda: self._flushed(batch))
        moves.memory.append(change)
        self._batch[1].append((slot, change))
        slot.unflushed += 1
        return change

    def count(self, slot: Slot, difference: int) -> None:
        """How many keys a scope has is counted where ends are counted, so that status needs no look at them."""
        flow, scope, _ = slot.place
        counts = self._moves().counts
        word = f"{REMEMBERS}{scope}"
        counts[flow, word] = counts.get((flow, word), 0) + difference

    def _flushed(self, batch: list[tuple[Slot, Memory]]) -> None:
        for slot, change in batch:
            slot.flushed(change)
            if change.due and change.due == slot.due:
                self.armed(change.due)
        batch.clear()
