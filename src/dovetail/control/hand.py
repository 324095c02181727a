"""What the desk reaches the messages with: the engine of a running server, or a store at rest."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from dovetail.clock import Clock
from dovetail.codec import JsonCodec
from dovetail.engine.definition import LEFT, Application
from dovetail.engine.memory import Keeper
from dovetail.engine.rehearsal import Rehearsal
from dovetail.engine.replay import StepTrace
from dovetail.engine.signals import Signals
from dovetail.engine.writer import Moves
from dovetail.errors import Refused
from dovetail.store.base import ENDED, Progress, Row, State, Store, Work, changed


class Hand(Protocol):
    """The difference between a running server and a store at rest."""

    running: bool

    def breakers(self) -> Mapping[str, str]:
        """Each target met so far, with its breaker's position."""
        ...

    def waiting_for(self, flow: str) -> str:
        """The target that holds the flow back, or nothing."""
        ...

    def ready(self, flow: str) -> Mapping[str, int]:
        """The flow's messages in memory that may run and wait for their turn, by priority."""
        ...

    def deepest(self, flow: str) -> list[tuple[int, str]]:
        """(messages that stand behind the head, lane) of the flow's five longest lanes, as far as this process saw
        them come."""
        ...

    def most_bytes(self, flow: str) -> int:
        """Bytes of bodies that the flow may keep; 0 when nobody knows."""
        ...

    def disk(self) -> str:
        """`full` or `very full` when the engine holds back for its disk, else nothing."""
        ...

    def now_ms(self) -> int:
        """The time that a row's `next_at` is compared with."""
        ...

    def current_version(self, flow: str) -> int:
        """The version of the flow that new messages get; at rest a new text gets its number now. Raises `Refused` (409)
        when the flow is not in the project."""
        ...

    def candidate(self, *, register: bool = False) -> Application:
        """The project as its folder has it now, compiled. With `register` new versions get their numbers, else they
        have 0 and nothing is written. Raises ProjectError."""
        ...

    def application(self) -> Application | None:
        """What runs now; None at rest."""
        ...

    def ended(self, flow: str) -> Mapping[int, Mapping[State, int]]:
        """How messages of the flow ended since the server's start or the last deploy, by version."""
        ...

    def in_memory(self, flow: str) -> Container[int]:
        """The journal numbers of the flow's messages that are being worked on: their rows must be left alone."""
        ...

    async def deploy(self, application: Application | None = None) -> None:
        """Bring an application (None: the folder's project, with what was decided about its flows) into the running
        engine. At rest there is nothing to do: the next start does it. Raises ProjectError; then nothing changed."""
        ...

    async def carry_out(self, work: Work) -> None:
        """Commit these changes to messages that are not being worked on; they are picked up when they are due. Keys
        that are let go (`parks`) go on at once."""
        ...

    async def tell(self, name: str, key: str, event: Any, audit: tuple[object, ...]) -> int:
        """Bring an event to those who wait for it, with a word in the audit; durable when it returns. How many
        waited."""
        ...

    async def replay(self, flow: str, row: Row, progress: Progress | None) -> Sequence[StepTrace]:
        """Compute the message's steps again with the recorded effects. Raises `DovetailError` if the flow cannot be
        built.
        """
        ...

    async def rehearse(
        self, flow: str, row: Row, progress: Progress, version: int | None, answers: Mapping[str, Any]
    ) -> Rehearsal:
        """What a version of the flow (None: the current one) would send for the message; nothing is written.
        `answers` stand in for those of calls that are not made, by step. At rest a text that the store has not seen
        yet has the version 0. Raises `DovetailError` if it cannot be built."""
        ...


class FlowPlace:
    """A flow's numbers in the store: its own, and that of the stream it reads. `shared`: the stream is a topic. `left`:
    it reads the topic no more, and has messages that have not ended."""

    __slots__ = ("left", "name", "number", "shared", "stream")

    def __init__(self, name: str, number: int, stream: int, shared: bool, left: bool = False) -> None:
        self.name, self.number, self.stream, self.shared, self.left = name, number, stream, shared, left


def places(store: Store) -> dict[str, FlowPlace]:
    """Every flow that reads a stream of this store, by name, and those that still have messages of a topic."""
    names = {number: name for name, number in store.register.names("flow").items()}
    inboxes = {number for name, number in store.register.names("stream").items() if name.startswith("flow:")}
    found = [
        FlowPlace(names[flow], flow, stream, stream not in inboxes)
        for stream, flows in store.register.readers().items()
        for flow in flows
        if flow in names
    ]
    for flow in names.keys() - {place.number for place in found}:
        stream = store.register.mark(f"{LEFT}{flow}")
        if stream is not None and store.progress.pending(flow):
            found.append(FlowPlace(names[flow], flow, int(stream), True, left=True))
    return {place.name: place for place in sorted(found, key=lambda place: place.name)}


