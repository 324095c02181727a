"""The composition root: the only file that knows every room. Nothing happens at import time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dovetail.catalog import Catalog
from dovetail.clock import Clock, Ids, SystemClock, SystemIds
from dovetail.codec import built_in_codecs
from dovetail.control.access import Guard
from dovetail.control.answers import BackupState
from dovetail.control.api import Api
from dovetail.control.backups import Backups
from dovetail.control.desk import Control
from dovetail.control.hand import Resting
from dovetail.control.listener import Listener as AdminListener
from dovetail.control.live import Live
from dovetail.control.places import Places
from dovetail.control.vocabulary import Vocabulary
from dovetail.engine import failpoints
from dovetail.engine.definition import Application
from dovetail.engine.engine import Engine
from dovetail.engine.flow import FlowRun
from dovetail.engine.rehearsal import Rehearsal, rehearse
from dovetail.engine.replay import StepTrace, replay
from dovetail.engine.watchdog import FAILED, Watchdog
from dovetail.errors import DovetailError, ProjectError
from dovetail.gateway import Listener
from dovetail.project.build import Builder, make_connections
from dovetail.project.deployed import Assembly, Deployed
from dovetail.project.load import load_project, load_snapshot, secret_values
from dovetail.project.model import Project
from dovetail.sdk import Log
from dovetail.store.backup import Manifest
from dovetail.store.base import Progress, Row, Store
from dovetail.store.sqlite import SqliteStore, backup
from dovetail.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Options:
    """What `dovetail run` was told. Ports: 0 takes a free one."""

    folder: Path
    environment: str = "dev"
    store: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    admin_host: str = "127.0.0.1"
    admin_port: int = 8081
    log_format: str = "auto"
    drain_seconds: float = 30.0
    stall_seconds: float = 30.0
    memory: int = 0


def load(folder: Path, environment: str, environ: Mapping[str, str]) -> Project:
    """The checked project. Raises ProjectError with every problem."""
    project, problems = load_project(folder, Catalog.builtin().with_guests(), environment, environ)
    errors = [problem for problem in problems if problem.level == "error"]
    if project is None or errors:
        raise ProjectError(f"{len(errors)} problem(s) in {folder}", problems)
    return project


class Workshop:
    """Makes what the engine runs of a project's text and one store; again and again, with the same catalog and
    formats."""

    def __init__(
        self, folder: Path, environment: str, environ: Mapping[str, str], store: Store, clock: Clock,
        telemetry: Telemetry,
    ) -> None:  # fmt: skip
        self._folder, self._environment, self._environ = folder, environment, environ
        self._store, self._clock, self._observer = store, clock, telemetry.observer
        self._catalog = Catalog.builtin().with_guests()
        self.codecs = built_in_codecs()

    def load(self) -> Project:
        """The project as its folder has it now. Raises ProjectError with every problem."""
        return load(self._folder, self._environment, self._environ)

    def assemble(self, project: Project, running: Application | None = None, *, register: bool = True) -> Application:
        """The project compiled; what has not changed in `running` is taken over. Raises ProjectError."""
        connections = make_connections(project, running.connections if running is not None else None)
        builder = Builder(project, self._catalog, self.codecs, self._observer, self._clock, connections)
        return Assembly(builder, self._store, self._older, running, register=register).application()

    def _older(self, files: Mapping[str, bytes]) -> Project:
        return load_snapshot(files, self._catalog, self._environment, self._environ, self._folder)


class Server:
    """One process: project, store, engine, HTTP in, admin API. `open`, then `close`."""

    def __init__(self, options: Options, environ: Mapping[str, str], *, clock: Clock, ids: Ids) -> None:
        self._options, self._environ = options, environ
        self._clock, self._ids = clock, ids
        self._places = Places.of(options.folder, options.store)
        self._store: SqliteStore
        self.drain = asyncio.Event()  # set to finish and end
        self.url = ""
        self.admin_url = ""

    async def run(self) -> int:
        """Serve until told to drain; the exit code."""
        options = self._options
        project = load(options.folder, options.environment, self._environ)
        telemetry = Telemetry(
            self._clock, self._environ, format=options.log_format,  # type: ignore[arg-type]  # the cli offers the words
            secrets=secret_values(project),
        )  # fmt: skip
        log = telemetry.logs.named("app")
        async with contextlib.AsyncExitStack() as stack:
            engine, listener = await self._engine(project, telemetry, stack)
            await listener.start()
            stack.push_async_callback(listener.close)
            watchdog = Watchdog(engine, log, stall=options.stall_seconds, memory=options.memory)
            watchdog.start()
            stack.callback(watchdog.stop)
            try:
                await engine.start()
                admin = await self._admin(project, engine, telemetry, stack)
            except BaseException:
                await engine.drain(options.drain_seconds)  # what it began is not left in doubt
                raise
            telemetry.health.started()
            settle_memory()
            self.url = f"http://{options.host}:{listener.port}"
            self.admin_url = admin.url
            self._places.announce(admin.url, self.url)
            stack.callback(self._places.retire)
            log.info("serving", project=project.name, http=self.url, admin=admin.url, flows=sorted(engine.flows))
            await self._until_told(engine)
            telemetry.health.draining()
            log.info("draining")
            await listener.drain(min(5.0, options.drain_seconds))
            await engine.drain(options.drain_seconds)
        telemetry.close()
        if engine.failure is not None:
            log.error("stopped", reason=str(engine.failure))
            return FAILED
        log.info("stopped")
        return 0

    async def _engine(
        self, project: Project, telemetry: Telemetry, stack: contextlib.AsyncExitStack
    ) -> tuple[Engine, Listener]:
        hook: failpoints.Hook = failpoints.nothing
        if self._environ.get("DOVETAIL_FAILPOINT"):
            hook = failpoints.from_text(self._environ["DOVETAIL_FAILPOINT"])
        self._places.prepare()
        store = await SqliteStore.open(self._places.store, clock=self._clock, ids=self._ids, hook=hook)
        self._store = store
        stack.push_async_callback(store.close, False)  # does nothing after the engine's own, clean close
        listener = Listener(
            self._options.host, self._options.port, clock=self._clock,
            on_error=lambda request, error: telemetry.logs.named("http").error("handler_failed", error=repr(error)),
        )  # fmt: skip

        workshop = Workshop(
            self._options.folder, self._options.environment, self._environ, store, self._clock, telemetry
        )  # fmt: skip
        engine = Engine(
            workshop.assemble(project), store, clock=self._clock, ids=self._ids, codecs=workshop.codecs,
            log=telemetry.logs.named("engine"), routes=listener.routes, folder=self._options.folder,
            observer=telemetry.observer, hook=hook,
        )  # fmt: skip
        engine.writer.moves.marks.update(Deployed(store).noted(engine.application))
        self._workshop = workshop
        return engine, listener

    async def _admin(
        self, project: Project, engine: Engine, telemetry: Telemetry, stack: contextlib.AsyncExitStack
    ) -> AdminListener:
        store = engine.store
        live = Live(engine, self._workshop)
        control = Control(store, self._clock, live, project=project.name, path=str(self._places.store))
        api = Api(
            control, telemetry.health, telemetry.page(control.depth, store.usage, control.lanes, control.ready),
            Vocabulary(Catalog.builtin().with_guests()), self.drain.set, telemetry.logs.named("admin"),
            Backups(self._store.back_up),
        )  # fmt: skip
        engine.attend(control.jobs.run(telemetry.logs.named("redrive")))
        admin = AdminListener(self._options.admin_host, self._options.admin_port)
        token = self._places.make_token(self._ids)
        hosts = {"127.0.0.1", "localhost", "::1", self._options.admin_host}
        await admin.open(Guard(api.app(), token, hosts, lambda: admin.port))
        stack.push_async_callback(admin.close)
        return admin

    async def _until_told(self, engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.drain.set)
        waits = [asyncio.ensure_future(self.drain.wait()), asyncio.ensure_future(engine.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def settle_memory() -> None:
    """Leave what start-up made out of garbage collection, and collect less often: messages hold no cycles, so
    nearly all of their memory is freed without it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def serve(options: Options) -> int:
    """Run a project until SIGINT or SIGTERM; the exit code. Raises `DovetailError` when it cannot start."""
    import uvloop

    async def main() -> int:
        return await Server(options, os.environ, clock=SystemClock(), ids=SystemIds()).run()

    return uvloop.run(main())


