"""Killed at every boundary where a very large body is written, let go or copied: each is delivered, no file is left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dovetail.engine.failpoints import BESIDE
from dovetail.testkit.processes import Dovetail, Recorder, until

PROJECT = Path(__file__).resolve().parents[1] / "flows/publish-subscribe"
LARGE = "\N{SNOWMAN}" * 500_000


@pytest.mark.parametrize("name", BESIDE)
def test_killed_beside_a_large_body(name: str, tmp_path: Path, target: Recorder) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    flow = project / "flows/orders.yaml"
    flow.write_text(flow.read_text().replace("{path: /orders}", "{path: /orders, max_body: 10MB}"))
    text = project / "dovetail.yaml"
    short = "retention: {done: 1s, discarded: 1s, dead: 1s}\n" if not name.startswith("backup") else ""
    text.write_text(text.read_text() + short)
    server = Dovetail(project, tmp_path, {"SYSTEMS_URL": target.url})
    assert server.start(DOVETAIL_FAILPOINT=f"{name}:1:kill"), server.log()
    orders = [json.dumps({"id": n, "customer": "c", "total": 1, "lines": [LARGE, n]}) for n in range(3)]
    left = [order for order in orders if server.post("/orders", order).status not in (200, 202)]
    backup = ["backup", str(tmp_path / "backup"), "--project", str(project), "--store", str(server.store)]
    if name.startswith("backup"):
        assert subprocess.run([sys.executable, "-m", "dovetail", *backup], timeout=60).returncode != 0
        restore = ["restore", str(tmp_path / "backup"), *backup[2:], "--replace"]
        assert subprocess.run([sys.executable, "-m", "dovetail", *restore], timeout=60).returncode != 0
    until(f"{name} is crossed", server.dead)
    assert server.process is not None and server.process.wait() == -9, server.log()
    assert server.start(), server.log()
    for order in left:
        assert server.post("/orders", order).status in (200, 202)

    def delivered() -> bool:
        return len(target.bodies("/ledger")) == len(target.bodies("/packing")) == 3

    until("each is delivered", delivered)
    assert sorted(json.loads(body)["id"] for body in target.bodies("/ledger")) == [0, 1, 2]
    files = server.store / "store.db-payloads"
    if short:
        until("every file is gone with its message", lambda: not list(files.iterdir()))
    else:
        assert len(list(files.iterdir())) == 3
    assert server.stop() == 0, server.log()
    assert "Traceback" not in server.log(), server.log()
