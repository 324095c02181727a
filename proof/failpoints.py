"""Every failpoint × first, second and last crossing × kill, raise and hang, in a real process, and what is left of it.

After each: restart, drain, and the target's own log must say what it says after a quiet day. A second family kills the
recovery from a kill.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import sleep

from dovetail.engine.failpoints import NAMES
from dovetail.testkit.processes import Recorder, until
from proof.result import Result, Stopwatch
from proof.server import Server
from proof.story import Story
from proof.target import Ledger

ACTIONS = ("kill", "raise", "hang")
HITS = ("first", "second", "last")
IN_RECOVERY = (
    "during_recovery", "before_run", "after_intent_before_send", "after_send_before_record", "after_outcome_commit",
    "store_before_commit", "store_after_commit",
)  # fmt: skip
SEVERAL = 3  # messages in flight at the first kill of those that kill the recovery
LIVES = 6  # attempts to meet the last crossing: runs differ a little in how often a failpoint is crossed


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
class Report:
    """What one trial showed."""

    problems: list[str] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)


def matrix(names: Sequence[str] = NAMES) -> list[Case]:
    """Every trial, in a fixed order: its place is its number."""
    cases = [Case(name, hit, action) for action in ACTIONS for hit in HITS for name in names]
    cases += [Case(name, "first", "kill", IN_RECOVERY[n % len(IN_RECOVERY)]) for n, name in enumerate(names)]
    return cases + [Case("after_send_before_record", "second", "kill", name) for name in IN_RECOVERY]


class Trial:
    """One case in a folder of its own."""

    def __init__(self, case: Case, folder: Path, target: Recorder, ledger: Ledger) -> None:
        self.case, self.ledger = case, ledger
        self.server = Server(folder, target.url)
        self.story = Story(self.server, ledger)
        self.report = Report()

    def run(self) -> Report:
        """Live, be hit, live on, and look at what is left."""
        hit = {"first": 1, "second": 2, "last": 0}[self.case.hit]
        if not self._reach(hit):
            self.report.problems.append("the failpoint was never crossed so often")
            return self.report
        self.report.counters[f"{self.case.name}:{self.case.action}"] += 1
        if self.case.recovery:
            self._die_again(self.case.recovery)
        if not self._finish():
            self.report.problems.append(f"it did not come to its end: {self.server.log()[-2000:]}")
        return self.report

    # --- the life that is hit -------------------------------------------------------------------------------------

    def _reach(self, hit: int) -> bool:
        """Live until the failpoint acted; False when it was never crossed."""
        if hit:
            return self._live(hit)
        hit = 1_000_000
        for _ in range(LIVES):
            self._forget()
            if self._live(hit):
                return True
            hit = min(hit - 1, self.server.crossed(self.case.name))
            if not hit:
                return False
        return False

    def _forget(self) -> None:
        """Begin from nothing: the day is played again."""
        self.server.kill()
        shutil.rmtree(self.server.store, ignore_errors=True)
        self.ledger.clear()
        self.ledger.fails = 3
        self.story = Story(self.server, self.ledger)

    def _live(self, hit: int) -> bool:
        name, action = self.case.name, self.case.action
        if name == "during_recovery":  # there has to be something to recover from
            self._die_in_flight()
        if name == "during_drain" and hit == 2:  # a server drains once in its life
            if not (self.server.begin() and self.story.play()) or self.server.stop():
                return False
            hit = 1
        ended = Event()
        alive = self.server.begin(f"{name}:{hit}:{action}") if action != "hang" else self._begin_hanging(hit, ended)
        if alive:
            alive = self.story.play()
        if alive and name == "during_drain":
            self.server.stop()
        if not alive:
            self._ended()
        ended.set()
        return self.server.crossed(name) >= hit

    def _ended(self) -> None:
        """Whoever cannot reach it any more waits for its end."""
        until("the server has ended", self.server.dead)

    def _die_in_flight(self) -> None:
        """A life that ends with several messages in flight."""
        if not (self.server.begin(f"after_send_before_record:{SEVERAL}:kill") and self.story.play()):
            self._ended()

    def _begin_hanging(self, hit: int, ended: Event) -> bool:
        """Start, and end it from outside once it hangs, as a supervisor would."""
        server, name = self.server, self.case.name
        watching = Event()

        def watch() -> None:
            lives = server.lives
            watching.set()
            while not ended.is_set():
                if server.lives > lives and server.crossed(name) >= hit:
                    server.kill()
                    return
                sleep(0.02)

        Thread(target=watch, daemon=True).start()
        watching.wait()
        return server.begin(f"{name}:{hit}:hang")

    # --- what comes after -----------------------------------------------------------------------------------------

    def _die_again(self, name: str) -> None:
        """Kill the recovery."""
        if not (self.server.begin(f"{name}:1:kill") and self.story.play()):
            self._ended()
        if self.server.crossed(name):
            self.report.counters[f"recovery:{name}"] += 1

    def _finish(self) -> bool:
        """To the end of the day, with one more start if need be, and the last look."""
        if not self.server.dead():
            self.report.counters["survived"] += 1
        elif not self.server.begin():
            return False
        if not self.story.play():
            return False
        self.report.problems += self.story.problems(ordered=self.case.action != "raise")
        status = self.server.stop()
        if status:
            self.report.problems.append(f"the drain ended with status {status}: {self.server.log()[-2000:]}")
        return True


def run(case: Case) -> Report:
    """One trial in a fresh folder."""
    folder = Path(tempfile.mkdtemp(prefix="dovetail-failpoint-"))
    ledger = Ledger(fails=3)
    target = Recorder(ledger)
    trial = Trial(case, folder, target, ledger)
    try:
        return trial.run()
    except AssertionError as error:
        trial.report.problems.append(f"{error}; the server said: {trial.server.log()[-3000:]}")
        return trial.report
    finally:
        trial.server.kill()
        target.close()
        shutil.rmtree(folder, ignore_errors=True)


def tier(cases: Sequence[int] = (), workers: int = 4) -> Result:
    """The whole matrix, or the trials with these numbers."""
    watch, every = Stopwatch(), matrix()
    numbers = list(cases or range(len(every)))
    result = Result(
        "failpoints", "a process hit at a named boundary, restarted, drained", "make prove TIER=failpoints CASE={}"
    )
    with ThreadPoolExecutor(workers) as pool:
        for number, report in zip(numbers, pool.map(lambda n: run(every[n]), numbers), strict=True):
            result.trials += 1
            result.counters += report.counters
            result.findings += [f"{number} ({every[number]}): {problem}" for problem in report.problems]
    if not cases:
        result.expected = [f"{name}:{action}" for name in NAMES for action in ACTIONS]
        result.expected += [f"recovery:{name}" for name in IN_RECOVERY]
    result.seconds = watch.seconds()
    return result
