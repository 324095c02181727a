"""The tier of crash images: recorded days, each cut off at every moment, and the bugs that must not pass."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from proof import planted
from proof.images.disk import MODELS, SYSTEMS
from proof.images.examiner import Examiner
from proof.images.journal import read, shim
from proof.images.recording import day_of, record
from proof.places import in_memory
from proof.result import OUTPUT, Result

BUILD = Path("build")
WORKERS = (os.cpu_count() or 1) + 1  # a day that is being recorded waits most of the time
SEEDS = 4  # days that a planted bug gets to show itself
USUAL = 4500  # images of a day, until it is known better
SHORTEST = 500  # images of the last day, of which only the beginning may be wanted
ENOUGH = 3  # findings of a planted bug


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
        planting = {planted.VARIABLE: bug} if bug else {}
        path = kept if again and kept.exists() else record(folder, seed, shim(BUILD), planting)
        journal = read(path.read_bytes())
        examiner = Examiner(journal, day_of(seed), work, Random(seed), hunting=bool(bug))
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
    for seed in range(1, SEEDS + 1):
        found = examine(seed, bug).breaches
        if found:
            image, invariant, what = found[0]
            return f"day {seed}, {image}: [{invariant}] {what[:200]}"
    return ""


def tier(wanted: int, first: int = 1, seed: int | None = None) -> Result:
    """Days from seed `first` on until so many images were opened; or the one day `seed`."""
    result = Result("images", "a state of the disk that a power cut could leave, opened with the real store", "SEED")
    result.total = wanted
    shim(BUILD)
    with ProcessPoolExecutor(WORKERS) as pool:
        if seed is not None:
            _take(result, pool.submit(examine, seed, again=True).result())
        else:
            _examine_days(pool, result, first)
            result.planted = dict(zip(planted.BUGS, pool.map(hunt, planted.BUGS), strict=True))
            result.expected = [f"{system}:{model}" for system in SYSTEMS for model in MODELS]
            result.expected += ["torn", "drained", "repeated effects", "early answers"]
    return result.end()


def _examine_days(pool: Executor, result: Result, first: int) -> None:
    """Day after day, one a processor at a time, until there are as many images as are wanted."""
    seeds, running = count(first), set[Future[Day]]()
    while True:
        a_day = int(result.trials / (result.counters["days"] or 1)) or USUAL
        while len(running) < WORKERS:
            left = result.total - result.trials - len(running) * a_day
            if left <= 0:
                break
            running.add(pool.submit(examine, next(seeds), most=max(left, SHORTEST)))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for day in done:
            _take(result, day.result())


def _take(result: Result, day: Day) -> None:
    passed = day.counters["early answers passed"]
    if passed:
        day.breaches.append(("early answers", "accounted", f"{passed} answers before their commit passed unnoticed"))
    for image, invariant, what in day.breaches[:20]:
        result.find(f"{day.seed} ({image})", invariant, what)
    result.add(str(day.seed), [], {**day.counters, "days": 1}, {}, day.counters["images"])
    result.cells += day.cells
