"""What brings messages and groups back: an event somebody waits for, and the times that steps have set."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dovetail.engine.context import RunContext
from dovetail.engine.signals import EVENTS, SHARED
from dovetail.errors import ProjectError
from dovetail.store.base import Memory, State

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine
    from dovetail.engine.flow import FlowRun


def rouse(engine: Engine, number: int, seq: int) -> bool:
    """Run a flow's waiting message again, in the same transaction as what wakes it. False when it has ended, and is no
    dead letter."""
    flow = engine.numbered(number)
    now = engine.steady_ms()
    journey = flow.active.get(seq) if flow is not None else None
    if flow is not None and journey is not None:
        if journey.waits:  # the row that says so is on its way to the disk: another one goes behind it
            journey.waits = False
            row = journey.row(number, State.WAITING, engine.clock.now_ms(), next_at=now)
            engine.writer.put(row, after=partial(flow.timer.at, now))
        else:  # it has not said yet that it waits
            journey.roused = True
        return True
    known = engine.writer.on_its_way(number, seq) or engine.store.progress.get(number, seq)
    if known is None or known.state in (State.DONE, State.DISCARDED):
        return False
    if known.state is State.WAITING and known.next_at > now:
        after = partial(flow.timer.at, now) if flow is not None else None
        engine.writer.put(replace(known, next_at=now, at=engine.clock.now_ms()), after=after)
    return True


class Alarms:
    """Calls steps (`Step.due`) when the time has come that they set for a key. One timer for all flows."""

    batch = 256
    longest = 60.0  # looks again after that many seconds at the latest
    patience = 5000  # milliseconds until a step that failed is called again

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._handle: asyncio.TimerHandle | None = None
        self._next = 0
        self._busy = self._stopped = False
        self._started = False

    def at(self, due: int) -> None:
        """Somebody is to be called at that time (engine milliseconds)."""
        if self._stopped or not self._started:
            return
        if self._handle is not None:
            if self._next <= due:
                return
            self._handle.cancel()
        self._next = due
        delay = min(self.longest, max(0.0, (due - self._engine.steady_ms()) / 1000))
        self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def start(self) -> None:
        """Find out what is to come."""
        self._started = True
        memory = self._engine.store.memory
        dues = [memory.next_due(number) for number in self._numbers()]
        soonest = min((due for due in dues if due is not None), default=None)
        if soonest is not None:
            self.at(soonest)

    def stop(self) -> None:
        """No more."""
        self._stopped = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _numbers(self) -> list[int]:
        return [SHARED, *(flow.number for flow in self._engine.flows.values())]

    def _fire(self) -> None:
        self._handle = None
        engine = self._engine
        if self._busy:
            return
        if engine.steady_ms() < self._next:  # only a long wait's next look
            self.start()
            return
        if not engine.dispatching or not engine.writer.available:
            self.at(engine.steady_ms() + 500)
            return
        self._busy = True
        engine.spawn(self._ring())

    async def _ring(self) -> None:
        engine = self._engine
        try:
            await engine.writer.barrier()
            now = engine.steady_ms()
            due = [row for number in self._numbers() for row in engine.store.memory.due(number, now, self.batch)]
            if due:
                engine.hook("before_due_commit")
            for row in due:
                self._call(row, now)
            await engine.writer.barrier()
        except Exception as error:
            engine.log.error("alarms_failed", error=repr(error))
            self.at(engine.steady_ms() + self.patience)
            return
        finally:
            self._busy = False
        self.start()

    def _call(self, row: Memory, now: int) -> None:
        """One key's time has come. Whatever goes wrong, it is called again later and the others are not held up."""
        engine = self._engine
        slot = engine.keeper.slot(row.flow, row.scope, row.key)
        if not 0 < slot.due <= now:
            return  # it was changed meanwhile
        flow = engine.numbered(row.flow)
        try:
            if flow is not None:
                self._step(flow, row)
            elif row.scope.startswith(EVENTS):
                engine.signals.expired(slot)
            else:
                slot.clear()
            if 0 < slot.due <= now:
                slot.put(slot.value, 0)
        except Exception as error:
            engine.log.error(
                "due_failed", flow=flow.name if flow else "", step=row.scope, key=row.key, error=repr(error)
            )
            slot.put(slot.value, now + self.patience)

    def _step(self, flow: FlowRun, row: Memory) -> None:
        """On the version that last wrote it; on the current one if that is gone. What a nested step remembers, or one
        that is gone, is forgotten, but no messages: they wait until a version has the step again."""
        slot = self._engine.keeper.slot(row.flow, row.scope, row.key)
        try:
            version = flow.versions.get(slot.version)
        except Exception as error:
            version = flow.versions.current
            if row.scope not in version.index and slot.items():
                text = f"the current version has no step {row.scope}, and version {slot.version} cannot be loaded"
                raise ProjectError(f"{text}: {error}") from error
            slot.version = version.number
        index = version.index.get(row.scope)
        if index is None:
            slot.clear()
        else:
            version.chain.steps[index].due(row.key, RunContext(flow))
