"""The part of the store exam about keys that stand still; see `dovetail.testkit.store_suite`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dovetail.store.base import Entry, Keeping, Parked, Progress, Retention, State, Store, Work

Open = Callable[[], Awaitable[Store]]
Check = Callable[[Open], Awaitable[None]]
NOTHING = Retention({}, Keeping.uniform(0), 0)  # that has ended is kept


async def parked_keys_are_kept_and_let_go(open: Open) -> None:
    store = await open()
    rows = {(flow, key): Parked(flow, key, 7, 5000, flow == 2) for flow in (1, 2) for key in ("", "a", "b")}
    await store.commit(Work(parks=dict(rows)))
    await store.close()
    store = await open()
    assert store.progress.parked(1, None, 10) == [rows[1, ""], rows[1, "a"], rows[1, "b"]]
    assert store.progress.parked(1, "", 1) == [rows[1, "a"]]
    assert store.progress.parked_keys(1) == store.progress.parked_keys(2) == 3
    again = Parked(1, "a", 9, 6000)
    await store.commit(Work(parks={(1, ""): None, (1, "a"): again, (1, "never"): None}))
    assert store.progress.parked(1, None, 10) == [again, rows[1, "b"]]
    assert store.progress.parked_keys(3) == 0
    assert store.progress.parked_lane(1, "a") == again and store.progress.parked_lane(1, "") is None
    await store.close()


async def held_ones_come_in_order_and_as_many_as_asked(open: Open) -> None:
    store = await open()
    made = [Entry(1, 1000, 1, b"", b"{}", key="k") for _ in range(5)]
    await store.commit(Work(entries=made))
    seqs = [entry.seq for entry in made]
    states = [State.DEAD, State.WAITING, State.HELD, State.HELD, State.HELD]
    rows = [Progress(1, seq, state, 2000, key="k") for seq, state in zip(seqs, states, strict=True)]
    await store.commit(Work(progress=rows))
    assert [row.seq for row in store.progress.held(1, "k", 2)] == seqs[2:4]
    assert [row.seq for row in store.progress.held(1, "k", 100)] == seqs[2:]
    assert store.progress.behind(1, "k") == 4 and store.progress.behind(1, "other") == 0
    await store.close()


async def prune_spares_what_a_key_is_parked_behind(open: Open) -> None:
    store = await open()
    flow = store.register.number("flow", "flow")
    store.register.set_readers(1, [flow])
    made = [Entry(1, 1000, 1, b"", b"{}", key="k") for _ in range(3)]
    await store.commit(Work(entries=made))
    seqs = [entry.seq for entry in made]
    rows = [Progress(flow, seq, State.DEAD, 2000, key="k") for seq in seqs]
    await store.commit(Work(progress=rows, parks={(flow, "k"): Parked(flow, "k", seqs[1], 2000)}))
    assert (await store.journal.prune(NOTHING, 5000, 10)).messages == 2
    assert store.journal.get(seqs[1]) is not None and store.progress.get(flow, seqs[1]) is not None
    await store.commit(Work(parks={(flow, "k"): None}))
    assert (await store.journal.prune(NOTHING, 5000, 10)).messages == 1
    await store.close()


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        parked_keys_are_kept_and_let_go,
        held_ones_come_in_order_and_as_many_as_asked,
        prune_spares_what_a_key_is_parked_behind,
    )
}
