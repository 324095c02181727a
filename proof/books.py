"""What a store says in the end, as events of a history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dovetail.clock import SystemClock, SystemIds
from dovetail.engine.memo import message_id
from dovetail.store.base import Progress, Query, Row, State, Store
from dovetail.store.sqlite import SqliteStore
from dovetail.testkit.history import Audited, Count, Event, Seen

ALL = 1_000_000  # more than a day of the proof has


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as the store keeps it for a flow."""

    flow: str
    number: int  # the flow's
    row: Row
    progress: Progress | None
    body: bytes


def read(path: Path) -> list[Event]:
    """`Seen` and `Audited` of a store at rest."""

    async def main() -> list[Event]:
        store = await SqliteStore.open(path, clock=SystemClock(), ids=SystemIds())
        try:
            return [*seen(store, messages(store)), *audited(store)]
        finally:
            await store.close(clean=store.clean)

    return asyncio.run(main())


def flows(store: Store) -> Iterator[tuple[str, int, int]]:
    """(name, number, stream) of every flow that reads."""
    names = {number: name for name, number in store.register.names("flow").items()}
    for stream, numbers in store.register.readers().items():
        yield from ((names[number], number, stream) for number in numbers if number in names)


def messages(store: Store) -> list[Kept]:
    """Every message of every flow, newest first."""
    found: list[Kept] = []
    for name, number, stream in flows(store):
        bodies = {row.seq: row for row in store.journal.after(0, stream, 0, ALL, 1 << 40)}
        before = 0
        while True:
            page, before = store.progress.find(Query(flow=number, stream=stream, before=before, limit=1000))
            for row, progress in page:
                body = bodies[row.seq].body if row.seq in bodies else None
                body = store.journal.original(row.seq) if body is None else body
                found.append(Kept(name, number, row, progress, body or b""))
            if not before:
                break
    return found


def seen(store: Store, kept: Iterable[Kept]) -> list[Seen]:
    """The messages as events."""
    events: list[Seen] = []
    for message in kept:
        id, part = _named(message.flow, message.body)
        progress = message.progress
        state = progress.state if progress is not None else State.FRESH
        reason = progress.reason if progress is not None else ""
        seq = message.row.seq
        events.append(Seen(message.flow, message_id(store.uid, seq), state.word, id, part, reason, place=seq))
    return events


@lru_cache(4096)  # the same bodies are found in thousands of images
def _named(flow: str, body: bytes) -> tuple[str, str]:
    return named(flow, json.loads(body or b"{}"))


def named(flow: str, document: Any) -> tuple[str, str]:
    """The sender's id and the part that a body of the fault project is of; no id for one that stands for several."""
    if not isinstance(document, dict):
        return "", ""
    if "reference" in document:
        return (str(document["reference"]), "ledger") if flow == "ledger" else ("", "")
    whole = str(document["id"])
    id, dash, _ = whole.partition("-")
    return (f"{id}-paid", "") if flow == "paid" else (id, whole if dash else "")


def audited(store: Store) -> list[Event]:
    """The audit, event by event."""
    names = {number: name for name, number, _ in flows(store)}
    readers = {
        stream: [names[n] for n in numbers if n in names] for stream, numbers in store.register.readers().items()
    }
    events: list[Event] = []
    for _, _, event in store.audit.events(0, ALL):
        word, *rest = event
        if word == "accepted":
            stream, first, last = (int(str(n)) for n in rest)
            for name in readers.get(stream, ()):
                events += [Audited(name, message_id(store.uid, seq), "accepted") for seq in range(first, last + 1)]
        elif word == "state":
            rows: Any = rest[0]
            for number, seq, state, _attempt in rows:
                events.append(Audited(names.get(number, ""), message_id(store.uid, seq), State(state).word))
        elif word == "redriven":
            number, seq = int(str(rest[0])), int(str(rest[1]))
            events.append(Audited(names.get(number, ""), message_id(store.uid, seq), "redriven"))
    return events


def counts(told: Mapping[str, Any]) -> list[Event]:
    """The desk's numbers of every flow."""
    words = ("accepted", "pending", "done", "discarded", "dead")
    return [Count(name, *(int(flow[word]) for word in words)) for name, flow in told.items()]
