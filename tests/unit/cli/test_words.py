"""What the command line says without a server: help, wrong usage, checks, mappings, the list of connectors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dovetail.cli.exits import MEANINGS
from dovetail.cli.main import COMMANDS
from dovetail.cli.reference import reference

ROOT = Path(__file__).parents[3]
Say = Callable[..., Any]


def test_help_brings_in_no_server() -> None:
    code = "import sys; from dovetail.cli import main; main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f" {name} " in done.stdout for name in COMMANDS)
    heavy = ("structlog", "uvicorn", "apsw", "starlette", "lxml", "dovetail.app", "dovetail.engine", "dovetail.control")
    assert not [name for name in heavy if f"'{name}'" in done.stdout]


def test_every_command_helps_itself(say: Say) -> None:
    for name in COMMANDS:
        done = say(name, "--help")
        assert (done.code, f"dovetail {name}" in done.out) == (0, True)
        assert "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) in " ".join(
            done.out.split()
        )


def test_the_reference_page_is_that_of_the_commands() -> None:
    assert (ROOT / "docs/cli.md").read_text() == reference(), "run: python -m dovetail.cli.reference > docs/cli.md"


@pytest.mark.parametrize(
    "words",
    [
        ("statsu",), ("messages", "--stat", "dead"), ("messages", "-n", "many"), ("show",), ("run", "--port", "x"),
        ("map",), ("map", "a", "b", "-x", "c"), ("redrive",), ("redrive", "--version", "old", "1"),
        ("connectors", "--kind", "verb"), ("map", "-x", "1", "--bind", "novalue"),
        ("map", "-x", "1", "--to", "nope", "/dev/null"),
        ("map", "--repl", "-x", "1"), ("map", "--repl", "a", "b"), ("map", "--explain"),
        ("messages", "--since", "yesterday"), ("redrive", "1", "--rate", "fast"), ("redrive", "1", "--all"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_2(say: Say, project: Any, words: tuple[str, ...]) -> None:
    more = ("-p", project.folder) if words[0] in ("messages", "redrive") else ()
    done = say(*words, *more)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("dovetail: ")
    assert len(done.err.splitlines()) == 1
    in_json = json.loads(say(*words, *more, "--json").err)
    assert in_json["error"]["exit"] == 2
    assert in_json["error"]["message"]


def test_a_misspelled_command_or_option_is_guessed(say: Say) -> None:
    assert 'Did you mean "status"' in say("statsu").err.replace("'", '"')
    assert "--state" in say("messages", "--stat", "dead").err


def test_without_a_project_or_a_store_nothing_can_be_reached(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Any
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for command in ("status", "messages", "check", "run"):
        done = say(command)
        assert (done.code, "no dovetail.yaml here or in a folder above" in done.err) == (3, True)
    assert say("status", "-p", tmp_path / "nowhere").code == 3
    done = say("status", "-p", project.folder)
    assert (done.code, "`dovetail run` makes one" in done.err) == (3, True)
    assert not (project.folder / ".dovetail").exists()


def test_a_project_is_found_from_a_folder_within(say: Say, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder / "maps")
    assert say("check").code == 0


def test_a_new_project_passes_its_check_and_its_mapping_works(say: Say, tmp_path: Path) -> None:
    made = say("new", tmp_path / "Web Shop", "--json").json
    assert made["project"] == "web-shop"
    assert all(Path(file).is_file() for file in made["files"])
    checked = say("check", tmp_path / "Web Shop", "--json")
    assert (checked.code, checked.json["problems"], checked.json["flows"]) == (0, [], ["orders"])
    assert "{{" not in (tmp_path / "Web Shop/README.md").read_text()
    mapped = say("map", tmp_path / "Web Shop/maps/order.jsonata", tmp_path / "Web Shop/samples/order.json")
    assert (mapped.code, json.loads(mapped.out)["total"]) == (0, 48.5)
    again = say("new", tmp_path / "Web Shop")
    assert (again.code, "not an empty folder" in again.err) == (5, True)
    assert say("new", tmp_path / "1").code == 2
    assert say("new", tmp_path / "ok", "--name", "Not Ok").code == 2


def test_every_problem_is_listed_in_one_go_with_its_place(say: Say, project: Any) -> None:
    flow = project.folder / "flows/orders.yaml"
    flow.write_text(flow.read_text().replace("filter:", "fliter:").replace("order@1", "order@9"))
    (project.folder / "connections/outbox.yaml").write_text("connection: outbox\nconnector: flie\nroot: x\n")
    done = say("check", project.folder)
    assert done.code == 1
    assert "flows/orders.yaml:8:5: error: unknown step 'fliter'" in done.out
    assert "did you mean 'filter'?" in done.out
    assert "did you mean 'file'?" in done.out
    assert "order@9" in done.out
    problems = say("check", project.folder, "--json").json["problems"]
    assert {problem["file"] for problem in problems} == {"flows/orders.yaml", "connections/outbox.yaml"}
    assert all(problem["line"] for problem in problems)
    ran = say("run", project.folder, "--port", "0", "--admin-port", "0")
    assert ran.code == 1
    assert "flows/orders.yaml:8:5: error: unknown step 'fliter'" in ran.err


def test_secrets_that_are_not_set_are_errors_or_warnings(
    say: Say, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = project.folder / "connections/outbox.yaml"
    connection.write_text(connection.read_text().replace("root: outbox", 'root: "${env:OUTBOX}"'))
    assert say("check", project.folder).code == 1
    lenient = say("check", project.folder, "--without-secrets")
    assert (lenient.code, "warning: " in lenient.out) == (0, True)
    monkeypatch.setenv("OUTBOX", "outbox")
    assert say("check", project.folder).code == 0


@pytest.mark.parametrize(
    ("words", "given", "out"),
    [
        (("-x", "a + 1"), b'{"a": 1}', "2\n"),
        (("-x", "n"), b'{"n": 12345678901234567890123}', "12345678901234567890123\n"),
        (("-x", "d"), b'{"d": 1.10}', "1.10\n"),
        (("-x", "$vars.x & $y", "-b", 'vars={"x": "a"}', "--bind", "y=b"), b"{}", '"ab"\n'),
        (("-x", "$count($)", "--from", "csv"), b"a,b\n1,2\n3,4\n", "2\n"),
        (("-x", "$", "--to", "text"), b'"plain"', "plain\n"),
    ],
)  # fmt: skip
def test_a_mapping_is_evaluated_on_an_input(
    say: Say, tmp_path: Path, words: tuple[str, ...], given: bytes, out: str
) -> None:
    (tmp_path / "in").write_bytes(given)
    done = say("map", *words, tmp_path / "in")
    assert (done.code, done.err, done.out) == (0, "", out)


def test_a_mapping_reads_standard_input_and_says_when_there_is_nothing() -> None:
    command = [sys.executable, "-m", "dovetail", "map", "-x"]
    done = subprocess.run([*command, "a"], input=b'{"a": [1, 2]}', capture_output=True, check=True)
    assert json.loads(done.stdout) == [1, 2]
    nothing = subprocess.run([*command, "b"], input=b"{}", capture_output=True, check=True)
    assert (nothing.stdout, b"undefined" in nothing.stderr) == (b"", True)
    told = subprocess.run([*command, "b", "--json"], input=b"{}", capture_output=True, check=True)
    assert json.loads(told.stdout) == {"defined": False}


def test_a_mapping_at_fault_names_the_place(say: Say, tmp_path: Path) -> None:
    (tmp_path / "m.jsonata").write_text('{\n  "a": $sum("x")\n}')
    (tmp_path / "in.json").write_text("{}")
    done = say("map", tmp_path / "m.jsonata", tmp_path / "in.json")
    assert (done.code, f"{tmp_path / 'm.jsonata'}:2:" in done.err) == (1, True)
    (tmp_path / "in.json").write_text('{"a": 1,}')
    done = say("map", tmp_path / "m.jsonata", tmp_path / "in.json")
    assert (done.code, "the input cannot be read as json" in done.err) == (1, True)
    assert say("map", tmp_path / "missing.jsonata").code == 1


def test_a_mapping_is_explained(say: Say, tmp_path: Path) -> None:
    (tmp_path / "m.jsonata").write_text('lines[qty > 0].{\n  "sku": $uppercase(code)\n}')
    told = say("map", tmp_path / "m.jsonata", "--explain")
    assert (told.code, told.err) == (0, "")
    assert 'function "("  (2:20)' in told.out and 'variable "uppercase"  (2:10)' in told.out
    assert told.out.endswith("reads\n  lines\n  lines.qty\n  lines.code\n\nwrites\n  sku\n")
    in_json = say("map", "-x", "a.b", "--explain", "--json").json
    assert (in_json["reads"], in_json["writes"], in_json["tree"]["type"]) == (["a", "a.b"], [], "path")
    broken = say("map", "-x", "a[", "--explain")
    assert (broken.code, "expression:1:" in broken.err) == (1, True)


def test_expressions_are_tried_line_by_line_and_errors_do_not_end_it(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"a": 1, "text": "x,y\\n1,2"}')
    command = [sys.executable, "-m", "dovetail", "map", "--repl", str(tmp_path / "in.json"), "--bind", "b=2"]
    lines = b'a + $b\n\na + (\nnothing\n$sum("x")\n$parse("csv", text).y\n$table("t")\na'
    done = subprocess.run(command, input=lines, capture_output=True, check=True)
    assert done.stdout == b'3\n"2"\n1\n'
    said = done.stderr.decode().splitlines()
    assert [one.split(": ")[0] for one in said] == ["expression:3:6", "nothing", "expression:5:5", "expression:7:7"]
    told = subprocess.run([*command, "--json"], input=b"a\n(\n", capture_output=True, check=True).stdout.decode()
    assert '"result": 1' in told and '"code": "mapping"' in told


def test_connectors_are_listed_and_described(say: Say) -> None:
    listed = say("connectors", "--json").json
    assert {("http", "connection"), ("webhook", "source"), ("map", "step")} <= {(c["name"], c["kind"]) for c in listed}
    assert all(entry["summary"] for entry in listed)
    table = say("connectors").out
    assert all(entry["name"] in table for entry in listed)
    for entry in listed:
        described = say("connectors", entry["name"], "--kind", entry["kind"])
        assert (described.code, entry["name"] in described.out) == (0, True)
        whole = say("connectors", entry["name"], "--kind", entry["kind"], "--json").json
        assert whole["schema"]
        assert whole["reference"]
    missed = say("connectors", "htpt")
    assert (missed.code, "did you mean 'http'?" in missed.err) == (4, True)
