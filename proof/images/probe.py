"""An image opened with the real store, and with the real engine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dovetail.app import Workshop, load
from dovetail.clock import SystemClock, SystemIds
from dovetail.engine.engine import Engine
from dovetail.errors import DovetailError
from dovetail.gateway import Listener
from dovetail.store.base import Entry, Store, Work
from dovetail.store.sqlite import SqliteStore
from dovetail.telemetry import Telemetry
from dovetail.testkit.checker import ENDED
from dovetail.testkit.history import Count, Event, Seen
from proof import books
from proof.server import PROJECT

PATIENCE = 30.0  # seconds until a drain is given up
Breaches = list[tuple[str, str]]


def lay(folder: Path, root: str, files: Mapping[str, bytearray]) -> Path:
    """Write an image's files; the store folder."""
    store = folder / "store"
    wanted = {folder / Path(path).relative_to(root) for path in files}
    if store.exists():
        for old in store.rglob("*"):
            if old not in wanted and old.is_file():
                old.unlink()
    store.mkdir(exist_ok=True)
    for path, content in files.items():
        place = folder / Path(path).relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, content)
        os.close(fd)
    return store


async def look(store_folder: Path) -> tuple[list[Event], Breaches]:
    """Open, recover, read the books, and repeat to it everything that it has accepted."""
    try:
        store = await SqliteStore.open(store_folder / "store.db", clock=SystemClock(), ids=SystemIds())
    except DovetailError as error:
        return [], [("accounted", f"the store does not open: {error}")]
    try:
        return told(store), await _repeated(store)
    except DovetailError as error:
        return [], [("accounted", f"the store cannot be read: {error}")]
    finally:
        await store.close(clean=False)


def told(store: Store) -> list[Event]:
    """All that a store says: its messages, its counts, its audit."""
    seen = [event for event in books.seen(store) if isinstance(event, Seen)]
    numbers = store.progress.counts()
    events: list[Event] = [*seen, *books.audited(store)]
    for name, number, stream in books.flows(store):
        pending = sum(1 for event in seen if event.flow == name and event.state not in ENDED)
        ended = {word: numbers.get((number, word), 0) for word in ENDED}
        events.append(Count(name, numbers.get((-stream, "accepted"), 0), pending, **ended))
    return events


async def _repeated(store: Store) -> Breaches:
    """A sender that repeats is recognised: its dedupe id was kept with its message."""
    entries: list[tuple[int, Entry]] = []
    for _, number, stream in books.flows(store):
        for row, _ in books.messages(store, number, stream):
            body = store.journal.original(row.seq) or b""
            document = json.loads(body)
            if not row.parent and "id" in document:  # what a step made has no sender
                digest = blake2b(body, digest_size=16).digest()
                dedupe = (stream, str(json.loads(body)["id"]))
                entries.append((row.seq, Entry(stream, 1, 1, b"", body, dedupe=dedupe, body_hash=digest)))
    await store.commit(Work(entries=[entry for _, entry in entries]))
    return [
        ("once", f"message {seq} was accepted a second time when it was repeated")
        for seq, entry in entries
        if entry.duplicate_of != seq
    ]


class _Quiet:
    """A log that nobody reads."""

    def info(self, event: str, **fields: Any) -> None:
        """Nothing."""

    warning = error = info


class Drainer:
    """The engine of the fault project, started on images."""

    def __init__(self, target: str) -> None:
        self._environ = {"ACCOUNTING_URL": target}
        self._project = load(PROJECT, "dev", self._environ)
        self._telemetry = Telemetry(SystemClock(), {})

    async def drain(self, store_folder: Path, over: Callable[[list[Event]], bool]) -> tuple[list[Event], Breaches]:
        """Start, go on until what the store says is `over`, stop; what it says then."""
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
        breaches: Breaches = []
        try:
            await engine.start()
            deadline = clock.monotonic() + PATIENCE
            while not over(said := told(store)) and clock.monotonic() < deadline:  # noqa: ASYNC110 (it ends anywhere)
                await asyncio.sleep(0.01)
        except DovetailError as error:
            said, breaches = [], [("accounted", f"the engine does not start: {error}")]
        await engine.drain()
        return said, breaches
