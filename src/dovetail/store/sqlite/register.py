"""Names and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from dovetail.errors import StoreError
from dovetail.store import base
from dovetail.store.base import Mark
from dovetail.store.sqlite.database import Database


class Register(base.Register):
    def __init__(self, db: Database) -> None:
        self._db = db

    def number(self, kind: str, name: str) -> int:
        sql = "SELECT number FROM names WHERE kind = ? AND name = ?"

        def give(connection: apsw.Connection) -> int:
            connection.execute(
                "INSERT INTO names SELECT ?1, ?2, 1 + coalesce(max(number), 0) FROM names WHERE kind = ?1 "
                "ON CONFLICT DO NOTHING",
                (kind, name),
            )
            return int(connection.execute(sql, (kind, name)).get)

        found = self._db.one(sql, (kind, name))
        return found[0] if found else self._db.write(give)

    def names(self, kind: str) -> dict[str, int]:
        return dict(self._db.read("SELECT name, number FROM names WHERE kind = ? ORDER BY number", (kind,)))

    def version(self, flow: int, digest: str, text: bytes, at: int) -> int:
        sql = "SELECT number FROM versions WHERE flow = ? AND digest = ?"

        def give(connection: apsw.Connection) -> int:
            connection.execute(
                "INSERT INTO versions SELECT ?1, 1 + coalesce(max(number), 0), ?2, ?3, ?4 FROM versions "
                "WHERE flow = ?1 ON CONFLICT DO NOTHING",
                (flow, digest, at, text),
            )
            return int(connection.execute(sql, (flow, digest)).get)

        found = self._db.one(sql, (flow, digest))
        return found[0] if found else self._db.write(give)

    def versions(self, flow: int) -> list[tuple[int, str, int]]:
        return self._db.read("SELECT number, digest, at FROM versions WHERE flow = ? ORDER BY number", (flow,))

    def version_text(self, flow: int, number: int) -> bytes:
        found = self._db.one("SELECT text FROM versions WHERE flow = ? AND number = ?", (flow, number))
        if not found:
            raise StoreError(f"the store holds no version {number} of flow number {flow}")
        text: bytes = found[0]
        return text

    def claim(self, flow: int) -> tuple[int, int]:
        found = self._db.one("SELECT claimed, settled FROM claims WHERE flow = ?", (flow,))
        return (found[0], found[1]) if found else (0, 0)

    def set_claim(self, flow: int, seq: int) -> None:
        sql = "INSERT OR REPLACE INTO claims (flow, claimed, settled) VALUES (?, ?, ?)"
        self._db.write(lambda connection: connection.execute(sql, (flow, seq, seq)))

    def set_readers(self, stream: int, flows: Sequence[int]) -> None:
        wanted = sorted(set(flows)) or [0]

        def replace(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM readers WHERE stream = ?", (stream,))
            connection.executemany("INSERT INTO readers VALUES (?, ?)", [(stream, flow) for flow in wanted])

        known = [
            flow for (flow,) in self._db.read("SELECT flow FROM readers WHERE stream = ? ORDER BY flow", (stream,))
        ]
        if known != wanted:
            self._db.write(replace)

    def readers(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for stream, flow in self._db.read("SELECT stream, flow FROM readers WHERE flow > 0 ORDER BY stream, flow"):
            found.setdefault(stream, []).append(flow)
        return found

    def mark(self, name: str) -> bytes | None:
        found = self._db.one("SELECT value FROM marks WHERE name = ?", (name,))
        return found[0] if found else None

    def position(self, scope: int, partition: str) -> int | None:
        sql = "SELECT number FROM positions WHERE scope = ? AND partition = ?"
        found = self._db.one(sql, (scope, partition))
        return found[0] if found else None

    def positions(self, scope: int, limit: int) -> tuple[int, list[Mark]]:
        [(count,)] = self._db.read("SELECT count(*) FROM positions WHERE scope = ?", (scope,))
        sql = """SELECT partition, number, at, passing FROM positions WHERE scope = ?
                 ORDER BY passing, at DESC, partition LIMIT ?"""
        rows = self._db.read(sql, (scope, limit))
        return count, [Mark(partition, number, at, bool(passing)) for partition, number, at, passing in rows]
