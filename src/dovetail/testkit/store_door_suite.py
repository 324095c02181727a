"""The part of the store exam about what the door writes down: priorities, and positions of sources. See
`dovetail.testkit.store_suite`."""

from __future__ import annotations

from dovetail.store.base import State, Work
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
