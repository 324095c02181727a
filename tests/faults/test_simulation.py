"""A share of the simulation, as much as a test run can bear; `make prove` plays the rest."""

from __future__ import annotations

import pytest

from proof.simulation.kept import KEPT
from proof.simulation.planted import BUGS
from proof.simulation.play import play_many, play_seed
from proof.simulation.tier import caught

SHARE = 30


@pytest.mark.parametrize("first", range(10_000, 10_000 + 10 * SHARE, SHARE))
def test_worlds_keep_every_promise(first: int) -> None:
    worlds = list(play_many(range(first, first + SHARE)))
    assert [(played.seed, played.breaches) for played in worlds if played.breaches] == []
    assert sum(played.counters["an orderly end"] for played in worlds) >= SHARE, "each must come to its end"


@pytest.mark.parametrize("seed", KEPT)
def test_seeds_that_found_something(seed: int) -> None:
    assert play_seed(seed).breaches == []


def test_a_seed_is_a_world_and_always_the_same() -> None:
    traces = {seed: play_seed(seed, keep=True).trace() for seed in range(20)}
    assert len(set(traces.values())) == 20
    assert {seed: play_seed(seed, keep=True).trace() for seed in traces} == traces


@pytest.mark.parametrize("name", [bug.name for bug in BUGS])
def test_a_planted_bug_is_found(name: str) -> None:
    _, seeds, how = caught((name, 300))
    assert how, f"{name} was not found within {seeds} seeds"