class Depths:
    """How many messages are pending, without counting them each time.

    What is counted once per subscriber of a topic is how many messages there never concern it (it came later); the rest
    follows from the store's own counts and its index of what waits. When so much waits that reading the index takes
    long, its answer serves for twenty times as long, so that somebody who watches never slows the engine noticeably.
    """

    long = 0.005  # seconds

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._foreign: dict[int, int] = {}
        self._kept: dict[int, tuple[float, dict[State, int]]] = {}  # flow -> (good until, rows by state)

    def of(self, place: FlowPlace, counts: Mapping[tuple[int, str], int]) -> dict[State, int]:
        """The flow's messages in each pending state, fresh ones first; states without any are left out."""
        rows = self._rows(place.number)
        if place.left:
            return dict(rows)
        waiting = sum(rows.values())
        fresh = max(0, _not_ended(place, counts) - waiting - self._never_its(place, waiting))
        return {state: n for state, n in {State.FRESH: fresh, **rows}.items() if n}

    def _never_its(self, place: FlowPlace, waiting: int) -> int:
        """Messages of a topic from before the flow subscribed; kept once it was counted while nothing moved."""
        if not place.shared:
            return 0
        known = self._foreign.get(place.number)
        if known is not None:
            return known
        before = _not_ended(place, self._store.progress.counts())
        settled = self._store.register.claim(place.number)[1]
        fresh = self._store.progress.fresh(place.number, place.stream, settled)
        counted = max(0, before - waiting - fresh)
        if before == _not_ended(place, self._store.progress.counts()):
            self._foreign[place.number] = counted
        return counted

    def _rows(self, flow: int) -> dict[State, int]:
        started = self._clock.monotonic()
        good_until, rows = self._kept.get(flow, (0.0, {}))
        if started < good_until:
            return rows
        rows = self._store.progress.pending(flow)
        took = self._clock.monotonic() - started
        if took > self.long:
            self._kept[flow] = (started + 20 * took, rows)
        return rows


def _not_ended(place: FlowPlace, counts: Mapping[tuple[int, str], int]) -> int:
    return counts.get((-place.stream, "accepted"), 0) - sum(counts.get((place.number, end.word), 0) for end in ENDED)


class Replayer(Protocol):
    """Computes a message's steps again, for a store at rest."""

    async def __call__(self, flow: str, row: Row, progress: Progress | None) -> Sequence[StepTrace]: ...

    async def rehearse(
        self, flow: str, row: Row, progress: Progress, version: int | None, answers: Mapping[str, Any]
    ) -> Rehearsal | None:
        """What a version of the flow would send for the message; None for a flow that is not in the project."""
        ...

    def current_version(self, flow: str) -> int:
        """The version that new messages of the flow get, numbered if need be; 0 for a flow that is not in the
        project."""
        ...

    def candidate(self, *, register: bool) -> Application:
        """The project as its folder has it now."""
        ...


class Resting:
    """A store that no server has open. Steps are computed again only if somebody brings the project (`replayer`)."""

    running = False

    def __init__(self, store: Store, clock: Clock, replayer: Replayer | None = None) -> None:
        self._store, self._clock, self._replayer = store, clock, replayer

    def breakers(self) -> Mapping[str, str]:
        return {}

    def waiting_for(self, flow: str) -> str:
        return ""

    def ready(self, flow: str) -> Mapping[str, int]:
        return {}

    def deepest(self, flow: str) -> list[tuple[int, str]]:
        return []

    def most_bytes(self, flow: str) -> int:
        return 0

    def disk(self) -> str:
        return ""

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def current_version(self, flow: str) -> int:
        if self._replayer is None:
            return self._store.register.versions(places(self._store)[flow].number)[-1][0]
        version = self._replayer.current_version(flow)
        if not version:
            raise Refused(f"flow '{flow}' is not in the project", status=409, code="not-running")
        return version

    def candidate(self, *, register: bool = False) -> Application:
        if self._replayer is None:
            raise Refused("there is no project here to deploy", status=409, code="no-project")
        return self._replayer.candidate(register=register)

    def application(self) -> Application | None:
        return None

    def ended(self, flow: str) -> Mapping[int, Mapping[State, int]]:
        return {}

    def in_memory(self, flow: str) -> Container[int]:
        return ()

    async def deploy(self, application: Application | None = None) -> None:
        return None

    async def carry_out(self, work: Work) -> None:
        await self._store.commit(work)

    async def tell(self, name: str, key: str, event: Any, audit: tuple[object, ...]) -> int:
        moves = Moves()
        store, now = self._store, self.now_ms()

        def rouse(flow: int, seq: int) -> bool:
            row = store.progress.get(flow, seq)
            if row is not None and row.state is State.WAITING:
                moves.progress[flow, seq] = replace(row, next_at=now, at=now)
            return row is not None and row.state not in (State.DONE, State.DISCARDED)

        signals = Signals(Keeper(store.memory, JsonCodec(), self._clock, lambda: moves), rouse, self.now_ms)
        told = signals.tell(name, key, event)
        rows = [row for row in moves.progress.values() if isinstance(row, Progress)]
        await store.commit(Work(progress=rows, memory=moves.memory, counts=moves.counts, audit=[audit, *changed(rows)]))
        return told

    async def replay(self, flow: str, row: Row, progress: Progress | None) -> Sequence[StepTrace]:
        if self._replayer is None:
            return []
        return await self._replayer(flow, row, progress)

    async def rehearse(
        self, flow: str, row: Row, progress: Progress, version: int | None, answers: Mapping[str, Any]
    ) -> Rehearsal:
        told = None if self._replayer is None else await self._replayer.rehearse(flow, row, progress, version, answers)
        if told is None:
            raise Refused(f"flow '{flow}' is not in the project", status=409, code="not-running")
        return told
