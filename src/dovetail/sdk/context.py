"""What a step and a connector may ask of the engine: narrow on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dovetail.clock import Clock, Ids
from dovetail.message import Codec, Message, Outcome

if TYPE_CHECKING:
    from dovetail.sdk.connector import Operation, Reply, Sink
    from dovetail.sdk.http import Routes
    from dovetail.sdk.saga import Saga
    from dovetail.sdk.state import State


class Log(Protocol):
    """Structured logging: an event name and fields. Secrets and bodies never belong in it."""

    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...
    def error(self, event: str, **fields: Any) -> None: ...


class Codecs(Protocol):
    """The formats at hand."""

    def by_name(self, name: str) -> Codec:
        """The codec called `name`; KeyError if there is none."""
        ...

    def for_content_type(self, content_type: str | None) -> Codec:
        """The codec of a media type (parameters such as charset honoured); `OPAQUE` for one that nobody knows."""
        ...


class Connecting(Protocol):
    """What a connection or a source is given when it opens."""

    name: str  # the connection's name, or the flow's
    log: Log
    clock: Clock
    ids: Ids
    codecs: Codecs
    routes: Routes  # where a source mounts its HTTP paths
    folder: Path  # relative file names are beneath the project folder

    def mark(self, name: str, value: Any) -> None:
        """Remember plain data durably under `name` (with the next group commit): a timer's last tick, a cursor."""
        ...

    def marked(self, name: str) -> Any:
        """What was last remembered under `name`, or None."""
        ...

    def position(self, partition: str) -> int | None:
        """For a source that gives positions: the highest number of a partition that was accepted so far, None if none
        was. A source may begin behind it instead of remembering its own place."""
        ...


class Context(Protocol):
    """What a running step is given. One per flow and branch."""

    log: Log
    clock: Clock
    state: State  # what steps remember, committed together with the messages' moves

    def branch(self, label: str) -> Context:
        """A context for a nested chain. Effects made in it are named apart by `label`, which must be stable."""
        ...

    async def call(
        self, step: str, operation: Operation, message: Message, args: Mapping[str, Any] | None = None,
        timeout: float | None = None, saga: Saga | None = None,
    ) -> Reply:  # fmt: skip
        """Make the effect `step` of `message` through `operation`, once per message and branch.

        An effect that was recorded as done is not made again: its reply is returned. Raises the error kinds of
        `dovetail.errors`; a step lets them pass unless handling them is its purpose. `saga` says how the effect is
        undone if its message fails for good later, or that it is a pivot.
        """
        ...

    async def write(
        self, step: str, sink: Sink, batch: Sequence[Message], args: Sequence[Mapping[str, Any]] | None = None,
        timeout: float | None = None, sagas: Sequence[Saga] | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Write `batch` through `sink`; one outcome per message in the batch's order. `args` and `sagas`: one per
        message."""
        ...

    async def decide(self, step: str, message: Message, value: Any) -> None:
        """As `state.decide`, for a decision that other effects follow from: it is durable when this returns."""
        ...

    def publish(self, step: str, topic: str, message: Message) -> None:
        """Append to a durable topic, in the same transaction as the message's own next move."""
        ...

    def split(self, step: str, message: Message, parts: Sequence[Message]) -> None:
        """End this pass of `message` here; its parts go on as messages of their own, and it ends when all have
        ended.

        A message that was split appears in no list of the step's result. Without parts it is done.
        """
        ...

    def reply(self, message: Message, status: int = 200) -> None:
        """Answer the caller who waits for this message, if one does, with `message`'s body."""
        ...

    async def pause(self, message: Message, seconds: float) -> None:
        """Hold `message` for a while (throttling) without losing its place."""
        ...

    def in_doubt(self, message: Message) -> bool:
        """Whether an effect of `message` made in this branch (or in one within it) has an unknown outcome and cannot
        simply be made again."""
        ...

    def last_attempt(self, message: Message) -> bool:
        """Whether a transient failure now would be the end of the message rather than another retry."""
        ...


class Build(Protocol):
    """What a step is given while a flow is compiled; every name was cross-checked by the project before."""

    flow: str
    step: str  # this step's stable id within the flow
    codecs: Codecs

    def expression(self, text: str) -> Expression:
        """Compile a mapping expression; a field that names a `.jsonata` file gets the file's text."""
        ...

    def chain(self, steps: Sequence[Any], label: str) -> Chain:
        """Compile nested steps; `label` keeps the ids of their effects apart and must be stable."""
        ...

    def operation(self, name: str) -> Operation:
        """`connection.operation`."""
        ...

    def sink(self, name: str) -> Sink:
        """`connection.sink`."""
        ...

    def sub_flow(self, name: str) -> Chain:
        """The steps of another flow of the project."""
        ...

    def contract(self, ref: str) -> Checker:
        """`name@version`."""
        ...

    def function(self, ref: str) -> Callable[..., Any]:
        """`module:function` of the project's own `python/` folder."""
        ...


class Expression(Protocol):
    """A compiled mapping expression, evaluated against messages."""

    text: str

    def evaluate(self, message: Message) -> Any:
        """The value, or `UNDEFINED`. Bindings: `$headers`, `$vars`, `$message`. Raises `Rejected`."""
        ...

    def test(self, message: Message) -> bool:
        """The value as a condition, by the language's own idea of truth."""
        ...


class Checker(Protocol):
    """A compiled contract."""

    def check(self, message: Message) -> None:
        """Raises `Rejected` whose detail lists the paths at fault."""
        ...

    def shape(self, value: Any) -> Any:
        """The value (or `UNDEFINED`) with arrays where the contract has only arrays: one item alone becomes an array of
        one, a required array that is missing an empty one."""
        ...


class Chain(Protocol):
    """Compiled steps in a row. `effectful`: at least one of them is."""

    effectful: bool

    async def open(self) -> None:
        """Open its steps."""
        ...

    async def close(self) -> None:
        """Close its steps."""
        ...

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Run the batch to the end of the chain."""
        ...


class Result:
    """What became of a batch: messages that go on, and those that left the corridor here."""

    __slots__ = ("dropped", "failed", "out")

    def __init__(self, out: list[Message] | None = None) -> None:
        self.out: list[Message] = [] if out is None else out
        self.failed: list[tuple[Message, Exception]] = []
        self.dropped: list[tuple[Message, str]] = []

    def leave(self, other: Result) -> None:
        """Take over what left the corridor in `other`, but not what goes on."""
        self.failed += other.failed
        self.dropped += other.dropped
