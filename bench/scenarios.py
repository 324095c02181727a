"""The measurements, the same for every subject: accept, deliver, kill, away; two more of Dovetail and the floor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subjects import HERE, Dovetail, Subject, Target

CONNECTIONS = 64
WARM_UP = 200
WARM_UP_FIRST = 900_000_000  # running numbers of the warm-up, apart from the measured ones
QUIET_SECONDS = 8.0  # no call at the target for this long: nothing more is coming
DRAIN_SECONDS = 180.0


@dataclass(slots=True)
class Effort:
    """How long and how much."""

    seconds: float
    count: int
    rounds: int
    pending: int


FULL = Effort(seconds=8.0, count=250_000, rounds=3, pending=1_000_000)
QUICK = Effort(seconds=3.0, count=100_000, rounds=1, pending=50_000)


@dataclass(slots=True)
class Loss:
    """What became of accepted orders after a fault."""

    accepted: int
    missing: int
    repeated: int


@contextmanager
def stage(kind: type[Subject]) -> Iterator[tuple[Subject, Target]]:
    """A started subject and its target in a folder of their own, warmed up; both end and the folder goes."""
    folder = Path(tempfile.mkdtemp(prefix="dovetail-bench-"))
    target = Target(folder)
    subject = kind(folder, target.port)
    try:
        subject.deploy()
        subject.start()
        warm_up(subject, target)
        yield subject, target
    finally:
        subject.stop()
        target.end()
        shutil.rmtree(folder, ignore_errors=True)


def warm_up(subject: Subject, target: Target) -> None:
    """Send a few orders until the subject takes them, and forget them."""
    count = min(WARM_UP, subject.most // 10) if subject.most else WARM_UP
    deadline = time.monotonic() + 30
    while not (accepted := load(subject, count, 20, first=WARM_UP_FIRST)["accepted"]):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{subject.name} accepts nothing on {subject.url}")
        time.sleep(0.5)
    if subject.delivers:
        wait_quiet(target, accepted)
    target.command("reset")


def load_command(subject: Subject, count: int, seconds: float, first: int, accepted: Path | None) -> list[str]:
    count = min(count, subject.most) if subject.most else count
    command = [sys.executable, str(HERE / "load.py"), subject.url, "--connections", str(CONNECTIONS)]
    command += ["--count", str(count), "--seconds", str(seconds), "--first", str(first)]
    return [*command, "--accepted", str(accepted)] if accepted else command


def load(subject: Subject, count: int, seconds: float, first: int = 0, accepted: Path | None = None) -> dict[str, Any]:
    """Run the load generator to its end; returns what it printed."""
    command = load_command(subject, count, seconds, first, accepted)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def wait_quiet(target: Target, want: int, quiet: float = QUIET_SECONDS) -> dict[str, Any]:
    """Return once the target was called ``want`` times, or not at all for ``quiet`` seconds."""
    seen, since = -1, time.monotonic()
    deadline = since + DRAIN_SECONDS
    while time.monotonic() < deadline:
        counts: dict[str, Any] = target.command("seen")
        if counts["seen"] >= want:
            return counts
        if counts["seen"] != seen:
            seen, since = counts["seen"], time.monotonic()
        elif time.monotonic() - since > quiet:
            return counts
        time.sleep(0.05)
    return target.command("seen")  # type: ignore[no-any-return]


def accept(kind: type[Subject], effort: Effort) -> dict[str, Any]:
    """Orders answered 2xx a second, and the percentiles of that answer."""
    with stage(kind) as (subject, _target):
        return load(subject, effort.count, effort.seconds)


def deliver(kind: type[Subject], effort: Effort) -> dict[str, Any]:
    """Orders a second from the first one sent to the last one at the target, load and delivery together."""
    with stage(kind) as (subject, target):
        sent = load(subject, effort.count, effort.seconds)
        counts = wait_quiet(target, sent["accepted"])
        return {**sent, "rate": counts["seen"] / (counts["last"] - sent["begun"]), "seen": counts["seen"]}


def kill(kind: type[Subject], effort: Effort) -> Loss:
    """Orders accepted before a SIGKILL in mid-load and never seen at the target after the restart."""
    with stage(kind) as (subject, target):
        ids = subject.folder / "accepted"
        command = load_command(subject, effort.count, effort.seconds, 0, ids)
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while target.command("seen")["seen"] < min(2_000, (subject.most or 10**9) // 4):
            time.sleep(0.02)
        subject.kill()
        running.wait()
        subject.start()
        settle(subject, target)
        return loss(ids, target)


def away(kind: type[Subject], effort: Effort) -> Loss:
    """Orders accepted while the target was away for ten seconds and never seen there."""
    with stage(kind) as (subject, target):
        ids = subject.folder / "accepted"
        target.command("away")
        begun = time.monotonic()
        load(subject, min(effort.count, 5_000), min(8.0, effort.seconds), accepted=ids)
        time.sleep(max(0.0, begun + 10 - time.monotonic()))
        target.command("back")
        settle(subject, target)
        return loss(ids, target)


def settle(subject: Subject, target: Target) -> None:
    """Wait until nothing more can come: the subject says it is drained, or the target hears nothing for a while."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        drained = subject.drained()
        if drained is None:
            wait_quiet(target, sys.maxsize)
            return
        if drained:
            return
        time.sleep(0.2)


