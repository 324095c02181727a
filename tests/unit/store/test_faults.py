"""What holds when the disk is full, fails or the process dies."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dovetail.errors import StoreError, Unavailable
from dovetail.store.base import Entry, Progress, State, Work


def entries(*names: str, body: bytes = b"{}") -> list[Entry]:
    return [Entry(1, 1000, 1, b"", body, dedupe=(1, name), body_hash=b"h") for name in names]


def kept(store) -> list[int]:
    return [row.seq for row in store.journal.after(1, 1, 0, 100_000, 1 << 40)]


# --- no space


async def test_a_full_store_says_so_and_goes_on_when_there_is_space(open_store):
    store = await open_store()
    await store.commit(Work(entries=entries("a")))
    pages = store._db.writing.pragma("page_count")
    store._db.writing.pragma("max_page_count", pages + 2)
    for _ in range(3):
        with pytest.raises(Unavailable, match="no space left"):
            await store.commit(Work(entries=entries("b", "c", body=b"x" * 60_000), counts={(1, "done"): 1}))
    with pytest.raises(Unavailable, match="no space left"):
        store.register.version(1, "digest", b"x" * 100_000, 0)
    assert kept(store) == [1]
    assert store.progress.counts()[-1, "accepted"] == 1
    store._db.writing.pragma("max_page_count", 1_000_000)
    work = Work(entries=entries("b", "c", body=b"x" * 60_000))
    await store.commit(work)
    assert [entry.seq for entry in work.entries] == kept(store)[1:] == [2, 3]
    assert store.register.version(1, "digest", b"x" * 100_000, 0) == 1


FULL_DISK = """
    import asyncio, os, subprocess, sys
    from pathlib import Path
    from dovetail.clock import SystemClock, SystemIds
    from dovetail.errors import Unavailable
    from dovetail.store.base import Entry, Work
    from dovetail.store.sqlite import SqliteStore

    async def main(folder):
        store = await SqliteStore.open(folder / "store.db", clock=SystemClock(), ids=SystemIds())
        accepted, made = [], 0

        async def accept(count, size):
            nonlocal made
            names = range(made, made + count)
            made += count
            work = Work(entries=[Entry(1, 1, 1, b"", os.urandom(size), dedupe=(1, str(n))) for n in names])
            try:
                await store.commit(work)
            except Unavailable:
                return False
            accepted.extend(entry.seq for entry in work.entries)
            return True

        def whole():
            return [row.seq for row in store.journal.after(1, 1, 0, 1_000_000, 1 << 40)] == accepted

        while await accept(20, 1000):
            pass
        full = len(accepted)
        refused = sum([not await accept(count, size) for _ in range(50) for count, size in ((1, 90000), (9, 900))])
        assert refused > 50 and store.usage()["free"] < 200_000 and whole(), (refused, store.usage())
        subprocess.run(["mount", "-o", "remount,size=24m", folder], check=True)
        assert all([await accept(20, 1000) for _ in range(50)]) and whole()
        assert await accept(1, 300_000)
        store.check()
        await store.close()
        print("accepted", full, "then", len(accepted), "refused", refused)

    asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_full_disk_refuses_and_recovers_without_restart(tmp_path: Path):
    """A real file system of 8 MB, in a mount namespace of its own, that is made larger in the middle."""
    script = tmp_path / "full.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    disk = tmp_path / "disk"
    disk.mkdir()
    private = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" "$3" "$1"'
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", private, "sh", disk, sys.executable, script],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("accepted ")


# --- a disk that fails


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_a_failed_flush_is_not_repeated_and_its_outcome_is_read_back(disk, open_store, tmp_path: Path):
    store = await open_store()
    await store.commit(Work(entries=entries("a")))
    disk.fail("xSync", "-wal", 1)
    work = Work(entries=entries("b"), progress=[Progress(1, 1, State.DONE, 0)])
    await store.commit(work)
    assert disk.met == [("xSync", "-wal")]
    assert work.entries[0].seq == 2
    assert kept(store) == [2]
    assert modes(tmp_path) == {0o600}, "the rewritten log is nobody else's to read"
    again = Work(entries=entries("a", "b", "c"))
    await store.commit(again)
    assert [entry.duplicate_of or entry.seq for entry in again.entries] == [1, 2, 3]
    store.check()


