"""What a tier tried and what it found, with what a proof says of it beside its trials."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dovetail.testkit.cells import Finding, TierResult

OUTPUT = Path("build/proof")


@dataclass
class Result:
    """One tier's run. `counters` say which places were reached; those in `expected` must have been."""

    tier: str
    unit: str  # what one trial is
    variable: str  # of `make prove TIER=… VARIABLE=…`, which repeats one trial by its number
    trials: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    expected: list[str] = field(default_factory=list)
    planted: dict[str, str] = field(default_factory=dict)  # name → how it was caught, "" when it was not

    def add(
        self,
        id: str,
        breaches: Iterable[tuple[str, str]],
        counters: Mapping[str, int],
        cells: Iterable[tuple[str, str]],
    ) -> None:
        """One more trial."""
        self.trials += 1
        self.findings += [Finding(id, invariant, text) for invariant, text in breaches]
        self.counters.update(counters)
        self.cells.update(cells)

    def find(self, id: str, invariant: str, text: str) -> None:
        """A breach."""
        self.findings.append(Finding(id, invariant, text))

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        told = TierResult(self.tier, self.trials, self.seconds, self.findings, self.counters, self.cells).plain()
        more = {"unit": self.unit, "variable": self.variable, "expected": self.expected, "planted": self.planted}
        return {**told, **more}

    def write(self, folder: Path = OUTPUT) -> Path:
        """Keep it as `TIER.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.tier}.json"
        path.write_text(json.dumps(self.plain(), indent=1, ensure_ascii=False) + "\n")
        return path


def problems(result: Mapping[str, Any]) -> list[str]:
    """Everything for which a tier (as plain data) does not pass."""
    return [
        *(f"[{found['invariant']}] {found['id']}: {found['text']}" for found in result["findings"]),
        *(f"never reached: {name}" for name in result.get("expected", ()) if not result["counters"].get(name)),
        *(f"a planted bug was not caught: {name}" for name, how in result.get("planted", {}).items() if not how),
        *([] if result["trials"] else ["nothing was tried"]),
    ]


class Stopwatch:
    """Wall time of a tier in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since it was made."""
        return round(time.monotonic() - self._began, 1)
