"""The part of the store exam about what is kept and for how long. See `dovetail.testkit.store_suite`."""

from __future__ import annotations

from dovetail.store.base import Keeping, Progress, Retention, State, Store, Work
from dovetail.testkit.store_suite import FLOW, INBOX, TOPIC, Check, Open, _kept, entry, state

KEEPING: dict[str, Check] = {}
NOW = 1_000_000
DAY = 1000


def check(function: Check) -> Check:
    KEEPING[function.__name__] = function
    return function


def whole(age: int = 0, **more: object) -> Retention:
    """Everything is kept as long as `age`, from NOW on backwards."""
    values: dict[str, object] = {"flows": {}, "others": Keeping.uniform(age), "audit": NOW, **more}
    return Retention(**values)  # type: ignore[arg-type]


async def pruned(store: Store, retention: Retention, limit: int = 10) -> int:
    """How many messages one step takes."""
    return (await store.journal.prune(retention, NOW, limit)).messages


async def a_flow(store: Store, name: str = "flow", stream: int = INBOX) -> int:
    """A flow that reads a stream."""
    flow = store.register.number("flow", name)
    store.register.set_readers(stream, [flow])
    return flow


@check
async def prune_takes_what_has_ended_for_every_reader(open: Open) -> None:
    store = await open()
    flow, other = store.register.number("flow", "flow"), store.register.number("flow", "other")
    made = [entry(b"z" * 70_000, at=n, dedupe=(1, str(n)), body_hash=b"h") for n in range(1, 7)]
    await store.commit(Work(entries=made))
    both = [state(n, State.DONE, flow=each, at=n) for n in (1, 3, 4, 5) for each in (flow, other)]
    one = [state(2, State.DONE, flow=flow), state(6, State.DONE, flow=flow), state(6, State.WAITING, flow=other)]
    await store.commit(Work(progress=both + one, edits=[(flow, 1, b"edit", "ann")]))
    assert await pruned(store, whole()) == 0, "nobody said who reads the stream"
    store.register.set_readers(INBOX, [flow, other])
    assert await pruned(store, whole(NOW - 4)) == 2
    assert [n for n in range(1, 7) if store.journal.get(n)] == [2, 4, 5, 6]
    assert store.progress.get(flow, 1) is store.progress.get(other, 3) is None
    assert store.journal.original(4) == b"z" * 70_000
    assert await pruned(store, whole(), 1) == 1
    store.register.set_readers(INBOX, [flow])
    assert sum([await pruned(store, whole()) for _ in range(3)]) == 2, "2 has ended for its one reader; 6 is pending"
    assert store.journal.get(6) is not None
    await store.close()


@check
async def prune_keeps_parts_as_long_as_the_whole(open: Open) -> None:
    store = await open()
    flow = await a_flow(store)
    store.register.set_readers(TOPIC, [])
    [mother] = await _kept(store, 1)
    parts = await _kept(store, 2, parent=mother)
    await _kept(store, 1, stream=TOPIC)
    done = [state(seq, State.DONE, flow=flow) for seq in parts]
    await store.commit(Work(progress=[state(mother, State.SPLIT, flow=flow, parts=1), *done]))
    assert await pruned(store, whole()) == 1, "only the topic that nobody reads"
    await store.commit(Work(progress=[state(mother, State.DONE, flow=flow)]))
    assert await pruned(store, whole()) == 3
    await store.close()


@check
async def numbers_of_pruned_entries_never_come_again(open: Open) -> None:
    store = await open()
    flow = await a_flow(store)
    seqs = await _kept(store, 3)
    await store.commit(Work(progress=[state(seq, State.DEAD, flow=flow) for seq in seqs]))
    assert await pruned(store, whole()) == 3
    assert store.journal.last(INBOX) == 0
    await store.close()
    store = await open()
    assert await _kept(store, 1) == [seqs[-1] + 1]
    await store.close()


@check
async def prune_goes_on_where_it_stopped(open: Open) -> None:
    store = await open()
    flow = await a_flow(store)
    seqs = await _kept(store, 300)
    await store.commit(Work(progress=[state(seq, State.DONE, flow=flow) for seq in seqs[200:]]))
    gone = 0
    for _ in range(40):
        gone += await pruned(store, whole())
    assert gone == 100
    assert len(store.journal.after(flow, INBOX, 0, 1000, 1 << 20)) == 200
    await store.close()


