"""Which files of a folder are finished: what is remembered of those that stay where they were."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from dovetail.connectors.file.root import Entry
from dovetail.connectors.file.taking import shown
from dovetail.sdk import Connecting

_BUCKETS = 64


class Finished:
    """The finished files of one source, in a few durable marks of many names each: a file that is gone is forgotten
    when the next one of its mark is finished, so they never hold much more than the folder does."""

    def __init__(self, context: Connecting) -> None:
        self._context = context
        self._here: frozenset[str] = frozenset()

    def look(self, entries: Iterable[Entry]) -> None:
        """These are in the folder now."""
        self._here = frozenset(shown(entry.name) for entry in entries)

    def __contains__(self, entry: Entry) -> bool:
        name, looks = shown(entry.name), [entry.size, entry.modified]
        names = self._context.marked(_bucket(name)) or {}
        # Earlier versions wrote a mark for each file.
        return bool(names.get(name) == looks or self._context.marked(f"done {name}") == looks)

    def add(self, entry: Entry) -> None:
        """It is finished as it looks now."""
        name = shown(entry.name)
        mark = _bucket(name)
        names = self._context.marked(mark) or {}
        kept = {other: looks for other, looks in names.items() if other in self._here}
        self._context.mark(mark, {**kept, name: [entry.size, entry.modified]})


def _bucket(name: str) -> str:
    return f"finished {crc32(name.encode()) % _BUCKETS:02x}"
