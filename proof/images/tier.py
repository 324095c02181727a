"""The tier of crash images: recorded days, each cut off at every moment, and the bugs that must not pass."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from proof import planted
from proof.images.disk import MODELS, SYSTEMS
from proof.images.examiner import Examiner
from proof.images.journal import read, shim
from proof.images.recording import SOUND, day_of, record
from proof.places import in_memory
from proof.result import OUTPUT, Result, Stopwatch

BUILD = Path("build")
SEEDS = 4  # days that a planted bug gets to show itself
ENOUGH = 3  # findings of a planted bug
WAVE = 4  # days that are examined before the next are begun, and what is known so far is written down


@dataclass(slots=True)
class Day:
    """What the images of one recorded day showed."""

    seed: int
    breaches: list[tuple[str, str, str]] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)


def examine(seed: int, bug: str = "", most: int = 1 << 60, again: bool = False) -> Day:
    """Record one day and look at its images, at most so many; with a bug planted only until it is caught.

    The journal of a day that shows a breach is kept, and looked at `again` when that is asked for: no second run of
    real processes is the same as the first.
    """
    folder, kept = Path(tempfile.mkdtemp(prefix="dovetail-images-")), OUTPUT / f"day-{seed}.journal"
    work = in_memory("dovetail-images-")
    try:
        more = ("proof.planted", {planted.VARIABLE: bug}) if bug else (SOUND, {})
        path = kept if again and kept.exists() else record(folder, seed, shim(BUILD), *more)
        journal = read(path.read_bytes())
        examiner = Examiner(journal, day_of(seed), work, Random(seed))
        asyncio.run(examiner.run(most, ENOUGH if bug else 1 << 60))
        if not bug:
            examiner.counters["early answers"], examiner.counters["early answers passed"] = examiner.early_answers()
        if examiner.breaches and not bug and path != kept:
            OUTPUT.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, kept)
        return Day(seed, examiner.breaches, examiner.counters, examiner.cells)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)


def hunt(bug: str) -> str:
    """How a planted bug was caught, empty if it was not."""
    for seed in range(SEEDS):
        found = examine(seed, bug).breaches
        if found:
            image, invariant, what = found[0]
            return f"day {seed}, {image}: [{invariant}] {what[:200]}"
    return ""


def tier(count: int, first: int = 1, seed: int | None = None) -> Result:
    """Days from seed `first` on until `count` images were opened; or the one day `seed`."""
    watch = Stopwatch()
    result = Result("images", "a state of the disk that a power cut could leave, opened with the real store", "SEED")
    shim(BUILD)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        if seed is not None:
            _take(result, pool.submit(examine, seed, again=True).result())
        else:
            for wave in _waves(first):
                for day in pool.map(examine, wave):
                    _take(result, day)
                result.seconds = watch.seconds()
                result.write()
                if result.trials >= count:
                    break
            result.planted = dict(zip(planted.BUGS, pool.map(hunt, planted.BUGS), strict=True))
            result.expected = [f"{system}:{model}" for system in SYSTEMS for model in MODELS]
            result.expected += ["torn", "drained", "repeated effects", "early answers"]
    result.seconds = watch.seconds()
    return result


def _waves(first: int) -> Iterator[range]:
    while True:
        yield range(first, first + WAVE)
        first += WAVE


def _take(result: Result, day: Day) -> None:
    passed = day.counters["early answers passed"]
    if passed:
        day.breaches.append(("early answers", "accounted", f"{passed} answers before their commit passed unnoticed"))
    for image, invariant, what in day.breaches[:20]:
        result.find(f"{day.seed} ({image})", invariant, what)
    result.trials += day.counters["images"]
    result.counters += day.counters
    result.counters["days"] += 1
    result.cells += day.cells
