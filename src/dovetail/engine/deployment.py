"""Another application in the place of the one that runs: built and opened first, then switched in one turn of the loop.

Messages stay on the version that accepted them. What was replaced (compiled versions, connections) is closed when no
message in memory uses it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dovetail.engine.definition import Application, FlowDefinition
from dovetail.engine.execute import Versions, versions_of
from dovetail.engine.opening import Opening
from dovetail.engine.recovery import Recovery
from dovetail.errors import ProjectError
from dovetail.sdk import Connection, Log, Source

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine
    from dovetail.engine.flow import FlowRun

LOOK, LONGEST = 0.2, 10.0  # seconds between two looks whether what was replaced is still in use: at first, at most


class Closing(Protocol):
    """Whatever is closed when nobody uses it."""

    async def close(self) -> None: ...


class Retired:
    """Versions and connections that were replaced. `leaving`: flows that go on with the connections of before."""

    def __init__(
        self, flows: Sequence[tuple[FlowRun, Versions]], connections: Sequence[Connection],
        leaving: Sequence[FlowRun], log: Log,
    ) -> None:  # fmt: skip
        self._flows, self._connections, self._leaving, self._log = flows, connections, leaving, log

    def used(self) -> bool:
        """Whether a message in memory runs on one of the versions, or a flow that leaves may need a connection."""
        if self._connections and any(flow.leaving and not flow.finished() for flow in self._leaving):
            return True
        for flow, versions in self._flows:
            compiled = set(map(id, versions.compiled()))
            if any(id(journey.version) in compiled for journey in flow.active.values()):
                return True
        return False

    async def close(self) -> None:
        """Close everything; may be called twice. What cannot be closed is logged: nobody needs it any more."""
        things: list[Closing] = [*(versions for _, versions in self._flows), *self._connections]
        for thing in things:
            try:
                await thing.close()
            except Exception as error:
                self._log.error("close_failed", error=repr(error))


class Deployment:
    """One change of application in a running engine."""

    def __init__(self, engine: Engine, application: Application) -> None:
        self._engine, self._next = engine, application
        self._opened: list[Closing] = []
        self._versions: dict[str, Versions] = {}
        self._wanted = {definition.name: definition for definition in application.flows}

    async def run(self) -> None:
        """Raises what stands in the way; then nothing has changed."""
        self._require()
        try:
            await self._open()
            sources = await self._sources()
        except BaseException:
            for thing in reversed(self._opened):
                with contextlib.suppress(Exception):
                    await thing.close()
            raise
        retired = self._switch()
        added = [self._engine.add(self._wanted[name]) for name in self._wanted if name not in self._engine.flows]
        await self._begin(added)
        for name in sources:
            self._engine.listen(self._engine.flows[name])
        self._engine.retired.append(retired)
        self._engine.attend(self._retire(retired))

    def _require(self) -> None:
        for name, definition in self._wanted.items():
            running = self._engine.flows.get(name)
            if running is not None and running.leaving and running.reads_topic:
                raise ProjectError(
                    f"flow {name} reads a topic, and it left the project while the server ran: it comes back with a "
                    "restart"
                )
            if running is not None and _topic(running.definition) != _topic(definition):
                raise ProjectError(
                    f"flow {name} reads {_topic(definition) or 'a source of its own'} now, before it was "
                    f"{_topic(running.definition) or 'a source of its own'}: that takes a restart"
                )

    async def _open(self) -> None:
        """Connections and versions, before anything is replaced."""
        engine = self._engine
        for name, connection in self._next.connections.items():
            if engine.application.connections.get(name) is not connection:
                self._opened.append(connection)
                await connection.open(Opening(engine, name))
        for name, definition in self._wanted.items():
            if self._stays(name):
                continue
            versions = versions_of(definition, engine.observer, engine.clock)
            self._opened.append(versions)
            await versions.open()
            self._versions[name] = versions

    def _stays(self, name: str) -> bool:
        """Whether nothing at all about a running flow is replaced."""
        running = self._engine.flows.get(name)
        return running is not None and running.definition is self._wanted[name]

    async def _sources(self) -> list[str]:
        """End the sources that go, open those that come; the flows that are to listen. If one cannot be opened, those
        of before listen again."""
        engine = self._engine
        old = {name: flow.definition.source for name, flow in engine.flows.items()}
        new = {name: definition.source for name, definition in self._wanted.items()}
        ending = [name for name, source in old.items() if _listens(source) and new.get(name) is not source]
        coming = [name for name, source in new.items() if _listens(source) and old.get(name) is not source]
        ended: list[str] = []
        try:
            for name in ending:
                ended.append(name)
                await engine.unlisten(name)
            if ending:
                await engine.writer.barrier()  # what they remember is for those who come after them
            for name in coming:
                source = new[name]
                assert source is not None
                self._opened.append(source)
                await source.open(Opening(engine, name))
        except BaseException:
            for name in coming:
                source = new[name]
                assert source is not None
                with contextlib.suppress(Exception):
                    await source.close()
            for name in ended:
                source = old[name]
                assert source is not None
                await source.open(Opening(engine, name))
                engine.listen(engine.flows[name])
            raise
        return coming

    def _switch(self) -> Retired:
        """From now on new messages meet the new versions. Flows that are no longer wanted finish what they have."""
        engine = self._engine
        replaced: list[tuple[FlowRun, Versions]] = []
        for name, flow in engine.flows.items():
            wanted = self._wanted.get(name)
            if wanted is None:
                engine.dismiss(flow)
                continue
            if self._stays(name):
                continue
            replaced.append((flow, flow.versions))
            flow.definition, flow.versions, flow.leaving = wanted, self._versions[name], False
        before, engine.application = engine.application, self._next
        engine.targets.limit(self._next.rates)
        kept = set(map(id, self._next.connections.values()))
        unneeded = [each for each in before.connections.values() if id(each) not in kept]
        return Retired(replaced, unneeded, [flow for flow in engine.flows.values() if flow.leaving], engine.log)

    async def _begin(self, added: Sequence[FlowRun]) -> None:
        """Start flows that did not run before; they may have messages from an earlier time."""
        if not added:
            return
        engine = self._engine
        for flow in added:
            flow.versions = self._versions[flow.name]
        engine.subscribe(added)
        engine.recovering = True
        try:
            await Recovery(engine).run(added, unclean=True)
        finally:
            engine.recovering = False
        for flow in engine.flows.values():
            flow.pump_soon()
        for flow in added:
            flow.timer.start()
        engine.alarms.start()

    async def _retire(self, retired: Retired) -> None:
        pause = LOOK
        while retired.used():
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST)
        if retired in self._engine.retired:
            self._engine.retired.remove(retired)
            await retired.close()


def _topic(definition: FlowDefinition) -> str | None:
    return definition.source.topic if definition.source is not None else None


def _listens(source: Source | None) -> bool:
    return source is not None and source.topic is None
