"""Real processes for fault tests: the accounting service of the shop example, and a Dovetail server that can be killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Path(__file__).parent / "project"
PATIENCE = 60.0  # seconds until a wait for something that must happen is given up


def until(what: str, ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer; fail with `what` when none comes."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)  # between two questions to another process, which has no way to call us
    raise AssertionError(f"never happened: {what}")


def call(port: int, method: str, path: str, document: Any = None, token: str = "") -> tuple[int, Any]:
    """One JSON call on loopback; (0, None) when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, None if document is None else json.dumps(document), headers)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if body else None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


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
        status, _ = call(self.control, "PUT", "/faults", knobs)
        assert status == 200

    def invoices(self) -> list[str]:
        """The reference of every invoice, from the service's own database."""
        with apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READONLY) as db:
            return [row[0] for row in db.execute("SELECT reference FROM invoices ORDER BY number")]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Server:
    """`dovetail run` on the fault project. `start` may be called again after a death."""

    def __init__(self, folder: Path, accounting: Accounting) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.environment = {**os.environ, "ACCOUNTING_URL": f"http://127.0.0.1:{accounting.port}"}
        self.process: subprocess.Popen[bytes] | None = None
        self.port = self.admin = 0
        self.token = ""

    def start(self, failpoint: str = "") -> bool:
        """Start and wait until it is ready; False if it died first."""
        address = self.store / "server.json"
        address.unlink(missing_ok=True)
        environment = {**self.environment, "DOVETAIL_FAILPOINT": failpoint}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dovetail", "run", str(PROJECT), "--store", str(self.store), "--port", "0",
                 "--admin-port", "0"], env=environment, stderr=log, stdout=log,
            )  # fmt: skip
        until("the server is up", lambda: address.exists() or self.dead())
        if self.dead():
            return False
        place = json.loads(address.read_text())
        self.port = int(place["http"].rpartition(":")[2])
        self.admin = int(place["url"].rpartition(":")[2])
        self.token = (self.store / "admin.token").read_text().strip()
        return True

    def until(self, what: str, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer; see `until`."""
        return until(what, ask)

    def dead(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def send(self, path: str, document: Any) -> int:
        """What the server answers; 0 when it is not there."""
        return call(self.port, "POST", path, document)[0]

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """The admin API's answer, or None when the server is not there."""
        status, answer = call(self.admin, method, path, document, self.token)
        return answer if status in (200, 202) else None

    def flows(self) -> dict[str, Any] | None:
        """Status by flow."""
        status = self.ask("GET", "/api/status")
        return {flow["flow"]: flow for flow in status["flows"]} if status else None

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        assert self.process is not None
        if not self.dead():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")


@pytest.fixture
def accounting(tmp_path: Path) -> Iterator[Accounting]:
    service = Accounting(tmp_path)
    yield service
    service.close()


@pytest.fixture
def server(tmp_path: Path, accounting: Accounting) -> Iterator[Server]:
    running = Server(tmp_path, accounting)
    yield running
    if not running.dead():
        assert running.process is not None
        running.process.kill()
        running.process.wait()
