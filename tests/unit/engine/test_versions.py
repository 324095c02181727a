"""A message stays on the version that accepted it; one whose version is gone stops nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

from dovetail.errors import Retry
from dovetail.sdk import Message
from dovetail.store.base import State


async def test_what_waits_ends_on_its_own_version(rig: Any) -> None:
    ran: list[tuple[int, Any]] = []

    def flow(number: int) -> None:
        async def act(message: Message, context: Any) -> None:
            if message.value == "wait" and not ran:
                ran.append((0, message.value))
                raise Retry("later", after=60.0)
            ran.append((number, message.value))

        step = rig.Whole(f"w{number}", lambda batch, context: None)
        steps.append(step)
        rig.flow("f", step, rig.Act("a", act), number=number)

    steps: list[Any] = []
    flow(1)
    await rig.start()
    await rig.put("f", "wait")
    await rig.until(lambda: rig.states("f")["waiting"] == 1)
    flow(2)
    await rig.restart()
    steps[0].calls.clear()
    await rig.put("f", "new")
    await rig.until(lambda: rig.states("f") == {"done": 2})
    assert ran[1:] == [(2, "new"), (1, "wait")]
    assert steps[0].calls == ["open", "run"], "an older version's steps are opened, too"
    await rig.engine.drain()
    assert steps[0].calls == ["open", "run", "close"]


async def test_fresh_messages_keep_their_version(rig: Any) -> None:
    ran: list[int] = []
    hang = asyncio.Event()

    async def wait(message: Message, context: Any) -> None:
        ran.append(1)
        await hang.wait()

    rig.flow("f", rig.Act("a", wait), concurrency=2)
    await rig.start()
    await rig.put("f", *range(10))
    await rig.until(lambda: len(ran) == 2)
    rig.flow("f", rig.Apply("b", lambda m: ran.append(2)), number=2)
    await rig.crash()
    hang.set()
    ran.clear()
    await rig.start()
    await rig.put("f", *range(3))
    await rig.until(lambda: rig.states("f") == {"done": 13})
    assert sorted(ran) == [1] * 10 + [2] * 3


async def test_a_version_that_is_gone_is_a_dead_letter_everywhere(rig: Any) -> None:
    """In flight, fresh, waiting, held: none of them may stop the flow."""
    hang = asyncio.Event()

    async def act(message: Message, context: Any) -> None:
        if message.value["n"] == "wait":
            raise Retry("later", after=30.0)
        await hang.wait()

    rig.flow("f", rig.Act("a", act), key=lambda m: m.value["k"], concurrency=4)
    await rig.start()
    values = [
        {"k": "w", "n": "wait"},
        *({"k": "w", "n": n} for n in range(3)),
        *({"k": None, "n": n} for n in range(20)),
    ]
    await rig.put("f", *values)
    await rig.until(lambda: rig.states("f")["waiting"] == 1 and rig.states("f")["held"] == 3)
    await rig.crash()
    rig.flow("f", rig.Apply("b", lambda m: None), key=lambda m: m.value["k"], number=2)
    del rig.older["f"][1]
    await rig.start()
    await rig.put("f", {"k": "w", "n": 1}, {"k": None, "n": 1})
    await rig.until(lambda: rig.states("f") == {"dead": 24, "done": 2})
    reasons = {progress.reason for _, progress in rig.rows("f").values() if progress.state is State.DEAD}
    assert reasons == {"unloadable: it cannot be loaded: version 1 is gone"}
    rig.check("f")
    await rig.quiet("f")
    assert rig.engine.failure is None
    [first, *_] = sorted(rig.rows("f"))
    await rig.redrive("f", first, version="current")
    await rig.until(lambda: rig.state("f", first) is State.DONE)


async def test_the_backlog_behind_a_version_that_is_gone_goes_on(rig: Any) -> None:
    gate = asyncio.Event()

    async def act(message: Message, context: Any) -> None:
        await gate.wait()

    rig.flow("f", rig.Act("a", act))
    await rig.start()
    await rig.put("f", *range(3000))
    await rig.crash()
    rig.flow("f", rig.Apply("b", lambda m: None), number=2)
    del rig.older["f"][1]
    await rig.start()
    await rig.put("f", 1)
    await rig.until(lambda: rig.states("f") == {"dead": 3000, "done": 1})
    rig.check("f")
    await rig.quiet("f")
