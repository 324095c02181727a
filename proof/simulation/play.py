"""Plays seeds: one, or many over all cores."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from dovetail.engine.backlog import Backlog
from dovetail.engine.engine import Engine
from dovetail.engine.flow import FlowRun
from dovetail.engine.intake import Door
from dovetail.engine.lanes import Lanes
from dovetail.engine.policies.breaker import Breaker
from dovetail.engine.policies.budget import RetryBudget
from dovetail.engine.recovery import Recovery
from dovetail.engine.timers import Timer
from dovetail.engine.writer import Writer
from dovetail.testkit.history import to_line
from proof.simulation.kept import BEFORE
from proof.simulation.loop import Endless, NodeLoop, play
from proof.simulation.patterns import PATTERNS
from proof.simulation.world import Stuck, World

TUNABLE = {
    one.__name__: one for one in (Engine, FlowRun, Backlog, Door, Lanes, Breaker, RetryBudget, Recovery, Timer, Writer)
}


@dataclass
class Played:
    """One seed's end."""

    seed: int
    breaches: list[tuple[str, str]]
    counters: Counter[str]
    cells: list[tuple[str, str]]
    steps: int
    world: World | None = field(default=None, repr=False)

    def trace(self) -> str:
        """A hash of everything that anybody outside saw, and when."""
        assert self.world is not None
        seen = hashlib.blake2b(str(self.steps).encode(), digest_size=16)
        for event in self.world.events:
            seen.update(to_line(event))
        return seen.hexdigest()


@contextlib.contextmanager
def tuned(knobs: dict[str, Any]) -> Iterator[None]:
    """The engine with these limits."""
    before = {}
    for name, value in knobs.items():
        owner, _, attribute = name.partition(".")
        before[name] = getattr(TUNABLE[owner], attribute)
        setattr(TUNABLE[owner], attribute, value)
    try:
        yield
    finally:
        for name, value in before.items():
            owner, _, attribute = name.partition(".")
            setattr(TUNABLE[owner], attribute, value)


Planted = Callable[[], AbstractContextManager[Any]]


def play_seed(seed: int, planted: Planted = nullcontext, keep: bool = False) -> Played:
    """Play one seed to its end."""
    world = World(seed, () if seed in BEFORE else PATTERNS)
    breaches: list[tuple[str, str]] = []
    cells: list[tuple[str, str]] = []

    async def main(loop: NodeLoop) -> int:
        try:
            report = await world.run(loop)
        except Stuck:
            breaches.extend(world.breaches)
        else:
            breaches.extend(report.breaches)
            cells.extend(report.cells())
        return loop.steps

    try:
        with tuned(world.knobs), planted():
            steps = play(seed, main)
    except Endless as error:
        steps = 0
        breaches += [*world.breaches, ("accounted", f"it never comes to rest: {error}")]
    except Exception as error:  # whatever it is, it must not pass for a good end
        steps = 0
        breaches.append(("accounted", f"the world broke: {error!r}"))
    return Played(seed, breaches, world.counters, cells, steps, world if keep else None)


def play_many(seeds: range, planted: Planted = nullcontext) -> Iterator[Played]:
    """Play them one after the other, with the collector out of the way."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for n, seed in enumerate(seeds):
            yield play_seed(seed, planted)
            if n % 20 == 19:
                gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
