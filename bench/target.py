"""The system every flow calls: answers 200 to all, remembers which orders it saw, goes away when told.

``python bench/target.py`` prints one line of JSON with its ports. Control: ``GET /count`` (seen, different, last: the
monotonic time of the last arrival), ``POST /ids {"file": path}`` writes the order ids seen one a line,
``POST /reset`` forgets, ``POST /away`` and ``POST /back`` close and open the service port for real.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import uvloop
from wire import Server, reply

OK = reply(b"200 OK", b'{"id":"SO-1","status":"open"}')


class Target:
    """Counts orders by the ``reference`` in their body."""

    def __init__(self) -> None:
        self.references: list[bytes] = []
        self.last = 0.0
        self.service: Any = None
        self.port = 0
        self.peers: set[Server] = set()

    def handle(self, connection: Server, body: bytes) -> None:
        place = body.find(b'"', body.find(b'"reference"') + 11) + 1
        self.references.append(body[place : body.find(b'"', place)])
        self.last = time.monotonic()
        connection.transport.write(OK)

    async def open(self) -> None:
        if self.service is None:
            loop = asyncio.get_running_loop()
            self.service = await loop.create_server(lambda: Server(self.handle, self.peers), "127.0.0.1", self.port)
            self.port = self.service.sockets[0].getsockname()[1]

    def away(self) -> None:
        if self.service is not None:
            self.service.close()
            self.service = None
        for peer in list(self.peers):
            peer.transport.abort()

    def dump(self, file: str) -> None:
        Path(file).write_bytes(b"\n".join(self.references))

    def control(self, connection: Server, body: bytes) -> None:
        asyncio.get_running_loop().create_task(self.command(connection, body))

    async def command(self, connection: Server, body: bytes) -> None:
        path = connection.path
        if path == b"/reset":
            self.references.clear()
        elif path == b"/away":
            self.away()
        elif path == b"/back":
            await self.open()
        elif path == b"/ids":
            self.dump(json.loads(body)["file"])
        answer = {"seen": len(self.references), "last": self.last}
        if path == b"/count":
            answer["different"] = len(set(self.references))
        connection.transport.write(reply(b"200 OK", json.dumps(answer).encode()))


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    target, stop, loop = Target(), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    target.port = port
    await target.open()
    control = await loop.create_server(lambda: Server(target.control), "127.0.0.1", 0)
    ports = {"port": target.port, "control": control.sockets[0].getsockname()[1]}
    print(json.dumps(ports), flush=True)
    await stop.wait()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=0)
    uvloop.run(main(options.parse_args().port))
