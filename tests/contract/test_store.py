"""Every store sits the store exam."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dovetail.clock import SystemClock, SystemIds
from dovetail.store.base import Store
from dovetail.store.sqlite import SqliteStore
from dovetail.testkit.store import Disk, MemoryStore
from dovetail.testkit.store_door_suite import CHECKS as DOOR
from dovetail.testkit.store_keeping_suite import KEEPING
from dovetail.testkit.store_parked_suite import CHECKS as PARKED
from dovetail.testkit.store_suite import CHECKS

EXAM = {**CHECKS, **KEEPING, **PARKED, **DOOR}

Open = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["sqlite", "memory"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    disk = Disk()

    async def sqlite() -> Store:
        return await SqliteStore.open(tmp_path / "store.db", clock=SystemClock(), ids=SystemIds())

    async def memory() -> Store:
        return await MemoryStore.open(disk, clock=SystemClock(), ids=SystemIds())

    return sqlite if request.param == "sqlite" else memory


@pytest.mark.parametrize("name", EXAM)
async def test_conformance(name: str, open_store: Open) -> None:
    await EXAM[name](open_store)
