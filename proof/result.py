"""What a tier tried and what it found, with what a proof says of it beside its trials."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from dovetail.testkit.cells import Finding, TierResult

OUTPUT = Path("build/proof")
EVERY = 10.0  # seconds between two words on how far a tier has come


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
    total: int = 0  # trials that are wanted, as far as it is known
    over: bool = False  # it came to its end
    _began: float = field(default_factory=time.monotonic)
    _told: float = 0.0

    def add(
        self,
        id: str,
        breaches: Iterable[tuple[str, str]],
        counters: Mapping[str, int],
        cells: Iterable[tuple[str, str]],
        trials: int = 1,
    ) -> None:
        """One more trial, or so many."""
        self.trials += trials
        self.findings += [Finding(id, invariant, text) for invariant, text in breaches]
        self.counters.update(counters)
        self.cells.update(cells)
        self.progress()

    def progress(self) -> None:
        """Say how far it is, and keep what is known so far, now and then."""
        self.seconds = round(time.monotonic() - self._began, 1)
        if self.seconds - self._told < EVERY:
            return
        self._told = self.seconds
        left = self.seconds * max(0, self.total - self.trials) / max(1, self.trials)
        print(
            f"{self.tier}: {self.trials:,} of {self.total:,}, {len(self.findings)} findings, {self.seconds:,.0f} s"
            + (f", about {left:,.0f} s to go" if left else ""),
            file=sys.stderr, flush=True,
        )  # fmt: skip
        self.write()

    def end(self) -> Result:
        """It is over."""
        self.seconds, self.over = round(time.monotonic() - self._began, 1), True
        return self

    def find(self, id: str, invariant: str, text: str) -> None:
        """A breach."""
        self.findings.append(Finding(id, invariant, text))

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        told = TierResult(self.tier, self.trials, self.seconds, self.findings, self.counters, self.cells).plain()
        more = {
            "unit": self.unit, "variable": self.variable, "expected": self.expected, "planted": self.planted,
            "over": self.over, "commit": commit(),
        }  # fmt: skip
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


@cache
def commit() -> str:
    """The commit that is proved, with a "+" if the files differ from it; empty where there is no git."""
    try:
        git = partial(subprocess.run, capture_output=True, text=True, check=True)
        name = git(["git", "rev-parse", "--short=10", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/proof.*"]).stdout
        return name + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return ""
