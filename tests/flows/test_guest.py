"""A guest package, installed with pip, at work in a real server: its connector and its step in a flow of a project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dovetail.testkit.processes import Dovetail

PROJECT = Path(__file__).parent / "guest"
PACKAGE = Path(__file__).resolve().parents[1] / "contract/guest"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder it was installed into."""
    target = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
    ]
    command += ["--no-build-isolation", "--no-compile", "--target", str(target), str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_a_guest_at_work(servers: Callable[..., Dovetail], installed: Path, tmp_path: Path) -> None:
    python = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    server = servers(PROJECT, folder=tmp_path, PYTHONPATH=python)
    assert server.start(), server.log()
    answer = server.post("/forecast", '{"city": "Rome"}')
    assert (answer.status, answer.json) == (200, {"city": "ROME", "weather": {"temperature": 66, "unit": "F"}})
    [message] = server.messages(flow="forecast")
    journey = server.show(message["id"])
    assert [step["kind"] for step in journey["steps"]] == ["enrich", "shout", "respond"]
    assert journey["effects"][0]["target"] == "almanac"
    refused = server.post("/forecast", '{"city": "Atlantis"}')
    assert refused.status == 422 and "no weather for 'Atlantis'" in refused.json["detail"]


def test_without_the_guest(servers: Callable[..., Dovetail], tmp_path: Path) -> None:
    server = servers(PROJECT, folder=tmp_path)
    assert not server.start()
    assert server.process is not None and server.process.returncode == 1
    assert "connections/almanac.yaml:2:12: error:" in server.log() and "weather" in server.log()
    assert "flows/forecast.yaml:8:5: error: unknown step 'shout'" in server.log()
