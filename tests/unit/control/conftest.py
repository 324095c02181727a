"""A real store with messages in every state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dovetail.clock import SystemClock, SystemIds
from dovetail.control.desk import Control
from dovetail.control.hand import Resting
from dovetail.engine.memo import Attempt, Effect, Memo, Meta, message_id, pack, pack_meta
from dovetail.store.base import Entry, Progress, State, Work
from dovetail.store.sqlite import SqliteStore


@dataclass
class Bench:
    """A store, its desk, and a hand to put messages there. Flow `orders`; `ledger` and `slips` on one topic."""

    store: SqliteStore
    control: Control
    flows: dict[str, tuple[int, int]] = field(default_factory=dict)

    def id(self, seq: int) -> str:
        return message_id(self.store.uid, seq)

    async def put(
        self, flow: str, body: bytes, state: State = State.FRESH, *, key: str | None = None, at: int = 1000,
        reason: str = "", memo: Memo | None = None, headers: dict[str, str] | None = None,
    ) -> str:  # fmt: skip
        """Accept a message and bring it to a state; its id."""
        number, stream = self.flows[flow]
        meta = Meta(source="/shop", type="order", codec="json", content_type="application/json", headers=headers or {})
        entry = Entry(stream=stream, at=at, version=1, meta=pack_meta(meta), body=body, key=key)
        await self.store.commit(Work(entries=[entry]))
        if state is not State.FRESH:
            row = Progress(
                number, entry.seq, state, at + 5, attempt=2, next_at=9000 if state is State.WAITING else 0, key=key,
                reason=reason, memo=pack(memo) if memo else b"",
            )  # fmt: skip
            counts = {(number, state.word): 1} if state >= State.DONE else {}
            await self.store.commit(Work(progress=[row], counts=counts))
        return self.id(entry.seq)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = SystemClock()
    store = await SqliteStore.open(tmp_path / "store.db", clock=clock, ids=SystemIds())
    control = Control(store, clock, Resting(store, clock), project="shop", path="store.db")
    made = Bench(store, control)
    register = store.register
    for flow, stream in (("orders", "flow:orders"), ("ledger", "topic:accepted"), ("slips", "topic:accepted")):
        made.flows[flow] = register.number("flow", flow), register.number("stream", stream)
        register.version(made.flows[flow][0], "digest", b"text", 1000)
    for stream in {stream for _, stream in made.flows.values()}:
        register.set_readers(stream, [number for number, its in made.flows.values() if its == stream])
    yield made
    await store.close()


@pytest.fixture
def history() -> Memo:
    """What is remembered of a message that failed at its second call."""
    return Memo(
        effects={
            "k1": Effect("call:erp", "erp", "done", 1, 1001, status=201, codec="json", body=b'{"no": 7}'),
            "k2": Effect("call:stock", "stock", "failed", 2, 1004, message="sold out"),
        },
        history=[Attempt(2, 1004, "call:stock", "rejected", "sold out", {"left": 0}, 1)],
        first_try_at=1001, sleep=7.5, crashes=1,
    )  # fmt: skip
