"""Bounds on one evaluation: time, depth and the memory that it may fill."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from ..clock import SystemClock, SystemIds
from .errors import MappingError

#: loop turns and calls between two looks at the clock, at most and at first
BUDGET = 4000
FIRST = 1000
#: seconds between two looks that are aimed at
PACE = 0.002
#: work on so few items is not counted by helpers
FEW = 64
#: items that are built or moved in one go between two looks
PIECE = 1 << 15


@dataclass(frozen=True)
class Limits:
    """What one evaluation may use.

    seconds: running time. depth: nested evaluation, as JSONata counts it. sequence: items in one list.
    text: characters in one string. size: cells built in all, where a list item is one cell and four characters are one.
    source: characters of the expression's text. tokens: names, numbers, texts and signs in it, a regular expression
    counting for more; it bounds compiling, whose time grows evenly with it. evaluate: whether `$eval` may run text as
    an expression.
    """

    seconds: float = 1.0
    depth: int = 200
    sequence: int = 10_000_000
    text: int = 10_000_000
    size: int = 12_000_000
    source: int = 1_000_000
    tokens: int = 20_000
    evaluate: bool = True


class Environment(Protocol):
    """What an evaluation may know of the world. `now_ms` is fixed for one evaluation."""

    @property
    def now_ms(self) -> int: ...

    def random(self) -> float: ...


class SystemEnvironment:
    """The world as it is at the first question: the wall clock's now, and dice."""

    __slots__ = ("_ids", "_now")

    def __init__(self) -> None:
        self._now: int | None = None
        self._ids: SystemIds | None = None

    @property
    def now_ms(self) -> int:
        if self._now is None:
            self._now = SystemClock().now_ms()
        return self._now

    def random(self) -> float:
        if self._ids is None:
            self._ids = SystemIds()
        return min(self._ids.uniform(0.0, 1.0), 0.9999999999999999)


_monotonic = SystemClock().monotonic


class State:
    """The running account of one evaluation. Generated code charges `left`; the rest is called when that is spent."""

    __slots__ = (
        "bindings",
        "calls",
        "deadline",
        "depth",
        "drawn",
        "given",
        "left",
        "limits",
        "looked",
        "most",
        "pace",
        "root",
        "scope",
        "size",
        "world",
    )

    def __init__(self, limits: Limits, root: Any, bindings: Any, world: Any, environment: Any) -> None:
        self.limits = limits
        self.left = self.pace = FIRST
        self.most = BUDGET
        self.deadline = self.looked = 0.0
        self.calls = 0
        self.drawn: str | None = None
        self.depth = 0
        self.size = limits.size
        self.root = root
        self.scope: tuple[Any, dict[str, Any]] | None = None
        self.bindings = bindings
        self.world = world
        self.given = environment

    @property
    def environment(self) -> Any:
        """The world that this evaluation sees; the machine's own unless one was given."""
        if self.given is None:
            self.given = SystemEnvironment()
        return self.given

    def tick(self) -> None:
        """Look at the clock; called when `left` has run out. The slower the steps, the sooner the next look."""
        now = _monotonic()
        if self.deadline == 0.0:
            self.deadline = now + self.limits.seconds
        elif now > self.deadline:
            raise MappingError("U1001", value=f"The expression ran for longer than {self.limits.seconds:g} s")
        else:
            took = now - self.looked
            self.pace = min(self.most, self.pace * 2) if took < PACE else max(8, int(self.pace * PACE / took))
        self.looked = now
        self.left = self.pace

    def turns(self, items: Collection[Any]) -> Iterable[Any]:
        """Go over `items`; a long loop looks at the clock on its way. Generated code has charged them already."""
        if self.left < 0:
            self.tick()
            if len(items) > FEW:
                return self._slowly(items)
        return items

    def charge(self, items: Collection[Any]) -> None:
        """Charge a loop over `items` and look at the clock if it is time."""
        self.left -= len(items)
        if self.left < 0:
            self.tick()

    def _slowly(self, items: Collection[Any]) -> Iterable[Any]:
        rest = iter(items)
        while piece := list(islice(rest, self.pace)):
            self.tick()
            yield from piece

    def deep(self) -> None:
        raise MappingError("U1001", value=f"The expression is nested deeper than {self.limits.depth} while running")

    def cells(self, count: int) -> None:
        """Charge `count` list items that are about to be built."""
        if count > self.limits.sequence:
            raise MappingError("D2015", value=self.limits.sequence)
        self.size -= count
        self.left -= count >> 1
        if self.left < 0:
            self.tick()
        if self.size < 0:
            raise MappingError("U1001", value=f"The expression builds more than {self.limits.size} items")

    def chars(self, count: int) -> None:
        """Charge a string of `count` characters that is about to be built."""
        if count > self.limits.text:
            raise MappingError("U1001", value=f"A string of {count} characters is longer than {self.limits.text}")
        self.size -= count >> 2
        self.left -= count >> 6
        if count > 4096:
            # from now on a single step may go through so long a text
            self.most = max(8, min(self.most, (BUDGET << 12) // count))
            self.left = min(self.left, self.most)
        if self.left < 0:
            self.tick()
        if self.size < 0:
            raise MappingError("U1001", value=f"The expression builds more than {self.limits.size} items")


class Running(threading.local):
    """The evaluation that this thread is in, for helpers that are far from its account."""

    state: State | None = None


running = Running()


class Unwatched(Exception):
    """An evaluation that was thought too small for an account met a long list."""


def watched(items: Collection[Any]) -> Iterable[Any]:
    """Go over `items`, charging them to the evaluation; a long loop looks at the clock on its way."""
    if len(items) <= FEW:
        return items
    state = running.state
    if state is None:
        raise Unwatched
    state.left -= len(items)
    return state.turns(items)


def spend(count: int) -> None:
    """Charge `count` steps to the evaluation that this thread is in."""
    state = running.state
    if state is not None:
        state.left -= count
        if state.left < 0:
            state.tick()


def grown(found: Collection[Any], most: int) -> int:
    """Charge a list that grew beyond `most` while others were put into it. Answers when to be asked again."""
    state = running.state
    count = len(found)
    if state is None:
        raise Unwatched
    state.cells(count - most + PIECE)
    return count + PIECE


def pieces(items: Any) -> Iterable[Any]:
    """A list or range in slices, with a look at the clock before each."""
    state = running.state
    if state is None and len(items) > PIECE:
        raise Unwatched
    for start in range(0, len(items), PIECE):
        if state is not None:
            state.tick()
        yield items[start : start + PIECE]
