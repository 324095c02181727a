"""The tier of simulation: the production engine in worlds drawn from seeds, in virtual time; and bugs planted there."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from proof.result import Result
from proof.simulation.kept import KEPT
from proof.simulation.planted import BUGS
from proof.simulation.play import Played, play_many
from proof.simulation.tier import CHUNK, SOMETIMES, caught

ENOUGH = 1000  # seeds that reach every rare place
MOST = 400  # seeds that a planted bug may take to be found


def play(seeds: range) -> list[Played]:
    """Play a stretch of seeds."""
    return list(play_many(seeds))


def tier(count: int, seeds: Sequence[int] = (), first: int = 1) -> Result:
    """`count` seeds from `first` on, those that were kept, and every planted bug; or these seeds alone."""
    result = Result("simulation", "a world of one seed, played to its end in virtual time", "SEED")
    end, result.total = first + count, len(seeds) or count + len(KEPT)
    stretches = [range(seed, seed + 1) for seed in seeds or KEPT]
    stretches += [] if seeds else [range(seed, min(seed + CHUNK, end)) for seed in range(first, end, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for stretch in pool.map(play, stretches):
            for played in stretch:
                result.add(str(played.seed), played.breaches, played.counters, played.cells)
        if not seeds:
            for name, tries, how in pool.map(caught, [(bug.name, MOST) for bug in BUGS]):
                result.planted[name] = f"seed {tries}: {how}" if how else ""
            result.expected = list(SOMETIMES) if count >= ENOUGH else []
    return result.end()
