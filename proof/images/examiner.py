"""Goes through a journal, builds the images of every moment, opens each that differs, and judges it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from dovetail.testkit.checker import ENDED, Report, check
from dovetail.testkit.history import Crash, Drained, Effect, Event, Fault, Memory, Seen, Send
from proof import trips
from proof.day import Day
from proof.images.disk import SYSTEMS, Cache, Image, build, images
from proof.images.journal import Flush, Journal
from proof.images.probe import Bench, Breaches, Drainer, State, States, drainer
from proof.story import MEMORY, resident
from proof.witness import Ledger, Witness

Key = tuple[object, ...]
DRAINERS = 4  # images that are drained at the same time: a drain waits for clocks most of the time


class Examiner:
    """One journal. `every`: one of so many images is drained by the engine as well. `hunting`: a planted bug is looked
    for, so that every other moment is enough, from the first one on at which somebody was promised something."""

    def __init__(
        self, journal: Journal, day: Day, work: Path, dice: Random, every: int = 40, hunting: bool = False
    ) -> None:
        self._journal, self._day, self._work = journal, day, work
        self._bench = Bench(work / "looked-at", journal.root)
        self._dice, self._every, self._hunting = dice, every, hunting
        self._caches = [Cache(system, journal.ops, journal.root) for system in SYSTEMS]
        self._states = States()
        self._met: dict[Key, State] = {}  # by image
        self._judged: set[tuple[int, int]] = set()  # a state's identity, and the marks by then
        self._safe: dict[tuple[str, str], int] = {}  # (flow, ref) → the flush after which it stands on disk
        self._before: list[tuple[list[Key], int]] = []  # by flush: the images before it, and the marks by then
        self._keys: list[Key] = []  # the images of this moment
        self.events: list[Event] = []
        self.counters: Counter[str] = Counter()
        self._free: asyncio.Queue[tuple[Drainer, Bench]] = asyncio.Queue()  # those that drain nothing at the moment
        self._drains: list[asyncio.Task[None]] = []
        self.breaches: list[tuple[str, str, str]] = []  # image, invariant, what
        self.cells: Counter[tuple[str, str]] = Counter()

    async def run(self, most: int = 1 << 60, enough: int = 1 << 60) -> None:
        """Up to `most` different images, or until there are `enough` breaches. `breaches`, `counters` and `cells` tell
        afterwards."""
        self.breaches += [
            ("the journal", "faithful", f"an image cannot tell of {what}") for what in self._journal.strange
        ]
        for n in range(DRAINERS):
            self._free.put_nowait((drainer(n), Bench(self._work / f"drained-{n}", self._journal.root)))
        await self._steps(most, enough)
        await asyncio.gather(*self._drains)

    async def _steps(self, most: int, enough: int) -> None:
        for place, step in enumerate(self._journal.steps):
            if isinstance(step, int):
                for cache in self._caches:
                    cache.does(step)
            elif isinstance(step, Flush):
                self._before.append((self._keys, len(self.events)))
                for cache in self._caches:
                    cache.flushed(step)
            else:
                self.events.append(step)
            if not self._hunting or (self.events and place % 2):
                await self._moment(place)
            if self.counters["images"] >= most or len(self.breaches) >= enough:
                return

    async def _moment(self, place: int) -> None:
        self._keys = []
        for cache in self._caches:
            for image in images(cache, self._dice):
                self._keys.append(image.key)
                self.counters["moments"] += 1
                self.counters[f"{image.system}:{image.model}"] += 1
                await self._judge(cache, image, place)

    async def _judge(self, cache: Cache, image: Image, place: int) -> None:
        if image.key not in self._met:
            await self._open(cache, image, place)
        state = self._met[image.key]
        if (id(state), len(self.events)) in self._judged:
            return
        self._judged.add((id(state), len(self.events)))
        report = check([*self.events, *_cut(), *state.said])
        self.counters["checks"] += 1
        self.cells.update(report.cells())
        self._found(image, place, [*state.breaches, *report.breaches])

    def _found(self, image: Image, place: int, breaches: Breaches) -> None:
        name = f"step {place}, {image.system}, {image.model}"
        self.breaches += [(name, invariant, what) for invariant, what in breaches]

    async def _open(self, cache: Cache, image: Image, place: int) -> None:
        files = build(cache, image).files()
        self._met[image.key] = state = await self._states.look(self._bench.lay(files))
        self.counters["images"] += 1
        self.counters["states"] = len(self._states)
        self.counters["torn"] += image.torn >= 0
        if image.model == "synced" and image.system == "strict":
            for event in state.said:
                if isinstance(event, Seen):
                    self._safe.setdefault((event.flow, event.ref), len(self._before) - 1)
        if self.counters["images"] % self._every == 0:
            drainer, bench = await self._free.get()
            bench.lay(files)
            history = [*self.events, *_cut()[:2]]
            self._drains.append(asyncio.create_task(self._drain(drainer, bench, history, image, place)))

    async def _drain(self, drainer: Drainer, bench: Bench, history: list[Event], image: Image, place: int) -> None:
        """Let the engine go on from the image; then everything that was accepted must have come to its end."""
        witness = Witness()
        witness.born()
        ledger = Ledger(self._day, witness)
        ledger.knows(event for event in history if isinstance(event, Effect))
        said, breaches = await drainer.drain(bench.store, ledger, lambda said: self._over(said, ledger))
        self._free.put_nowait((drainer, bench))
        held = Memory("bytes of the process that drained it", resident(os.getpid()), MEMORY)
        history = [*history, *witness.events, held]
        report = check([*history, Drained(whole=not waiting(said)), *said])
        if not breaches:
            found = trips.problems(self._day, history, told=said)
            report.breaches += [("accounted", problem) for problem in found]
        self.counters["drained"] += 1
        self.counters["repeated effects"] += ledger.counters["repeat"]
        self.cells.update(report.cells())
        self._found(image, place, [("accounted", f"drained: {what}") for _, what in breaches])
        self._found(image, place, [(invariant, f"drained: {what}") for invariant, what in report.breaches])

    def _over(self, said: Sequence[Event], ledger: Ledger) -> bool:
        """Everything has ended that can, and groups that were not complete have been billed after a while."""
        seen = [event for event in said if isinstance(event, Seen)]
        pending = {event.id for event in seen if event.state not in ENDED} - waiting(said)
        together = {event.id for event in seen if event.id in self._day.together}
        return not pending and together <= ledger.billed

    # --- planted --------------------------------------------------------------------------------------------------

    def early_answers(self) -> tuple[int, int]:
        """Journals in which one answer is said before its message is on disk: how many, and how many pass."""
        planted = passed = 0
        answers = [event for event in self.events if isinstance(event, Send) and event.op == "ok"]
        for answer in answers:
            flush = self._safe.get((answer.flow, answer.ref), -1)
            if flush < 0:
                continue
            keys, marks = self._before[flush]
            planted += 1
            history = [*self.events[:marks], answer]
            passed += not any(self._breached(history, key) for key in keys if key in self._met)
        return planted, passed

    def _breached(self, history: Sequence[Event], key: Key) -> bool:
        report: Report = check([*history, *_cut(), *self._met[key].said])
        return bool(report.breaches)


def waiting(said: Sequence[Event]) -> set[str]:
    """Orders whose payment was lost with the power before it was accepted: they go on waiting for it."""
    seen = [event for event in said if isinstance(event, Seen)]
    there = {event.id for event in seen}
    return {
        event.id
        for event in seen
        if event.flow == "shipping" and event.state not in ENDED and f"{event.id}-paid" not in there
    }


def _cut() -> list[Event]:
    """The power goes."""
    return [Crash(), Fault("torn-writes"), Drained(whole=False)]
