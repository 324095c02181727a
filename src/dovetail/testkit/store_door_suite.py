"""The part of the store exam about what the door writes down: priorities, and positions of sources. See
`dovetail.testkit.store_suite`."""

from __future__ import annotations

from dataclasses import replace

from dovetail.store.base import KNOWN, Entry, Keeping, Mark, Place, Retention, State, Store, Work
from dovetail.testkit.store_suite import FLOW, INBOX, TOPIC, Check, Open, _kept, entry, state

CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


# --- priorities -------------------------------------------------------------------------------------------------------


@check
async def messages_of_one_priority_are_found_among_others(open: Open) -> None:
    store = await open()
    made = [entry(b"%d" % n, priority=priority) for n, priority in enumerate((3, 1, 0, 3, 2, 1))]
    await store.commit(Work(entries=[*made, entry(stream=TOPIC, priority=1)]))
    seqs = [each.seq for each in made]
    await store.close(clean=False)
    store = await open()
    journal = store.journal
    assert [row.seq for row in journal.after(FLOW, INBOX, 0, 10, 1 << 20, 1)] == [seqs[1], seqs[5]]
    assert [row.priority for row in journal.after(FLOW, INBOX, 0, 10, 1 << 20)] == [3, 1, 0, 3, 2, 1]
    assert [row.seq for row in journal.after(FLOW, INBOX, seqs[1], 10, 1 << 20, 1)] == [seqs[5]]
    assert [row.seq for row in journal.after(FLOW, INBOX, 0, 1, 1 << 20, 3)] == [seqs[0]]
    await store.commit(Work(progress=[state(seqs[1], State.DONE)]))
    assert [row.seq for row in journal.after(FLOW, INBOX, 0, 10, 1 << 20, 1)] == [seqs[5]], "it is fresh no more"
    assert journal.first(INBOX, 1, 0) == seqs[1], "fresh or not"
    assert (journal.first(INBOX, 2, seqs[3]), journal.first(INBOX, 2, seqs[4])) == (seqs[4], 0)
    row = journal.get(seqs[0])
    assert row is not None and (row.priority, row.body) == (3, b"0")
    await store.close()


@check
async def messages_without_a_priority_are_noticed(open: Open) -> None:
    store = await open()
    first, second = entry(priority=2), entry(priority=3)
    await store.commit(Work(entries=[first, second]))
    assert not store.journal.without_priority(INBOX, 0)
    [plain] = await _kept(store, 1)
    assert store.journal.without_priority(INBOX, 0)
    assert not store.journal.without_priority(INBOX, plain)
    await store.close()


@check
async def earlier_messages_of_a_key_are_found(open: Open) -> None:
    store = await open()
    made = [entry(b"%d" % n, key="k" if n % 2 else "other", priority=1 + n % 3) for n in range(8)]
    await store.commit(Work(entries=[*made, entry(key="k")]))
    seqs = [each.seq for each in made if each.key == "k"]
    journal = store.journal
    assert [row.seq for row in journal.earlier(FLOW, INBOX, "k", 0, seqs[3], 10)] == seqs[:3]
    assert [row.body for row in journal.earlier(FLOW, INBOX, "k", seqs[0], seqs[3], 1)] == [b"3"]
    await store.commit(Work(progress=[state(seqs[1], State.HELD, key="k")]))
    assert [row.seq for row in journal.earlier(FLOW, INBOX, "k", 0, seqs[3], 10)] == [seqs[0], seqs[2]]
    assert [row.seq for row in journal.earlier(FLOW, INBOX, "k", 0, 1 << 40, 10)] == [seqs[0], *seqs[2:]]
    assert not journal.earlier(FLOW, TOPIC, "k", 0, 1 << 40, 10)
    await store.close()


# --- positions --------------------------------------------------------------------------------------------------------


def at(number: int, partition: str = "p", *, scope: int = INBOX, passing: bool = False, **more: object) -> Entry:
    """A message with a position."""
    return entry(b"%d" % number, position=Place(scope, partition, number, passing), **more)


async def accepted(store: Store, *made: Entry) -> list[int]:
    """Commit together: the numbers of those that were kept, 0 for a duplicate."""
    await store.commit(Work(entries=list(made)))
    return [each.seq for each in made]


