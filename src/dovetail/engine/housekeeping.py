"""What the engine does beside messages: forgetting what is over, and watching the disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from dovetail.engine.memo import forget_answers
from dovetail.errors import StoreError, Unavailable
from dovetail.store.base import Retention

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine

Level = Literal["", "full", "very full"]  # nothing is accepted; nothing is fetched, either


class Sweeper:
    """Prunes the store in small steps, at most half of the time and only while the store takes work."""

    step = 100  # messages a step
    rest = 0.05  # seconds between two steps that find something, at least
    idle = 5.0  # seconds after one that does not

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def retention(self) -> Retention:
        """What the application says is kept."""
        engine = self._engine
        flows = {flow.number: flow.definition.keeping for flow in engine.flows.values()}
        return Retention(flows, engine.application.keeping, engine.application.audit, forget_answers)

    async def run(self) -> None:
        """For ever."""
        while True:
            took = await self._step()
            await asyncio.sleep(self.idle if took is None else max(self.rest, took))

    async def _step(self) -> float | None:
        """The seconds that a step took, None when it found nothing."""
        engine = self._engine
        if not engine.writer.available:
            return None
        started = engine.clock.monotonic()
        try:
            pruned = await engine.store.journal.prune(self.retention(), engine.clock.now_ms(), self.step)
        except Unavailable:
            return None  # the writer meets the same, and says so
        except StoreError as error:
            engine.log.error("prune_failed", error=error.message)
            return None
        return engine.clock.monotonic() - started if pruned.total or pruned.more else None


class DiskGuard:
    """Shuts the doors while the store's disk is nearly full; what was accepted goes on, which makes room."""

    every = 0.5  # seconds between two looks

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.level: Level = ""
        self.used = 0.0  # of the disk, from 0 to 1
        self.fetching = asyncio.Event()
        self.fetching.set()
        self._full = asyncio.Event()

    async def full(self) -> None:
        """Wait until nothing is to be fetched."""
        await self._full.wait()

    async def run(self) -> None:
        """For ever."""
        while True:
            self.look()
            await asyncio.sleep(self.every)

    def look(self) -> None:
        """Ask the disk once, and say what changed."""
        usage = self._engine.store.usage()
        if not usage.get("disk"):
            return
        self.used = 1 - usage["free"] / usage["disk"]
        level = self._level()
        if level != self.level:
            self.level = level
            self._say()

    def _level(self) -> Level:
        """Thresholds that were passed before count until the disk is `slack` below them."""
        limits = self._engine.application.disk
        very = limits.stop_fetching - (limits.slack if self.level == "very full" else 0.0)
        full = limits.stop_accepting - (limits.slack if self.level else 0.0)
        return "very full" if self.used >= very else "full" if self.used >= full else ""

    def _say(self) -> None:
        engine = self._engine
        if self.level == "very full":
            self.fetching.clear()
            self._full.set()
        else:
            self.fetching.set()
            self._full.clear()
        engine.observer.disk(self.level, self.used)
        engine.writer.note(("disk", self.level or "room", round(self.used * 100), engine.clock.now_ms()))
        log = engine.log.warning if self.level else engine.log.info
        log("disk_" + (self.level.replace(" ", "_") or "has_room"), used=f"{self.used:.0%}")

    def refusal(self) -> Unavailable | None:
        """Why nothing is accepted, or None."""
        if not self.level:
            return None
        return Unavailable(f"the disk of the store is {self.used:.0%} full: nothing more is accepted", after=10.0)
