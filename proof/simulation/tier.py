"""`python -m proof.simulation`: many seeds, one seed with its trace, or every planted bug."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from dovetail.testkit.cells import Finding, TierResult, bound
from dovetail.testkit.history import to_line
from proof.simulation.kept import KEPT
from proof.simulation.planted import BUGS
from proof.simulation.play import Played, play_many, play_seed

SOMETIMES = (  # what a run of CI size must have reached
    "a crash at an await", "a crash while starting", "a message killed the process", "a message hung",
    "a message was refused by its target", "a message was held on disk", "a message was split",
    "a message was in doubt", "a repeat was recognised", "a conflict was refused", "a refused message was parked",
    "a target deduped a repeat", "a target was asked whether it had happened", "a sink gave no outcome for a message",
    "a breaker went open", "a breaker went half_open", "a breaker went closed", "a dead letter was redriven",
    "a caller was answered", "a client was left without an answer", "a client gave up waiting", "a door was shut",
    "an ack was lost", "an engine could not go on", "an orderly end", "a deploy while running",
    "a deploy in good order", "a deploy in haste", "a canary took a share", "a lane was parked",
    "a message waited for an event", "a group was completed", "a saga went backwards", "a redrive job was carried out",
    "a redrive job was paused", "a question went on without an answer",
)  # fmt: skip
CHUNK = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m proof.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one and print its trace")
    parser.add_argument("--seeds", type=int, default=5000, help="how many to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count(), help="processes")
    parser.add_argument("--planted", action="store_true", help="plant every bug in turn")
    parser.add_argument("--most", type=int, default=400, help="seeds that a planted bug may take to be found")
    parser.add_argument("--output", type=Path, default=Path("build/proof"), help="where results are written")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return show(options.seed)
    if options.planted:
        result = plant(options.most, options.workers)
    else:
        result = simulate(range(options.first, options.first + options.seeds), options.workers)
    print(f"written to {result.write(options.output)}")
    return 1 if result.findings else 0


def show(seed: int) -> int:
    """Play one seed and print everything that anybody outside saw."""
    played = play_seed(seed, keep=True)
    world = played.world
    assert world is not None
    for event in world.events:
        sys.stdout.write(to_line(event).decode())
    print(f"faults: {', '.join(sorted(world.faults))}; flows: {', '.join(one.name for one in world.families)}")
    print(f"{played.steps} rounds, trace {played.trace()}")
    for invariant, text in played.breaches:
        print(f"BREACH of {invariant}: {text}")
    return 1 if played.breaches else 0


def simulate(seeds: range, workers: int, sometimes: Sequence[str] = SOMETIMES) -> TierResult:
    """Play seeds (and those that were kept) on all cores."""
    began = time.monotonic()
    counters: Counter[str] = Counter()
    cells: Counter[tuple[str, str]] = Counter()
    findings: list[Finding] = []
    trials = 0
    for played in _spread(seeds, workers):
        trials += 1
        counters += played.counters
        cells.update(played.cells)
        found = [Finding(f"--seed {played.seed}", invariant, text) for invariant, text in played.breaches]
        findings += found
        for finding in found[:3]:
            print(finding, flush=True)
        if trials % 500 == 0:
            print(f"{trials} seeds, {len(findings)} findings, {time.monotonic() - began:.0f} s", flush=True)
    findings += [Finding("counter", "accounted", f"never reached: {what}") for what in sometimes if not counters[what]]
    seconds = time.monotonic() - began
    for what, n in sorted(counters.items()):
        print(f"{n:9} {what}")
    print(
        f"{trials} seeds in {seconds:.1f} s, {len(findings)} findings; 0 would mean at most {bound(trials):.2g} (95 %)"
    )
    return TierResult("simulation", trials, seconds, findings, counters, cells)


def _spread(seeds: range, workers: int) -> Iterator[Played]:
    starts = [range(first, min(first + CHUNK, seeds.stop)) for first in range(seeds.start, seeds.stop, CHUNK)]
    kept = [range(seed, seed + 1) for seed in KEPT if seed not in seeds]
    if workers <= 1:
        for chunk in [*kept, *starts]:
            yield from play_many(chunk)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for found in pool.imap_unordered(_chunk, [*kept, *starts]):
            yield from found


def _chunk(seeds: range) -> list[Played]:
    return list(play_many(seeds))


def plant(most: int, workers: int) -> TierResult:
    """Plant every bug in turn: seeds are played until one finds it."""
    began = time.monotonic()
    findings: list[Finding] = []
    counters: Counter[str] = Counter()
    jobs = [(bug.name, most) for bug in BUGS]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for name, seeds, how in pool.imap(caught, jobs):
            counters[f"seeds until {name} was found"] = seeds
            print(f"{name:26} {f'after {seeds} seeds: {how}' if how else 'NOT FOUND'}"[:150], flush=True)
            if not how:
                findings.append(Finding(name, "accounted", f"this planted bug was not found within {most} seeds"))
    print(f"{len(BUGS) - len(findings)} of {len(BUGS)} planted bugs were found")
    return TierResult("planted", len(BUGS), time.monotonic() - began, findings, counters, {})


def caught(job: tuple[str, int]) -> tuple[str, int, str]:
    """(name, seeds that it took, what was found) of one bug; nothing found if it was missed."""
    name, most = job
    [bug] = [bug for bug in BUGS if bug.name == name]
    for n, played in enumerate(play_many(range(most), bug.plant), 1):
        if played.breaches:
            invariant, text = played.breaches[0]
            return name, n, f"[{invariant}] {text}"
    return name, most, ""
