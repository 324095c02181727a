"""The load: signed orders with ids of their own over keep-alive connections, each waiting for its answer.

``python bench/load.py URL --count 50000 --seconds 5`` prints one line of JSON: how many were sent and answered 2xx,
the rate, and the percentiles of the answer in milliseconds. Requests are built and signed before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop
from order import FIRST_ID, request


class Load:
    """One run; ends after ``count`` requests, after ``seconds``, or when every connection was lost."""

    def __init__(self, requests: list[bytes], first: int, seconds: float) -> None:
        self.requests, self.first, self.seconds = requests, first, seconds
        self.next = 0
        self.open = 0
        self.latencies = array("d")
        self.accepted: list[int] = []
        self.statuses: Counter[str] = Counter()
        self.begun = self.deadline = self.ended = 0.0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, users: list[User]) -> None:
        self.open = len(users)
        self.begun = time.perf_counter()
        self.deadline = self.begun + self.seconds
        for user in users:
            user.send()

    def leave(self) -> None:
        """A connection has nothing more to do; the last one ends the run."""
        self.open -= 1
        if self.open == 0 and not self.finished.done():
            self.ended = time.perf_counter()
            self.finished.set_result(None)

    def result(self) -> dict[str, Any]:
        """What is printed."""
        spent, ordered = self.ended - self.begun, sorted(self.latencies)

        def percentile(share: float) -> float:
            return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else 0.0

        return {
            "sent": self.next,
            "accepted": len(self.accepted),
            "seconds": round(spent, 3),
            "rate": round(len(self.accepted) / spent, 1),
            "p50": percentile(0.5),
            "p99": percentile(0.99),
            "max": percentile(1.0),
            "statuses": dict(self.statuses),
            "begun": time.monotonic() - (time.perf_counter() - self.begun),
        }


class User(asyncio.Protocol):
    """One connection: sends, waits for the answer, sends again."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.parser: Any = httptools.HttpResponseParser(self)
        self.load: Any = None
        self.number = -1
        self.sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self.number >= 0:
            self.load.statuses["lost"] += 1
            self.number = -1
            self.load.leave()

    def send(self) -> None:
        load = self.load
        now = time.perf_counter()
        if load.next == len(load.requests) or now >= load.deadline:
            self.number = -1
            load.leave()
            return
        self.number, self.sent = load.next, now
        load.next += 1
        self.transport.write(load.requests[self.number])

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        load, status = self.load, self.parser.get_status_code()
        load.latencies.append(time.perf_counter() - self.sent)
        load.statuses[str(status)] += 1
        if status < 300:
            load.accepted.append(load.first + self.number)
        self.send()


async def main(options: argparse.Namespace) -> dict[str, Any]:
    """Build, connect, run, and describe the run."""
    parts = urlsplit(options.url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    numbers = range(options.first, options.first + options.count)
    load = Load([request(number, parts.netloc, parts.path) for number in numbers], options.first, options.seconds)
    loop = asyncio.get_running_loop()
    users = []
    for _ in range(options.connections):
        _transport, user = await loop.create_connection(User, host, port)
        user.load = load
        users.append(user)
    load.start(users)
    await load.finished
    if options.accepted:
        options.accepted.write_text("\n".join(str(FIRST_ID + number) for number in load.accepted))
    return load.result()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("url")
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--count", type=int, default=50_000, help="at most this many requests")
    arguments.add_argument("--seconds", type=float, default=5.0, help="at most this long")
    arguments.add_argument("--first", type=int, default=0, help="running number of the first order")
    arguments.add_argument("--accepted", type=Path, help="write the ids of the orders answered 2xx here, one a line")
    print(json.dumps(uvloop.run(main(arguments.parse_args()))))
