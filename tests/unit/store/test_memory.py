"""What is peculiar to the store in memory: failures on demand."""

from __future__ import annotations

import pytest

from dovetail.clock import SystemClock, SystemIds
from dovetail.errors import Unavailable
from dovetail.store.base import Entry, Work
from dovetail.testkit.store import Disk, MemoryStore


async def test_failures_are_raised_once_each_and_keep_nothing():
    disk = Disk()
    store = await MemoryStore.open(disk, clock=SystemClock(), ids=SystemIds())
    store.failures += [Unavailable("full"), RuntimeError("odd")]
    work = Work(entries=[Entry(1, 1, 1, b"", b"")])
    with pytest.raises(Unavailable):
        await store.commit(work)
    with pytest.raises(RuntimeError):
        await store.commit(work)
    assert store.journal.last(1) == 0
    await store.commit(work)
    assert store.journal.last(1) == 1


async def test_hooks_are_called_where_the_real_store_calls_them():
    disk, names = Disk(), []
    store = await MemoryStore.open(
        disk, clock=SystemClock(), ids=SystemIds(), hook=lambda name: names.append((name, len(disk.entries)))
    )
    await store.commit(Work(entries=[Entry(1, 1, 1, b"", b"")]))
    assert names == [("store_before_commit", 0), ("store_after_commit", 1)]
