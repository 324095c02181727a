"""What a connector is made of: a connection with operations, sinks and sources.

A connector is one file (or one small folder), in this order: docstring (what, delivery promise, limits),
`Config(Spec)`,
the table that translates its client library's errors, the class, its registration with declared abilities.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from dovetail.codec import JsonCodec
from dovetail.message import OPAQUE, Codec, Deliver, Message, Outcome
from dovetail.sdk.context import Connecting
from dovetail.spec import Spec


class Repeat(enum.StrEnum):
    """How a repeat of an operation is safe; the engine acts on it after a crash or a timeout."""

    TRANSACTIONAL = "transactional"  # the target shares our transaction
    IDEMPOTENT = "idempotent-by-key"  # the target remembers the effect key and answers the same again
    NATURAL = "natural"  # put, upsert, delete, read: doing it twice is doing it once
    QUERYABLE = "queryable"  # the target can be asked, by our key, whether it was done
    NONE = "none"  # a repeat is a second effect; the flow says `retry` or `park`

    @property
    def safe(self) -> bool:
        """Whether an attempt of unknown outcome may simply be made again."""
        return self in _SAFE


_SAFE = frozenset({Repeat.TRANSACTIONAL, Repeat.IDEMPOTENT, Repeat.NATURAL})


class Call(msgspec.Struct, frozen=True):
    """One attempt of one effect.

    `key` is the effect key: the same for every attempt, sent as Idempotency-Key where the protocol has a place for it.
    `args` are the evaluated arguments of the step. `timeout` is the total time left, in seconds: connecting, sending
    and reading
    the whole answer must fit.
    """

    message: Message
    key: str
    args: Mapping[str, Any] = msgspec.field(default_factory=dict)
    timeout: float = 30.0
    attempt: int = 1
    trace: str = ""  # the W3C traceparent to send along


_JSON = JsonCodec()


class Reply:
    """What an operation answered: bytes read lazily through a codec, or a plain value (what JSON can say).

    `status` and `headers` are there if the protocol has them. The engine journals the bytes, so that a crash or a retry
    gets the same answer without asking again; and of the headers up to 4 KiB, without those about the connection and
    the format and without cookies. A step is given only those, the first time, too.
    """

    __slots__ = ("_message", "headers", "status")

    def __init__(
        self, body: bytes | None = None, *, value: Any = None, codec: Codec | None = None, status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        if body is not None:
            self._message = Message(body, codec=codec or OPAQUE)
        else:
            self._message = Message(None, codec=codec or _JSON, value=value)
        self.status = status
        self.headers: Mapping[str, str] = headers or {}

    @property
    def value(self) -> Any:
        """The answer, decoded. Raises `Rejected` when its bytes are not what they say they are."""
        return self._message.value

    @property
    def body(self) -> bytes:
        """The answer's bytes."""
        return self._message.body

    @property
    def codec(self) -> Codec:
        """The format the bytes are in."""
        return self._message.codec


class Operation(ABC):
    """Request and reply on a connection. The engine makes the calls; retries, deadlines and breakers are its
    business."""

    name: str
    repeat: Repeat
    target: str  # the breaker's and the rate budget's name: the system behind it, not the operation
    timely: bool = False  # it keeps `call.timeout` itself, in all; the engine then needs no deadline of its own

    @abstractmethod
    async def call(self, call: Call) -> Reply:
        """Do it once. Raise by what should happen next: `Rejected`, `Retry`, `Throttled`, `Paused`, `InDoubt`.

        Cancelled at the deadline; the engine then treats the outcome as in doubt. Never retries by itself.
        """

    async def query(self, call: Call) -> Reply | None:
        """Only for `queryable`: the reply of the attempt made under `call.key`, or None when it provably never
        happened."""
        raise NotImplementedError(f"{self.name} cannot be asked")


class Sink(ABC):
    """A place where a batch is written, with an outcome for each message."""

    name: str
    repeat: Repeat
    target: str

    @abstractmethod
    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        """Write all; answer an outcome for each effect key. An exception speaks for the whole batch."""


class Connection(ABC):
    """One system, as configured in `connections/<name>.yaml`. Opened before the first flow starts, closed after the
    last.

    `open` and `close` may each be called twice, and `close` without `open`.
    """

    Config: ClassVar[type[Spec]]
    OperationConfig: ClassVar[type[Spec] | None] = None  # operations that the project itself declares, if it may
    operations: ClassVar[Mapping[str, Repeat]] = {}  # operations every connection of this kind has
    sinks: ClassVar[Mapping[str, Repeat]] = {}

    def __init__(self, name: str, config: Any, operations: Mapping[str, Any]) -> None:
        """`operations` are the project's own ones by name, each an instance of `OperationConfig`."""
        self.name = name
        self.config = config
        self.declared = operations

    async def open(self, context: Connecting) -> None:
        """Make ready. Must not fail because the target is away: that is for the calls to find out."""
        return None

    async def close(self) -> None:
        """Release everything."""
        return None

    def operation(self, name: str) -> Operation:
        """The operation of that name. Raises KeyError for one that is not there (the project's check prevents it)."""
        raise KeyError(name)

    def sink(self, name: str) -> Sink:
        """The sink of that name. Raises KeyError for one that is not there."""
        raise KeyError(name)


class Source(ABC):
    """Where a flow's messages come from.

    The engine calls `open` once, then `run` as a task that lives until the flow stops, then `close`. A `run` that
    raises is logged and called again after a while. `run` hands deliveries to `deliver` and awaits `deliver.room()`
    before it reads more, if it can wait. It deletes, acks or archives an item only when the item's receipt says that
    it was accepted.
    """

    Config: ClassVar[type[Spec]]

    replies: ClassVar[bool] = False  # whether a caller can wait for the flow's answer (request/reply)
    # set by a source that is a durable topic: the engine reads it itself and never calls `run`
    topic: str | None = None
    from_start: bool = False  # beside `topic`: a new subscriber begins at the topic's oldest message, not at its end

    def __init__(self, config: Any, flow: str) -> None:
        self.config = config
        self.flow = flow

    @classmethod
    def traps(cls, config: Any) -> Iterable[tuple[str, str, str]]:
        """What may be written but is seldom meant: the field, what it leads to, what to write. `check` warns of it."""
        return ()

    @classmethod
    def nameless(cls, config: Any) -> bool:
        """Whether nothing but the flow's `dedupe` tells a message that is sent twice from two messages."""
        return False

    async def open(self, context: Connecting) -> None:
        return None

    @abstractmethod
    async def run(self, deliver: Deliver) -> None:
        """Deliver until cancelled."""

    async def close(self) -> None:
        return None
