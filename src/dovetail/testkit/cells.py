"""The faults a proof injects, the invariants it checks after each, and the file a tier writes its result to.

A cell is one fault against one invariant. A tier may name a cell as run only if the fault was really injected in a
trial and the invariant was really checked after it: `Report.cells` of `dovetail.testkit.checker` counts them so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULTS: Mapping[str, str] = {
    "kill": "the process is killed at any boundary, also while it recovers or drains",
    "torn-writes": "what was not synced is lost, torn or reordered",
    "disk-full": "the store takes nothing for a while",
    "fsync-failure": "a flush fails and nobody knows what was kept",
    "clock-jump": "the wall clock is set forwards or backwards",
    "bad-target": "a target is down, slow, flapping, half-open, or answers 5xx, 4xx, 429 or garbage",
    "source-repeats": "the source repeats, reorders, or sends another body under the same id",
    "broker-restart": "the system that messages come from forgets what it had handed out and begins again",
    "database-partition": "the database cannot be reached for a while",
    "poison": "a message raises, kills, hangs or eats memory",
    "giant": "a message as large as the limits allow, or larger",
    "slow-consumer": "a target or a subscriber that is slower than what comes in",
    "schema-drift": "messages of another shape than the contract or the mapping expects",
    "deploy": "a new version of a flow while messages of the old one are under way",
    "two-nodes": "two nodes race, or a zombie writes after its successor has started",
    "expired-credentials": "a target refuses the credentials for a while",
    "bit-rot": "stored bytes change",
}  # fmt: skip

INVARIANTS: Mapping[str, str] = {
    "accounted": "accepted ⇒ done, a dead letter, discarded by rule or visibly pending; and done means all effects",
    "once": "no duplicate effect at a target that dedupes, or that must not be asked twice",
    "order": "of one key the next message begins only when the one before has ended",
    "faithful": "nothing invented, nothing altered",
    "redrivable": "every dead letter can be taken up again, and its effects bear the same keys",
    "audited": "every acceptance, state and redrive stands in the audit",
    "bounded": "memory stays within its bounds, and nothing is left in it at the end",
}  # fmt: skip

CELLS: tuple[tuple[str, str], ...] = tuple((fault, invariant) for fault in FAULTS for invariant in INVARIANTS)


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of an invariant. `id`: how to see it again (a seed, an image, a failpoint)."""

    id: str
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"[{self.invariant}] {self.id}: {self.text}"


@dataclass(slots=True)
class TierResult:
    """What one tier of the proof found. `counters` are whatever it counts; `cells` those it ran, with their trials."""

    tier: str
    trials: int
    seconds: float
    findings: Sequence[Finding]
    counters: Mapping[str, int]
    cells: Mapping[tuple[str, str], int]

    def write(self, folder: Path) -> Path:
        """Write `<folder>/<tier>.json`; the path. Raises ValueError for a cell that nobody knows."""
        unknown = [cell for cell in self.cells if cell not in CELLS]
        if unknown:
            raise ValueError(f"unknown cells: {unknown}")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.tier}.json"
        path.write_text(json.dumps(self.plain(), indent=1, ensure_ascii=False) + "\n")
        return path

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "tier": self.tier, "trials": self.trials, "seconds": round(self.seconds, 3),
            "findings": [{"id": f.id, "invariant": f.invariant, "text": f.text} for f in self.findings],
            "counters": dict(sorted(self.counters.items())),
            "cells": [[fault, invariant, n] for (fault, invariant), n in sorted(self.cells.items()) if n],
        }  # fmt: skip


def bound(trials: int) -> float:
    """The 95 % upper bound on a rate of which `trials` trials saw none (the rule of three)."""
    return min(1.0, 3 / trials) if trials else 1.0


def run_cells(results: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """Trials by cell over several tiers' result files."""
    total: dict[tuple[str, str], int] = {}
    for result in results:
        for fault, invariant, *n in result["cells"]:
            total[fault, invariant] = total.get((fault, invariant), 0) + (n[0] if n else 1)
    return total
