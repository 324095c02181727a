"""What the store costs: rows a second by batch, commit latency, reading with a million pending.

    .venv/bin/python bench/store.py [--folder DIR] [--seconds 2] [--pending 1000000]

Numbers of one machine and one run; compare lines with each other. The last column is the time that the event loop's
thread spends on a row, everything included (it is the core that the engine shares).
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from dovetail.clock import SystemClock, SystemIds
from dovetail.store.base import Entry, Progress, Query, State, Work
from dovetail.store.sqlite import SqliteStore

BODY = os.urandom(450).hex().encode() + b"padding"  # 907 bytes
META = b"m" * 120


def new_file(folder: Path) -> Path:
    for file in folder.glob("bench.db*"):
        file.unlink()
    return folder / "bench.db"


async def open_store(path: Path) -> SqliteStore:
    return await SqliteStore.open(path, clock=SystemClock(), ids=SystemIds())


def make(first: int, count: int, dedupe: str, keys: bool) -> list[Entry]:
    ids = (os.urandom(16).hex() if dedupe == "random" else f"order-{n}" for n in range(first, first + count))
    return [
        Entry(
            1, n, 1, META, BODY,
            key=f"customer-{n % 5000}" if keys else None,
            dedupe=(1, name) if dedupe else None,
            body_hash=b"0123456789abcdef" if dedupe else b"",
        )
        for n, name in enumerate(ids, first)
    ]  # fmt: skip


async def rate(folder: Path, seconds: float, batch: int, dedupe: str, keys: bool, done: bool) -> None:
    """Commit batches back to back; with `done`, each commit also records the batch before as done."""
    store = await open_store(new_file(folder))
    latencies, rows, before = [], 0, []
    gc.collect()
    started, thread = time.perf_counter(), time.thread_time()
    while time.perf_counter() - started < seconds:
        work = Work(entries=make(rows + 1, batch, dedupe, keys))
        if done:
            work.progress = [Progress(1, e.seq, State.DONE, e.at, key=e.key) for e in before]
            work.counts = {(1, "done"): len(before)}
            before = work.entries
        at = time.perf_counter()
        await store.commit(work)
        latencies.append(time.perf_counter() - at)
        rows += batch
    took, cpu = time.perf_counter() - started, time.thread_time() - thread
    usage = store.usage()
    latencies.sort()
    p50, p99 = latencies[len(latencies) // 2] * 1e3, latencies[int(len(latencies) * 0.99)] * 1e3
    print(
        f"{batch:6} {dedupe or '-':>11} {'yes' if keys else '-':>5} {'yes' if done else '-':>5} {rows / took:12,.0f}"
        f" {p50:9.2f} {p99:9.2f} {(usage['store'] + usage['wal']) / rows:12,.0f} {cpu / rows * 1e6:10.2f}",
        flush=True,
    )
    await store.close()


def timed(name: str, call: Callable[[], object]) -> None:
    at = time.perf_counter()
    found = call()
    print(f"{name:58} {(time.perf_counter() - at) * 1e3:10.2f} ms   {found}", flush=True)


async def backlog(folder: Path, count: int) -> None:
    """Reading with many pending: all of them fresh at first, then half of them held behind keys."""
    store = await open_store(new_file(folder))
    at = time.perf_counter()
    for first in range(1, count + 1, 2000):
        await store.commit(Work(entries=make(first, 2000, "sequential", True)))
    print(f"\n{count:,} pending, written in {time.perf_counter() - at:.0f} s", flush=True)
    await store.close()
    at = time.perf_counter()
    store = await open_store(folder / "bench.db")
    print(f"{'open':58} {(time.perf_counter() - at) * 1e3:10.2f} ms")
    journal, progress = store.journal, store.progress
    timed("after, from the start, 500 rows", lambda: len(journal.after(1, 1, 0, 500, 1 << 30)))
    timed("after, from the middle, 500 rows", lambda: len(journal.after(1, 1, count // 2, 500, 1 << 30)))
    timed("fresh, nothing begun", lambda: progress.fresh(1, 1, 0))
    for first in range(1, count // 2, 2000):
        held = [Progress(1, n, State.HELD, n, key=f"customer-{n % 5000}") for n in range(first, first + 2000)]
        await store.commit(Work(progress=held))
    timed("after, behind a held half, 500 rows", lambda: len(journal.after(1, 1, 0, 500, 1 << 30)))
    timed("fresh, a held half", lambda: progress.fresh(1, 1, 0))
    timed("pending", lambda: progress.pending(1))
    timed("blocked", lambda: sum(1 for _ in progress.blocked(1)))
    timed("held, of one key", lambda: bool(progress.held(1, "customer-77", 1)))
    timed("find, newest 50", lambda: len(progress.find(Query(1, 1))[0]))
    timed("find, newest 50 held", lambda: len(progress.find(Query(1, 1, states=[State.HELD]))[0]))
    timed("find, no dead letters", lambda: len(progress.find(Query(1, 1, states=[State.DEAD]))[0]))
    timed("find, one key, newest 50", lambda: len(progress.find(Query(1, 1, key="customer-77"))[0]))
    timed("find, unknown key, one call", lambda: progress.find(Query(1, 1, key="nobody")))
    timed("find, text that is nowhere, one call", lambda: progress.find(Query(1, 1, text=b"needle")))
    timed("find, since (bisection)", lambda: len(progress.find(Query(1, 1, since=count // 3, until=count // 2))[0]))
    print(f"resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")
    await store.close()


async def main(folder: Path, seconds: float, pending: int) -> None:
    print(
        f"{'batch':>6} {'dedupe':>11} {'keys':>5} {'done':>5} {'rows/s':>12} {'p50 ms':>9} {'p99 ms':>9}"
        f" {'bytes/row':>12} {'loop us':>10}"
    )
    for batch in (1, 10, 100, 1000):
        await rate(folder, seconds, batch, "", False, False)
        await rate(folder, seconds, batch, "sequential", False, False)
        await rate(folder, seconds, batch, "random", False, False)
        await rate(folder, seconds, batch, "sequential", True, True)
    if pending:
        await backlog(folder, pending)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--seconds", type=float, default=2.0, help="per line")
    parser.add_argument("--pending", type=int, default=1_000_000, help="0 leaves this part out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        uvloop.run(main(options.folder or Path(temporary), options.seconds, options.pending))
