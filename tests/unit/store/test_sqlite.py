"""What is peculiar to the store on SQLite: payloads, plans, long searches, one writer."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from dovetail.store.base import Entry, Keeping, Progress, Query, Retention, State, Work
from dovetail.store.sqlite import apply, search

EVERYTHING = Retention({}, Keeping.uniform(0), 0)


def entry(body: bytes, **more) -> Entry:
    return Entry(1, 1000, 1, b"", body, **more)


def kib(text: bytes) -> bytes:
    return text * (200_000 // len(text))


async def test_large_bodies_are_kept_once_and_packed_when_that_pays(open_store):
    store = await open_store()
    flow = store.register.number("flow", "flow")
    store.register.set_readers(1, [flow])
    text, noise = kib(b"0123456789"), os.urandom(200_000)
    at_limit = os.urandom(apply.LARGE)
    await store.commit(Work(entries=[entry(text), entry(noise), entry(at_limit), entry(text)]))
    await store.commit(Work(entries=[entry(text)]))
    rows = store._db.read("SELECT packed, length(body) < 200000 / 2 FROM payloads ORDER BY id")
    assert rows == [(1, 1), (0, 0)]
    assert store._db.read("SELECT seq FROM journal WHERE body IS NOT NULL") == [(3,)]
    ended = [Progress(flow, seq, State.DONE, 0) for seq in (1, 2, 4)]
    await store.commit(Work(progress=ended))
    assert (await store.journal.prune(EVERYTHING, 10**13, 10)).messages == 3
    assert store.journal.original(5) == text
    assert store._db.read("SELECT count(*) FROM payloads") == [(1,)]
    await store.commit(Work(progress=[Progress(flow, 5, State.DONE, 0)]))
    assert (await store.journal.prune(EVERYTHING, 10**13, 10)).messages == 1
    assert store._db.read("SELECT count(*) FROM payloads") == [(0,)]


@pytest.mark.parametrize(
    "restrict", [{"text": b"0."}, {"key": "k"}, {"states": [State.DEAD]}, {"states": [State.FRESH]}]
)
async def test_a_long_search_is_continued_where_it_stopped(open_store, monkeypatch, restrict):
    for name, value in {"LOOK": 50, "LOOK_TEXT": 30, "_WINDOW": 7}.items():
        monkeypatch.setattr(search, name, value)
    store = await open_store()
    made = [entry(b"%d." % n, key="k" if n % 10 == 0 else None) for n in range(1, 501)]
    await store.commit(Work(entries=made))
    dead = [Progress(1, n, State.DEAD, 0) for n in range(10, 501, 10)]
    done = [Progress(1, n, State.DONE, 0) for n in range(1, 501) if n % 10 and not 200 < n <= 300]
    await store.commit(Work(progress=dead + done))
    found, before, calls = [], 0, 0
    while True:
        page, before = store.progress.find(Query(1, 1, before=before, limit=4, **restrict))
        found += [row.seq for row, _ in page]
        calls += 1
        if not before:
            break
    wanted = [n for n in range(500, 0, -1) if n % 10 == 0]
    if restrict == {"states": [State.FRESH]}:
        wanted = [n for n in range(300, 200, -1) if n % 10]
    assert found == wanted
    assert calls > len(wanted) / 4


async def test_a_search_for_text_looks_into_packed_bodies(open_store):
    store = await open_store()
    await store.commit(Work(entries=[entry(kib(b"hay ") + b"needle"), entry(kib(b"hay ")), entry(b"a needle")]))
    page, before = store.progress.find(Query(1, 1, text=b"needle"))
    assert ([row.seq for row, _ in page], before) == ([3, 1], 0)


async def test_done_rows_are_in_no_index(open_store):
    store = await open_store()
    rows = [Progress(1, n, state, 0, key="k") for n, state in enumerate(State) if state is not State.FRESH]
    await store.commit(Work(progress=rows))
    sizes = dict(store._db.read("SELECT name, sum(ncell) FROM dbstat WHERE name LIKE 'progress%' GROUP BY name"))
    assert sizes == {"progress": 9, "progress_due": 3, "progress_key": 6, "progress_open": 7}


class SlowDisk:
    """Lets the first flush in another thread wait until `go_on` is set; `begun` tells that it does."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), threading.Event()
        self._loop, self._here = asyncio.get_running_loop(), threading.get_ident()

    def __call__(self, call: str, name: str) -> None:
        if call == "xSync" and threading.get_ident() != self._here:
            self._loop.call_soon_threadsafe(self.begun.set)
            assert self.go_on.wait(30)


@pytest.fixture
async def slow(disk, monkeypatch) -> SlowDisk:
    slow = SlowDisk()
    monkeypatch.setattr(disk, "pass_or_raise", slow)
    return slow


async def test_the_event_loop_goes_on_while_the_disk_is_slow(open_store, slow):
    store = await open_store()
    commit = asyncio.ensure_future(store.commit(Work(entries=[entry(b"{}")])))
    await slow.begun.wait()
    assert not commit.done()
    assert store.journal.last(1) == 0, "nothing is seen before it is flushed"
    slow.go_on.set()
    await commit
    assert store.journal.last(1) == 1


async def test_a_cancelled_commit_has_ended_when_the_cancellation_arrives(open_store, slow):
    store = await open_store()
    commit = asyncio.ensure_future(store.commit(Work(entries=[entry(b"{}")])))
    await slow.begun.wait()
    for _ in range(2):
        commit.cancel()
        await asyncio.sleep(0)
    assert not commit.done()
    slow.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await commit
    assert store.journal.last(1) == 1
    after = Work(entries=[entry(b"{}")])
    await store.commit(after)
    assert after.entries[0].seq == 2
