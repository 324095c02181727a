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


class Position(msgspec.Struct, frozen=True):
    """Where a source has a message from: a number that grows within its partition (a file and its lines, a queue's
    offsets, a timer's ticks). `number`: from 0 to 2^63 - 1. `passing`: the partition comes to an end, so its mark may
    be forgotten when it has not gone up for the flow's `dedupe` window; any other is kept for ever.
    """

    partition: str
    number: int
    passing: bool = False


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

    Two ways to tell a message that comes again. `dedupe`: ids of the source's own, each remembered for the flow's
    window. `positions`, better where the source counts: of each partition only the highest number that was accepted is
    remembered, in the transaction that accepts it, so it takes constant space and no window. A message at or below its
    partition's mark, as it stood before the delivery, is a duplicate and is not run again; its receipt has no id.
    Within one delivery numbers may have gaps and come in any order (the same one twice is a duplicate); from one
    delivery to the next they must grow, for a lower one is taken for a repeat. Therefore only one delivery of a
    partition is under way: another one that comes before the first is settled is turned away with `Unavailable` and
    must be brought again, after the first. Messages that are refused, or parked, are passed by the mark as well. A
    source that gives positions gives no `dedupe`; the flow's own `dedupe` counts beside them.
    """

    batch: list[Message]
    settle: Callable[[list[Receipt]], None]
    wait_for_reply: bool = False
    park_refused: bool = False
    dedupe: list[str] | None = None  # the source's own ids, one per message, when it has better ones than the body's
    positions: list[Position] | None = None  # one per message
    refusals: list[Refused | None] | None = None


class Deliver(Protocol):
    """The engine's door for one flow. Synchronous and cheap: it queues the delivery for the next group commit."""

    def __call__(self, delivery: Delivery) -> None: ...

    async def room(self) -> None:
        """Wait until the door takes more (back-pressure). A source that can wait does so before each read."""
        ...
