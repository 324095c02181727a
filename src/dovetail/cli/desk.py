"""Whom a command asks: the running server over its admin API, else the store itself."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from cyclopts import Parameter

from dovetail.errors import DovetailError

if TYPE_CHECKING:
    from dovetail.control.answers import (
        ApprovalLine,
        ApprovalOrder,
        DeployAnswer,
        DeployOrder,
        Discarded,
        DiscardOrder,
        DryRunAnswer,
        Journey,
        Page,
        ParkedKey,
        RedriveAnswer,
        RedriveOrder,
        Search,
        Status,
        UnparkOrder,
        VersionOrder,
        VersionsAnswer,
    )
    from dovetail.control.desk import Control
    from dovetail.control.job import Job, JobAnswer, JobLine, JobOrder


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which project, and how to answer."""

    project: Annotated[Path | None, Parameter(alias="-p")] = None
    """The project folder. Default: this folder or the nearest one above it with a dovetail.yaml."""

    store: Path | None = None
    """The folder of the store. Default: .dovetail in the project folder."""

    env: Annotated[str, Parameter(alias="-e", env_var="DOVETAIL_ENV")] = "dev"
    """The environment that the project is read for when no server runs."""

    json: bool = False
    """Answer in JSON."""

    def folder(self) -> Path:
        """The project folder. Raises `DovetailError` when there is none."""
        return find_project(self.project) if self.store is None or self.project is not None else Path.cwd()


def find_project(given: Path | None) -> Path:
    """The given folder, or the nearest one from here upwards that has a `dovetail.yaml`. Raises `DovetailError`."""
    if given is not None:
        if not given.is_dir():
            raise DovetailError(f"there is no folder {given}", code="no-project")
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dovetail.yaml").is_file():
            return folder if folder != here else Path()
    raise DovetailError(
        "no dovetail.yaml here or in a folder above; go there, or name it with --project", code="no-project"
    )


class Desk(Protocol):
    """What commands ask. All calls block. `running`: a server answers, not a store at rest."""

    running: bool

    def status(self) -> Status: ...
    def messages(self, search: Search) -> Page: ...
    def show(self, id: str, flow: str = "") -> Journey: ...
    def body(self, id: str, flow: str = "", original: bool = False) -> bytes: ...
    def redrive(self, order: RedriveOrder) -> RedriveAnswer: ...
    def dry_run(self, order: RedriveOrder) -> DryRunAnswer: ...
    def order_job(self, order: RedriveOrder) -> JobAnswer: ...
    def jobs(self) -> list[JobLine]: ...
    def job(self, id: str) -> Job: ...
    def change_job(self, id: str, order: JobOrder) -> JobLine: ...
    def deploy(self, order: DeployOrder) -> DeployAnswer: ...
    def promote(self, order: VersionOrder) -> DeployAnswer: ...
    def rollback(self, order: VersionOrder) -> DeployAnswer: ...
    def versions(self, flow: str) -> VersionsAnswer: ...
    def approvals(self, flow: str = "") -> list[ApprovalLine]: ...
    def approve(self, order: ApprovalOrder) -> ApprovalLine: ...
    def parked(self, flow: str = "") -> list[ParkedKey]: ...
    def unpark(self, order: UnparkOrder) -> ParkedKey: ...
    def discard(self, order: DiscardOrder) -> Discarded: ...


class AtRest:
    """The desk over a store that this process opened itself."""

    running = False

    def __init__(self, runner: asyncio.Runner, control: Control) -> None:
        self._runner, self._control = runner, control

    def status(self) -> Status:
        return self._control.status()

    def messages(self, search: Search) -> Page:
        return self._runner.run(self._control.messages(search))

    def show(self, id: str, flow: str = "") -> Journey:
        return self._runner.run(self._control.show(id, flow))

    def body(self, id: str, flow: str = "", original: bool = False) -> bytes:
        return self._control.body(id, flow, original)

    def redrive(self, order: RedriveOrder) -> RedriveAnswer:
        return self._runner.run(self._control.redrive(order))

    def dry_run(self, order: RedriveOrder) -> DryRunAnswer:
        return self._runner.run(self._control.dry_run(order))

    def order_job(self, order: RedriveOrder) -> JobAnswer:
        return self._runner.run(self._control.jobs.order(order))

    def jobs(self) -> list[JobLine]:
        return self._control.jobs.lines()

    def job(self, id: str) -> Job:
        return self._runner.run(self._control.jobs.show(id))

    def change_job(self, id: str, order: JobOrder) -> JobLine:
        return self._runner.run(self._control.jobs.change(id, order))

    def deploy(self, order: DeployOrder) -> DeployAnswer:
        return self._runner.run(self._control.deploy(order))

    def promote(self, order: VersionOrder) -> DeployAnswer:
        return self._runner.run(self._control.promote(order))

    def rollback(self, order: VersionOrder) -> DeployAnswer:
        return self._runner.run(self._control.rollback(order))

    def versions(self, flow: str) -> VersionsAnswer:
        return self._control.versions(flow)

    def approvals(self, flow: str = "") -> list[ApprovalLine]:
        return self._control.approvals(flow)

    def approve(self, order: ApprovalOrder) -> ApprovalLine:
        return self._runner.run(self._control.approve(order))

    def parked(self, flow: str = "") -> list[ParkedKey]:
        return self._control.parked(flow)

    def unpark(self, order: UnparkOrder) -> ParkedKey:
        return self._runner.run(self._control.unpark(order))

    def discard(self, order: DiscardOrder) -> Discarded:
        return self._runner.run(self._control.discard(order))


def user() -> str:
    """The user of this session, as the audit trail names it."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli:unknown"


@contextmanager
def desk(where: Where) -> Iterator[Desk]:
    """The desk of a project. Raises `DovetailError` when neither a server nor a store can be had."""
    from dovetail.control.client import Remote, Unreachable
    from dovetail.control.places import Places

    folder = where.folder()
    places = Places.of(folder, where.store)
    server = places.running()
    if server is not None:
        remote = Remote(server.url, places.read_token())
        try:
            remote.status()
        except Unreachable:
            pass  # the process of that number is somebody else by now; the store's lock knows better
        else:
            yield remote
            return
    from dovetail.app import resting

    with asyncio.Runner() as runner, _opened(runner, resting(folder.resolve(), places.folder, where.env)) as control:
        yield AtRest(runner, control)


@contextmanager
def _opened(runner: asyncio.Runner, opening: AbstractAsyncContextManager[Control]) -> Iterator[Control]:
    control = runner.run(opening.__aenter__())
    try:
        yield control
    finally:
        runner.run(opening.__aexit__(None, None, None))
