"""Every failpoint × first, second and last crossing × kill, raise and hang, in a real process, and what is left of it.

After each: restart, drain, and what senders, target and operator saw is judged. A second family kills the recovery from
a kill.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from time import sleep

from dovetail.engine.failpoints import BESIDE, NAMES
from dovetail.testkit.history import Crash
from dovetail.testkit.processes import until
from proof.day import Day
from proof.places import in_memory
from proof.result import Result
from proof.story import Story

ACTIONS = ("kill", "raise", "hang")
HITS = ("first", "second", "last")
IN_RECOVERY = (
    "during_recovery", "before_run", "after_intent_before_send", "after_send_before_record", "after_outcome_commit",
    "store_before_commit", "store_after_commit",
)  # fmt: skip
SPILLING = tuple(name for name in BESIDE if name.startswith("spill"))
SEVERAL = 3  # calls under way at the kill that is to be recovered from
LIVES = 6  # attempts to meet the last crossing: runs differ a little in how often a failpoint is crossed
STALL, WATCHED = 1, 6.0  # seconds that the loop may stand still, and until nobody waits for the watchdog any more
NEVER = 1_000_000  # crossings that no run has
_last: dict[str, int] = {}  # how often each failpoint is crossed in a day on which nothing happens
_learning = Lock()


@dataclass(frozen=True, slots=True)
class Case:
    """One trial. `recovery` is the failpoint that kills the life after it, if there is one."""

    name: str
    hit: str
    action: str
    recovery: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.hit} {self.action}" + (f", then {self.recovery}" if self.recovery else "")


@dataclass(slots=True)
class Trial:
    """What one trial showed."""

    breaches: list[tuple[str, str]] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    cells: list[tuple[str, str]] = field(default_factory=list)


def matrix(names: Sequence[str] = (*NAMES, *SPILLING)) -> list[Case]:
    """Every trial, in a fixed order: its place is its number."""
    cases = [Case(name, hit, action) for action in ACTIONS for hit in HITS for name in names]
    cases += [Case(name, "first", "kill", IN_RECOVERY[n % len(IN_RECOVERY)]) for n, name in enumerate(names)]
    return cases + [Case("after_send_before_record", "second", "kill", name) for name in IN_RECOVERY]


def run(case: Case) -> Trial:
    """One trial in a fresh folder."""
    folder = in_memory("dovetail-failpoint-")
    drill = Drill(case, folder)
    try:
        drill.run()
    except AssertionError as error:
        drill.trial.breaches.append(("accounted", f"{error}; the server said: {drill.story.server.log()[-3000:]}"))
    finally:
        drill.story.close()
        shutil.rmtree(folder, ignore_errors=True)
    return drill.trial


class Drill:
    """One case in a folder of its own."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder, self.trial = case, folder, Trial()
        self.story = self._morning()

    def _morning(self) -> Story:
        return Story(
            Day(orders=10, careful=3, batches=2, bad=2, groups=5, shipping=3, trips=3, giant=2), self.folder, fails=3
        )

    def run(self) -> None:
        """Live, be hit, live on, and look at what is left."""
        hit = {"first": 1, "second": 2, "last": 0}[self.case.hit]
        assert self._reach(hit), "the failpoint was never crossed so often"
        self.trial.counters[f"{self.case.name}:{self.case.action}"] += 1
        if self.case.recovery:
            self._die_again(self.case.recovery)
        self._finish()

    # --- the life that is hit -------------------------------------------------------------------------------------

    def _reach(self, hit: int) -> bool:
        """Live until the failpoint acted at crossing `hit` (0: the last one); False when that was never met."""
        wanted = hit or self._crossed_in_a_day()
        for _ in range(LIVES):
            if self._live(wanted):
                return True
            if not hit:
                wanted = min(wanted - 1, self.story.server.crossed(self.case.name)) or 1
            self._once_more()
        return False

    def _once_more(self) -> None:
        self.story.close()
        shutil.rmtree(self.story.server.store, ignore_errors=True)
        self.story = self._morning()

    def _crossed_in_a_day(self) -> int:
        """How often the failpoint is crossed when nothing happens. The first to ask lives that day."""
        with _learning:
            if not _last:
                server = self.story.server
                assert server.begin() and self.story.play() and server.stop() == 0, server.log()
                _last.update({name: server.crossed(name) for name in (*NAMES, *SPILLING)})
                self._once_more()
        return _last[self.case.name] or NEVER  # one that is not crossed then tells in its first life

    def _live(self, hit: int) -> bool:
        """Live until the failpoint acted; False when it was not crossed so often."""
        name, server = self.case.name, self.story.server
        if name == "during_recovery":  # there has to be something to recover from
            self._killed_with_several_under_way()
        if name == "during_drain" and hit == 2:  # a server drains once in its life
            assert server.begin() and self.story.play() and server.stop() == 0, server.log()
            hit = 1
        self._until_death(f"{name}:{hit}:{self.case.action}", hit)
        return server.crossed(name) >= hit

    def _killed_with_several_under_way(self) -> None:
        """A life that is killed when several calls wait for their answer, however fast the machine is."""
        story, ledger = self.story, self.story.ledger
        ledger.hold.clear()

        def end() -> None:
            until("several calls are under way", lambda: ledger.held >= SEVERAL)
            story.witness.fault("kill", str(self.case))
            story.server.kill()
            ledger.hold.set()

        assert story.server.begin(), story.server.log()
        watcher = Thread(target=end, daemon=True)
        watcher.start()
        assert not story.play(), "it was to be killed"
        watcher.join()

    def _until_death(self, failpoint: str, hit: int = NEVER) -> None:
        """A life that ends where it was told to, or at the end of the day (the drain included if that is drilled)."""
        server, ended = self.story.server, Event()
        watcher = Thread(target=self._watch, args=(hit, ended), daemon=True)
        server.options = ["--stall", str(STALL)] if failpoint.endswith(":hang") else []
        alive = server.begin(failpoint, lambda: watcher.start())
        server.options = []
        alive = alive and self.story.play()
        if alive and self.case.name == "during_drain":
            server.stop()
        ends = self.case.action != "raise" and server.crossed(self.case.name) >= hit
        if ends or not alive:
            until("the server has ended", server.dead)
        ended.set()
        watcher.join()

    def _watch(self, hit: int, ended: Event) -> None:
        """See to its end once it hangs. When it was made to raise, it may have forgotten things."""
        server, name, action = self.story.server, self.case.name, self.case.action
        while not ended.is_set():
            if server.crossed(name) >= hit:
                if action == "raise":
                    self.story.witness.add(Crash())
                    return
                if action == "hang":
                    self._hung()
                self.story.witness.fault("kill", str(self.case))
                return
            sleep(0.005)

    def _hung(self) -> None:
        """Its own watchdog ends it, or (while it starts or ends, when nothing watches yet) somebody from outside."""
        try:
            until("the watchdog has ended it", self.story.server.dead, WATCHED)
            self.trial.counters["ended by its watchdog"] += 1
        except AssertionError:
            self.story.server.kill()
            self.trial.counters["ended from outside"] += 1

    # --- what comes after -----------------------------------------------------------------------------------------

    def _die_again(self, name: str) -> None:
        """Kill the recovery."""
        self._until_death(f"{name}:1:kill")
        if self.story.server.crossed(name):
            self.trial.counters[f"recovery:{name}"] += 1

    def _finish(self) -> None:
        """To the end of the day, with one more start if need be, and the last look."""
        server = self.story.server
        if not server.dead():
            self.trial.counters["survived"] += 1
        assert not server.dead() or server.begin(), "it does not start again"
        assert self.story.play(), "it died without being told to"
        report = self.story.judge(surprised=self.case.action == "raise")
        self.trial.breaches += report.breaches
        self.trial.cells += report.cells()
        self.trial.counters += self.story.ledger.counters
        self.trial.counters["refused"] += self.story.refused


def tier(cases: Sequence[int] = (), workers: int = 4) -> Result:
    """The whole matrix, or the trials with these numbers."""
    every = matrix()
    numbers = list(cases or range(len(every)))
    result = Result("failpoints", "a process hit at a named boundary, restarted and drained", "CASE")
    result.total = len(numbers)
    with ThreadPoolExecutor(workers) as pool:
        for number, trial in zip(numbers, pool.map(lambda n: run(every[n]), numbers), strict=True):
            result.add(f"{number} ({every[number]})", trial.breaches, trial.counters, trial.cells)
    if not cases:
        result.expected = [f"{name}:{action}" for name in (*NAMES, *SPILLING) for action in ACTIONS]
        result.expected += [*(f"recovery:{name}" for name in IN_RECOVERY), "ended by its watchdog"]
    return result.end()
