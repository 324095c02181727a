"""A new project, a server running it in a process of its own, and a command line that says what it did."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FLOW = """\
flow: orders
source:
  webhook: {path: /orders, reply: wait}
contract: order@1
key: customer
dedupe: id
steps:
  - filter: paid
  - map: maps/order.jsonata
  - send: outbox.write
    args: {path: 'reference & ".json"'}
"""
MAP = """\
customer = "bad" ? $error("nobody knows " & customer) : {
  "reference": "ORDER-" & $string(id), "customer": customer, "total": $sum(lines.(quantity * price))
}
"""


@dataclass
class Project:
    """A project folder and its server, if one runs."""

    folder: Path
    process: subprocess.Popen[str] | None = None
    port: int = 0

    def start(self) -> None:
        """Run the server; return when it says that it serves."""
        words = ["run", str(self.folder), "--port", "0", "--admin-port", "0", "--log", "json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dovetail", *words], stderr=subprocess.PIPE, text=True, cwd=self.folder
        )
        assert self.process.stderr is not None
        seen: list[str] = []
        for line in self.process.stderr:
            seen.append(line)
            if json.loads(line)["event"] == "serving":
                self.port = int(json.loads(line)["http"].rpartition(":")[2])
                return
        raise AssertionError("".join(seen))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server; its exit code."""
        assert self.process is not None
        os.kill(self.process.pid, number)
        self.process.communicate()
        code, self.process = self.process.returncode, None
        return code

    def send(self, id: int, customer: str, paid: bool = True) -> int:
        """Send an order and wait until its flow has ended; the status of the answer."""
        order = {"id": id, "customer": customer, "paid": paid, "lines": [{"sku": "CUP", "quantity": 2, "price": 1.5}]}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/orders", json.dumps(order), {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture
def project(tmp_path: Path, say: Callable[..., Any]) -> Iterator[Project]:
    folder = tmp_path / "shop"
    assert say("new", folder).code == 0
    (folder / "flows/orders.yaml").write_text(FLOW)
    (folder / "maps/order.jsonata").write_text(MAP)
    made = Project(folder)
    yield made
    if made.process is not None:
        made.stop(signal.SIGKILL)
