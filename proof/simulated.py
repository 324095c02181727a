"""The tier of simulation: the production engine in worlds drawn from seeds, in virtual time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from proof.result import Result, Stopwatch
from proof.simulation.play import Played, play_many

CHUNK = 100  # seeds that one process plays before it reports


def play(seeds: range) -> list[Played]:
    """Play a stretch of seeds."""
    return list(play_many(seeds))


def tier(count: int, seeds: Sequence[int] = (), first: int = 1) -> Result:
    """`count` seeds from `first` on, or these."""
    watch = Stopwatch()
    result = Result("simulation", "a world of one seed, played to its end in virtual time", "SEED")
    stretches = [range(seed, seed + 1) for seed in seeds]
    end = first + count
    stretches = stretches or [range(seed, min(seed + CHUNK, end)) for seed in range(first, end, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for stretch in pool.map(play, stretches):
            for played in stretch:
                result.add(str(played.seed), played.breaches, played.counters, played.cells)
    result.seconds = watch.seconds()
    return result
