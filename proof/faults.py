"""Faults of the network, the disk, the clock and operators, in real processes: a proxy between them, a hand in libc."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from dovetail.testkit.processes import until
from proof import proxy, rot, twins
from proof.day import Day
from proof.failpoints import Trial
from proof.images.journal import shim
from proof.images.tier import BUILD
from proof.proxy import Proxy
from proof.result import Result
from proof.senders import SENDERS, Senders
from proof.story import Story

BEFALLEN = SENDERS  # connections that a fault of the network befalls before it is over
EVENTS = 25  # that happen between two changes
HOUR = 3600 * 10**9
SLOW = ("latency", "drip")
FLUSHES = ("12,1", "20,1", "30,2", "45,1")  # which flushes fail: the first, and how many


@dataclass(frozen=True, slots=True)
class Case:
    """Where it goes wrong (target, source, disk, flush, clock, message, twins, rot), and how."""

    place: str
    how: str

    def __str__(self) -> str:
        return f"{self.place}: {self.how}"


CASES = [
    *(Case(place, how) for place in ("target", "source") for how in proxy.FAULTS), Case("disk", "full"),
    *(Case("flush", how) for how in FLUSHES), Case("clock", "forwards"), Case("clock", "backwards"),
    Case("message", "giant"), *(Case("twins", how) for how in twins.HOWS), *(Case("rot", how) for how in rot.HOWS),
]  # fmt: skip


class Drill:
    """One case. `seed` varies what is sent, in which order, and when."""

    def __init__(self, case: Case, seed: int, folder: Path) -> None:
        self.case, self.dice, self.trial = case, Random(seed), Trial()
        giant = 900_000 if case.place == "message" else 0
        # When a backup is restored, what was done since is done again: once where the target dedupes and the key is
        # the same, which is not so of careful orders and of groups (see docs/operations.md).
        rotten = case.place == "rot"
        day = Day(
            orders=10, careful=0 if rotten else 3, batches=2, bad=1, groups=0 if rotten else 3, shipping=2, trips=2,
            pad=giant, giant=2 if rotten else 0,
        )  # fmt: skip
        self.folder, self.story = folder, Story(day, folder)
        self.control = folder / "control"
        self.hand(0, 0)
        self.network: Proxy | None = None

    def hand(self, skew: int, full: int) -> None:
        """Set the wall clock off by so many nanoseconds; take away the room on the disk."""
        with self.control.open("r+b" if self.control.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("<qq", skew, full))

    def run(self) -> None:
        """Work through the fault, then in peace, and look."""
        story = self.story
        self._prepare()
        if not story.server.begin():  # a store that cannot be flushed is not opened
            self.trial.counters["refused to start"] += 1
            story.witness.fault("fsync-failure", self.case.how)
            self._mend()
        if self.case.place == "source":
            story.door = self.network = Proxy(story.server.port)
        if self.case.place == "rot":
            rot.Rot(story, self.case.how, self.dice, self.folder).run()
            self.trial.counters[str(self.case)] += 1
            self._finish()
            return
        senders = Senders(story, self.dice)
        self._befall(senders)
        if story.server.dead():  # it gave up its store, as it should
            self.trial.counters["gave up"] += 1
            self._mend()
        senders.join()
        self._finish()

    def _finish(self) -> None:
        story = self.story
        assert story.play(), f"it died: {story.server.log()[-1500:]}"
        report = story.judge()
        self.trial.breaches += report.breaches
        self.trial.cells += report.cells()

    def _mend(self) -> None:
        """Start again on a disk that works."""
        assert self.story.server.environment.pop("SHIM_SYNC", ""), self.story.server.log()
        assert self.story.server.begin(), self.story.server.log()

    def _prepare(self) -> None:
        story, case = self.story, self.case
        if case.place == "target":
            self.network = Proxy(story.target.port)
            story.server.target = self.network.url
            story.ledger.lossy = True
        if case.place in ("disk", "flush", "clock"):
            store = story.server.store
            store.mkdir()
            story.server.environment |= {
                "LD_PRELOAD": str(shim(BUILD).resolve()), "SHIM_ROOT": str(store), "SHIM_CONTROL": str(self.control),
            }  # fmt: skip
        if case.place == "flush":
            story.server.environment["SHIM_SYNC"] = case.how

    def _befall(self, senders: Senders) -> None:
        place, how, witness = self.case.place, self.case.how, self.story.witness
        if self.network is not None:
            name = "source-repeats" if place == "source" else "slow-consumer" if how in SLOW else "bad-target"
            witness.fault(name, how)
            network = self.network
            network.set(how)
            until("the network fails", lambda: network.met >= BEFALLEN or not senders.busy())
            self.trial.counters[str(self.case)] += network.met >= 1
            network.set("")
            return
        if place == "twins":
            pair = twins.Twins(self.story, how)
            pair.run(senders)
            self.trial.counters[str(self.case)] += 1
            self.trial.counters["a second server was refused"] += pair.refused
            return
        names = {"disk": "disk-full", "flush": "fsync-failure", "clock": "clock-jump", "message": "giant"}
        witness.fault(names[place], how)
        if place == "clock":
            for hours in (1, 30, -2) if how == "forwards" else (-1, -30, 5):
                self._wait(senders)
                self.hand(hours * HOUR, 0)
        elif place == "disk":
            for full in (1, 0, 1, 0):
                self._wait(senders)
                self.hand(0, full)
        self.trial.counters[str(self.case)] += 1

    def _wait(self, senders: Senders) -> None:
        """Until a little more has happened."""
        events = len(self.story.witness.events)
        until("something happens", lambda: not senders.busy() or len(self.story.witness.events) >= events + EVENTS)

    def close(self) -> None:
        """End everything that was started."""
        self.story.close()
        if self.network is not None:
            self.network.close()


def run(number: int) -> Trial:
    """One trial: the case by its place in the list, its seed by how often the list was gone through."""
    folder = Path(tempfile.mkdtemp(prefix="dovetail-faults-"))
    drill = Drill(CASES[number % len(CASES)], number, folder)
    try:
        drill.run()
    except AssertionError as error:
        log = drill.story.server.log()
        drill.trial.breaches.append(("accounted", f"{drill.case}: {error}; the server said: {log[-2000:]}"))
    finally:
        drill.close()
        shutil.rmtree(folder, ignore_errors=True)
    return drill.trial


def tier(count: int, numbers: Sequence[int] = (), workers: int = 4) -> Result:
    """At least `count` trials (each case at least once), or those with these numbers."""
    shim(BUILD)
    result = Result("faults", "a real server through a fault of the network, the disk or the clock", "CASE")
    wanted = list(numbers or range(max(count, len(CASES))))
    result.total = len(wanted)
    with ThreadPoolExecutor(workers) as pool:
        for number, trial in zip(wanted, pool.map(run, wanted), strict=True):
            result.add(f"{number} ({CASES[number % len(CASES)]})", trial.breaches, trial.counters, trial.cells)
    result.expected = [] if numbers else [str(case) for case in CASES]
    return result.end()
