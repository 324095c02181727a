"""Who goes first: urgent before normal before background, each with its share, so that nobody waits for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dovetail.engine.journey import Journey

UNSAID, URGENT, NORMAL, BACKGROUND = 0, 1, 2, 3  # as the journal has them
WORDS: Final = ("urgent", "normal", "background")  # by rank
RANK: Final = (1, 0, 1, 2)  # by the journal's number
SHARES: Final = (16, 4, 1)  # turns of each rank while all three wait
ORDINARY: Final = 1  # the rank of what nobody said anything about
LAST: Final = 2


def word_of(priority: int) -> str:
    """The word for the journal's number, "" when nobody said anything."""
    return WORDS[RANK[priority]] if priority else ""


def said(priority: int, sorts: bool) -> int:
    """The priority of what a message gives rise to within its flow: its own, but said where the flow says any."""
    return priority or (NORMAL if sorts else UNSAID)


class Turns:
    """Whose turn it is. Of any 21 turns for which all three ranks wait, 16 are urgent, 4 normal, 1 is background's;
    a rank that nobody waits in leaves its turns to the others and saves none up."""

    __slots__ = ("_now", "_used")

    def __init__(self) -> None:
        self._used = [0.0, 0.0, 0.0]  # in shares
        self._now = 0.0

    def of(self, waiting: Sequence[Sequence[object]], worst: int = LAST) -> int | None:
        """The rank that goes next, among those down to `worst`; None if nobody waits there."""
        found, least = None, 0.0
        for rank in range(worst + 1):
            if waiting[rank]:
                next_end = self._used[rank] + 1.0 / SHARES[rank]
                if found is None or next_end < least:
                    found, least = rank, next_end
        return found

    def came(self, rank: int) -> None:
        """Somebody waits in a rank in which nobody did."""
        self._used[rank] = max(self._used[rank], self._now)

    def took(self, rank: int, count: int) -> None:
        """So many of the rank have had their turn."""
        self._now = max(self._now, self._used[rank])
        self._used[rank] += count / SHARES[rank]


class Ready:
    """Messages of one flow that may run now, by rank and in their order."""

    __slots__ = ("_queues", "_turns")

    def __init__(self) -> None:
        self._queues: tuple[deque[Journey], deque[Journey], deque[Journey]] = (deque(), deque(), deque())
        self._turns = Turns()

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def __bool__(self) -> bool:
        return any(self._queues)

    def append(self, journey: Journey) -> None:
        """To the end of its rank."""
        queue = self._queues[journey.rank]
        if not queue:
            self._turns.came(journey.rank)
        queue.append(journey)

    def extend(self, journeys: Iterable[Journey]) -> None:
        """Each to the end of its rank."""
        for journey in journeys:
            self.append(journey)

    def appendleft(self, journey: Journey) -> None:
        """Back to the front of its rank: its turn was no use."""
        self._queues[journey.rank].appendleft(journey)

    def lift(self, journey: Journey, rank: int) -> None:
        """A message that may wait here is more urgent now than its rank was."""
        if journey in self._queues[rank]:
            self._queues[rank].remove(journey)
            self.append(journey)

    def turn(self, worst: int = LAST) -> deque[Journey] | None:
        """Those of the rank that goes next, among the ranks down to `worst`; None if nobody waits there."""
        rank = self._turns.of(self._queues, worst)
        return None if rank is None else self._queues[rank]

    def most(self, rank: int) -> int:
        """How many of a rank may go together: its share while others wait, else any number."""
        alone = all(not queue for number, queue in enumerate(self._queues) if number != rank)
        return 1 << 30 if alone else SHARES[rank]

    def took(self, rank: int, count: int) -> None:
        """So many were taken from the front of a rank."""
        self._turns.took(rank, count)

    def counts(self) -> dict[str, int]:
        """How many wait, by priority."""
        return {word: len(queue) for word, queue in zip(WORDS, self._queues, strict=True) if queue}
