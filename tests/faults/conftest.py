"""Real processes for fault tests: the shop example's accounting service, and a Dovetail server that can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from dovetail.testkit.processes import Dovetail, request, until

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Path(__file__).parent / "project"


class Accounting:
    """The accounting service, in its own process with its own database."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "accounting.sqlite"
        script = ROOT / "examples/shop/systems/accounting.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--db", str(self.database)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        ports = json.loads(self.process.stdout.readline())
        self.port, self.control = int(ports["port"]), int(ports["control"])

    def faults(self, **knobs: Any) -> None:
        assert request(self.control, "PUT", "/faults", json.dumps(knobs).encode()).status == 200

    def invoices(self) -> list[str]:
        """The reference of every invoice, from the service's own database."""
        with apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READONLY) as db:
            return [row[0] for row in db.execute("SELECT reference FROM invoices ORDER BY number")]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Server(Dovetail):
    """`dovetail run` on the fault project."""

    def __init__(self, folder: Path, accounting: Accounting) -> None:
        super().__init__(PROJECT, folder, {"ACCOUNTING_URL": f"http://127.0.0.1:{accounting.port}"})

    def start(self, failpoint: str = "") -> bool:
        """Start and wait until it is ready; False if it died first."""
        return super().start(DOVETAIL_FAILPOINT=failpoint)

    def until(self, what: str, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer; see `until`."""
        return until(what, ask)


@pytest.fixture
def accounting(tmp_path: Path) -> Iterator[Accounting]:
    service = Accounting(tmp_path)
    yield service
    service.close()


@pytest.fixture
def server(tmp_path: Path, accounting: Accounting) -> Iterator[Server]:
    running = Server(tmp_path, accounting)
    yield running
    running.kill()
