"""Those who send: clients at doors, and brokers whose queues a flow reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dovetail.errors import Unavailable
from dovetail.sdk import Receipt
from dovetail.testkit.history import Send, digest
from proof.simulation.families import Draft

if TYPE_CHECKING:
    from proof.simulation.world import World


def told(world: World, draft: Draft, receipt: Receipt) -> bool:
    """Write down what a client was told of a message; whether that is the last word."""
    flow = draft.family.door
    if isinstance(receipt.error, Unavailable):
        world.add(Send("info", draft.id, flow))  # a 503 proves nothing
        return False
    if receipt.parked:
        world.some("a refused message was parked")
        world.add(Send("ok", draft.id, flow))
    elif receipt.error is not None and receipt.error.code == "conflict":
        world.some("a conflict was refused")
        world.add(Send("fail", draft.id, flow))
    elif receipt.error is not None and receipt.error.code != "dead_letter":
        world.add(Send("fail", draft.id, flow))
    elif draft.conflicting:
        world.add(Send("ok", draft.id, flow, ref=receipt.id))
    else:
        world.accepted(draft, receipt)
        world.add(Send("ok", draft.id, flow, ref=receipt.id))
    return True


def invoke(world: World, draft: Draft) -> None:
    """Write down that a message is about to be sent."""
    wants = () if draft.conflicting else draft.wants((1, 2))
    may = draft.wants((1, 2)) + draft.wants((1, 2), optional=True)
    world.sends[draft.id] = draft
    world.add(
        Send("invoke", draft.id, draft.family.door, digest(draft.body), wants, may, world.stands(draft))
    )  # fmt: skip


class Client:
    """Sends its drafts in order, a few at a time, and repeats itself until each has a last word."""

    def __init__(self, world: World, drafts: Sequence[Draft]) -> None:
        self._world, self._left = world, deque(drafts)

    async def run(self) -> None:
        """To the end."""
        world, dice = self._world, self._world.dice
        while self._left:
            await asyncio.sleep(dice.expovariate(1.0) * world.pace)
            batch = [self._left.popleft() for _ in range(min(len(self._left), dice.choice((1, 1, 2, 4))))]
            family = batch[0].family
            same = [draft for draft in batch if draft.family is family]
            self._left.extendleft(reversed([draft for draft in batch if draft.family is not family]))
            await self._send(same)

    async def _send(self, batch: list[Draft]) -> None:
        world = self._world
        family = batch[0].family
        while batch:
            life = await world.door(family.door)
            if family.deduped and world.on("source-repeats") and world.chance(0.2):
                world.repeat_soon(world.dice.choice(batch))
            for draft in batch:
                invoke(world, draft)
                world.handed_over(draft, life)
            waits = family.waits and len(batch) == 1 and world.chance(0.5)
            receipts = await world.patiently(
                life.deliver(family.door, [draft.body for draft in batch], None, wait_for_reply=waits)
            )
            if receipts is None:
                world.some("a client was left without an answer")
                for draft in batch:
                    world.unsure.add(draft.id)
                    world.add(Send("info", draft.id, family.door))
                batch = [draft if family.deduped else world.renamed(draft) for draft in batch]
                continue
            self._replies(batch, receipts)
            left = [draft for draft, receipt in zip(batch, receipts, strict=True) if not told(world, draft, receipt)]
            batch = [draft if family.deduped else world.renamed(draft) for draft in left]
            if batch:
                world.some("a door was shut")
                await asyncio.sleep(world.dice.uniform(0.1, 2.0))

    def _replies(self, batch: Sequence[Draft], receipts: Sequence[Receipt]) -> None:
        for draft, receipt in zip(batch, receipts, strict=True):
            if receipt.reply is not None:
                self._world.some("a caller was answered")
                self._world.answered(draft, receipt.reply)


class Queue:
    """A broker's queue outside. What was taken and not acked comes again after its restart or the reader's."""

    def __init__(self, world: World, drafts: Sequence[Draft]) -> None:
        self._world, self._drafts = world, list(drafts)
        self._restart = 3 if world.on("broker-restart") else 0

    @property
    def empty(self) -> bool:
        """Whether everything was acked."""
        return not self._drafts

    async def take(self) -> list[Draft]:
        """The next few; waits while there are none. Raises ConnectionError when the broker restarts."""
        world = self._world
        if not self._drafts:
            world.stir()
            await world.loop.create_future()
        await asyncio.sleep(world.dice.expovariate(1.0) * world.pace)
        if self._restart and world.chance(0.2):
            self._broken()
        return self._drafts[: world.dice.choice((1, 2, 3, 5))]

    def _broken(self) -> None:
        self._restart -= 1
        self._world.fault("broker-restart")
        raise ConnectionError("the broker restarts")

    def sent(self, batch: Sequence[Draft]) -> None:
        """They are on their way to the door."""
        for draft in batch:
            invoke(self._world, draft)
            self._world.unsure.add(draft.id)  # if the reader dies now, nobody knows

    def ack(self, batch: Sequence[Draft], receipts: Sequence[Receipt]) -> None:
        """They are accepted, or kept: the broker may forget them, unless it restarts before it hears of it."""
        world = self._world
        for draft, receipt in zip(batch, receipts, strict=True):
            told(world, draft, receipt)
        if self._restart and world.chance(0.2):
            world.some("an ack was lost")
            self._broken()
        self._drafts = [draft for draft in self._drafts if draft not in batch]
        known = [draft for draft, receipt in zip(batch, receipts, strict=True) if receipt.error is None]
        if known and world.more is not None and world.on("source-repeats") and world.chance(0.1):
            world.fault("source-repeats", "conflict")
            self._drafts.append(known[0].conflict())
