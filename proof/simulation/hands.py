"""Whatever hands do to a world's node: mischief around it, deploys, restarts, and an operator's redrives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dovetail.control.answers import RedriveOrder, Search
from dovetail.control.job import JobAnswer, JobOrder
from dovetail.engine.failpoints import Injected
from dovetail.errors import Refused, Unavailable
from dovetail.testkit import history
from proof.simulation.families import Family
from proof.simulation.node import Life
from proof.simulation.outside import JSON, identity

if TYPE_CHECKING:
    from proof.simulation.world import World

MOST_WRONG = 2 * 86400.0  # seconds that the clock may be ahead: what ended longer ago than that may be pruned
TRIES = 5  # of an operator to whom the server says that it takes nothing at the moment
BAD = ("down", "5xx", "5xx-applied", "reset", "lost", "hang", "late", "4xx", "429", "garbage")


class Hands:
    """Those of one world, which draw from its dice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pausing: asyncio.Future[Any] | None = None  # a redrive job that is about to be paused

    # --- mischief -----------------------------------------------------------------------------------------------------

    def mischief(self) -> list[Any]:
        work = []
        if self._world.faults & {"bad-target", "slow-consumer", "expired-credentials"}:
            work.append(self._weather())
        if self._world.on("disk-full"):
            work.append(self._full_disks())
        if self._world.on("clock-jump"):
            work.append(self._clock_jumps())
        if self._world.on("deploy"):
            work.append(self._deploys())
        if self._world.restarts:
            work.append(self._restarts())
        if self._world.dice.random() < 0.4:
            work.append(self._impatient_operator())
        return work

    async def _weather(self) -> None:
        """Systems have their bad times."""
        dice = self._world.dice
        words = [word for word in BAD if self._world.on("bad-target")]
        words += ["slow"] * self._world.on("slow-consumer") + ["credentials"] * self._world.on("expired-credentials")
        while True:
            await asyncio.sleep(dice.expovariate(1.0) * dice.choice((0.01, 0.1, 2.0)))
            mine = dice.sample(words, min(len(words), dice.choice((1, 1, 2, 4))))
            share = dice.choice((0.2, 0.5, 1.0))
            for system in list(self._world.systems.values()):
                if dice.random() < 0.6:
                    system.trouble = (mine, share)
            await asyncio.sleep(dice.expovariate(1.0) * dice.choice((0.1, 1.0, 10.0)))
            for system in self._world.systems.values():
                system.trouble = None

    async def _full_disks(self) -> None:
        while True:
            await asyncio.sleep(self._world.dice.expovariate(1.0) * self._world.dice.choice((0.01, 1.0, 5.0)))
            self._world.disk_full = True
            await asyncio.sleep(self._world.dice.expovariate(1.0))
            self._world.disk_full = False

    _wrong = 0.0  # seconds by which the clock is ahead

    async def _clock_jumps(self) -> None:
        while True:
            await asyncio.sleep(self._world.dice.expovariate(1.0) * self._world.dice.choice((0.05, 3.0)))
            self._world.fault("clock-jump")
            self._wrong = min(self._wrong + self._world.dice.choice((-100.0, -3.0, 2.0, 100.0, 86400.0)), MOST_WRONG)
            self._world.clock.set_wall(self._world.began + int((self._world.clock.monotonic() + self._wrong) * 1000))

    async def _deploys(self) -> None:
        """New versions, one process after the other: in good order, or in haste."""
        for _ in range(self._world.dice.choice((1, 1, 3))):
            await asyncio.sleep(self._world.dice.expovariate(1.0) * self._world.dice.choice((0.02, 0.5, 5.0)))
            life = self._world.life
            if not life.up:
                continue
            family = self._world.dice.choice(self._world.families)
            self._world.versions[family.name] = 3 - self._world.versions[family.name]
            self._world.canary[family.name] += 1
            self._world.fault("deploy")
            if self._world.chance(0.5):
                self._world.some("a deploy while running")
                await self._deploy(life, family, self._world.canaries and self._world.chance(0.7))
            elif self._world.chance(0.7):
                self._world.some("a deploy in good order")
                life.task(life.end(self._world.dice.choice((0.0, 0.5, 30.0))))
                await asyncio.wait([life.gone])  # whoever is cancelled here leaves it alone
            else:
                self._world.some("a deploy in haste")
                life.fall()

    async def _restarts(self) -> None:
        """Somebody stops the process in good order; the supervisor starts it again."""
        for _ in range(5):
            await asyncio.sleep(self._world.dice.expovariate(1.0) * self._world.dice.choice((0.1, 1.0, 5.0)))
            life = self._world.life
            if life.up:
                life.task(life.end(self._world.dice.choice((0.0, 0.5, 30.0))))
                await asyncio.wait([life.gone])  # whoever is cancelled here leaves it alone

    async def _deploy(self, life: Life, family: Family, canary: bool) -> None:
        """Bring the new version into the running engine, for all messages or for a share of them."""
        self._world.deploying = True
        answer = await life.ask(life.deploy(family if canary else None))
        self._world.deploying = False
        if canary and isinstance(answer, Unavailable):  # nothing was changed
            self._world.versions[family.name] = life.versions[family.name] = 3 - self._world.versions[family.name]
        elif isinstance(answer, Exception):
            self._world.breach("accounted", f"a deploy failed: {answer!r}")

    async def _impatient_operator(self) -> None:
        while True:
            await asyncio.sleep(self._world.dice.expovariate(1.0) * self._world.dice.choice((0.5, 5.0)))
            if self._world.life.up:
                await self.redrive_all(last=False, share=0.5)

    # --- the operator -------------------------------------------------------------------------------------------------

    async def redrive_all(self, last: bool, share: float = 1.0) -> int:
        """Take up dead letters (not those that only a person could decide about); how many."""
        life = await self._world.a_life()
        page = await life.ask(life.control.messages(Search(states=["dead"], limit=1000)))
        if page is None or isinstance(page, Exception):
            return 0
        for line in page.messages:
            if line.reason.startswith(("paused", "budget", "rate")):
                self._world.breach(
                    "accounted", f"{line.id} was given up although its target was only paused: {line.reason}"
                )
        lines = [line for line in page.messages if not line.reason.startswith("conflict") and self._world.chance(share)]
        if self._world.jobs and lines and self._world.chance(0.7):
            await self._redrive_job(life, lines, last)
            return len(lines)
        for line in reversed(lines):
            if life.dead:
                break
            await self._redrive(life, line, last)
        return len(lines)

    async def _redrive(self, life: Life, line: Any, last: bool) -> None:
        version = "same" if self._world.chance(0.5) else "current"
        self._ready([line], life, last, version == "current")
        order = RedriveOrder(by="ann", ids=[line.id], flow=line.flow, version=version)
        for _ in range(TRIES):
            answer = await life.ask(life.control.redrive(order))
            if not isinstance(answer, Unavailable) or life.dead:
                break
            await asyncio.sleep(answer.after)
        if answer is None or isinstance(answer, (Unavailable, Injected)):
            return
        if isinstance(answer, Refused):
            if answer.code != "not-dead":
                self._world.add(history.Redrive("fail", line.flow, line.id, last, answer.message))
        elif isinstance(answer, Exception):
            self._world.add(history.Redrive("fail", line.flow, line.id, last, repr(answer)))
        else:
            self._world.some("a dead letter was redriven")
            self._world.add(history.Redrive("ok", line.flow, line.id, last))

    async def _redrive_job(self, life: Life, lines: Sequence[Any], last: bool) -> None:
        """Let the server take them all up, one part after the other, whatever becomes of it meanwhile."""
        order = RedriveOrder(
            by="ann", ids=[f"{line.flow}:{line.id}" for line in lines], rate=self._world.odds.choice((0.0, 0.0, 5.0)),
            version="same" if self._world.chance(0.5) else "current",
        )  # fmt: skip
        self._ready(lines, life, last, order.version == "current")
        answer = await life.ask(life.control.jobs.order(order))
        if isinstance(answer, Exception) and not isinstance(answer, (Refused, Unavailable, Injected)):
            self._world.breach("redrivable", f"a redrive job could not be ordered: {answer!r}")
        if isinstance(answer, JobAnswer) and self._world.chance(0.3):
            await self._pause_job(life, answer.job.id)
        if not await self._world.until(self._world.no_job):
            self._world.breach("redrivable", "a redrive job is never over")
        elif isinstance(answer, JobAnswer):
            self._job_over(answer.job.id, lines, last)

    def _ready(self, lines: Sequence[Any], life: Life, last: bool, moving: bool) -> None:
        for line in lines:
            if moving:
                self._may_move(life, line)
            self._world.add(history.Redrive("invoke", line.flow, line.id, last))
        self._world.kills.clear()
        for system in self._world.systems.values():
            system.not_before.clear()  # an operator knows better

    async def _pause_job(self, life: Life, id: str) -> None:
        self._pausing = life.ask(life.control.jobs.change(id, JobOrder("ann", "pause")))
        await asyncio.wait([self._pausing])  # whoever is cancelled here leaves it on its way
        if not isinstance(self._pausing.result(), Exception):
            self._world.some("a redrive job was paused")
        await asyncio.sleep(self._world.odds.uniform(0.0, 3.0))
        await self.resume_jobs()

    async def resume_jobs(self) -> None:
        """Let every job go on that somebody has paused, or is about to."""
        if self._pausing is not None:
            await asyncio.wait([self._pausing])
        while True:
            life = await self._world.a_life()
            paused = [line.id for line in life.control.jobs.lines() if line.state == "paused"]
            if not paused:
                return
            await life.ask(life.control.jobs.change(paused[0], JobOrder("ann", "resume")))
            await asyncio.sleep(0.1)

    def _job_over(self, id: str, lines: Sequence[Any], last: bool) -> None:
        self._world.some("a redrive job was carried out")
        [job] = [line for line in self._world.life.control.jobs.lines() if line.id == id]
        if not job.skipped:
            for line in lines:
                self._world.add(history.Redrive("ok", line.flow, line.id, last))

    def _may_move(self, life: Life, line: Any) -> None:
        id, _ = identity(JSON.decode(life.control.body(line.id, line.flow)))
        self._world.versions_of[id] = (1, 2)
        self._world.under_canary.pop(id, None)
