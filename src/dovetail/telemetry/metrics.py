"""Numbers on the hot path: plain integers and lists of buckets, turned into a metrics page only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from dovetail.engine.observer import Observer
from dovetail.message import Message
from dovetail.sdk import Call
from dovetail.store.base import State

OTHER = "other"  # the label of everything beyond a cap
MOST_FLOWS, MOST_STEPS, MOST_CODES, MOST_TARGETS = 500, 200, 200, 500

# Upper bounds in seconds. A journey may wait a day for its target, a commit is a matter of milliseconds.
JOURNEY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1800.0, 21600.0, 86400.0)
WORK = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

DEAD = State.DEAD

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Capped(dict[K, V], Generic[K, V]):
    """Entries made on first use; beyond `most` of them everything lands in one common entry, so labels stay few."""

    def __init__(self, make: Callable[[], V], most: int, other: K) -> None:
        super().__init__()
        self._make, self._most, self._other = make, most, other

    def __missing__(self, key: K) -> V:
        if len(self) >= self._most and key != self._other:
            return self[self._other]
        value = self[key] = self._make()
        return value


class Count:
    """A number that only grows."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class Histogram:
    """Counts by upper bound (the last bucket takes the rest), and their sum in seconds."""

    __slots__ = ("bounds", "buckets", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class FlowNumbers:
    """One flow since the process started. `ended` is indexed by `State`."""

    __slots__ = ("accepted", "ended", "failed", "latency", "refused", "step_messages", "steps")

    def __init__(self) -> None:
        self.accepted = 0
        self.ended = [0] * (max(State) + 1)
        self.latency = Histogram(JOURNEY)
        self.refused: Capped[str, Count] = Capped(Count, MOST_CODES, OTHER)
        self.failed: Capped[tuple[str, str], Count] = Capped(Count, MOST_CODES, (OTHER, OTHER))
        self.steps: Capped[str, Histogram] = Capped(lambda: Histogram(WORK), MOST_STEPS, OTHER)
        self.step_messages: Capped[str, Count] = Capped(Count, MOST_STEPS, OTHER)


class Metrics(Observer):
    """Counts what it hears. One message costs a dictionary look-up, a bisection and three additions.

    `dead` is told of each dead letter.
    """

    def __init__(self, dead: Callable[[str, Message], None] | None = None) -> None:
        self._dead = dead
        self.flows: Capped[str, FlowNumbers] = Capped(FlowNumbers, MOST_FLOWS, OTHER)
        self.effects: Capped[tuple[str, str], Histogram] = Capped(
            lambda: Histogram(WORK), MOST_TARGETS * 3, (OTHER, OTHER)
        )
        self.breakers: dict[str, str] = {}
        self.commits = Histogram(WORK)
        self.committed_entries = 0
        self.committed_rows = 0
        self.store_available = True
        self.disk_level = 0  # 1: nothing is accepted; 2: nothing is fetched

    def accepted(self, flow: str, count: int) -> None:
        self.flows[flow].accepted += count

    def refused(self, flow: str, code: str) -> None:
        self.flows[flow].refused[code].n += 1

    def ended(self, flow: str, message: Message, state: State, seconds: float) -> None:
        numbers = self.flows[flow]
        numbers.ended[state] += 1
        latency = numbers.latency
        latency.buckets[bisect_left(JOURNEY, seconds)] += 1
        latency.sum += seconds
        if state is DEAD and self._dead is not None:
            self._dead(flow, message)

    def step(self, flow: str, step: str, seconds: float, count: int) -> None:
        numbers = self.flows[flow]
        numbers.steps[step].observe(seconds)
        numbers.step_messages[step].n += count

    def failed(self, flow: str, step: str, code: str, message: Message, error: Exception) -> None:
        self.flows[flow].failed[step, code].n += 1

    def effect(self, flow: str, step: str, target: str, call: Call, seconds: float, outcome: str) -> None:
        self.effects[target, outcome].observe(seconds)

    def breaker(self, target: str, state: str) -> None:
        if target in self.breakers or len(self.breakers) < MOST_TARGETS:
            self.breakers[target] = state

    def commit(self, seconds: float, entries: int, rows: int) -> None:
        self.commits.observe(seconds)
        self.committed_entries += entries
        self.committed_rows += rows

    def disk(self, level: str, used: float) -> None:
        self.disk_level = ("", "full", "very full").index(level)

    def store(self, available: bool, reason: str) -> None:
        self.store_available = available