@check
async def a_position_is_accepted_once(open: Open) -> None:
    store = await open()
    assert all(await accepted(store, at(0), at(1), at(5)))
    again = at(1)
    assert await accepted(store, again, at(5), at(6)) == [0, 0, store.journal.last(INBOX)]
    assert again.duplicate_of == KNOWN
    assert store.register.position(INBOX, "p") == 6
    assert await accepted(store, at(4)) == [0], "a gap that was passed is passed"
    await store.close(clean=False)
    store = await open()
    assert await accepted(store, at(6)) == [0]
    assert all(await accepted(store, at(6, "other"), at(6, scope=TOPIC), at(7)))
    assert (store.register.position(INBOX, "nobody"), store.register.position(TOPIC, "p")) == (None, 6)
    await store.close()


@check
async def within_one_transaction_numbers_come_in_any_order(open: Open) -> None:
    store = await open()
    seqs = await accepted(store, at(9), at(3), at(3), at(7))
    assert [bool(seq) for seq in seqs] == [True, True, False, True]
    assert store.register.position(INBOX, "p") == 9
    await store.close()


@check
async def a_refused_message_is_kept_once_by_its_position(open: Open) -> None:
    store = await open()
    for numbers, kept in (((2, 3), [True, True]), ((2, 3, 4), [False, False, True])):
        rows = [(at(number), state(0, State.DEAD)) for number in numbers]
        await store.commit(Work(refused=rows, counts={(FLOW, "dead"): len(rows)}))
        assert [entry.seq > 0 for entry, _ in rows] == kept
    assert store.progress.counts()[FLOW, "dead"] == 3
    assert store.register.position(INBOX, "p") == 4
    await store.close()


@check
async def a_mark_stays_below_a_conflict(open: Open) -> None:
    """A conflict is kept as a dead letter by a later transaction: until then its source must bring it again."""
    store = await open()
    await store.commit(Work(entries=[entry(dedupe=(INBOX, "x"), body_hash=b"1")]))
    bad = at(2, dedupe=(INBOX, "x"), body_hash=b"2")
    await accepted(store, at(1, dedupe=(INBOX, "a"), body_hash=b"a"), bad, at(3, dedupe=(INBOX, "b"), body_hash=b"b"))
    assert bad.conflict_with
    assert store.register.position(INBOX, "p") == 1
    await accepted(store, at(4))
    assert store.register.position(INBOX, "p") == 4
    await store.close()


@check
async def marks_are_raised_with_what_is_kept_or_not_at_all(open: Open) -> None:
    store = await open()
    await accepted(store, at(1))
    broken = [at(2), entry(key="\ud800")]
    try:
        await store.commit(Work(entries=broken))
        raise AssertionError("half a character was stored")
    except UnicodeEncodeError:
        pass
    assert store.register.position(INBOX, "p") == 1
    await store.close()


@check
async def marks_take_one_row_a_partition_and_are_listed(open: Open) -> None:
    store = await open()
    for n in range(5):
        await accepted(store, *(at(number, at=1000 + n) for number in range(n * 100, n * 100 + 100)))
    await accepted(store, at(1, "file", passing=True, at=2000), at(1, "older", passing=True, at=1500))
    marks = [Mark("p", 499, 1004, False), Mark("file", 1, 2000, True), Mark("older", 1, 1500, True)]
    assert store.register.positions(INBOX, 10) == (3, marks)
    assert store.register.positions(INBOX, 1) == (3, marks[:1])
    assert store.register.positions(TOPIC, 10) == (0, [])
    await store.close()


@check
async def marks_of_what_comes_to_an_end_go_when_the_window_is_over(open: Open) -> None:
    store = await open()
    flow = store.register.number("flow", "flow")
    store.register.set_readers(INBOX, [flow])
    await accepted(store, at(1, "lasting", at=1), at(1, "gone", passing=True, at=1))
    await accepted(store, at(1, "file", passing=True, at=950))
    await accepted(store, at(1, "elsewhere", scope=9, passing=True, at=950))
    keeping = Keeping.uniform(1 << 40)
    retention = Retention({flow: replace(keeping, dedupe=100)}, replace(keeping, dedupe=10), audit=1 << 40)
    assert (await store.journal.prune(retention, 1000, 10)).ids == 2
    assert store.register.positions(INBOX, 10)[0] == 2
    assert [store.register.position(INBOX, name) for name in ("lasting", "gone", "file")] == [1, None, 1]
    assert store.register.position(9, "elsewhere") is None, "nobody reads it: what holds for others"
    assert not (await store.journal.prune(retention, 1000, 10)).ids
    assert await accepted(store, at(1, "lasting")) == [0]
    await store.close()