@asynccontextmanager
async def resting(folder: Path, store_folder: Path | None, environment: str = "dev") -> AsyncIterator[Control]:
    """The desk over a store that no server has open. Raises StoreError when one has, or when there is none."""
    clock, ids = SystemClock(), SystemIds()
    places = Places.of(folder, store_folder)
    if not places.store.exists():
        raise DovetailError(f"there is no store at {places.store}: `dovetail run` makes one", code="no-store")
    store = await SqliteStore.open(places.store, clock=clock, ids=ids)
    was_clean = store.clean
    try:
        replayer = Replayer(folder, environment, store, clock, ids)
        yield Control(store, clock, Resting(store, clock, replayer), project=folder.name, path=str(places.store))
    finally:
        await store.close(clean=was_clean)


async def backup_at_rest(store: Path, folder: Path) -> BackupState:
    """Back up a store that no server has open. Raises StoreError when one has, or when there is none."""
    opened = await SqliteStore.open(store, clock=SystemClock(), ids=SystemIds())
    was_clean = opened.clean
    try:
        backups = Backups(opened.back_up)
        backups.begin(str(folder))
        return await backups.ended()
    finally:
        await opened.close(clean=was_clean)


def restore_store(folder: Path, store: Path, replace: bool) -> Manifest:
    """Put a backup in the place of a store that nobody has open. Raises StoreError."""
    return backup.restore(folder, store, SystemClock().now_ms(), replace=replace)


