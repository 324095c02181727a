"""What a tier tried and what it found."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OUTPUT = Path("build/proof")


@dataclass
class Result:
    """One tier's run. `findings` name the trial that shows them; `counters` say that rare places were reached.

    `cells` are the (fault, invariant) pairs that were held against each other; `planted` says of each planted bug
    whether it was caught, and how.
    """

    tier: str
    unit: str  # what one trial is
    replay: str  # the command that repeats one trial, with {} for its number
    trials: int = 0
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    expected: list[str] = field(default_factory=list)  # counters that must not be 0
    cells: list[tuple[str, str]] = field(default_factory=list)
    planted: dict[str, str] = field(default_factory=dict)  # name -> how it was caught, "" when it was not

    def cover(self, faults: Iterable[str], invariants: Iterable[str]) -> None:
        """These faults were held against these invariants."""
        wanted = list(invariants)
        for fault in faults:
            self.cells += [(fault, name) for name in wanted if (fault, name) not in self.cells]

    def problems(self) -> list[str]:
        """Everything for which the tier does not pass."""
        return [
            *self.findings,
            *(f"never reached: {name}" for name in self.expected if not self.counters[name]),
            *(f"a planted bug was not caught: {name}" for name, how in self.planted.items() if not how),
            *([] if self.trials or self.planted else ["nothing was tried"]),
        ]

    def write(self, folder: Path = OUTPUT) -> Path:
        """Keep it as `TIER.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.tier}.json"
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return path


def read(document: dict[str, Any]) -> Result:
    """A result as it was written."""
    result = Result(**document)
    result.counters = Counter(document["counters"])
    result.cells = [(fault, invariant) for fault, invariant in document["cells"]]
    return result


def bound(trials: int) -> float:
    """The 95 % upper bound of a probability of which `trials` trials showed nothing (the rule of three)."""
    return 3 / trials if trials else 1.0


class Stopwatch:
    """Wall time of a tier in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since it was made."""
        return round(time.monotonic() - self._began, 1)
