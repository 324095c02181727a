"""What connections and sources are given when they open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dovetail.engine.engine import Engine


class Opening:
    """See `dovetail.sdk.Connecting`. Marks are kept under the opener's name, so that nobody reads another's."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name
        self.log, self.clock, self.ids = engine.log, engine.clock, engine.ids
        self.codecs, self.routes = engine.codecs, engine.routes
        self.folder: Path = engine.folder
        self._marks: dict[str, Any] = {}

    def mark(self, name: str, value: Any) -> None:
        """Remember plain data durably, with the next group commit."""
        self._marks[name] = value
        self._engine.writer.moves.marks[f"{self.name}/{name}"] = msgspec.msgpack.encode(value)
        self._engine.writer.wake()

    def marked(self, name: str) -> Any:
        """What was last remembered under that name."""
        if name not in self._marks:
            data = self._engine.store.register.mark(f"{self.name}/{name}")
            self._marks[name] = None if data is None else msgspec.msgpack.decode(data)
        return self._marks[name]

    def position(self, partition: str) -> int | None:
        """How far a partition of the flow's source has come."""
        stream = self._engine.store.register.names("stream").get(f"flow:{self.name}")
        return None if stream is None else self._engine.store.register.position(stream, partition)
