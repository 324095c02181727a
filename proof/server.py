"""A real Dovetail server under drill."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from dovetail.engine import failpoints
from dovetail.testkit.processes import Dovetail, Process
from proof.drilled import VARIABLE, Crossings
from proof.warm import Forked
from proof.witness import Witness

ROOT = Path(__file__).resolve().parents[1]
PROJECT = Path(__file__).parent / "project"
COUNTED = "proof.drilled"
UNSET = f"{failpoints.NAMES[0]}:0:kill"  # counts, and never does anything


class Server(Dovetail):
    """`dovetail run` on the fault project; `crossings` are those of the newest life."""

    module = COUNTED

    def __init__(
        self, folder: Path, witness: Witness, target: str, environment: Mapping[str, str] | None = None
    ) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        super().__init__(PROJECT, folder, {"PYTHONPATH": path, **(environment or {})})
        self._folder, self._witness, self.target = folder, witness, target
        self.crossings: Crossings | None = None

    def command(self) -> list[str]:
        command = super().command()
        assert command[:3] == [sys.executable, "-m", "dovetail"]
        return [*command[:2], self.module, *command[3:]]

    def launch(self, environment: Mapping[str, str]) -> Process:
        """Fork it from one that has imported everything, unless a library or a bug has to be there from the start."""
        if self.module != COUNTED or "LD_PRELOAD" in environment:
            return super().launch(environment)
        return Forked(self.command()[3:], environment, self._log)

    def begin(self, failpoint: str = "", born: Callable[[], None] = lambda: None) -> bool:
        """Start with a failpoint and wait until it is ready; False if it died first. `born` is called just before."""
        life = self._witness.born()
        counting = self.counting(life, failpoint)
        self.crossings = Crossings(Path(counting[VARIABLE]))
        born()
        return self.start(ACCOUNTING_URL=f"{self.target}/life/{life}", **counting)

    def counting(self, life: int, failpoint: str = "") -> dict[str, str]:
        """The environment of a life that counts its crossings, from none on."""
        path = self._folder / f"crossings.{life}"
        path.unlink(missing_ok=True)
        return {"DOVETAIL_FAILPOINT": failpoint or UNSET, VARIABLE: str(path)}

    def crossed(self, name: str) -> int:
        """How often this life has crossed a failpoint."""
        return self.crossings[name] if self.crossings is not None else 0
