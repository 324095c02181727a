"""Mistakes in a project's text: each is told with file, line, column and what to write instead, all in one go."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dovetail.cli import main

GOOD = Path(__file__).resolve().parents[1] / "flows/routing"
TARGET_URL = "http://127.0.0.1:9"

# file, what stands there, what somebody writes instead, what is said (with `line:column`, and the suggestion)
MISTAKES = {
    "step": ("flows/countries.yaml", "- set:", "- sett:", r"7:5: error: unknown step 'sett'\n +did you mean 'set'\?"),
    "step in a step": (
        "flows/countries.yaml",
        "          - call: target.take\n            args: {what: '\"french\"'}",
        "          - cal: target.take\n            args: {what: '\"french\"'}",
        r"17:13: error: unknown step 'cal'\n +did you mean 'call'\?",
    ),
    "field of a step": (
        "flows/countries.yaml",
        "unmatched:",
        "unmatchd:",
        r"32:5: error: unknown field 'unmatchd'\n +did you mean 'unmatched'\?",
    ),
    "field of a flow": (
        "flows/countries.yaml",
        "contract:",
        "contrakt:",
        r"5:1: error: unknown field 'contrakt'\n +did you mean 'contract'\?",
    ),
    "field of a source": (
        "flows/countries.yaml",
        "{path: /countries}",
        "{pth: /countries}",
        r"unknown field 'pth'\n +did you mean 'path'\?",
    ),
    "source": ("flows/countries.yaml", "webhook:", "webhok:", r"4:3: error: .*'webhok'.*\n +did you mean 'webhook'\?"),
    "word of a choice": (
        "flows/countries.yaml",
        "match: all",
        "match: al",
        r"31:12: error: 'match' must be first or all, not 'al'\n +did you mean 'all'",
    ),
    "mapping in a flow": (
        "flows/countries.yaml",
        "total >= 1000",
        "total >== 1000",
        r"7:\d+: error: the mapping does not",
    ),
    "mapping in a file": (
        "maps/handled.jsonata",
        '"why": $vars',
        '"why" $vars',
        r"handled.jsonata:4:\d+: error: the mapping",
    ),
    "mapping that is not there": (
        "flows/careful.yaml",
        "maps/handled.jsonata",
        "maps/handld.jsonata",
        r"there is no mapping 'maps/handld.jsonata'\n +did you mean 'maps/handled.jsonata'\?",
    ),
    "connection": (
        "flows/seen.yaml",
        "target.take",
        "targit.take",
        r"6:11: error: there is no connection 'targit'\n +did you mean 'target'\?",
    ),
    "operation": (
        "flows/seen.yaml",
        "target.take",
        "target.tke",
        r"6:11: error: the connection 'target' has no operation 'tke'\n +did you mean 'take'\?",
    ),
    "field of an operation": (
        "connections/target.yaml",
        "method:",
        "methd:",
        r"5:\d+: error: unknown field 'methd'\n +did you mean 'method'\?",
    ),
    "connector": (
        "connections/target.yaml",
        "connector: http",
        "connector: htp",
        r"2:12: error: .*'htp'.*\n +did you mean 'http'\?",
    ),
    "contract": (
        "flows/price.yaml",
        "order@1",
        "ordr@1",
        r"4:15: error: there is no contract 'ordr@1'\n +did you mean 'order@1'\?",
    ),
    "version of a contract": (
        "flows/price.yaml",
        "order@1",
        "order@2",
        r"4:15: error: there is no contract 'order@2'\n +did you mean 'order@1'\?",
    ),
    "schema": ("contracts/order/1.json", '"type": "integer"}', '"type": "integr"}', r"1.json:6:\d+: error: the schema"),
    "schema that is no JSON": (
        "contracts/order/1.json",
        '"type": "object",',
        '"type": "object"',
        r"1.json:4:\d+: error: ",
    ),
    "flow": (
        "flows/careful.yaml",
        "sub_flow: price",
        "sub_flow: prise",
        r"7:19: error: there is no flow 'prise'\n +did you mean 'price'\?",
    ),
    "function": (
        "flows/price.yaml",
        "pricing:price",
        "pricing:prise",
        r"5:13: error: python/pricing.py has no function 'prise'\n +did you mean 'price'\?",
    ),
    "module": (
        "flows/price.yaml",
        "pricing:price",
        "pricng:price",
        r"5:13: error: there is no file python/pricng.py\n +did you mean 'pricing'\?",
    ),
    "Python": ("python/pricing.py", "def price(", "def price((", r"pricing.py:\d+:\d+: error: not Python"),
    "YAML": ("flows/seen.yaml", "steps:", "steps: [", r"flows/seen.yaml:\d+:\d+: error: "),
    "indentation": (
        "flows/seen.yaml",
        "  topic:",
        "\ttopic:",
        r"4:1: error: a tab cannot indent\n +indent with spaces",
    ),
    "a field twice": ("flows/seen.yaml", "summary:", "flow: seen\nsummary:", r"2:1: error: 'flow' is there twice"),
    "a placeholder": (
        "connections/target.yaml",
        "${env:TARGET_URL}",
        "${evn:TARGET_URL}",
        r"3:6: error: .*\n +write \$\{env:NAME\}",
    ),
    "a rate": ("flows/side-by-side.yaml", "50/s", "50/fortnight", r"7:15: error: "),
    "a newer project": (
        "dovetail.yaml",
        "project: routing",
        "project: routing\ndovetail: 7",
        r"2:11: error: .*format 7.*formats up to 1\n +install a newer Dovetail",
    ),
}
WARNINGS = {
    "topic": (
        "flows/seen.yaml",
        "orders.seen",
        "orders.sean",
        r"4:17: warning: no flow publishes to the topic 'orders.sean'"
        r"\n +did you mean 'orders.seen'\?",
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return shutil.copytree(GOOD, tmp_path / "routing", ignore=shutil.ignore_patterns("__pycache__"))


def spoil(project: Path, file: str, good: str, bad: str) -> None:
    text = (project / file).read_text()
    assert good in text, f"{file} has no {good}"
    (project / file).write_text(text.replace(good, bad, 1))


def check(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("TARGET_URL", TARGET_URL)
    code = main(["check", str(project)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake(
    name: str, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, good, bad, says = MISTAKES[name]
    spoil(project, file, good, bad)
    code, said = check(project, capsys, monkeypatch)
    assert code == 1
    assert re.search(says, said), said
    assert said.splitlines()[0].startswith(f"{file}:"), f"it is told where it stands: {said}"


@pytest.mark.parametrize("name", WARNINGS)
def test_a_doubt(name: str, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file, good, bad, says = WARNINGS[name]
    spoil(project, file, good, bad)
    code, said = check(project, capsys, monkeypatch)
    assert code == 0 and re.search(says, said), said


def command(*words: str) -> tuple[int, str]:
    environ = {**os.environ, "TARGET_URL": TARGET_URL}
    line = [sys.executable, "-m", "dovetail", *words]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def problems(said: str) -> list[str]:
    """The lines of the list, without what stands below it."""
    return [line for line in said.splitlines() if re.match(r"[\w/.-]+:\d+:\d+: |    ", line)]


def test_check_and_run_say_the_same_in_one_go(project: Path, tmp_path: Path) -> None:
    names = ("step", "connection", "function", "field of an operation", "mapping in a file", "a rate")
    apart = [MISTAKES[name] for name in names]
    for file, good, bad, _ in apart:
        spoil(project, file, good, bad)
    checked, said = command("check", str(project))
    ran, said_too = command("run", str(project), "--store", str(tmp_path / "store"), "--port", "0", "--admin-port", "0")
    assert (checked, ran) == (1, 1)
    assert problems(said) == problems(said_too) != []
    for file, _, _, says in apart:
        assert file in said and re.search(says.rpartition(r"\n")[0] or says, said), (says, said)
    assert "Traceback" not in said + said_too
    assert not (tmp_path / "store").exists()


def test_the_good_one(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(project, capsys, monkeypatch)[0] == 0
