"""What a step that remembers is given: `context.state`, durable, and committed together with the messages' moves.

A step reads and changes its memory and says what it decided about the message, all without waiting in between (no
`await`): the engine puts everything that was changed into one transaction, and nobody else sees the memory half
changed. When the message is run again (a retry, a crash, a redrive), `decided` tells the step what it decided before,
and it does the same again without touching its memory: nothing is counted twice.

Times are whole milliseconds of the engine's clock (`now`), which no jump of the wall clock moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dovetail.message import Message


class Group(Protocol):
    """The memory under one key: a head of plain data, and a list of messages."""

    key: str

    @property
    def value(self) -> Any:
        """The head: plain data, None when nothing is remembered. Put another in its place, never change it."""
        ...

    @property
    def due(self) -> int:
        """When the step's `due` is called for this key; 0 for never."""
        ...

    def put(self, value: Any, due: int | None = None) -> None:
        """Remember this head. `due` sets the time at which the step is called, 0 takes it away."""
        ...

    def add(self, number: int, message: Message) -> None:
        """Put a message into the list at `number` (from 1 on), in place of the one that is there."""
        ...

    def has(self, number: int) -> bool:
        """Whether the list has a message at that place."""
        ...

    def drop(self, number: int) -> None:
        """Take a message out of the list."""
        ...

    def members(self) -> list[tuple[int, Message]]:
        """The list in order of its numbers, read from the store."""
        ...

    def clear(self) -> None:
        """Forget the key: its head and its list."""
        ...


class State(Protocol):
    """A step's durable memory."""

    def now(self) -> int:
        """The engine's time in milliseconds: near the wall clock, but it never jumps."""
        ...

    def decided(self, step: str, message: Message) -> Any:
        """What the step decided about this message before, or None."""
        ...

    def decide(self, step: str, message: Message, decision: Any, note: str = "") -> None:
        """Record what the step decided about this message (plain data, not None), in one transaction with what it
        changed in its memory. `note` is what a person reads in the message's journey."""
        ...

    def group(self, step: str, key: str, message: Message | None = None) -> Group:
        """The step's memory under `key`. `message`: on whose behalf; its flow version is the one that `due` runs on."""
        ...

    def shared(self, name: str, key: str) -> Group:
        """Memory that all flows share. What has a `due` is forgotten then."""
        ...

    def absorb(self, step: str, message: Message, reason: str) -> None:
        """The message ends here, done, because the step has taken it in: `reason` says into what. It appears in no
        list of the step's result. Only for steps with `top_level`."""
        ...

    def emit(
        self, step: str, group: Group, message: Message, *, key: str | None = None, members: Sequence[str] = (),
        failed: str = "",
    ) -> None:  # fmt: skip
        """Accept a new message, made of what the group remembered: it comes to this step first (see `emitted`) and
        goes on behind it. Messages of one `key` go on in the order they were emitted. `members` are the ids of those
        it was made of. `failed`: it becomes a dead letter at once, with this reason."""
        ...

    def emitted(self, step: str, message: Message) -> bool:
        """Whether this message is one that the step emitted."""
        ...

    def expect(self, step: str, message: Message, name: str, key: str, info: Mapping[str, Any] | None = None) -> int:
        """The message waits for the event `name` with `key`: it is run again when the event comes. Returns the place
        under which `heard` finds it. `info` is shown to those who ask who waits."""
        ...

    def heard(self, name: str, key: str, place: int) -> Any:
        """The event (plain data) if it has come, else None."""
        ...

    def leave(self, name: str, key: str, place: int) -> None:
        """Wait no longer."""
        ...

    def tell(self, name: str, key: str, event: Any, remember: int = 0) -> int:
        """Bring the event (plain data, not None) to all who wait for it, and for `remember` milliseconds to those who
        come later. How many waited."""
        ...
