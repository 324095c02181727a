"""Real servers under load, killed at moments that the dice choose, again and again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

from dovetail.testkit.processes import until
from proof.day import Day
from proof.failpoints import Trial
from proof.result import Result
from proof.senders import Senders
from proof.story import Story

EACH = 8  # kills of one store
MOST = 60  # events between a start and the kill


def run(seed: int) -> Trial:
    """One store, `EACH` kills under load, and what is left of it."""
    dice, trial = Random(seed), Trial()
    folder = Path(tempfile.mkdtemp(prefix="dovetail-kills-"))
    day = Day(
        orders=24, careful=6, batches=4, bad=2, groups=6, shipping=4, trips=4, giant=1, pad=dice.choice((0, 2000))
    )
    story = Story(day, folder, fails=2)
    try:
        assert story.server.begin(), story.server.log()
        senders = Senders(story, dice)
        for _ in range(EACH):
            until(
                "something happens",
                partial(_happened, story, senders, len(story.witness.events) + dice.randint(1, MOST)),
            )
            trial.counters["killed under load"] += senders.busy()
            story.witness.fault("kill")
            story.server.kill()
            trial.counters["kills"] += 1
            assert story.server.begin(), "it does not start again"
        senders.join()
        assert story.play(), "it died without being told to"
        report = story.judge()
        trial.breaches += report.breaches
        trial.cells += report.cells()
        trial.counters += story.ledger.counters
    except AssertionError as error:
        trial.breaches.append(("accounted", f"{error}; the server said: {story.server.log()[-2000:]}"))
    finally:
        story.close()
        shutil.rmtree(folder, ignore_errors=True)
    return trial


def _happened(story: Story, senders: Senders, events: int) -> bool:
    return not senders.busy() or len(story.witness.events) >= events


def tier(kills: int, seeds: Sequence[int] = (), first: int = 1, workers: int = 4) -> Result:
    """At least so many kills of the stores of seeds from `first` on, or the stores of these."""
    result = Result("kills", "a kill -9 of a server under load", "SEED")
    numbers = list(seeds or range(first, first + -(-kills // EACH)))
    result.total = len(numbers) * EACH
    with ThreadPoolExecutor(workers) as pool:
        for seed, trial in zip(numbers, pool.map(run, numbers), strict=True):
            result.add(str(seed), trial.breaches, trial.counters, trial.cells, trial.counters["kills"])
    result.expected = [] if seeds else ["killed under load", "repeat", "asked"]
    return result.end()
