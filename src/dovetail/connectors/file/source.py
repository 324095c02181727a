"""A watched folder: each file that arrives there is processed once.

Delivery promise: at least once; a row (or a whole file) is accepted once as long as the file's content is remembered:
the flow's `dedupe` window, from when its last row was accepted. A file's content is a partition and its lines are
positions in it, so a file takes one row in the store however many lines it has, and a restart goes on in the middle. A
file is archived only when all of it is accepted or quarantined.

Limits: a file counts as complete when it has not changed for `settle_for`; a writer that pauses for longer should
write under another name and rename. Names that begin with a dot or end in .tmp, .part, .partial, .filepart or
.crdownload are left alone. A file that is changed later is a new file. Subfolders and links are not entered.
"""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase
from typing import Any, Literal

from dovetail.connectors.file.finished import Finished
from dovetail.connectors.file.quarantine import Quarantine
from dovetail.connectors.file.reading import CsvOptions, Opened, fingerprint
from dovetail.connectors.file.root import THREADS, Entry, Root, translated
from dovetail.connectors.file.taking import Taking, shown
from dovetail.sdk import CodecError, Connecting, Deliver, Duration, Paused, Rejected, Retry, Size, Source, Spec, field

_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload")


class FileSource(Source):
    """Watches a folder and delivers each file that arrives there: whole, or row by row.

    Bad rows go to the quarantine folder with their line numbers and a report, and each is kept as a dead letter; the
    good rows go on. A file that cannot be read at all is moved to quarantine with the reason.
    """

    class Config(Spec):
        folder: str = field(main=True, help="The folder to watch, within the project or absolute.", example="inbox")
        pattern: str = field(
            default="*", help="Which names to take; `*`, `?` and `[…]` stand for others.", example="*.csv"
        )
        format: Literal["whole", "csv", "lines", "ndjson", "json", "xml", "text"] = field(
            default="whole",
            help="`csv`, `lines` and `ndjson` give a message for each row, the others one for the file (`whole`: as"
            " its ending says).",
        )
        csv: CsvOptions = field(default={}, help="How CSV files are written.", example={"delimiter": ";"})
        every: Duration = field(default="1s", min="50ms", help="How often to look.")
        settle_for: Duration = field(default="2s", help="How long a file must be unchanged before it is taken.")
        archive: str | None = field(
            default=None,
            help="Where finished files go; without it they stay, and are remembered.",
            example="inbox/done",
        )
        quarantine: str | None = field(
            default=None, help="Where bad rows and files go; `quarantine` in the folder by default."
        )
        identical: Literal["skip", "process"] = field(
            default="skip", help="What happens to a file with the same content as an earlier one."
        )
        batch: int = field(default=500, min=1, max=10_000, help="How many rows are delivered at once.")
        max_size: Size = field(default="64MB", help="The longest file that is taken as one message.")
        max_bad: int = field(
            default=1000, min=0, help="After more bad rows than this the file is quarantined as a whole."
        )

    async def open(self, context: Connecting) -> None:
        """Name the folders; nothing is touched."""
        config: Any = self.config
        self._context, self._finished = context, Finished(context)
        self._root = Root(context.folder / config.folder)
        self._archive = Root(context.folder / config.archive) if config.archive else None
        quarantine = context.folder / (config.quarantine or f"{config.folder}/quarantine")
        self._quarantine = Quarantine(Root(quarantine))
        self._seen: dict[str, tuple[Entry, float]] = {}  # what is not taken yet, and since when it looks like that
        self._left: dict[str, Entry] = {}  # what could not even be quarantined
        self._trouble = ""

    async def run(self, deliver: Deliver) -> None:
        """Look, take what is complete, and look again."""
        while True:
            try:
                entries = await THREADS.run(self._root.entries)
            except OSError as error:
                self._complain("folder_unreadable", str(self._root.path), error)
            else:
                self._finished.look(entries)
                for entry in self._complete(entries):
                    await self._take(entry, deliver)
            await asyncio.sleep(self.config.every)

    def _complete(self, entries: list[Entry]) -> list[Entry]:
        """Files that are not finished and have not changed for long enough, oldest first."""
        now = self._context.clock.monotonic()
        seen: dict[str, tuple[Entry, float]] = {}
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.endswith(_UNFINISHED) or not fnmatchcase(name, self.config.pattern):
                continue
            if self._left.get(name) == entry or (self._archive is None and entry in self._finished):
                continue
            known = self._seen.get(name)
            seen[name] = known if known is not None and known[0] == entry else (entry, now)
        self._seen = seen
        ready = [entry for entry, since in seen.values() if now - since >= self.config.settle_for]
        return sorted(ready, key=lambda entry: (entry.modified, entry.name))

    async def _take(self, entry: Entry, deliver: Deliver) -> None:
        """One file from beginning to end. What goes wrong with it stops no other."""
        try:
            if entry not in self._finished and not await self._process(entry, deliver):
                self._seen.pop(entry.name, None)  # it changed: wait until it is complete again
                return
            await self._finish(entry)
        except FileNotFoundError:
            pass  # somebody took it away
        except (CodecError, Rejected) as error:
            await self._set_aside(entry, error.message)
        except OSError as error:
            found = translated(error, entry.name)
            if isinstance(found, Retry) and not isinstance(found, Paused):
                self._complain("file_waits", entry.name, error)
            else:
                await self._set_aside(entry, found.message)

    async def _process(self, entry: Entry, deliver: Deliver) -> bool:
        """Whether all of it was taken; False when it changed meanwhile."""
        config = self.config
        file = Opened(await THREADS.run(self._root.open, entry.name))
        if file.looks() != (entry.size, entry.modified):
            return False
        salt = (entry.name, entry.modified) if config.identical == "process" else ()
        content = await THREADS.run(fingerprint, file, *salt)
        taking = Taking(file, entry.name, content, self._context, deliver)
        if config.format in ("csv", "lines", "ndjson"):
            await taking.rows(config, self._quarantine)
        else:
            await taking.whole(config.format, config.max_size)
        self._context.log.info(
            "file_processed", file=shown(entry.name), accepted=taking.accepted, bad=taking.bad, repeated=taking.repeated
        )
        return file.looks() == (entry.size, entry.modified)

    async def _finish(self, entry: Entry) -> None:
        """Out of the way, or remembered as finished; a move that failed is tried again at the next look."""
        try:
            if self._archive is not None:
                await THREADS.run(self._root.move, entry.name, self._archive, entry.name)
                self._seen.pop(entry.name, None)
                return
        except OSError as error:
            self._complain("file_not_archived", entry.name, error)
        if entry not in self._finished:
            self._finished.add(entry)

    async def _set_aside(self, entry: Entry, reason: str) -> None:
        """Quarantine a whole file; one that cannot even be moved is left alone until it changes."""
        self._seen.pop(entry.name, None)
        try:
            moved = await THREADS.run(self._quarantine.whole, self._root, entry.name, reason)
        except OSError as error:
            self._complain("file_not_quarantined", entry.name, error)
            self._left[entry.name] = entry
        else:
            self._context.log.warning("file_quarantined", file=shown(moved), reason=reason)

    def _complain(self, event: str, name: str, error: OSError) -> None:
        """Log a trouble once, not at every look."""
        trouble = f"{event} {name} {error}"
        if trouble != self._trouble:
            self._trouble = trouble
            self._context.log.error(event, file=shown(name), error=error.strerror or str(error))
