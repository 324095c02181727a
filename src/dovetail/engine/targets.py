"""Outside systems as the engine sees them: one breaker, one retry budget and one rate for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dovetail.clock import Clock, Ids
from dovetail.engine.policies.breaker import Breaker, Position
from dovetail.engine.policies.budget import Rate, RetryBudget
from dovetail.engine.policies.retry import bounded
from dovetail.engine.priority import ORDINARY
from dovetail.errors import DovetailError, InDoubt, Paused, Rejected, Retry, Throttled

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine

LONGEST_WORD = 86400.0  # seconds of silence that a target may ask for


class Silences:
    """Until when targets want to be left alone, kept in the store: neither a restart nor a deployment forgets it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def left(self, target: str) -> float:
        """Seconds of silence that are left; 0 if there are none."""
        data = self._engine.store.register.mark(f"silence:{target}")
        return max(0.0, (int(data) - self._engine.steady_ms()) / 1000) if data else 0.0

    def keep(self, target: str, seconds: float) -> None:
        """The target asked for so many from now on; written with whatever the call becomes."""
        until = self._engine.steady_ms() + int(seconds * 1000)
        self._engine.writer.moves.marks[f"silence:{target}"] = b"%d" % until


class Target:
    """The guards in front of one system. Ask `admit`, call, then tell `ended`."""

    patience = 2.0  # seconds a message may wait in memory for its place in the rate; longer waits are durable

    def __init__(
        self, name: str, clock: Clock, ids: Ids, rate: float | None, changed: Callable[[Position], None],
        silences: Silences,
    ) -> None:  # fmt: skip
        self.name = name
        self.breaker = Breaker(clock, ids, changed)
        self.budget = RetryBudget(clock)
        self.rate = Rate(clock, rate)
        self._ids, self._silences = ids, silences
        if left := silences.left(name):
            self.rate.hold(left)

    async def admit(self, repeat: bool, rank: int = ORDINARY) -> None:
        """Return when the call may be made, the more urgent (a lower `rank`) first. Raises `Paused` when it may not:
        nothing was sent and no attempt is lost."""
        if self.rate.limited and not await self.rate.turn(rank, self.patience):
            wait = self.rate.delay()
            raise self._paused(wait, "its rate is used up", code="rate" if wait <= 2 * self.patience else "paused")
        wait = self.breaker.wait()
        if wait > 0:
            raise self._paused(wait, "its breaker is open")
        if self.breaker.position != "closed":
            return  # the probe
        if not repeat:
            self.budget.earn()
        elif not self.budget.take():
            raise self._paused(self._ids.uniform(1.0, 5.0), "its retry budget is used up", code="budget")

    def _paused(self, after: float, why: str, code: str = "paused") -> Paused:
        error = Paused(f"{self.name} is not called now: {why}", after=after, code=code)
        error.target = self.name
        return error

    def succeeded(self, repeat: bool) -> None:
        """The call was answered well."""
        self.breaker.success()
        if repeat:
            self.budget.give_back()

    def failed(self, error: BaseException) -> None:
        """The call ended in `error`; its kind says what it tells about the target."""
        if isinstance(error, DovetailError) and getattr(error, "target", None) is None and hasattr(error, "target"):
            error.target = self.name
        if isinstance(error, Throttled):
            asked = bounded(error.after, LONGEST_WORD)
            self.rate.hold(asked or 1.0)
            if asked:
                self._silences.keep(self.name, max(asked, self.rate.delay()))
            self.breaker.success()
        elif isinstance(error, Paused):
            self.breaker.failure(at_once=True, after=bounded(error.after, LONGEST_WORD))
        elif isinstance(error, (Retry, InDoubt)):
            self.breaker.failure(after=bounded(error.after, LONGEST_WORD) if isinstance(error, Retry) else None)
        elif isinstance(error, Rejected):
            self.breaker.success()
        else:
            self.breaker.release()


class Targets:
    """All of them, made on first use."""

    def __init__(
        self, clock: Clock, ids: Ids, rates: Mapping[str, float], changed: Callable[[str, Position], None],
        silences: Silences,
    ) -> None:  # fmt: skip
        self._clock, self._ids, self._rates, self._changed, self._silences = clock, ids, rates, changed, silences
        self._all: dict[str, Target] = {}

    def __getitem__(self, name: str) -> Target:
        target = self._all.get(name)
        if target is None:
            target = self._all[name] = Target(
                name, self._clock, self._ids, self._rates.get(name), lambda position: self._changed(name, position),
                self._silences,
            )  # fmt: skip
        return target

    def limit(self, rates: Mapping[str, float]) -> None:
        """Other calls a second than before. What a target asked for holds on."""
        for name, target in self._all.items():
            if rates.get(name) != self._rates.get(name):
                held = target.rate.delay()
                target.rate.dismiss()
                target.rate = Rate(self._clock, rates.get(name))
                target.rate.hold(held)
        self._rates = rates

    def dismiss(self) -> None:
        """The engine stops: nobody waits for a place any more."""
        for target in self._all.values():
            target.rate.dismiss()

    def positions(self) -> dict[str, Position]:
        """Every target that was met, with its breaker's position."""
        return {name: target.breaker.position for name, target in sorted(self._all.items())}
