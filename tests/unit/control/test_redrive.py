"""Redrive takes dead letters up again, keeps what was done, and says who did it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from dovetail.control.answers import RedriveAnswer, RedriveOrder, Search
from dovetail.engine.memo import Attempt, Memo, Undoing, unpack
from dovetail.errors import Refused
from dovetail.store.base import State, Work

Bench = Any  # the fixture's class


def seq_of(id: str) -> int:
    return int(id.partition("-")[2], 16)


async def redrive(bench: Bench, **order: Any) -> RedriveAnswer:
    return await bench.control.redrive(RedriveOrder(by="ada", **order))


async def test_one_dead_letter_waits_again_with_its_effects_and_history(bench: Bench, history: Memo) -> None:
    id = await bench.put("orders", b"{}", State.DEAD, key="k", reason="rejected: no", memo=history)
    number = bench.flows["orders"][0]
    bench.store.register.version(number, "newer", b"text", 2000)
    answer = await redrive(bench, ids=[id])
    assert (answer.redriven, answer.skipped) == ([id], [])
    row = bench.store.progress.get(number, seq_of(id))
    assert row is not None
    assert (row.state, row.attempt, row.key) == (State.WAITING, 0, "k")
    assert row.next_at > 1_700_000_000_000
    memo = unpack(row.memo)
    assert memo.effects == history.effects
    assert memo.history == history.history
    assert (memo.redriven, memo.first_try_at, memo.sleep, memo.crashes) == (1, 0, 0.0, 0)
    assert memo.version == 2
    status = {flow.flow: flow for flow in bench.control.status().flows}["orders"]
    assert (status.dead, status.pending, status.accepted) == (0, 1, 1)
    events = [event for _, _, event in bench.store.audit.events(0, 100) if event[0] == "redriven"]
    assert [tuple(event) for event in events] == [("redriven", number, seq_of(id), "ada", 1, 2)]


async def test_the_version_can_stay(bench: Bench) -> None:
    id = await bench.put("orders", b"{}", State.DEAD)
    bench.store.register.version(bench.flows["orders"][0], "newer", b"text", 2000)
    await redrive(bench, ids=[id], version="same")
    row = bench.store.progress.get(bench.flows["orders"][0], seq_of(id))
    assert row is not None
    assert unpack(row.memo).version == 0


async def test_an_edited_body_goes_along_and_is_audited_by_hash_only(bench: Bench) -> None:
    id = await bench.put("orders", b"wrong", State.DEAD)
    await redrive(bench, ids=[id], body=base64.b64encode(b"mended-canary").decode())
    assert bench.control.body(id) == b"mended-canary"
    assert bench.control.body(id, original=True) == b"wrong"
    events = str(bench.store.audit.events(0, 100))
    assert "ada" in events
    assert "mended-canary" not in events


async def test_many_by_search_are_taken_oldest_first_and_at_a_rate(bench: Bench) -> None:
    dead = [await bench.put("orders", b"bad %d" % n, State.DEAD, key="k") for n in range(5)]
    other = await bench.put("orders", b"good", State.DONE)
    elsewhere = await bench.put("ledger", b"bad", State.DEAD)
    answer = await redrive(bench, search=Search(flow="orders", text="bad"), rate=2.0)
    assert answer.redriven == dead
    number = bench.flows["orders"][0]
    rows = [bench.store.progress.get(number, seq_of(id)) for id in dead]
    dues = [row.next_at for row in rows if row]
    assert [due - dues[0] for due in dues] == [0, 500, 1000, 1500, 2000]
    states = {flow.flow: (flow.dead, flow.done) for flow in bench.control.status().flows}
    assert states == {"orders": (0, 1), "ledger": (1, 0), "slips": (0, 0)}
    assert (await bench.control.show(other)).message.state == "done"
    assert (await bench.control.show(elsewhere, "ledger")).message.state == "dead"


async def test_a_limit_leaves_the_newer_ones_and_says_so(bench: Bench) -> None:
    dead = [await bench.put("orders", b"{}", State.DEAD) for _ in range(4)]
    answer = await redrive(bench, search=Search(flow="orders"), limit=3)
    assert (answer.redriven, answer.more) == (dead[:3], True)


async def test_twice_at_the_same_time_is_once(bench: Bench) -> None:
    id = await bench.put("orders", b"{}", State.DEAD)
    answers = await asyncio.gather(*(redrive(bench, ids=[id, "0"]) for _ in range(3)))
    assert sum(len(answer.redriven) for answer in answers) == 1
    assert {flow.flow: flow.dead for flow in bench.control.status().flows}["orders"] == 0


async def test_what_cannot_be_redriven_is_skipped_with_its_reason(bench: Bench) -> None:
    dead = await bench.put("orders", b"{}", State.DEAD)
    done = await bench.put("orders", b"{}", State.DONE)
    waiting = await bench.put("orders", b"{}", State.WAITING)
    answer = await redrive(bench, ids=[done, dead, waiting, "77"])
    assert answer.redriven == [dead]
    assert [(skipped.id, skipped.why) for skipped in answer.skipped] == [
        (done, f"{done} is not a dead letter: it is done"),
        (waiting, f"{waiting} is not a dead letter: it is waiting"),
        ("77", "there is no message 77"),
    ]


async def test_a_dead_letter_of_two_flows_needs_its_flow(bench: Bench) -> None:
    id = await bench.put("ledger", b"{}", State.DEAD)
    number = bench.flows["slips"][0]
    row = bench.store.progress.get(bench.flows["ledger"][0], seq_of(id))
    assert row is not None
    row.flow = number
    await bench.store.commit(Work(progress=[row], counts={(number, "dead"): 1}))
    with pytest.raises(Refused, match=r"several flows \(ledger, slips\)"):
        await redrive(bench, ids=[id])
    assert (await redrive(bench, ids=[id], flow="slips")).redriven == [id]
    assert (await redrive(bench, ids=[id])).redriven == [id]


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({}, "either ids or a search"),
        ({"ids": ["1"], "search": Search()}, "either ids or a search"),
        ({"ids": ["1"], "version": "older"}, "version must be"),
        ({"ids": ["1"], "rate": -1.0}, "rate must"),
        ({"ids": ["1", "2"], "body": "eA=="}, "one message's id"),
        ({"ids": ["1"], "body": "%%%"}, "base64"),
        ({"search": Search(states=["done"])}, "only dead letters"),
        ({"search": Search(flow="nope")}, "there is no flow 'nope'"),
        ({"ids": ["77"]}, "there is no message 77"),
    ],
)
async def test_orders_that_make_no_sense_are_refused_whole(bench: Bench, order: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        await redrive(bench, **order)
    assert bench.store.audit.events(0, 10) == []


async def test_somebody_must_stand_for_it(bench: Bench) -> None:
    with pytest.raises(Refused, match="say who"):
        await bench.control.redrive(RedriveOrder(by=" ", ids=["1"]))


async def test_as_new_is_another_message_and_the_dead_letter_is_discarded(bench: Bench, history: Memo) -> None:
    id = await bench.put("orders", b"{}", State.DEAD, key="k", reason="rejected: no", memo=history, headers={"a": "b"})
    answer = await redrive(bench, ids=[id], as_new=True)
    [new] = answer.new
    assert (answer.redriven, new != id) == ([id], True)
    number, stream = bench.flows["orders"]
    old, row = bench.store.progress.get(number, seq_of(id)), bench.store.journal.get(seq_of(new))
    assert old is not None and row is not None
    assert (old.state, old.reason) == (State.DISCARDED, "run as new by ada; it was: rejected: no")
    assert unpack(old.memo).effects == history.effects
    assert (row.stream, row.body, row.key, row.version) == (stream, b"{}", "k", 1)
    assert bench.store.progress.get(number, row.seq) is None, "nothing of it has been done"
    shown = await bench.control.show(new)
    assert (shown.parent, shown.headers, shown.effects) == (id, {"a": "b"}, [])
    assert (await bench.control.show(id, "orders")).parts == [new]
    status = {flow.flow: flow for flow in bench.control.status().flows}["orders"]
    assert (status.accepted, status.dead, status.discarded, status.pending) == (2, 0, 1, 1)
    events = [tuple(event) for _, _, event in bench.store.audit.events(0, 100) if event[0] == "run_as_new"]
    assert events == [("run_as_new", number, seq_of(id), "ada", 1, 1)]
    with pytest.raises(Refused, match="is not a dead letter: it is discarded"):
        await redrive(bench, ids=[id])


async def test_as_new_takes_the_mended_body_and_the_current_version_alone(bench: Bench) -> None:
    id = await bench.put("orders", b'{"n": 1}', State.DEAD)
    bench.store.register.version(bench.flows["orders"][0], "newer", b"text", 2000)
    with pytest.raises(Refused, match="takes the current version"):
        await redrive(bench, ids=[id], as_new=True, version="same")
    [new] = (await redrive(bench, ids=[id], as_new=True, map='{"n": n + 1}')).new
    row = bench.store.journal.get(seq_of(new))
    assert row is not None
    assert (row.body, row.version) == (b'{"n":2}', 2)
    assert bench.control.body(id) == b'{"n": 1}'


async def test_what_was_refused_at_the_door_does_not_slip_in_as_new(bench: Bench) -> None:
    refused = Memo(history=[Attempt(1, 1000, "door", "contract", "no total")])
    id = await bench.put("orders", b"{}", State.DEAD, memo=refused)
    with pytest.raises(Refused, match="has never run: redrive it"):
        await redrive(bench, ids=[id], as_new=True)
    assert (await redrive(bench, ids=[id])).redriven == [id]


async def test_what_is_being_undone_does_not_begin_anew_before_it_is(bench: Bench) -> None:
    id = await bench.put("orders", b"{}", State.DEAD, memo=Memo(undoing=Undoing("rejected: no", 1000)))
    with pytest.raises(Refused, match="still to be undone"):
        await redrive(bench, ids=[id], as_new=True)
    assert (await redrive(bench, ids=[id])).redriven == [id]


async def test_a_search_knows_reasons_steps_versions_and_patterns(bench: Bench, history: Memo) -> None:
    at_erp = await bench.put("orders", b"{}", State.DEAD, reason="rejected: no", memo=history)
    moved = Memo(history=[Attempt(1, 1000, "map", "mapping", "bad", version=2)], version=2)
    at_map = await bench.put("orders", b"{}", State.DEAD, reason="mapping: bad", memo=moved)
    slip = await bench.put("slips", b"{}", State.DEAD, reason="rejected: else")
    await bench.put("orders", b"{}", State.DONE)

    async def found(**search: Any) -> set[str]:
        first = await bench.control.messages(Search(states=["dead"], limit=1, **search))
        rest = first
        lines = list(first.messages)
        while rest.next:
            rest = await bench.control.messages(Search(states=["dead"], limit=1, before=rest.next, **search))
            lines += rest.messages
        return {line.id for line in lines}

    assert await found(reason="rejected") == {at_erp, slip}
    assert await found(reason="rejected: n") == {at_erp}
    assert await found(step="map") == {at_map}
    assert await found(step="call:*") == {at_erp}
    assert await found(version=2) == {at_map}
    assert await found(version=1, reason="rejected") == {at_erp, slip}
    assert await found(flow="*s", step="map") == {at_map}
    assert await found(flow="s*") == {slip}
    with pytest.raises(Refused, match="no flow's name is like 'x\\*'"):
        await found(flow="x*")
    answer = await redrive(bench, search=Search(reason="mapping", flow="ord*"))
    assert answer.redriven == [at_map]
