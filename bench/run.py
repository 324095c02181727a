"""Runs every benchmark in one go on two cores, prints ratios and writes docs/benchmarks.md.

``python bench/run.py`` takes about half an hour, ``--quick`` a few minutes. ``--only dovetail,floor`` measures some;
``--no-peers`` leaves out what npm installs. The load generator, the target and what is measured share the two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import scenarios
from peers.n8n import N8n
from peers.node_red import NodeRed
from rich.console import Console
from rich.table import Table
from scenarios import FULL, QUICK, Effort, Loss
from subjects import HERE, Dovetail, DovetailAccept, FloorAccept, FloorDeliver, Subject, Unavailable

CORES = 2
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
CONSOLE = Console()
PEERS: list[type[Subject]] = [NodeRed, N8n]
TARGETS = {  # ratio → what we want of it, and which way is good
    "durable accept ÷ floor": "≥ 0.55",
    "end to end ÷ floor": "≥ 0.5",
    "topic → map → topic ÷ SQLite loop": "≥ 0.6",
    "end to end ÷ node-red": "≥ 5",
}


@dataclass(slots=True)
class Results:
    """Everything measured in this run, by subject; what could not be measured, with the reason."""

    accept: dict[str, dict[str, Any]] = field(default_factory=dict)
    deliver: dict[str, dict[str, Any]] = field(default_factory=dict)
    kill: dict[str, Loss] = field(default_factory=dict)
    away: dict[str, Loss] = field(default_factory=dict)
    topic: dict[str, float] = field(default_factory=dict)
    pending: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def attempt(self, what: str, measure: Callable[[], None]) -> None:
        """Measure one thing; a failure becomes a line of the report, and the run goes on."""
        CONSOLE.print(f"{time.strftime('%H:%M:%S')} {what}", highlight=False)
        try:
            measure()
        except (Unavailable, RuntimeError, OSError, KeyError, subprocess.CalledProcessError) as error:
            reason = f"{what}: {error}"
            self.failures.append(reason)
            CONSOLE.print(f"  failed: {reason}", highlight=False, markup=False)

    def ratios(self) -> dict[str, float]:
        """Quotients of rates measured in this run."""
        pairs = {
            "durable accept ÷ floor": (rate(self.accept, DovetailAccept), rate(self.accept, FloorAccept)),
            "end to end ÷ floor": (rate(self.deliver, Dovetail), rate(self.deliver, FloorDeliver)),
            "topic → map → topic ÷ SQLite loop": (self.topic.get("dovetail"), self.topic.get("floor")),
            **{f"end to end ÷ {peer.name}": (rate(self.deliver, Dovetail), rate(self.deliver, peer)) for peer in PEERS},
        }
        return {name: ours / theirs for name, (ours, theirs) in pairs.items() if ours and theirs}


def rate(results: dict[str, dict[str, Any]], kind: type[Subject]) -> float | None:
    """The rate of a subject, if it was measured."""
    return results[kind.name]["rate"] if kind.name in results else None


def median(measure: Callable[[type[Subject], Effort], dict[str, Any]], kind: type[Subject], effort: Effort) -> Any:
    """The round with the middle rate."""
    rounds = sorted((measure(kind, effort) for _ in range(effort.rounds)), key=lambda result: float(result["rate"]))
    return rounds[len(rounds) // 2]


def measure(kinds: list[type[Subject]], effort: Effort) -> Results:
    """Run every scenario on every subject."""
    results = Results()

    def store(table: dict[str, Any], kind: type[Subject], run: Callable[[], Any]) -> Callable[[], None]:
        return lambda: table.__setitem__(kind.name, run())

    for kind in kinds:
        if not kind.delivers:
            run = lambda kind=kind: median(scenarios.accept, kind, effort)  # noqa: E731
            results.attempt(f"{kind.name}: accept", store(results.accept, kind, run))
            continue
        installed = len(results.failures)
        results.attempt(f"{kind.name}: install", store(results.versions, kind, kind.install))
        if len(results.failures) > installed:
            continue
        run = lambda kind=kind: median(scenarios.deliver, kind, effort)  # noqa: E731
        results.attempt(f"{kind.name}: end to end", store(results.deliver, kind, run))
        if kind is not FloorDeliver:  # the floor has no recovery and no retries to show
            for table, scenario in ((results.kill, scenarios.kill), (results.away, scenarios.away)):
                run = lambda kind=kind, scenario=scenario: scenario(kind, effort)  # noqa: E731
                results.attempt(f"{kind.name}: {scenario.__name__}", store(table, kind, run))
    if FloorDeliver in kinds:
        rounds = lambda: statistics.median(scenarios.floor_topic(effort) for _ in range(effort.rounds))  # noqa: E731
        results.attempt("floor: topic", lambda: results.topic.__setitem__("floor", rounds()))
    if Dovetail in kinds:
        moved = lambda: results.topic.__setitem__("dovetail", scenarios.dovetail_topic(effort))  # noqa: E731
        results.attempt("dovetail: topic", moved)
        results.attempt("dovetail: pending", lambda: results.pending.update(scenarios.pending(effort)))
    return results
