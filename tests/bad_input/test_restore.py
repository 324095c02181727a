"""A store that is lost and restored: sources send everything again, and targets that dedupe have each effect once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dovetail.testkit.processes import Dovetail, Recorder, until

PROJECT = Path(__file__).resolve().parents[1] / "flows/publish-subscribe"
LARGE = "é" * 1_500_000  # in a file beside the store


@pytest.fixture
def server(tmp_path: Path, target: Recorder) -> Iterator[Dovetail]:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    flow = project / "flows/orders.yaml"
    flow.write_text(flow.read_text().replace("{path: /orders}", "{path: /orders, max_body: 10MB}"))
    server = Dovetail(project, tmp_path, {"SYSTEMS_URL": target.url})
    assert server.start(), server.log()
    yield server
    server.kill()


def command(server: Dovetail, *words: str) -> subprocess.CompletedProcess[str]:
    """One command on the server's project and store."""
    where = ["--project", str(server.project), "--store", str(server.store)]
    return subprocess.run(
        [sys.executable, "-m", "dovetail", *words, *where], capture_output=True, text=True, timeout=60
    )


def order(number: int) -> str:
    lines = [LARGE if number % 10 == 0 else "x", number]
    return json.dumps({"id": number, "customer": f"c{number % 3}", "total": 1, "lines": lines}, ensure_ascii=False)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_lost_store_restored(server: Dovetail, tmp_path: Path, target: Recorder, stopped: bool) -> None:
    backup = tmp_path / "backups" / "first"
    for number in range(30):
        assert server.post("/orders", order(number)).status == 202
    if stopped:
        assert server.stop() == 0, server.log()
    made = command(server, "backup", str(backup), "--json")  # some of the thirty are still under way
    assert made.returncode == 0, made.stderr
    answer = json.loads(made.stdout)
    assert answer["phase"] == "done" and answer["files"] == 3 and answer["messages"] >= 30, answer
    if stopped:
        assert server.start(), server.log()
    ids = {server.post("/orders", order(number)).json["id"] for number in range(30, 60)}
    server.settled(orders=60)
    server.kill()

    again = command(server, "restore", str(backup))
    assert again.returncode != 0 and "--replace" in again.stderr, "a store that is there is not written over"
    shutil.rmtree(server.store)
    assert command(server, "restore", str(backup)).returncode == 0
    assert server.start(), server.log()
    answers = [server.post("/orders", order(number)) for number in range(60)]
    assert [a.status for a in answers] == [200] * 30 + [202] * 30, "what the backup has is known, the rest is new"
    assert not ids & {a.json["id"] for a in answers}, "no id of the lost store is given again"
    server.settled(orders=60, ledger=60, packing=60)
    for path in ("/ledger", "/packing"):
        assert len(target.bodies(path)) == 60, "each effect has one name, before the loss and after"
    calls = [request for request in target.requests if request.path == "/ledger"]
    assert len(calls) >= 90, "and the lost ones were made again"
    assert server.stop() == 0, server.log()
    assert server.log().count("Traceback") == 0, server.log()


def test_a_damaged_backup_is_not_restored(server: Dovetail, tmp_path: Path, target: Recorder) -> None:
    for number in range(11):
        assert server.post("/orders", order(number)).status == 202
    server.settled(orders=11)
    assert server.stop() == 0
    backup = tmp_path / "backup"
    assert command(server, "backup", str(backup)).returncode == 0
    assert command(server, "backup", str(backup)).returncode != 0, "a folder that is not empty is no place for one"
    before = sorted(file.name for file in server.store.iterdir())
    file = next((backup / "store.db-payloads").iterdir())
    content = file.read_bytes()
    for damage in (content[:-1], content[:100] + bytes([content[100] ^ 1]) + content[101:]):
        file.write_bytes(damage)
        answer = command(server, "restore", str(backup), "--replace")
        assert answer.returncode != 0 and file.name in answer.stderr, answer
    file.write_bytes(content)
    os.truncate(backup / "store.db", (backup / "store.db").stat().st_size - 8192)
    answer = command(server, "restore", str(backup), "--replace")
    assert answer.returncode != 0 and "damaged" in answer.stderr, answer
    (backup / "backup.json").unlink()
    answer = command(server, "restore", str(backup), "--replace")
    assert answer.returncode != 0 and "no finished backup" in answer.stderr, answer
    assert sorted(file.name for file in server.store.iterdir()) == before, "the store was not touched"


def test_the_store_that_is_replaced_is_moved_aside(server: Dovetail, tmp_path: Path, target: Recorder) -> None:
    assert server.post("/orders", order(10)).status == 202
    backup = tmp_path / "backup"
    assert command(server, "backup", str(backup)).returncode == 0
    busy = command(server, "restore", str(backup), "--replace")
    assert busy.returncode != 0 and "in use by process" in busy.stderr
    server.kill()
    assert command(server, "restore", str(backup), "--replace").returncode == 0
    assert list(server.store.glob("store.db.before-*")) and list(server.store.glob("store.db-payloads.before-*"))
    assert server.start(), server.log()
    until("it has the order", lambda: len(target.bodies("/ledger")) == 1)
    server.kill()
