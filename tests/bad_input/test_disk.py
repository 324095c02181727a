"""A full disk: 503 while it is full, and everything as before when there is room again, without a restart."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dovetail.testkit.processes import Dovetail, Recorder, request, until

PROJECT = Path(__file__).resolve().parents[1] / "flows/publish-subscribe"
SIZE = 24 << 20


class OnSmallDisk(Dovetail):
    """A server whose store lies on a disk of its own, which nobody else sees. `first` is done before it starts."""

    first = ""

    def command(self) -> list[str]:
        store = shlex.quote(str(self.store))
        script = (
            f"mount -t tmpfs -o size={SIZE},mode=700 none {store} && {self.first} exec {shlex.join(super().command())}"
        )
        return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", script]

    def seen(self) -> Path:
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root") / self.store.relative_to("/")

    def fill(self) -> None:
        """Not a byte is left."""
        with (self.seen() / "filler").open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 10, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.seen() / "filler").unlink()


@pytest.fixture
def server(tmp_path: Path, target: Recorder) -> Iterator[OnSmallDisk]:
    (tmp_path / "store").mkdir()
    server = OnSmallDisk(PROJECT, tmp_path, {"SYSTEMS_URL": target.url})
    assert server.start(), server.log()
    yield server
    server.kill()


def order(number: int) -> str:
    return json.dumps({"id": number, "customer": "c", "total": 1, "lines": ["x" * 1000]})


def test_a_full_disk(server: OnSmallDisk, target: Recorder) -> None:
    accepted, refused, number = [], [], 0
    for _ in range(2):
        for _ in range(20):
            number += 1
            assert server.post("/orders", order(number)).status == 202
            accepted.append(number)
        server.fill()

        def full() -> bool:
            nonlocal number
            number += 1
            answer = server.post("/orders", order(number))
            assert answer.status in (202, 503), answer
            (accepted if answer.status == 202 else refused).append(number)
            if answer.status == 503:
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.json["code"] and answer.json["detail"]
            return answer.status == 503

        until("the disk is full", full)
        assert server.post("/orders", b"{").status == 400, "what is wrong is told all the same"
        assert server.flows() is not None, "and so is how things stand"
        server.make_room()
        until("there is room again", lambda: server.post("/orders", order(refused[-1])).status == 202)
        accepted.append(refused.pop())

    flows = server.settled(orders=len(accepted))
    assert [flow["dead"] for flow in flows.values()] == [0, 0, 0]
    stored = sorted(json.loads(body)["id"] for body in target.bodies("/ledger"))
    assert stored == sorted(accepted), "each that was accepted, and none that was refused"
    server.kill()
    assert server.log().count("Traceback") == 0, server.log()


def test_starting_on_a_full_disk(tmp_path: Path, target: Recorder) -> None:
    (tmp_path / "store").mkdir()
    before = Dovetail(PROJECT, tmp_path / "store", {"SYSTEMS_URL": target.url})
    before.store = tmp_path / "good"
    assert before.start() and before.stop() == 0, before.log()
    server = OnSmallDisk(PROJECT, tmp_path, before.environment)
    copy = shlex.join(["cp", "-r", f"{before.store}/.", str(server.store)])
    server.first = f"{copy} && {{ cat /dev/zero > {shlex.quote(str(server.store))}/filler 2>/dev/null; true; }} &&"
    assert not server.start()
    assert server.process is not None and server.process.returncode == 3, server.log()
    assert "full" in server.log() and "store.db" in server.log() and "Traceback" not in server.log()


FILES = """flow: files
source:
  file: {folder: inbox, pattern: "*.json", every: 50ms, settle_for: 50ms}
steps:
  - call: systems.enter
"""


@pytest.fixture
def guarded(tmp_path: Path, target: Recorder) -> Iterator[OnSmallDisk]:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    (project / "inbox").mkdir()
    (project / "flows/files.yaml").write_text(FILES)
    text = project / "dovetail.yaml"
    text.write_text(text.read_text() + "disk: {stop_accepting: 60, stop_fetching: 75, resume_below: 10}\n")
    (tmp_path / "store").mkdir()
    server = OnSmallDisk(project, tmp_path, {"SYSTEMS_URL": target.url})
    assert server.start(), server.log()
    yield server
    server.kill()


def fill(server: OnSmallDisk, share: float) -> None:
    """Let so much of the disk be used, as far as a file beside the store can."""
    filler = server.seen() / "filler"
    disk = os.statvfs(server.seen())
    used = (disk.f_blocks - disk.f_bavail) * disk.f_frsize
    size = filler.stat().st_size if filler.exists() else 0
    with filler.open("ab") as file:
        file.truncate(max(0, size + int(share * SIZE) - used))
        file.flush()
        os.posix_fallocate(file.fileno(), 0, max(1, size + int(share * SIZE) - used))


def ready(server: OnSmallDisk) -> bool:
    return request(server.admin, "GET", "/readyz").status == 200


def test_doors_shut_before_the_disk_is_full(guarded: OnSmallDisk, target: Recorder) -> None:
    server = guarded

    def status() -> str:
        return str(server.ask("GET", "/api/status")["disk"])

    def send(number: int) -> int:
        return server.send("/orders", {"id": number, "customer": "c", "total": 1, "lines": []})

    assert send(1) == 202 and status() == "" and ready(server)
    fill(server, 0.65)
    until("it is full", lambda: status() == "full")
    answer = server.post("/orders", json.dumps({"id": 2, "customer": "c", "total": 1, "lines": []}))
    assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1 and "full" in answer.json["detail"]
    assert not ready(server)
    reasons = server.ask("GET", "/api/status")["reasons"]
    assert any("disk" in reason for reason in reasons), reasons
    (server.project / "inbox/one.json").write_text("{}")
    fill(server, 0.80)
    until("it is very full", lambda: status() == "very full")
    fill(server, 0.62)
    until("files are looked at again", lambda: status() == "full")
    assert send(3) == 503
    assert server.count("files", "accepted") == 0
    fill(server, 0.30)
    until("there is room", lambda: status() == "")
    assert send(2) == 202 and ready(server)
    server.settled(orders=2, files=1)
    assert len(target.bodies("/ledger")) == 3
    log = server.log()
    assert "disk_full" in log and "disk_very_full" in log and "disk_has_room" in log and "Traceback" not in log
    metrics = request(server.admin, "GET", "/metrics", headers={"Authorization": f"Bearer {server.token}"}).body
    assert b"dovetail_disk_level 0.0" in metrics
