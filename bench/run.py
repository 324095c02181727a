"""Runs every benchmark in one go on two cores, prints ratios and writes docs/benchmarks.md.

``python bench/run.py`` takes about twenty minutes, ``--quick`` a few. ``--only floor,dovetail`` measures some of
floor, dovetail, node-red and n8n. The load generator, the target and what is measured share the two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import scenarios
from peers.n8n import N8n
from peers.node_red import NodeRed
from report import Results, print_tables, write_document
from rich.console import Console
from scenarios import FULL, QUICK, Effort
from subjects import (
    ByHandAccept,
    ByHandDeliver,
    Dovetail,
    DovetailAccept,
    FloorAccept,
    FloorDeliver,
    Subject,
    Unavailable,
)

CORES = 2
CONSOLE = Console()
GROUPS: dict[str, list[type[Subject]]] = {
    "floor": [FloorAccept, FloorDeliver, ByHandAccept, ByHandDeliver],
    "dovetail": [DovetailAccept, Dovetail],
    "node-red": [NodeRed],
    "n8n": [N8n],
}


class Job(NamedTuple):
    """One number to find out: kept as ``results[scenario][subject]``."""

    scenario: str
    subject: str
    run: Callable[[], Any]


def median(measure: Callable[[], dict[str, Any]], rounds: int) -> dict[str, Any]:
    """The round with the middle rate."""
    return sorted((measure() for _ in range(rounds)), key=lambda result: float(result["rate"]))[rounds // 2]


def plan(groups: list[str], effort: Effort) -> Iterator[Job]:
    """Everything to measure, in order."""
    for kind in (kind for group in groups for kind in GROUPS[group]):
        yield Job("version", kind.name, kind.install)
        if kind.delivers:
            yield Job("deliver", kind.name, partial(median, partial(scenarios.deliver, kind, effort), effort.rounds))
        else:
            yield Job("accept", kind.name, partial(median, partial(scenarios.accept, kind, effort), effort.rounds))
        if kind.delivers and not issubclass(kind, FloorAccept):  # the floor has no recovery and no retries to show
            yield Job("kill", kind.name, partial(scenarios.kill, kind, effort))
            yield Job("away", kind.name, partial(scenarios.away, kind, effort))
    for group, run in (("floor", scenarios.floor_topic), ("dovetail", scenarios.dovetail_topic)):
        if group in groups:
            yield Job("topic", group, partial(median, partial(run, effort), effort.rounds))
    if "dovetail" in groups:
        yield Job("pending", "dovetail", partial(scenarios.pending, effort))


def carry_out(jobs: Iterator[Job]) -> Results:
    """Run the jobs; one that fails becomes a line of the report, and a subject that does not install is left out."""
    results: Results = Results(defaultdict(dict), [])
    absent: set[str] = set()
    for job in jobs:
        if job.subject in absent:
            continue
        begun = time.monotonic()
        try:
            results.found[job.scenario][job.subject] = job.run()
        except (Unavailable, RuntimeError, OSError, LookupError, ValueError, subprocess.SubprocessError) as error:
            results.failures.append(f"{job.subject}, {job.scenario}: {error}")
            CONSOLE.print(f"  failed: {error}", highlight=False, markup=False)
            if job.scenario == "version":
                absent.add(job.subject)
        if job.scenario != "version":
            CONSOLE.print(f"{job.subject}: {job.scenario} ({time.monotonic() - begun:.0f} s)", highlight=False)
    return results


def main() -> int:
    """Measure, print, write; returns the exit status: 1 when something could not be measured."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="shorter runs, one round, 50,000 pending messages")
    options.add_argument("--pending", type=int, help="so many pending messages instead")
    options.add_argument("--only", default=",".join(GROUPS), help="which of them, with commas")
    options.add_argument("--no-document", action="store_true", help="print only, leave docs/benchmarks.md alone")
    given = options.parse_args()
    groups = given.only.split(",")
    if unknown := [group for group in groups if group not in GROUPS]:
        options.error(f"--only {unknown[0]!r}: there are {', '.join(GROUPS)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # inherited by every process started
    effort = QUICK if given.quick else FULL
    if given.pending:
        effort = replace(effort, pending=given.pending)
    results = carry_out(plan(groups, effort))
    print_tables(results, CONSOLE)
    if not given.no_document:
        write_document(results, effort)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
