"""Handing a batch over the way a patient source does: one that can wait, and has nobody to refuse a message to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dovetail.errors import Refused, Unavailable
from dovetail.message import Deliver, Delivery, Message, Position, Receipt


async def hand_over(
    deliver: Deliver, batch: Sequence[Message], dedupe: Sequence[str] | None = None,
    refusals: Sequence[Refused | None] | None = None, positions: Sequence[Position] | None = None,
) -> list[Receipt]:  # fmt: skip
    """Deliver when there is room, and wait until each message is accepted or kept as a dead letter; one receipt for
    each.

    What cannot be kept now (a full disk) is delivered again as long as it takes. Safe to cancel; what was delivered
    by then may or may not be accepted, which is what `dedupe` and `positions` (see
    `Delivery`) are for.
    """
    receipts: list[Receipt] = [Receipt()] * len(batch)
    left = list(range(len(batch)))
    while left:
        await deliver.room()
        settled: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        deliver(
            Delivery(
                [batch[n] for n in left], _settle(settled), park_refused=True,
                dedupe=[dedupe[n] for n in left] if dedupe is not None else None,
                positions=[positions[n] for n in left] if positions is not None else None,
                refusals=[refusals[n] for n in left] if refusals is not None else None,
            )
        )  # fmt: skip
        for n, receipt in zip(left, await settled, strict=True):
            receipts[n] = receipt
        left = [n for n in left if isinstance(receipts[n].error, Unavailable)]
        if left:
            await asyncio.sleep(max(getattr(receipts[n].error, "after", 1.0) for n in left))
    return receipts


def _settle(future: asyncio.Future[list[Receipt]]) -> Callable[[list[Receipt]], None]:
    def settle(receipts: list[Receipt]) -> None:
        if not future.done():  # its source may have been cancelled
            future.set_result(receipts)

    return settle