@check
async def each_class_has_its_own_time_from_its_end_on(open: Open) -> None:
    store = await open()
    flow = await a_flow(store)
    seqs = await _kept(store, 9, at=1)
    ends = [State.DONE, State.DISCARDED, State.DEAD]
    ended = [state(seq, ends[n % 3], flow=flow, at=NOW - (n // 3) * 10 * DAY) for n, seq in enumerate(seqs)]
    await store.commit(Work(progress=ended))
    keeping = Keeping(5 * DAY, 15 * DAY, 25 * DAY, DAY, DAY)
    assert await pruned(store, whole(0, flows={flow: keeping})) == 3
    left = [seq for seq in seqs if store.journal.get(seq)]
    gone = {seqs[3], seqs[6], seqs[7]}
    assert left == [seq for seq in seqs if seq not in gone], "done after 10 and 20 days, discarded after 20, dead none"
    await store.close()


@check
async def dedupe_ids_outlive_their_messages_until_the_window_is_over(open: Open) -> None:
    store = await open()
    flow = await a_flow(store)
    first = entry(at=NOW - 50 * DAY, dedupe=(INBOX, "a"), body_hash=b"h")
    await store.commit(Work(entries=[first]))
    await store.commit(Work(progress=[state(first.seq, State.DONE, flow=flow, at=NOW - 40 * DAY)]))
    keeping = Keeping(10 * DAY, 10 * DAY, 10 * DAY, DAY, 60 * DAY)
    assert await pruned(store, whole(0, flows={flow: keeping})) == 1
    assert store.journal.get(first.seq) is None
    again, other = entry(dedupe=(INBOX, "a"), body_hash=b"h"), entry(dedupe=(INBOX, "a"), body_hash=b"x")
    await store.commit(Work(entries=[again, other]))
    assert (again.seq, again.duplicate_of) == (0, first.seq), "the message is gone, its id is not"
    assert (other.seq, other.conflict_with) == (0, first.seq)
    step = await store.journal.prune(whole(0, flows={flow: keeping}), NOW + 11 * DAY, 10)
    assert step.ids == 1
    late = entry(dedupe=(INBOX, "a"), body_hash=b"h")
    await store.commit(Work(entries=[late]))
    assert late.seq > first.seq, "after the window an id is new again, its number is not"
    await store.close()


@check
async def over_its_bytes_a_flow_keeps_a_sample_and_whatever_is_needed(open: Open) -> None:
    store = await open()
    flow = await a_flow(store)
    seqs = await _kept_bodies(store, 300, b"b" * 1000)
    dead, waiting = set(seqs[10:20]), set(seqs[20:30])
    states = [
        State.DEAD if seq in dead else State.WAITING if seq in waiting else State.DONE for seq in seqs
    ]  # fmt: skip
    await store.commit(
        Work(progress=[state(seq, each, flow=flow, at=NOW) for seq, each in zip(seqs, states, strict=True)])
    )
    assert store.progress.counts()[-INBOX, "bytes"] == 300_000
    keeping = Keeping(DAY, DAY, DAY, DAY, DAY, 50_000)
    retention = whole(DAY, flows={flow: keeping})
    bodies = 0
    for _ in range(40):
        bodies += (await store.journal.prune(retention, NOW, 10)).bodies
    assert store.progress.counts()[-INBOX, "bytes"] == 50_000
    assert bodies == 250
    with_body = {seq for seq in seqs if store.journal.original(seq) is not None}
    assert dead | waiting <= with_body, "dead letters and pending messages keep theirs"
    assert {seq for seq in seqs if seq % 100 == 0} <= with_body, "one in a hundred stays"
    assert all(store.journal.get(seq) is not None for seq in seqs), "the record of every message stays"
    tight = whole(DAY, flows={flow: Keeping(DAY, DAY, DAY, DAY, DAY, 1)})
    for _ in range(80):
        await store.journal.prune(tight, NOW, 10)
    with_body = {seq for seq in seqs if store.journal.original(seq) is not None}
    assert with_body == dead | waiting, "then the sample goes, too, and nothing that is needed"
    await store.close()


async def _kept_bodies(store: Store, count: int, body: bytes) -> list[int]:
    made = [entry(body) for _ in range(count)]
    await store.commit(Work(entries=made))
    return [each.seq for each in made]


@check
async def answers_go_before_their_messages(open: Open) -> None:
    store = await open()
    flow = await a_flow(store)
    seqs = await _kept(store, 3, at=NOW - 30)
    rows = [
        state(seqs[0], State.DONE, flow=flow, at=NOW - 20, memo=b"long"),
        state(seqs[1], State.DONE, flow=flow, at=NOW - 5, memo=b"long"),
        state(seqs[2], State.DEAD, flow=flow, at=NOW - 20, memo=b"long"),
    ]
    await store.commit(Work(progress=rows))
    retention = whole(0, flows={flow: Keeping(100, 100, 100, 10, 100)}, forget=lambda memo: b"short")
    assert (await store.journal.prune(retention, NOW, 10)).answers == 1
    memos = [_memo(store.progress.get(flow, seq)) for seq in seqs]
    assert memos == [b"short", b"long", b"long"], "neither young ones nor what a dead letter needs"
    await store.close()


def _memo(row: Progress | None) -> bytes:
    assert row is not None
    return row.memo


@check
async def the_audit_goes_when_its_time_is_over_and_its_numbers_go_on(open: Open) -> None:
    store = await open()
    for n in range(5):
        await store.commit(Work(audit=[("event", n)]))
    last = store.audit.events(0, 10)[-1][0]
    step = await store.journal.prune(Retention({}, Keeping.uniform(0), -(10**15)), NOW, 10)
    assert step.events >= 4
    await store.commit(Work(audit=[("event", 5)]))
    assert [event for _, _, event in store.audit.events(last, 10)] == [("event", 5)]
    await store.close()


@check
async def stowed_bodies_come_back_whole(open: Open) -> None:
    store = await open()
    bodies = [b"a" * 3_000_000, bytes(range(256)) * 12_000, b"a" * 3_000_000, b"b" * 100_000]
    made = [entry(body) for body in bodies]
    await store.stow(made)
    await store.commit(Work(entries=made))
    assert [store.journal.original(each.seq) for each in made] == bodies
    rows = store.journal.after(FLOW, INBOX, 0, 10, 1 << 30)
    assert [row.size for row in rows] == [len(body) for body in bodies]
    assert [row.body if row.body is not None else await store.journal.fetch(row) for row in rows] == bodies
    await store.close(clean=False)
    store = await open()
    assert [store.journal.original(each.seq) for each in made] == bodies
    await store.close()
