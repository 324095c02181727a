"""Large bodies, kept once each: rows of their own up to `SPILLED` bytes, files beyond."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

import apsw

from dovetail.errors import StoreError, Unavailable
from dovetail.sdk import Threads
from dovetail.store.base import Entry
from dovetail.store.sqlite.database import Database
from dovetail.store.sqlite.spill import SpillFiles, compressible, hash_of

LARGE = 64 << 10  # bodies over this many bytes go to `payloads`
SPILLED = 1 << 20  # and those over this many into files
THREADS = Threads(2)  # of all stores: few write, so that the log's flushes get their turn


@dataclass(slots=True, weakref_slot=True, eq=False)
class Payload:
    """A large body as it is kept: in `body`, in the file `file`, or (with neither) in a row that was there already.

    As long as it lives, neither its file nor the row with its hash is let go.
    """

    hash: bytes = b""
    packed: int = 0
    body: bytes = b""
    file: str | None = None
    stored: int = 0
    known: bool = False  # there is a row with this hash


class Payloads:
    """Where large bodies are written and read. `stow` runs beside the event loop, ahead of the commit."""

    def __init__(self, db: Database, files: SpillFiles) -> None:
        self._db, self.files = db, files
        self._alive: WeakSet[Payload] = WeakSet()
        self._life = self._serial = 0
        self.going: set[bytes] = set()  # hashes of rows that a transaction under way deletes
        self.untidy = True  # there may be files or rows that nothing refers to

    def begin(self, life: int) -> None:
        """`life` is a number that this store was never opened under before: names of files carry it."""
        self._life = life

    async def stow(self, entries: Iterable[Entry]) -> None:
        """Write the bodies of large entries beside the log. Raises Unavailable when the disk takes no file now."""
        for entry in entries:
            if entry.stowed is None and len(entry.body) > LARGE:
                payload = await self._stowed(entry.body)
                self.untidy = self.untidy or entry.stowed is not None  # somebody else was quicker
                entry.stowed = entry.stowed or payload

    async def _stowed(self, body: bytes) -> Payload:
        payload = Payload()
        payload.hash = await THREADS.run(hash_of, body)
        self._alive.add(payload)
        found = self._db.one("SELECT packed, file, stored FROM payloads WHERE hash = ?", (payload.hash,))
        if found and payload.hash not in self.going:
            payload.packed, _, payload.stored = found
            payload.known = True
            return payload
        if len(body) > SPILLED:
            self._serial += 1
            payload.file = f"{payload.hash.hex()}.{self._life:x}.{self._serial:x}"
        try:
            await THREADS.run(self._write, payload, body)
        except OSError as error:
            raise Unavailable(
                f"a large body cannot be written beside store {self._db.path}: {error.strerror}"
            ) from error
        return payload

    def _write(self, payload: Payload, body: bytes) -> None:
        """In a thread."""
        packed = compressible(body)
        if payload.file is not None:
            payload.stored = self.files.write(payload.file, body, packed)
            payload.packed = int(packed)
            return
        payload.body = zlib.compress(body, 1) if packed else body
        if len(payload.body) < 0.9 * len(body):
            payload.packed = 1
        else:
            payload.body = body
        payload.stored = len(payload.body)

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, number: int) -> bytes | None:
        """A large body by its number; blocks for as long as the disk does. Raises StoreError."""
        found = self._db.one("SELECT packed, body, file FROM payloads WHERE id = ?", (number,))
        if found is None:
            return None
        packed, body, file = found
        if file is not None:
            return self._file(file, packed)
        return zlib.decompress(body) if packed else bytes(body)

    async def fetch(self, number: int) -> bytes | None:
        """As `read`, without holding up the event loop when it lies in a file."""
        found = self._db.one("SELECT packed, file FROM payloads WHERE id = ?", (number,))
        if found is None or found[1] is None:
            return self.read(number)
        return await THREADS.run(self._file, found[1], found[0])

    def _file(self, name: str, packed: int) -> bytes:
        try:
            return self.files.read(name, bool(packed))
        except (OSError, zlib.error, ValueError) as error:
            where = self.files.folder / name
            raise StoreError(f"a body of store {self._db.path} cannot be read from {where}: {error}") from error

    def weight(self) -> int:
        """What the files weigh."""
        found = self._db.one("SELECT coalesce(sum(stored), 0) FROM payloads WHERE file IS NOT NULL")
        return int(found[0]) if found else 0

    # --- letting go ------------------------------------------------------------------------------------------------

    def held(self) -> tuple[set[bytes], set[str]]:
        """Hashes and names of files that messages on their way to the journal refer to."""
        alive = list(self._alive)
        return {one.hash for one in alive}, {one.file for one in alive if one.file is not None}

    async def remove(self, names: Sequence[str]) -> None:
        """Let files go that no row names any more; one that cannot be removed now is found by a later `tidy`."""
        for name in names:
            await THREADS.run(self._remove, name)

    def _remove(self, name: str) -> None:
        try:
            self.files.remove(name)
        except OSError:
            self.untidy = True

    async def orphans(self) -> list[str]:
        """Files that neither a row nor a message on its way names: what a crash or a refused message left."""
        names = await THREADS.run(self.files.names)
        mine = [name for name in names if not self._mine(name)]
        return [name for name in mine if not self._named(name)]

    def _mine(self, name: str) -> bool:
        return name.removesuffix(".tmp") in self.held()[1]

    def _named(self, name: str) -> bool:
        try:
            digest = bytes.fromhex(name.partition(".")[0])
        except ValueError:
            return True  # somebody else's: not ours to remove
        found = self._db.one("SELECT file FROM payloads WHERE hash = ?", (digest,))
        return found is not None and found[0] == name


def kept(connection: apsw.Connection, payload: Payload) -> int:
    """The number of a large body's row in the open transaction, written unless it is there."""
    found = connection.execute("SELECT id FROM payloads WHERE hash = ?", (payload.hash,)).get
    if found is not None:
        return int(found)
    sql = "INSERT INTO payloads (hash, packed, body, file, stored) VALUES (?, ?, ?, ?, ?)"
    connection.execute(sql, (payload.hash, payload.packed, payload.body, payload.file, payload.stored))
    return connection.last_insert_rowid()


def folder_of(store: Path) -> Path:
    """Where the spill files of the store at `store` lie."""
    return store.with_name(store.name + "-payloads")
