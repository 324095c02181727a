"""A full disk: 503 while it is full, and everything as before when there is room again, without a restart."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from dovetail.testkit.processes import Dovetail, Recorder, until

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