async def test_a_failed_write_keeps_nothing_and_the_next_commit_works(disk, open_store):
    store = await open_store()
    await store.commit(Work(entries=entries("a")))
    disk.fail("xWrite", "-wal", 1)
    with pytest.raises(Unavailable, match="nothing was accepted"):
        await store.commit(Work(entries=entries("b"), audit=[("lost",)]))
    assert kept(store) == [1]
    work = Work(entries=entries("b"))
    await store.commit(work)
    assert (work.entries[0].seq, kept(store)) == (2, [1, 2])
    assert ("lost",) not in [event for _, _, event in store.audit.events(0, 100)]
    store.check()
    await store.close()
    assert kept(await open_store()) == [1, 2]


async def test_the_register_survives_a_failing_disk(disk, open_store):
    store = await open_store()
    disk.fail("xSync", "-wal", 1)
    with pytest.raises(Unavailable):
        store.register.number("flow", "a")
    assert store.register.number("flow", "a") == 1
    assert store.register.number("flow", "b") == 2


async def test_a_disk_that_stays_broken_stops_the_store_and_what_was_accepted_is_there_later(disk, open_store):
    store = await open_store()
    await store.commit(Work(entries=entries("a")))
    disk.fail("xSync", "-wal", 1000)
    with pytest.raises(StoreError, match="whether the last transaction was kept is unknown"):
        await store.commit(Work(entries=entries("b")))
    with pytest.raises(StoreError):
        await store.commit(Work(entries=entries("c")))
    with pytest.raises(StoreError, match="is closed"):
        store.journal.last(1)
    await store.close()
    disk.faults.clear()
    store = await open_store()
    assert not store.clean
    again = Work(entries=entries("a", "b"))
    await store.commit(again)
    assert again.entries[0].duplicate_of == 1
    assert kept(store) == [1, 2], "b once, whether it was kept then or is accepted now"


async def test_the_log_is_flushed_before_a_commit_returns(disk, open_store, monkeypatch):
    store = await open_store()
    synced = []
    monkeypatch.setattr(type(disk), "pass_or_raise", lambda self, call, name: synced.append((call, name[-4:])))
    await store.commit(Work(entries=entries("a")))
    assert synced[-1] == ("xSync", "-wal")


# --- a process that dies, a hook that raises


async def test_a_hook_that_raises_before_the_commit_keeps_nothing(open_store):
    def hook(name: str) -> None:
        if name == armed:
            raise RuntimeError(name)

    armed = ""
    store = await open_store(hook=hook)
    armed = "store_before_commit"
    with pytest.raises(RuntimeError):
        await store.commit(Work(entries=entries("a")))
    assert kept(store) == []
    armed = "store_after_commit"
    with pytest.raises(RuntimeError):
        await store.commit(Work(entries=entries("a")))
    armed = ""
    await store.commit(Work(entries=entries("b")))
    assert kept(store) == [1, 2]


KILLED = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from dovetail.clock import SystemClock, SystemIds
    from dovetail.store.base import Entry, Progress, State, Work
    from dovetail.store.sqlite import SqliteStore

    async def main(path, point, hit):
        hits = 0

        def hook(name):
            nonlocal hits
            hits += name == point
            if hits == hit:
                os.kill(os.getpid(), signal.SIGKILL)

        store = await SqliteStore.open(path, clock=SystemClock(), ids=SystemIds(), hook=hook)
        for n in range(1, 1000):
            works = Work(entries=[Entry(1, n, 1, b"", b"x" * 5000) for _ in range(10)])
            works.progress = [Progress(1, 10 * n, State.DONE, n)]
            await store.commit(works)
            os.write(1, b"%d\\n" % n)

    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


def answered_before_the_kill(path: Path, point: str, hit: int) -> int:
    script = path.with_name("killed.py")
    script.write_text(textwrap.dedent(KILLED))
    run = subprocess.run([sys.executable, script, path, point, str(hit)], capture_output=True, timeout=120, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    return len(run.stdout.split())


@pytest.mark.parametrize("point", ["store_before_commit", "store_after_commit"])
@pytest.mark.parametrize("hit", [1, 2, 150])
async def test_a_kill_leaves_whole_transactions_and_every_answered_one(tmp_path: Path, open_store, point, hit):
    path = tmp_path / "killed.db"
    assert answered_before_the_kill(path, point, hit) == hit - 1
    store = await open_store(path)
    assert not store.clean
    written = hit - (point == "store_before_commit")
    assert store.journal.last(1) == 10 * written
    assert store.progress.counts().get((-1, "accepted"), 0) == 10 * written
    assert len(kept(store)) == 9 * written
    store.check()
