"""How a source hands messages over, and how it is told what became of them.

Settling lives outside the message: a source makes a `Delivery`, the engine settles it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from dovetail.errors import Refused, Unavailable
from dovetail.message.message import Message


class Receipt(msgspec.Struct, frozen=True):
    """What became of one message at the door.

    Accepted: `id` is its name and `ref` its number (the first acceptance's, when `duplicate`). `reply` is the
    flow's answer when the delivery waited for one, `status` the HTTP status it chose. Not accepted: `error` says
    why and nothing was kept, or, with `parked`, that the message is kept as a dead letter because nobody was there
    to be told.
    """

    id: str = ""
    ref: int = 0
    duplicate: bool = False
    parked: bool = False
    reply: Message | None = None
    status: int = 200
    error: Refused | Unavailable | None = None


@dataclass(slots=True)
class Delivery:
    """A batch and the way back.

    `settle` is called once, on the event loop, with one receipt per message in the batch's order, after the
    messages stand in a committed and flushed transaction (or were refused). It must not block; if it raises, the
    error is
    logged and the commit loop goes on. `wait_for_reply`: settle only when the flow has answered or ended.
    `park_refused`: no caller listens (a file, a timer), so a message that would be refused is kept as a dead letter.
    `refusals`: what the source itself found wrong (a row that cannot be read), one entry per message; such a message is
    treated as if the door had refused it.
    """

    batch: list[Message]
    settle: Callable[[list[Receipt]], None]
    wait_for_reply: bool = False
    park_refused: bool = False
    dedupe: list[str] | None = None  # the source's own ids, one per message, when it has better ones than the body's
    refusals: list[Refused | None] | None = None


class Deliver(Protocol):
    """The engine's door for one flow. Synchronous and cheap: it queues the delivery for the next group commit."""

    def __call__(self, delivery: Delivery) -> None: ...

    async def room(self) -> None:
        """Wait until the door takes more (back-pressure). A source that can wait does so before each read."""
        ...
