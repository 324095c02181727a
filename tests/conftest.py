"""Fixtures for tests that enter by the user's door: a server on a project folder, a target that records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dovetail.cli import main
from dovetail.testkit.processes import Dovetail, Recorder

DATA = Path(__file__).resolve().parents[2] / "shared/data"
FAULTS = re.compile(r"Traceback|task_failed|service_failed|fault in Dovetail|admin_api_failed|never awaited")


@dataclass
class Said:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def data() -> Path:
    """Inputs that nobody of this project wrote."""
    return DATA


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Dovetail]]:
    """Makes servers (not started) on a project, by `servers(project, NAME="value of a variable")`.

    At the end each must drain in good order and must never have logged a traceback or a fault of its own.
    """
    made: list[Dovetail] = []

    def make(project: Path, *options: str, folder: Path | None = None, **environment: str) -> Dovetail:
        folder = folder or tmp_path_factory.mktemp(project.name)
        made.append(Dovetail(project, folder, environment, options))
        return made[-1]

    yield make
    for server in made:
        ended = 0 if server.process is None else server.process.poll()
        if ended is None:
            ended = server.stop()
        assert ended in (0, 1, -9), server.log()  # 1: it refused to start; -9: a test killed it
        assert not FAULTS.search(server.log()), server.log()


@pytest.fixture(scope="module")
def target() -> Iterator[Recorder]:
    """An HTTP target that answers 200 and keeps what it was sent."""
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`say("status", "--json")`: run a command in this process."""

    def run(*words: str | Path) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Said(code, captured.out, captured.err)

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the mapping's tests counted: cases of the official suite, fuzzed and hostile expressions."""
    passed = terminalreporter.stats.get("passed", ())
    failed = terminalreporter.stats.get("failed", ())
    suite = "mapping/test_suite.py::test_case"
    good, bad = (sum(suite in report.nodeid for report in reports) for reports in (passed, failed))
    lines = [f"JSONata suite: {good} of {good + bad} cases pass"] if good + bad else []
    for report in (*passed, *failed):
        lines += [str(text) for name, text in getattr(report, "user_properties", ()) if name == "mapping"]
    if lines:
        terminalreporter.section("mapping language")
        for line in lines:
            terminalreporter.write_line(line)
