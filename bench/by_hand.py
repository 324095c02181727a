"""The checks and records of the measured flow, written by hand for it alone: what they cost without an engine.

``by_hand.py accept`` verifies the signature, reads the JSON strictly, holds it against the contract, knows repeats,
journals, and writes an end for each order; ``by_hand.py deliver --target PORT`` maps and calls as well, under a key of
each order's own, and records the answer. No retries, no breaker, no order per key, no recovery, no other flow: what an
engine costs stands between this and Dovetail, what the checks cost between this and ``floor.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import apsw
import jsonschema_rs
import msgspec
import uvloop
from floor import ACCEPTED, Floor, open_store
from order import SECRET, SIGNATURE, map_order
from wire import Server, reply

from dovetail.codec.json import JsonCodec

CONTRACT = Path(__file__).resolve().parent / "project/contracts/shop.order/2.json"
REFUSED = reply(b"422 Unprocessable Content", b'{"code":"contract"}')
REPEATED = reply(b"200 OK", b'{"duplicate":true}')
SCHEMA = """
CREATE TABLE journal (seq INTEGER PRIMARY KEY, at INTEGER, key TEXT, id TEXT, meta BLOB, body BLOB);
CREATE TABLE dedupe (id TEXT PRIMARY KEY, seq INTEGER, hash BLOB) WITHOUT ROWID;
CREATE TABLE progress (seq INTEGER PRIMARY KEY, state INTEGER, at INTEGER, attempt INTEGER, memo BLOB);
"""


class HeadedServer(Server):
    """A connection that keeps the headers of the request at hand."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.headers: dict[str, str] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")


class ByHand(Floor):
    """As the floor, with everything that the flow's text asks for."""

    def __init__(self, store: apsw.Connection, target: int | None) -> None:
        super().__init__(store, target)
        self.read = JsonCodec().decode
        self.fits = jsonschema_rs.validator_for(json.loads(CONTRACT.read_text())).is_valid
        self.secret = SECRET.encode()
        self.pack = msgspec.msgpack.Encoder().encode
        self.keys: dict[int, str] = {}

    def handle(self, connection: Server, body: bytes) -> None:
        headers = connection.headers  # type: ignore[attr-defined]
        signature = base64.b64encode(hmac.digest(self.secret, body, hashlib.sha256)).decode()
        order = self.read(body)
        if not hmac.compare_digest(signature, headers.get(SIGNATURE.lower(), "")) or not self.fits(order):
            connection.transport.write(REFUSED)
            return
        name, key = str(order["id"]), str(order["customer"]["id"])
        digest = hashlib.blake2b(body, digest_size=16).digest()
        self.arrived.append((connection, (name, key, digest, self.pack(headers), order), body))  # type: ignore[arg-type]
        self.wake()

    def flush(self) -> None:
        arrived, done = self.arrived, self.done
        self.arrived, self.done = [], []
        self.thread.submit(self.commit, arrived, done, [])

    def commit(self, rows: list[Any], done: list[Any], arrived: list[Any]) -> None:
        """In the writer's thread: repeats are told apart, one transaction, one flush."""
        self.store.execute("BEGIN IMMEDIATE")
        journal, ids, kept, now = [], [], [], time.time_ns() // 1_000_000
        if rows:
            names = [(row[1][0],) for row in rows]
            known = {name for (name,) in self.store.executemany("SELECT id FROM dedupe WHERE id = ?", names)}
            for connection, (name, key, digest, meta, order), body in rows:
                fresh = name not in known
                known.add(name)
                if fresh:
                    self.seq += 1
                    journal.append((self.seq, now, key, name, meta, body))
                    ids.append((name, self.seq, digest))
                kept.append((connection, self.seq if fresh else 0, name, order))
            self.store.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", journal)
            self.store.executemany("INSERT INTO dedupe VALUES (?, ?, ?)", ids)
        if done:
            self.store.executemany("INSERT INTO progress VALUES (?, ?, ?, ?, ?)", done)
        self.store.execute("COMMIT")
        self.loop.call_soon_threadsafe(self.committed, kept, arrived)

    def committed(self, rows: list[Any], arrived: list[Any]) -> None:
        now = time.time_ns() // 1_000_000
        for connection, seq, name, order in rows:
            connection.transport.write(ACCEPTED if seq else REPEATED)
            if seq and self.target and order["financial_status"] == "paid":
                self.send_order(seq, name, order)
            elif seq:
                self.done.append((seq, 11, now, 1, b""))
        if self.arrived or self.done:
            self.flush()
        else:
            self.busy = False

    def send_order(self, seq: int, name: str, order: dict[str, Any]) -> None:
        content = self.encoder.encode(map_order(order))
        key = hashlib.blake2b(f"deliver\x1f{name}\x1fcreate_sales_order".encode(), digest_size=16).hexdigest()
        self.keys[seq] = key
        request = (
            b"%sContent-Type: application/json\r\nIdempotency-Key: %s\r\ntraceparent: 00-%s-%s-01\r\n"
            b"Content-Length: %d\r\n\r\n%s"
        )
        trace = key.encode()
        self.pool.send(request % (self.head, trace, trace, trace[:16], len(content), content), seq)

    def delivered(self, seq: int, status: int) -> None:
        key = self.keys.pop(seq)
        if status < 300:
            now = time.time_ns() // 1_000_000
            self.done.append((seq, 10, now, 1, self.pack({key: ("create_sales_order", "done", now, status)})))
            self.wake()


async def serve(folder: Path, port: int, target: int | None) -> None:
    """Serve until killed."""
    hand = ByHand(open_store(folder / "by-hand.sqlite", SCHEMA), target)
    if target:
        await hand.pool.open()
    server = await asyncio.get_running_loop().create_server(lambda: HeadedServer(hand.handle), "127.0.0.1", port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Run one of the two."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["accept", "deliver"])
    options.add_argument("--folder", type=Path, required=True, help="an empty folder for the SQLite file")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--target", type=int)
    given = options.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(given.folder, given.port, given.target if given.what == "deliver" else None))


if __name__ == "__main__":
    main()