class Replayer:
    """Tells journeys again from a store at rest; the project is loaded when the first one is asked for."""

    def __init__(self, folder: Path, environment: str, store: SqliteStore, clock: Clock, ids: Ids) -> None:
        self._folder, self._store, self._clock, self._ids = folder, store, clock, ids
        self._telemetry = Telemetry(clock, {})
        self._workshop = Workshop(folder, environment, os.environ, store, clock, self._telemetry)
        self._engine: Engine | None = None
        self._numbers: dict[str, int] | None = None

    async def __call__(self, flow: str, row: Row, progress: Progress | None) -> Sequence[StepTrace]:
        """The steps of a message's journey; none when its flow is no longer in the project."""
        running = self._known(flow)
        return [] if running is None else await replay(running, row, progress)

    async def rehearse(
        self, flow: str, row: Row, progress: Progress, version: int | None, answers: Mapping[str, Any]
    ) -> Rehearsal | None:
        """What a version of the flow would send; None when the flow is no longer in the project."""
        running = self._known(flow)
        if running is None:
            return None
        return await rehearse(running, row, progress, version, answers)

    def current_version(self, flow: str) -> int:
        """The version of the flow that new messages get from the next start on, 0 when it is not in the project."""
        if self._numbers is None:
            self._numbers = {each.name: each.current.number for each in self.candidate(register=True).flows}
        return self._numbers.get(flow, 0)

    def candidate(self, *, register: bool) -> Application:
        """What a start would run; without `register`, a text that the store does not know has the version 0."""
        return self._workshop.assemble(self._workshop.load(), register=register)

    def _known(self, flow: str) -> FlowRun | None:
        if self._engine is None:
            log: Log = self._telemetry.logs.named("replay")
            self._engine = Engine(
                self.candidate(register=False), self._store, clock=self._clock, ids=self._ids,
                codecs=self._workshop.codecs, log=log, folder=self._folder,
                routes=Listener("127.0.0.1", 0, clock=self._clock).routes,
            )  # fmt: skip
        return self._engine.known(flow)
