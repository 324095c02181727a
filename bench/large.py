"""One flow is sent very large bodies; what do the others notice? And what does a large body cost in a row or a file?

    .venv/bin/python bench/large.py [--bodies 200] [--size 40] [--clients 4] [--seconds 20] [--packs]

A server with two flows, in a process of its own. First small messages are sent alone, one after the other by four
clients, then the same while bodies of so many megabytes stream in beside, over HTTP. Printed: the latency of small
messages alone and beside, their ratio, the rates, and the server's peak memory. `--packs`: bodies that compress.
`--kinds` compares rows with files, without a server.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import re
import tempfile
import threading
import time
from pathlib import Path

from dovetail.clock import SystemClock, SystemIds
from dovetail.store.base import Entry, Work
from dovetail.store.sqlite import SqliteStore, payloads
from dovetail.testkit.processes import Dovetail

FLOW = "flow: {name}\nsource:\n  webhook: {{path: /{name}, max_body: 100MB}}\nsteps:\n  - publish: {name}.done\n"


def project(folder: Path) -> Path:
    (folder / "flows").mkdir(parents=True)
    (folder / "dovetail.yaml").write_text("project: large\n")
    (folder / "flows/small.yaml").write_text(FLOW.format(name="small"))
    (folder / "flows/large.yaml").write_text(
        FLOW.format(name="large").replace("publish: large.done", "filter: 'false'")
    )
    return folder


class Clients:
    """Threads that send one request after the other until told to stop."""

    def __init__(self, port: int, path: str, bodies: list[bytes], clients: int, left: int = 1 << 60) -> None:
        self._port, self._path, self._bodies, self._left = port, path, bodies, left
        self.latencies: list[float] = []
        self.refused = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def _send(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        turn = number
        while not self._stop.is_set() and self._more():
            turn += 1
            body = b"%016d" % turn + self._bodies[turn % len(self._bodies)]
            at = time.perf_counter()
            try:
                connection.request("POST", self._path, body, {"Content-Type": "application/octet-stream"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            with self._lock:
                if answer.status == 202:
                    self.latencies.append(time.perf_counter() - at)
                else:
                    self.refused += 1
                    self._left += 1
            if answer.status == 503:
                self._stop.wait(0.2)

    def _more(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def stop(self) -> None:
        self._stop.set()
        for thread in self.threads:
            thread.join()


def percentile(latencies: list[float], share: float) -> float:
    return sorted(latencies)[int(len(latencies) * share)] * 1e3


def line(name: str, latencies: list[float], seconds: float) -> None:
    print(
        f"{name:24} {len(latencies):8,} {len(latencies) / seconds:10,.1f}/s  p50 {percentile(latencies, 0.5):8.2f} ms"
        f"  p99 {percentile(latencies, 0.99):8.2f} ms  max {max(latencies) * 1e3:8.2f} ms", flush=True,
    )  # fmt: skip


def peak(pid: int) -> float:
    """The process's peak of resident memory, MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def beside(folder: Path, bodies: int, size: int, clients: int, seconds: float, packs: bool) -> None:
    server = Dovetail(project(folder / "project"), folder)
    assert server.start(), server.log()
    assert server.process is not None
    small = [os.urandom(500)]
    large = [(b"0123456789abcdef" * 65536 if packs else os.urandom(1 << 20)) * size for _ in range(2)]
    print(f"memory at rest {peak(server.process.pid):.0f} MiB")
    one = Clients(server.port, "/small", small, 4)
    time.sleep(seconds)
    one.stop()
    line("small, alone", one.latencies, seconds)
    at = time.perf_counter()
    two, big = Clients(server.port, "/small", small, 4), Clients(server.port, "/large", large, clients, bodies)
    for thread in big.threads:
        thread.join()
    took = time.perf_counter() - at
    two.stop()
    line("small, beside large", two.latencies, took)
    line(f"large, {size} MiB each", big.latencies, took)
    ratio = percentile(two.latencies, 0.99) / percentile(one.latencies, 0.99)
    print(
        f"small p99 beside / alone {ratio:.1f}; large {len(big.latencies) * size / took:.0f} MiB/s, told to wait "
        f"{big.refused} times; peak memory of the server {peak(server.process.pid):.0f} MiB"
    )
    assert server.stop() == 0, server.log()


async def kinds(folder: Path) -> None:
    """A commit of one body, stowed before: in a row, in a file."""
    for size in (1 << 18, 1 << 20, 1 << 22, 40 << 20):
        for name, limit in (("row", 1 << 40), ("file", 0)):
            payloads.SPILLED = limit
            store = await SqliteStore.open(folder / f"{name}{size}.db", clock=SystemClock(), ids=SystemIds())
            stowed, committed = [], []
            for _ in range(8):
                entry = Entry(1, 1, 1, b"", os.urandom(size))
                a = time.perf_counter()
                await store.stow([entry])
                b = time.perf_counter()
                await store.commit(Work(entries=[entry]))
                stowed.append(b - a)
                committed.append(time.perf_counter() - b)
            print(f"{size >> 10:8,} KiB in a {name:4}  stowed in {percentile(stowed, 0.5):8.1f} ms beside, "
                  f"commit {percentile(committed, 0.5):8.1f} ms", flush=True)  # fmt: skip
            await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=200)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--packs", action="store_true")
    parser.add_argument("--kinds", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dovetail-large-") as name:
        if given.kinds:
            asyncio.run(kinds(Path(name)))
        else:
            beside(Path(name), given.bodies, given.size, given.clients, given.seconds, given.packs)


if __name__ == "__main__":
    main()
