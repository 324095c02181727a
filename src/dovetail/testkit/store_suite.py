"""The exam that every store sits.

A check is an async function of one argument, `open`: each call of it opens the same, at first empty, store anew, the
way a starting process would. `CHECKS` lists them by name. A check closes what it opened, except where it acts a
crash. To run the exam, parametrize a test over `CHECKS` and await each with an `open` of the implementation::

    @pytest.mark.parametrize("name", CHECKS)
    async def test_store(name, tmp_path):
        await CHECKS[name](lambda: SqliteStore.open(tmp_path / "store.db", clock=..., ids=...))
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from dovetail.errors import StoreError
from dovetail.store.base import ENDED, PENDING, REDRIVEN, Entry, Progress, Query, State, Store, Work
from dovetail.testkit import memory_suite

Open = Callable[[], Awaitable[Store]]
Check = Callable[[Open], Awaitable[None]]
CHECKS: dict[str, Check] = dict(memory_suite.CHECKS)

FLOW, OTHER = 1, 2
INBOX, TOPIC = 1, 2


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def entry(body: bytes = b"{}", **more: object) -> Entry:
    """A message for the inbox."""
    values: dict[str, object] = {"stream": INBOX, "at": 1000, "version": 1, "meta": b"meta", "body": body, **more}
    return Entry(**values)  # type: ignore[arg-type]


def entries(count: int, **more: object) -> list[Entry]:
    return [entry(b"%d" % n, **more) for n in range(count)]


def state(seq: int, state: State, flow: int = FLOW, **more: object) -> Progress:
    values: dict[str, object] = {"flow": flow, "seq": seq, "state": state, "at": 2000, **more}
    return Progress(**values)  # type: ignore[arg-type]


async def _kept(store: Store, count: int, **more: object) -> list[int]:
    """Accept some messages: their numbers."""
    made = entries(count, **more)
    await store.commit(Work(entries=made))
    return [each.seq for each in made]


# --- accepting --------------------------------------------------------------------------------------------------------


@check
async def numbers_grow_and_entries_come_back_whole(open: Open) -> None:
    store = await open()
    first = entry(b"\x00body\xff", key="k\u00e9y", parent=0, start=3, at=5, version=7)
    second = entry(b"", key="", stream=TOPIC)
    await store.commit(Work(entries=[first, second]))
    assert 0 < first.seq < second.seq
    row = store.journal.get(first.seq)
    assert row is not None
    assert (row.seq, row.stream, row.at, row.version, row.meta) == (first.seq, INBOX, 5, 7, b"meta")
    assert (row.body, row.key, row.parent, row.start, row.size) == (b"\x00body\xff", "k\u00e9y", 0, 3, 6)
    row = store.journal.get(second.seq)
    assert row is not None
    assert (row.body, row.key, row.size) == (b"", "", 0)
    assert store.journal.get(second.seq + 1) is None
    assert store.journal.original(second.seq + 1) is None
    assert (store.journal.last(INBOX), store.journal.last(TOPIC), store.journal.last(9)) == (first.seq, second.seq, 0)
    await store.close()


@check
async def what_was_committed_survives_a_crash(open: Open) -> None:
    store = await open()
    uid = store.uid
    [seq] = await _kept(store, 1, key="a")
    await store.commit(Work(progress=[state(seq, State.WAITING, next_at=9)], claims={FLOW: (seq, 0)}))
    await store.close(clean=False)
    store = await open()
    assert store.uid == uid
    assert store.journal.get(seq) is not None
    assert store.progress.get(FLOW, seq) == state(seq, State.WAITING, next_at=9)
    assert store.register.claim(FLOW) == (seq, 0)
    [again] = await _kept(store, 1)
    assert again > seq
    await store.close()


@check
async def clean_tells_how_the_last_user_left(open: Open) -> None:
    store = await open()
    assert store.clean
    assert store.uid
    await store.close()
    store = await open()
    assert store.clean
    await store.close(clean=False)
    store = await open()
    assert not store.clean
    await store.close()
    store = await open()
    assert store.clean
    await store.close()


@check
async def closing_twice_is_closing_once(open: Open) -> None:
    store = await open()
    await store.close()
    await store.close()


@check
async def large_bodies_come_back_whole(open: Open) -> None:
    store = await open()
    repetitive = b"0123456789" * 30_000
    dense = bytes((n * n * 31 + n // 7) % 251 for n in range(200_000))
    made = [entry(repetitive), entry(dense), entry(repetitive), entry(b"small")]
    await store.commit(Work(entries=made))
    for each in made:
        assert store.journal.original(each.seq) == each.body
        row = store.journal.get(each.seq, FLOW)
        assert row is not None
        assert (row.body, row.size) == (each.body, len(each.body))
    assert [row.body for row in store.journal.after(FLOW, INBOX, 0, 10, 1 << 30)] == [each.body for each in made]
    await store.close()


@check
async def an_empty_work_is_a_commit_too(open: Open) -> None:
    store = await open()
    await store.commit(Work())
    await store.close()


# --- dedupe -----------------------------------------------------------------------------------------------------------


@check
async def the_same_id_is_accepted_once(open: Open) -> None:
    store = await open()
    first = entry(b"a", dedupe=(1, "id"), body_hash=b"A")
    await store.commit(Work(entries=[first]))
    repeat = entry(b"a", dedupe=(1, "id"), body_hash=b"A")
    conflict = entry(b"b", dedupe=(1, "id"), body_hash=b"B")
    elsewhere = entry(b"a", dedupe=(2, "id"), body_hash=b"A")
    await store.commit(Work(entries=[repeat, conflict, elsewhere]))
    assert (repeat.seq, repeat.duplicate_of, repeat.conflict_with) == (0, first.seq, 0)
    assert (conflict.seq, conflict.duplicate_of, conflict.conflict_with) == (0, 0, first.seq)
    assert elsewhere.seq > first.seq
    assert (elsewhere.duplicate_of, elsewhere.conflict_with) == (0, 0)
    assert store.progress.counts() == {(-INBOX, "accepted"): 2, (-INBOX, "bytes"): 2}
    assert len(store.journal.after(FLOW, INBOX, 0, 10, 1 << 20)) == 2
    await store.close()


@check
async def the_same_id_twice_in_one_work(open: Open) -> None:
    store = await open()
    made = [entry(b"%d" % n, dedupe=(1, "x"), body_hash=b"%d" % (n // 2)) for n in range(3)]
    other = entry(b"other")
    await store.commit(Work(entries=[*made, other]))
    assert made[0].seq
    assert (made[1].seq, made[1].duplicate_of, made[2].conflict_with) == (0, made[0].seq, made[0].seq)
    assert other.seq == made[0].seq + 1
    await store.close()


@check
async def dedupe_survives_a_crash_and_strange_ids(open: Open) -> None:
    ids = ["", " ", "a\x00b", "a", "\u00e9", "\U0001f600", "'; DROP TABLE journal; --", "x" * 5000, "[1]", '"q"']
    store = await open()
    made = [entry(dedupe=(1, name), body_hash=b"h") for name in ids]
    await store.commit(Work(entries=made))
    assert all(each.seq for each in made)
    await store.close(clean=False)
    store = await open()
    again = [entry(dedupe=(1, name), body_hash=b"h") for name in ids]
    await store.commit(Work(entries=again))
    assert [each.duplicate_of for each in again] == [each.seq for each in made]
    await store.close()


# --- refused ----------------------------------------------------------------------------------------------------------


@check
async def refused_entries_are_kept_with_their_reason(open: Open) -> None:
    store = await open()
    bad = entry(b"junk")
    row = state(0, State.DEAD, reason="not json")
    await store.commit(Work(entries=[entry()], refused=[(bad, row)], counts={(FLOW, "dead"): 1}))
    assert bad.seq == row.seq == 2
    assert store.progress.get(FLOW, bad.seq) == row
    assert [found.seq for found in store.journal.after(FLOW, INBOX, 0, 10, 1 << 20)] == [1]
    assert store.progress.counts() == {(-INBOX, "accepted"): 2, (-INBOX, "bytes"): 6, (FLOW, "dead"): 1}
    kind, rows = cast(tuple[str, list[Sequence[int]]], store.audit.events(0, 10)[-1][2])
    assert (kind, [tuple(one) for one in rows]) == ("state", [(FLOW, 2, int(State.DEAD), row.attempt)])
    await store.close()


@check
async def a_refused_duplicate_is_not_kept(open: Open) -> None:
    store = await open()
    first = entry(b"junk", dedupe=(1, "id"), body_hash=b"h")
    await store.commit(Work(entries=[first]))
    again, row = entry(b"junk", dedupe=(1, "id"), body_hash=b"h"), state(0, State.DEAD)
    await store.commit(Work(refused=[(again, row)]))
    assert (again.seq, again.duplicate_of, row.seq) == (0, first.seq, 0)
    found, _ = store.progress.find(Query(FLOW, INBOX, states=[State.DEAD]))
    assert found == []
    await store.close()


# --- reading the backlog ----------------------------------------------------------------------------------------------


@check
async def after_reads_fresh_entries_in_order(open: Open) -> None:
    store = await open()
    seqs = await _kept(store, 10)
    await _kept(store, 3, stream=TOPIC)
    await store.commit(Work(progress=[state(seqs[0], State.DONE), state(seqs[4], State.WAITING)]))

    def after(seq: int, limit: int = 100, size: int = 1 << 20, flow: int = FLOW) -> list[int]:
        return [row.seq for row in store.journal.after(flow, INBOX, seq, limit, size)]

    fresh = [seq for seq in seqs if seq not in (seqs[0], seqs[4])]
    assert after(0) == fresh
    assert after(0, flow=OTHER) == seqs
    assert after(seqs[2]) == [seq for seq in fresh if seq > seqs[2]]
    assert after(0, limit=3) == fresh[:3]
    assert after(0, size=2) == fresh[:2]
    assert after(0, size=0) == fresh[:1]
    assert after(seqs[-1]) == []
    assert [store.progress.fresh(FLOW, INBOX, seq) for seq in (0, seqs[0], seqs[4], seqs[-1])] == [8, 8, 5, 0]
    assert store.progress.fresh(OTHER, INBOX, 0) == 10
    await store.close()


@check
async def parts_of_a_split(open: Open) -> None:
    store = await open()
    [whole] = await _kept(store, 1)
    made = await _kept(store, 3, parent=whole, start=2)
    found = store.journal.parts(whole, 10)
    assert [(row.seq, row.parent, row.start, row.body, row.size) for row in found] == [
        (seq, whole, 2, None, 1) for seq in made
    ]
    assert [row.seq for row in store.journal.parts(whole, 2)] == made[:2]
    assert store.journal.parts(made[0], 10) == []
    assert store.journal.parts(0, 10) == []
    await store.close()


@check
async def an_edit_is_for_its_flow_and_leaves_the_original(open: Open) -> None:
    store = await open()
    [seq] = await _kept(store, 1)
    await store.commit(Work(edits=[(FLOW, seq, b"edited", "ann"), (FLOW, seq, b"edited again", "ann")]))
    mine, others = store.journal.get(seq, FLOW), store.journal.get(seq, OTHER)
    assert mine is not None
    assert others is not None
    assert (mine.body, mine.size, others.body) == (b"edited again", 12, b"0")
    assert store.journal.original(seq) == b"0"
    await store.close()


# --- progress ---------------------------------------------------------------------------------------------------------


@check
async def progress_comes_back_whole_and_is_replaced(open: Open) -> None:
    store = await open()
    full = Progress(FLOW, 5, State.IN_DOUBT, 1, 2, 3, "k", 4, "why", b"\x00memo")
    await store.commit(Work(progress=[state(5, State.WAITING), full]))
    assert store.progress.get(FLOW, 5) == full
    assert store.progress.get(OTHER, 5) is None
    await store.commit(Work(progress=[state(5, State.DONE)]))
    assert store.progress.get(FLOW, 5) == state(5, State.DONE)
    await store.close()


@check
async def what_is_read_is_a_copy(open: Open) -> None:
    store = await open()
    row = state(1, State.WAITING, next_at=5)
    await store.commit(Work(progress=[row]))
    row.state = State.DONE
    found = store.progress.get(FLOW, 1)
    assert found == state(1, State.WAITING, next_at=5)
    found.attempt = 9
    assert store.progress.get(FLOW, 1) == state(1, State.WAITING, next_at=5)
    await store.close()


@check
async def due_rows_come_earliest_first(open: Open) -> None:
    store = await open()
    assert store.progress.next_due(FLOW) is None
    rows = [
        state(1, State.WAITING, next_at=30),
        state(2, State.IN_DOUBT, next_at=10),
        state(3, State.WAITING, next_at=20),
        state(4, State.HELD, next_at=1),
        state(5, State.RUNNING, next_at=1),
        state(6, State.DEAD, next_at=1),
        state(7, State.WAITING, next_at=5, flow=OTHER),
        state(8, State.COMPENSATING, next_at=25),
    ]
    await store.commit(Work(progress=rows))
    assert [row.seq for row in store.progress.due(FLOW, 20, 10)] == [2, 3]
    assert [row.seq for row in store.progress.due(FLOW, 29, 10)] == [2, 3, 8]
    assert [row.seq for row in store.progress.due(FLOW, 99, 2)] == [2, 3]
    assert store.progress.due(FLOW, 9, 10) == []
    assert (store.progress.next_due(FLOW), store.progress.next_due(OTHER)) == (10, 5)
    await store.commit(Work(progress=[state(2, State.DONE)]))
    assert store.progress.next_due(FLOW) == 20
    assert store.progress.due(FLOW, 20, 10) == [rows[2]]
    await store.close()


@check
async def interrupted_rows_are_those_that_were_running(open: Open) -> None:
    store = await open()
    await store.commit(Work(progress=[state(n, State.RUNNING) for n in (9, 3)] + [state(4, State.WAITING)]))
    await store.close(clean=False)
    store = await open()
    assert store.progress.interrupted(FLOW) == [state(3, State.RUNNING), state(9, State.RUNNING)]
    assert store.progress.interrupted(OTHER) == []
    await store.close()


@check
async def held_and_blocked_go_by_key(open: Open) -> None:
    store = await open()
    await store.commit(
        Work(
            progress=[
                state(1, State.WAITING, key="b"),
                state(2, State.HELD, key="b"),
                state(3, State.HELD, key="b"),
                state(4, State.WAITING, key="a", reason=REDRIVEN),
                state(10, State.SPLIT, key="a"),
                state(5, State.RUNNING, key=""),
                state(6, State.IN_DOUBT, key="c"),
                state(7, State.DEAD, key="d"),
                state(8, State.DONE, key="e"),
                state(9, State.WAITING),
                state(1, State.HELD, key="z", flow=OTHER),
            ]
        )
    )
    assert store.progress.held(FLOW, "b", 1) == [state(2, State.HELD, key="b")]
    assert store.progress.held(FLOW, "a", 5) == []
    assert store.progress.head(FLOW, "b") == state(1, State.WAITING, key="b")
    assert store.progress.head(FLOW, "a") == state(10, State.SPLIT, key="a")
    assert store.progress.head(FLOW, "d") is store.progress.head(OTHER, "z") is None
    assert dict(store.progress.blocked(FLOW)) == {"": 5, "a": 4, "b": 1, "c": 6}
    assert list(store.progress.blocked(OTHER)) == [("z", 1)]
    assert store.progress.pending(FLOW) == {
        State.WAITING: 3, State.HELD: 2, State.SPLIT: 1, State.RUNNING: 1, State.IN_DOUBT: 1
    }  # fmt: skip
    await store.close()


@check
async def blocked_pages_through_many_keys(open: Open) -> None:
    store = await open()
    await store.commit(Work(progress=[state(n, State.HELD, key=f"k{n:05}") for n in range(1, 2502)]))
    assert list(store.progress.blocked(FLOW)) == [(f"k{n:05}", n) for n in range(1, 2502)]
    await store.close()


@check
async def counts_add_up(open: Open) -> None:
    store = await open()
    await store.commit(Work(entries=entries(3) + entries(2, stream=TOPIC), counts={(FLOW, "done"): 2}))
    await store.commit(Work(entries=entries(1), counts={(FLOW, "done"): 1, (FLOW, "dead"): 1, (OTHER, "done"): 0}))
    await store.commit(Work(counts={(FLOW, "dead"): -1}))
    found = {key: n for key, n in store.progress.counts().items() if n and key[1] != "bytes"}
    assert found == {(-INBOX, "accepted"): 4, (-TOPIC, "accepted"): 2, (FLOW, "done"): 3}
    await store.close()


# --- search -----------------------------------------------------------------------------------------------------------


async def _find_all(store: Store, query: Query) -> list[int]:
    """Every page of a search, one after the other."""
    found: list[int] = []
    before = query.before
    while True:
        page, before = store.progress.find(
            Query(
                query.flow,
                query.stream,
                query.states,
                query.key,
                query.since,
                query.until,
                query.text,
                before,
                query.limit,
            )
        )
        found += [row.seq for row, _ in page]
        if not before:
            return found


@check
async def find_filters_newest_first(open: Open) -> None:
    store = await open()
    made = [entry(b"body-%02d" % n, at=1000 + n, key="ab"[n % 2]) for n in range(1, 21)]
    made[11].body = b"x" * 100_000 + b"body-12 needle"
    await store.commit(Work(entries=made))
    await _kept(store, 2, stream=TOPIC, key="a")
    rows = [state(n, State.DONE, key="ab"[n % 2]) for n in range(1, 16)]
    rows += [state(16, State.DEAD), state(17, State.WAITING), state(18, State.DEAD), state(5, State.DEAD, flow=OTHER)]
    await store.commit(Work(progress=rows))

    async def find(**more: object) -> list[int]:
        values: dict[str, object] = {"flow": FLOW, "stream": INBOX, "limit": 3, **more}
        return await _find_all(store, Query(**values))  # type: ignore[arg-type]

    everything = list(range(20, 0, -1))
    assert await find() == everything
    assert await find(limit=50) == everything
    assert await find(before=4) == [3, 2, 1]
    assert await find(key="a") == [n for n in everything if n % 2 == 0]
    assert await find(key="nobody") == []
    assert await find(states=[State.FRESH]) == [20, 19]
    assert await find(states=[State.DEAD]) == [18, 16]
    assert await find(states=[State.DEAD, State.WAITING]) == [18, 17, 16]
    assert await find(states=[State.DEAD, State.DONE]) == [18, 16, *range(15, 0, -1)]
    assert await find(states=PENDING) == [20, 19, 17]
    assert await find(states=ENDED, key="b") == [15, 13, 11, 9, 7, 5, 3, 1]
    assert await find(states=[State.DEAD], key="b") == []
    assert await find(states=[State.DEAD], flow=OTHER) == [5]
    assert await find(since=1005, until=1008) == [7, 6, 5]
    assert await find(since=1020) == [20]
    assert await find(until=1002) == [1]
    assert await find(since=2000) == []
    assert await find(until=1000) == []
    assert await find(text=b"body-1") == [19, 18, 17, 16, 15, 14, 13, 12, 11, 10]
    assert await find(text=b"needle") == [12]
    assert await find(text=b"needle", states=[State.DEAD]) == []
    assert await find(stream=TOPIC, key="a") == [22, 21]
    await store.close()


@check
async def find_returns_rows_with_their_progress(open: Open) -> None:
    store = await open()
    await _kept(store, 2, key="k")
    done = state(1, State.DONE, key="k", memo=b"memo")
    await store.commit(Work(progress=[done]))
    [(second, fresh), (first, progress)] = store.progress.find(Query(FLOW, INBOX))[0]
    assert (second.seq, fresh, first.seq, progress) == (2, None, 1, done)
    assert (first.body, first.size, first.meta, first.key) == (None, 1, b"meta", "k")
    await store.close()


@check
async def find_ends_on_long_journals(open: Open) -> None:
    store = await open()
    for n in range(3):
        await _kept(store, 2000, key=str(n))
    await store.commit(Work(progress=[state(n, State.DEAD) for n in range(1, 4001, 2)]))
    assert await _find_all(store, Query(FLOW, INBOX, key="0")) == list(range(2000, 0, -1))
    assert await _find_all(store, Query(FLOW, INBOX, states=[State.DEAD], key="1")) == list(range(3999, 2000, -2))
    assert await _find_all(store, Query(FLOW, INBOX, text=b"1999")) == [6000, 4000, 2000]
    await store.close()


# --- register ---------------------------------------------------------------------------------------------------------


@check
async def names_keep_their_numbers(open: Open) -> None:
    store = await open()
    register = store.register
    numbers = [register.number("flow", name) for name in ("a", "b", "a")]
    assert numbers[0] == numbers[2] != numbers[1]
    assert register.number("stream", "a") > 0
    assert register.names("flow") == {"a": numbers[0], "b": numbers[1]}
    await store.close(clean=False)
    store = await open()
    assert store.register.number("flow", "b") == numbers[1]
    assert store.register.number("flow", "c") not in numbers
    await store.close()


@check
async def versions_keep_their_text(open: Open) -> None:
    store = await open()
    first = store.register.version(FLOW, "aaa", b"text a", 10)
    second = store.register.version(FLOW, "bbb", b"text b", 20)
    assert store.register.version(FLOW, "aaa", b"text a", 30) == first != second
    assert store.register.version(OTHER, "aaa", b"other", 5) > 0
    assert store.register.versions(FLOW) == [(first, "aaa", 10), (second, "bbb", 20)]
    await store.close(clean=False)
    store = await open()
    assert store.register.version_text(FLOW, second) == b"text b"
    try:
        store.register.version_text(FLOW, 99)
    except StoreError:
        pass
    else:
        raise AssertionError("an unknown version has no text")
    await store.close()


@check
async def claims_and_marks_move_with_the_work(open: Open) -> None:
    store = await open()
    assert store.register.claim(FLOW) == (0, 0)
    assert store.register.mark("m") is None
    await store.commit(Work(claims={FLOW: (7, 5)}, marks={"m": b"\x00", "n": b""}))
    store.register.set_claim(OTHER, 9)
    await store.commit(Work(claims={FLOW: (8, 6)}))
    await store.close(clean=False)
    store = await open()
    assert (store.register.claim(FLOW), store.register.claim(OTHER)) == ((8, 6), (9, 9))
    assert (store.register.mark("m"), store.register.mark("n")) == (b"\x00", b"")
    await store.close()


@check
async def the_register_may_write_while_a_commit_is_under_way(open: Open) -> None:
    store = await open()
    commits = [asyncio.ensure_future(store.commit(Work(entries=entries(5)))) for _ in range(5)]
    for n in range(5):
        await asyncio.sleep(0)
        assert store.register.number("flow", f"f{n}") == n + 1
    await asyncio.gather(*commits)
    assert store.journal.last(INBOX) == 25
    await store.close()


# --- audit ------------------------------------------------------------------------------------------------------------


@check
async def audit_tells_what_was_accepted_and_what_was_said(open: Open) -> None:
    store = await open()
    await store.commit(
        Work(entries=entries(3) + entries(1, stream=TOPIC) + entries(1), audit=[("deployed", FLOW, "x")])
    )
    await store.commit(Work(progress=[state(1, State.DONE)]))
    await store.commit(Work(audit=[("paused", 1), ("resumed", 1)]))
    found = store.audit.events(0, 10)
    assert [event for _, _, event in found] == [
        ("deployed", FLOW, "x"),
        ("accepted", INBOX, 1, 3),
        ("accepted", TOPIC, 4, 4),
        ("accepted", INBOX, 5, 5),
        ("paused", 1),
        ("resumed", 1),
    ]
    assert found[0][0] == found[3][0] < found[4][0] == found[5][0]
    assert all(at > 0 for _, at, _ in found)
    assert [event for _, _, event in store.audit.events(found[0][0], 1)] == [("paused", 1), ("resumed", 1)]
    assert store.audit.events(found[-1][0], 10) == []
    await store.close()


@check
async def a_duplicate_is_not_an_event(open: Open) -> None:
    store = await open()
    for _ in range(2):
        await store.commit(Work(entries=[entry(dedupe=(1, "a"), body_hash=b"h")]))
    assert [event for _, _, event in store.audit.events(0, 10)] == [("accepted", INBOX, 1, 1)]
    await store.close()


# --- commits ----------------------------------------------------------------------------------------------------------


@check
async def commits_take_turns_in_order(open: Open) -> None:
    store = await open()
    made = entries(50)
    await asyncio.gather(*(store.commit(Work(entries=[each])) for each in made))
    assert [each.seq for each in made] == list(range(1, 51))
    await store.close()


@check
async def a_cancelled_commit_is_done_or_not_but_never_half(open: Open) -> None:
    store = await open()
    for n in range(20):
        task = asyncio.ensure_future(store.commit(Work(entries=entries(3), progress=[state(1, State.WAITING, at=n)])))
        for _ in range(n % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        last = store.journal.last(INBOX)
        assert last % 3 == 0
        assert len(store.journal.after(OTHER, INBOX, 0, 1000, 1 << 20)) == last
        assert store.progress.counts().get((-INBOX, "accepted"), 0) == last
    await _kept(store, 1)
    await store.close()


@check
async def text_that_is_no_utf8_keeps_nothing(open: Open) -> None:
    store = await open()
    bad = "\ud800"
    works = [
        Work(entries=[entry(), entry(key=bad)]),
        Work(entries=[entry(), entry(dedupe=(1, bad))]),
        Work(progress=[state(1, State.DEAD), state(2, State.DEAD, reason=bad)]),
    ]
    for work in works:
        try:
            await store.commit(work)
        except UnicodeEncodeError:
            pass
        else:
            raise AssertionError("a lone surrogate cannot be stored")
    assert (store.journal.last(INBOX), store.progress.get(FLOW, 1)) == (0, None)
    assert await _kept(store, 1) == [1]
    await store.close()


@check
async def usage_is_in_bytes(open: Open) -> None:
    store = await open()
    await _kept(store, 10)
    usage = store.usage()
    assert set(usage) == {"store", "wal", "files", "free", "disk"}
    assert usage["store"] + usage["wal"] > 0
    assert usage["free"] > 0
    await store.close()
