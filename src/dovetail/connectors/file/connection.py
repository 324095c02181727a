"""Files beneath one folder: read, list, write, append.

Delivery promise: `write` puts a whole file in place at once (temporary file, fsync, rename, fsync of the folder), so
a reader sees the old file or the new one, and doing it twice is doing it once. `append` adds to the end of a file; it
cannot tell whether it was done before, so a repeat is a second effect.

Limits: names are relative to the folder; `..` and links are refused, in every part of a name. `read` takes files up
to `max_size` and remembers the last ones read until they change. `list` gives at most 10,000 names.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from dovetail.connectors.file.reading import FORMATS, codec_of
from dovetail.connectors.file.root import THREADS, Root, translated
from dovetail.sdk import (
    Call,
    Connecting,
    Connection,
    Done,
    Failed,
    MessageError,
    Operation,
    Outcome,
    Rejected,
    Repeat,
    Reply,
    Sink,
    Size,
    Spec,
    field,
)

_LISTED = 10_000


class FileConnection(Connection):
    """A folder of files on this machine or on a mounted disk."""

    class Config(Spec):
        root: str = field(help="The folder, within the project or absolute.", example="outbox")
        max_size: Size = field(default="16MB", help="The longest file that is read at once.")
        cache: Size = field(default="64MB", help="How much of what was read is remembered.")

    operations: ClassVar[Mapping[str, Repeat]] = {
        "read": Repeat.NATURAL,
        "list": Repeat.NATURAL,
        "write": Repeat.NATURAL,
        "append": Repeat.NONE,
    }
    sinks: ClassVar[Mapping[str, Repeat]] = {"write": Repeat.NATURAL, "append": Repeat.NONE}

    def __init__(self, name: str, config: Config, operations: Mapping[str, Any]) -> None:
        super().__init__(name, config, operations)
        self._cache: OrderedDict[str, tuple[tuple[int, int], bytes]] = OrderedDict()
        self._cached = 0
        self._appending = asyncio.Lock()

    async def open(self, context: Connecting) -> None:
        """Name the folder; nothing is touched."""
        self._root = Root(context.folder / self.config.root)
        self._codecs = context.codecs

    def operation(self, name: str) -> Operation:
        """`read`, `list`, `write` or `append`."""
        acts: dict[str, Act] = {"read": self.read, "list": self.list, "write": self.write, "append": self.append}
        return FileOperation(self.name, name, self.operations[name], acts[name])

    def sink(self, name: str) -> Sink:
        """`write` or `append`."""
        acts: dict[str, Act] = {"write": self.write, "append": self.append}
        return FileSink(self.name, name, self.sinks[name], acts[name])

    async def read(self, call: Call) -> Reply:
        """`path`; `format` when the ending does not say it. The reply is the file."""
        name = _text(call, "path")
        codec = self._codecs.by_name(call.args["format"]) if "format" in call.args else codec_of(self._codecs, name)
        about = await THREADS.run(self._root.stat, name)
        looks = (about.st_size, about.st_mtime_ns)
        known = self._cache.get(name)
        if known is not None and known[0] == looks:
            self._cache.move_to_end(name)
            return Reply(known[1], codec=codec)
        body, about = await THREADS.run(self._root.read, name, self.config.max_size)
        self._remember(name, (about.st_size, about.st_mtime_ns), body)
        return Reply(body, codec=codec)

    def _remember(self, name: str, looks: tuple[int, int], body: bytes) -> None:
        _, old = self._cache.pop(name, (looks, b""))
        self._cache[name] = (looks, body)
        self._cached += len(body) - len(old)
        while self._cached > self.config.cache:
            _, (_, dropped) = self._cache.popitem(last=False)
            self._cached -= len(dropped)

    async def list(self, call: Call) -> Reply:
        """`folder` (else the root) and `pattern`. The reply is a list of `{name, size, modified}`, times in ms since
        1970.
        """
        folder, pattern = str(call.args.get("folder", "")), str(call.args.get("pattern", "*"))
        entries = await THREADS.run(self._root.entries, folder)
        found = [
            {"name": entry.name, "size": entry.size, "modified": entry.modified // 1_000_000}
            for entry in entries
            if fnmatchcase(entry.name, pattern)
        ]
        return Reply(value=found[:_LISTED], codec=self._codecs.by_name("json"))

    async def write(self, call: Call) -> Reply:
        """`path`; without it the message's id and its format's ending. The reply is `{path, size}`."""
        name, body = self._name(call), call.message.body
        await THREADS.run(self._root.write, name, body, call.key)
        return Reply(value={"path": name, "size": len(body)}, codec=self._codecs.by_name("json"))

    async def append(self, call: Call) -> Reply:
        """`path`. The body is added with a line break behind it, unless it ends in one. The reply is `{path, size}`."""
        name, body = _text(call, "path"), call.message.body
        if not body.endswith(b"\n"):
            body += b"\n"
        async with self._appending:
            await THREADS.run(self._root.append, name, body)
        return Reply(value={"path": name, "size": len(body)}, codec=self._codecs.by_name("json"))

    def _name(self, call: Call) -> str:
        if "path" in call.args:
            return _text(call, "path")
        return f"{call.message.id}{FORMATS.get(call.message.codec.name, '.bin')}"


Act = Callable[[Call], Any]


def _text(call: Call, name: str) -> str:
    value = call.args.get(name)
    if not isinstance(value, str) or not value:
        raise Rejected(
            f"the argument '{name}' must be text; write for example args: {{{name}: '\"orders.csv\"'}}", code="args"
        )
    return value


class FileOperation(Operation):
    """One of the connection's operations."""

    def __init__(self, connection: str, name: str, repeat: Repeat, act: Act) -> None:
        self.name, self.repeat, self.target, self._act = f"{connection}.{name}", repeat, connection, act

    async def call(self, call: Call) -> Reply:
        """Do it in a thread. Cancelled, a write may still be completed: it is repeated, or in doubt, as its `repeat`
        says.
        """
        try:
            reply: Reply = await self._act(call)
        except OSError as error:
            raise translated(error, str(call.args.get("path", call.args.get("folder", self.name)))) from error
        return reply


class FileSink(Sink):
    """One of the connection's sinks: a batch is written message by message."""

    def __init__(self, connection: str, name: str, repeat: Repeat, act: Act) -> None:
        self.name, self.repeat, self.target, self._act = f"{connection}.{name}", repeat, connection, act

    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        """Each on its own, in order; one that fails stops no other."""
        outcomes: dict[str, Outcome] = {}
        for call in calls:
            try:
                outcomes[call.key] = Done((await self._act(call)).value)
            except OSError as error:
                outcomes[call.key] = Failed(translated(error, str(call.args.get("path", self.name))))
            except MessageError as error:
                outcomes[call.key] = Failed(error)
        return outcomes
