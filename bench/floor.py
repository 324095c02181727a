"""The bare floor: what SQLite, the parser and the sockets cost on this machine when nothing else is done.

``floor.py accept`` journals each order durably and answers 202. ``floor.py deliver --target PORT`` also maps it, calls
the target over raw keep-alive connections and marks it done. ``floor.py topic`` reads, maps and writes in one SQLite
file, 500 messages a transaction, and prints its rate. No verification, no contract, no dedupe, no retries, no recovery.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import msgspec
import uvloop
from order import body as order_body
from order import map_order
from wire import Pool, Server, reply

ACCEPTED = reply(b"202 Accepted", b'{"accepted":true}')
CONNECTIONS = 32
SCHEMA = """
CREATE TABLE journal (seq INTEGER PRIMARY KEY, id INTEGER, body BLOB, done INTEGER DEFAULT 0);
CREATE UNIQUE INDEX ids ON journal (id);
"""


class Key(msgspec.Struct):
    """The one field the floor reads before it journals."""

    id: int


def open_store(path: Path, schema: str = SCHEMA) -> apsw.Connection:
    """An empty store that is flushed at every commit."""
    store = apsw.Connection(str(path))
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=FULL")
    store.execute(schema)
    return store


class Floor:
    """Accepts, and delivers when there is a target."""

    def __init__(self, store: apsw.Connection, target: int | None) -> None:
        self.store, self.target = store, target
        self.key = msgspec.json.Decoder(Key)
        self.decoder, self.encoder = msgspec.json.Decoder(), msgspec.json.Encoder()
        self.arrived: list[tuple[Server, int, bytes]] = []
        self.done: list[tuple[int]] = []
        self.seq = 0
        self.busy = False
        self.thread = ThreadPoolExecutor(1)
        self.loop = asyncio.get_running_loop()
        self.pool = Pool("127.0.0.1", target or 0, CONNECTIONS, self.delivered)
        self.head = f"POST /sales-orders HTTP/1.1\r\nHost: 127.0.0.1:{target}\r\n".encode()

    def handle(self, connection: Server, body: bytes) -> None:
        self.arrived.append((connection, self.key.decode(body).id, body))
        self.wake()

    def wake(self) -> None:
        """Start a commit of all that waits, unless one is under way: it starts the next one itself."""
        if not self.busy:
            self.busy = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        arrived, done = self.arrived, self.done
        self.arrived, self.done = [], []
        first = self.seq + 1
        self.seq += len(arrived)
        rows = [(seq, identity, body) for seq, (_, identity, body) in enumerate(arrived, first)]
        self.thread.submit(self.commit, rows, done, arrived)

    def commit(self, rows: list[Any], done: list[Any], arrived: list[Any]) -> None:
        """In the writer's thread: one transaction, one flush."""
        self.store.execute("BEGIN IMMEDIATE")
        if rows:
            self.store.executemany("INSERT INTO journal (seq, id, body) VALUES (?, ?, ?)", rows)
        if done:
            self.store.executemany("UPDATE journal SET done = 1 WHERE seq = ?", done)
        self.store.execute("COMMIT")
        self.loop.call_soon_threadsafe(self.committed, rows, arrived)

    def committed(self, rows: list[Any], arrived: list[Any]) -> None:
        for connection, _identity, _body in arrived:
            connection.transport.write(ACCEPTED)
        if self.target:
            for seq, _identity, body in rows:
                self.deliver(seq, body)
        if self.arrived or self.done:
            self.flush()
        else:
            self.busy = False

    def deliver(self, seq: int, body: bytes) -> None:
        content = self.encoder.encode(map_order(self.decoder.decode(body)))
        request = b"%sContent-Type: application/json\r\nIdempotency-Key: %d\r\nContent-Length: %d\r\n\r\n%s"
        self.pool.send(request % (self.head, seq, len(content), content), seq)

    def delivered(self, seq: int, status: int) -> None:
        if status < 300:
            self.done.append((seq,))
            self.wake()


async def serve(folder: Path, port: int, target: int | None) -> None:
    """Serve until killed."""
    floor = Floor(open_store(folder / "floor.sqlite"), target)
    if target:
        await floor.pool.open()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(floor.handle), "127.0.0.1", port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def topic(folder: Path, count: int, batch: int) -> dict[str, Any]:
    """Move ``count`` messages from one table through the mapping to another."""
    store = open_store(folder / "topic.sqlite")
    store.execute(
        "CREATE TABLE source (seq INTEGER PRIMARY KEY, body BLOB);"
        "CREATE TABLE sink (seq INTEGER PRIMARY KEY, body BLOB);"
        "CREATE TABLE cursor (seq INTEGER); INSERT INTO cursor VALUES (0)"
    )
    with store:
        store.executemany("INSERT INTO source VALUES (?, ?)", ((n, order_body(n)) for n in range(1, count + 1)))
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    begun, cursor = time.perf_counter(), 0
    while cursor < count:
        query = "SELECT seq, body FROM source WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = store.execute(query, (cursor, batch)).fetchall()
        mapped = [(seq, encode(map_order(decode(body)))) for seq, body in rows]
        cursor = rows[-1][0]
        store.execute("BEGIN IMMEDIATE")
        store.executemany("INSERT INTO sink VALUES (?, ?)", mapped)
        store.execute("UPDATE cursor SET seq = ?", (cursor,))
        store.execute("COMMIT")
    spent = time.perf_counter() - begun
    return {"count": count, "seconds": round(spent, 3), "rate": round(count / spent, 1)}


def main() -> None:
    """Run one of the three."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=["accept", "deliver", "topic"])
    options.add_argument("--folder", type=Path, required=True, help="an empty folder for the SQLite file")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--target", type=int)
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--batch", type=int, default=500)
    given = options.parse_args()
    if given.what == "topic":
        print(json.dumps(topic(given.folder, given.count, given.batch)))
        return
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(given.folder, given.port, given.target if given.what == "deliver" else None))


if __name__ == "__main__":
    main()
