"""Running one message through nested chains."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from dovetail.sdk import Chain, Context, Dropping, InDoubt, Message, Paused, Retry, Throttled, Waiting


async def through(chain: Chain, message: Message, context: Context) -> Message:
    """The message as it leaves the chain. Raises what failed it, or `Dropping` when a rule ended it."""
    result = await chain.run((message,), context)
    if result.failed:
        raise result.failed[0][1]
    if result.dropped:
        raise Dropping(result.dropped[0][1])
    return result.out[0]


async def side_by_side(
    branches: Sequence[tuple[str, Chain]], message: Message, context: Context
) -> list[Message | None]:
    """The message as it leaves each chain, None where a rule ended it there. All run to their ends, then the gravest
    failure is raised.
    """
    runs = (through(chain, message, context.branch(label)) for label, chain in branches)
    ends = await asyncio.gather(*runs, return_exceptions=True)
    failures = [end for end in ends if isinstance(end, BaseException) and not isinstance(end, Dropping)]
    if failures:
        raise gravest(failures)
    return [end if isinstance(end, Message) else None for end in ends]


def gravest(errors: Sequence[BaseException]) -> BaseException:
    """The one that decides what becomes of the message."""
    return min(errors, key=_rank)


def _rank(error: BaseException) -> tuple[int, float]:
    """Doubts are resolved first; a permanent failure beats those that would only be tried again in vain. Of several
    that wait, the one whose time comes first."""
    if isinstance(error, Waiting):
        return 6, error.until if error.until is not None else math.inf
    for rank, kind in ((5, Paused), (4, Throttled), (3, Retry), (1, InDoubt)):
        if isinstance(error, kind):
            return rank, 0.0
    return (2 if isinstance(error, Exception) else 0), 0.0