def loss(ids: Path, target: Target) -> Loss:
    """Compare the accepted ids with those the target saw."""
    accepted, seen = set(ids.read_text().split()), target.ids()
    return Loss(len(accepted), len(accepted - set(seen)), len(seen) - len(set(seen)))


def floor_topic(effort: Effort) -> dict[str, float]:
    """Messages a second of the bare SQLite loop."""
    with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as folder:
        command = [sys.executable, str(HERE / "floor.py"), "topic", "--folder", folder]
        command += ["--count", str(min(effort.count, 100_000))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {"rate": float(json.loads(done.stdout)["rate"])}


class TopicFill(Dovetail):
    """The flow that fills the topic by webhook."""

    flow, path, delivers = "fill", "/hooks/fill", False


class TopicMove(Dovetail):
    """The flow that reads the topic, maps and publishes to another."""

    flow, delivers = "move", False


def dovetail_topic(effort: Effort) -> dict[str, float]:
    """Messages a second from one topic through a mapping to another, after the first was filled."""
    count = min(effort.count, 100_000)
    with stage(TopicFill) as (fill, target):
        load(fill, count, DRAIN_SECONDS)
        settle(fill, target)
        fill.stop()
        move = TopicMove(fill.folder, target.port)
        move.deploy()
        try:
            move.start()
            begun, before = time.monotonic(), move.counts()["done"]
            while (done := move.counts()["done"]) < count:
                if time.monotonic() - begun > DRAIN_SECONDS:
                    raise RuntimeError(f"only {done:,} of {count:,} messages were moved in {DRAIN_SECONDS:.0f} s")
                time.sleep(0.05)
            return {"rate": (done - before) / (time.monotonic() - begun)}
        finally:
            move.stop()


def pending(effort: Effort) -> dict[str, float]:
    """Memory, bytes on disk and restart time with many messages pending because the target is away."""
    with stage(Dovetail) as (subject, target):
        target.command("away")
        accepted = 0
        while accepted < effort.pending:
            accepted += load(subject, min(100_000, effort.pending - accepted), DRAIN_SECONDS, first=accepted)[
                "accepted"
            ]
            print(f"    {accepted:,} pending", flush=True)
        assert isinstance(subject, Dovetail)
        assert subject.process
        memory = subject.process.memory()
        subject.stop()
        size = sum(file.stat().st_size for file in subject.store.rglob("*") if file.is_file())
        target.command("back")
        begun = time.monotonic()
        subject.start()
        while target.command("seen")["seen"] == 0:
            if time.monotonic() - begun > DRAIN_SECONDS:
                raise RuntimeError("nothing was delivered after the restart")
            time.sleep(0.01)
        return {
            "pending": accepted,
            "memory": memory,
            "memory_after": subject.process.memory(),
            "restart": time.monotonic() - begun,
            "bytes": size / accepted,
        }
