"""An image opened with the real store, and with the real engine."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import apsw

from dovetail.app import Workshop, load
from dovetail.clock import SystemClock, SystemIds
from dovetail.engine.engine import Engine
from dovetail.errors import DovetailError
from dovetail.gateway import Listener
from dovetail.store.base import Entry, Store, Work
from dovetail.store.sqlite import SqliteStore
from dovetail.telemetry import Telemetry
from dovetail.testkit.checker import ENDED
from dovetail.testkit.history import Count, Event
from dovetail.testkit.processes import Recorder
from proof import books
from proof.server import PROJECT
from proof.witness import Ledger

PATIENCE = 60.0  # seconds until a drain is given up
PAYLOADS = "-payloads/"  # in the path of a very large body
LOOK = 0.02  # seconds between two looks at a store that is being drained
Breaches = list[tuple[str, str]]


class Bench:
    """A folder on which images are laid, one after the other."""

    def __init__(self, folder: Path, root: str) -> None:
        self.store = folder / "store"
        self._folder, self._root = str(folder), root
        self._folders: set[str] = set()
        self._laid: dict[str, bytearray] = {}  # what was written to each file last

    def lay(self, files: Mapping[str, bytearray]) -> Path:
        """Write an image's files; the store folder. Bodies in files are written once: no store changes them."""
        self.store.mkdir(parents=True, exist_ok=True)
        wanted = {self._folder + path.removeprefix(self._root): content for path, content in files.items()}
        for folder, _, names in os.walk(self.store):
            for name in names:
                if (path := f"{folder}/{name}") not in wanted:
                    Path(path).unlink()
        for path, content in wanted.items():
            if PAYLOADS in path and self._laid.get(path) is content and _size(path) == len(content):
                continue
            self._write(path, content)
        self._laid = wanted
        return self.store

    def _write(self, path: str, content: bytearray) -> None:
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, content)
        os.close(fd)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return -1


@dataclass(frozen=True, slots=True)
class State:
    """A state that a store can be in: what it says, and what is wrong with it."""

    said: Sequence[Event]
    breaches: Breaches


class States:
    """Opens images, and knows the states that it has met."""

    def __init__(self) -> None:
        self._known: dict[bytes, State] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def look(self, store_folder: Path) -> State:
        """Open and recover. If that leads to a state that was not met yet, read the books, and repeat to the store
        everything that it has accepted.

        Most of what a power cut leaves behind a commit is thrown away at the start, so that many images lead to the
        same state: the same database, byte for byte, and the same bodies in files.
        """
        try:
            store = await SqliteStore.open(store_folder / "store.db", clock=SystemClock(), ids=SystemIds())
        except DovetailError as error:
            return State([], [("accounted", f"the store does not open: {error}")])
        try:
            digest = _digest(store, store_folder)
            if digest not in self._known:
                kept = books.messages(store)
                self._known[digest] = State(_told(store, kept), await _repeated(store, kept))
            return self._known[digest]
        except (DovetailError, apsw.Error) as error:
            return State([], [("accounted", f"the store cannot be read: {error}")])
        finally:
            await store.close(clean=False)


def _digest(store: SqliteStore, folder: Path) -> bytes:
    """Of every page that SQLite reads, in the file or in its log, and of every file with a body."""
    digest = sha256(store._db.reading.serialize("main"))
    for path in sorted(folder.glob(f"*{PAYLOADS}**/*")):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.digest()


def told(store: Store) -> list[Event]:
    """All that a store says: its messages, its counts, its audit."""
    return _told(store, books.messages(store))


def _told(store: Store, kept: Sequence[books.Kept]) -> list[Event]:
    seen = books.seen(store, kept)
    numbers = store.progress.counts()
    pending = Counter(event.flow for event in seen if event.state not in ENDED)
    events: list[Event] = [*seen, *books.audited(store)]
    for name, number, stream in books.flows(store):
        ended = {word: numbers.get((number, word), 0) for word in ENDED}
        events.append(Count(name, numbers.get((-stream, "accepted"), 0), pending[name], **ended))
    return events


async def _repeated(store: Store, kept: Sequence[books.Kept]) -> Breaches:
    """A sender that repeats is recognised: its dedupe id was kept with its message."""
    entries: list[tuple[int, Entry]] = []
    for message in kept:
        row, (id, digest) = message.row, _sent(message.body)
        if not row.parent and id:  # what a step made has no sender
            # The body is not repeated: the store knows a message by its id and the hash, and large ones take long.
            entries.append((row.seq, Entry(row.stream, 1, 1, b"", b"", dedupe=(row.stream, id), body_hash=digest)))
    await store.commit(Work(entries=[entry for _, entry in entries]))
    return [
        ("once", f"message {seq} was accepted a second time when it was repeated")
        for seq, entry in entries
        if entry.duplicate_of != seq
    ]


@lru_cache(4096)  # the same bodies are found in thousands of images
def _sent(body: bytes) -> tuple[str, bytes]:
    """The id that the sender gave a message, empty if there is none, and the hash of the body."""
    document = json.loads(body or b"{}")
    id = str(document["id"]) if isinstance(document, dict) and "id" in document else ""
    return id, blake2b(body, digest_size=16).digest()


class _Quiet:
    """A log that nobody reads."""

    def info(self, event: str, **fields: Any) -> None:
        """Nothing."""

    warning = error = info


class Drainer:
    """The engine of the fault project, started on one image after the other; its target does as `ledger` says. A
    process keeps those that it has made."""

    def __init__(self) -> None:
        self.target = Recorder()
        self._environ = {"ACCOUNTING_URL": f"{self.target.url}/life/1"}
        self._project = load(PROJECT, "dev", self._environ)
        self._telemetry = Telemetry(SystemClock(), {})

    async def drain(
        self, store_folder: Path, ledger: Ledger, over: Callable[[list[Event]], bool]
    ) -> tuple[list[Event], Breaches]:
        """Start, go on until what the store says is `over`, stop; what it says then."""
        self.target.answer = ledger
        self.target.requests.clear()
        self.target.done.clear()
        clock, ids = SystemClock(), SystemIds()
        try:
            store = await SqliteStore.open(store_folder / "store.db", clock=clock, ids=ids)
        except DovetailError as error:
            return [], [("accounted", f"the store does not open: {error}")]
        workshop = Workshop(PROJECT, "dev", self._environ, store, clock, self._telemetry)
        engine = Engine(
            workshop.assemble(self._project), store, clock=clock, ids=ids, codecs=workshop.codecs, log=_Quiet(),
            folder=PROJECT, routes=Listener("127.0.0.1", 0, clock=clock).routes,
        )  # fmt: skip
        try:
            await engine.start()
            return await self._until(store, ledger, over), []
        except DovetailError as error:
            return [], [("accounted", f"the engine does not start: {error}")]
        finally:
            await engine.drain()

    async def _until(self, store: Store, ledger: Ledger, over: Callable[[list[Event]], bool]) -> list[Event]:
        """Until it is over, or nobody waits any more. The books are read again only when something has happened, and at
        the end: they are read flow by flow, and a commit in between may show one flow before it and another behind."""
        clock = SystemClock()
        deadline, before, said = clock.monotonic() + PATIENCE, None, told(store)
        while clock.monotonic() < deadline and not (over(said) and over(said := told(store))):
            await asyncio.sleep(LOOK)
            now = (store.progress.counts(), len(ledger.billed))
            if now != before:
                before, said = now, told(store)
        return told(store)


@cache
def drainer(number: int) -> Drainer:
    """One that drains one image at a time."""
    return Drainer()
