"""The desk tells what is in a store: numbers, searches, journeys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dovetail.control.answers import ASKED, Search
from dovetail.engine.memo import Memo
from dovetail.errors import Refused
from dovetail.store.base import Keeping, Retention, State, Work

Bench = Any  # the fixture's class


async def test_status_counts_every_message_once(bench: Bench) -> None:
    for state in (State.DONE, State.DONE, State.DISCARDED, State.DEAD, State.WAITING, State.HELD, State.FRESH):
        await bench.put("orders", b"{}", state, key="k")
    status = bench.control.status()
    orders = next(flow for flow in status.flows if flow.flow == "orders")
    assert (orders.accepted, orders.pending, orders.done, orders.discarded, orders.dead) == (7, 3, 2, 1, 1)
    assert orders.states == {"pending": 1, "waiting": 1, "held": 1}
    assert orders.accepted == orders.pending + orders.done + orders.discarded + orders.dead
    assert not status.running
    assert status.usage["store"] > 0
    assert [flow.flow for flow in status.flows] == ["ledger", "orders", "slips"]


async def test_a_later_subscriber_is_not_charged_with_what_came_before_it(bench: Bench) -> None:
    await bench.put("ledger", b"{}")
    bench.store.register.set_claim(bench.flows["slips"][0], bench.store.journal.last(bench.flows["slips"][1]))
    await bench.put("ledger", b"{}")
    pending = {flow.flow: flow.pending for flow in bench.control.status().flows}
    assert pending == {"ledger": 2, "orders": 0, "slips": 1}
    await bench.put("ledger", b"{}")
    assert bench.control.depth() == {"ledger": {"pending": 3}, "orders": {}, "slips": {"pending": 2}}


async def test_search_by_state_key_time_and_text(bench: Bench) -> None:
    done = await bench.put("orders", b'{"n": "alpha"}', State.DONE, key="a", at=1000)
    dead = await bench.put("orders", b'{"n": "beta"}', State.DEAD, key="b", at=2000, reason="rejected: no")
    fresh = await bench.put("orders", b'{"n": "gamma"}', key="b", at=3000)

    async def ids(**asked: object) -> list[str]:
        return [line.id for line in (await bench.control.messages(Search(flow="orders", **asked))).messages]  # type: ignore[arg-type]

    assert await ids() == [fresh, dead, done]
    assert await ids(states=["dead"]) == [dead]
    assert await ids(states=["pending"]) == [fresh]
    assert await ids(states=["dead", "done"]) == [dead, done]
    assert await ids(key="b") == [fresh, dead]
    assert await ids(since=2000) == [fresh, dead]
    assert await ids(until=2000) == [done]
    assert await ids(text="alpha") == [done]
    assert await ids(text="nowhere") == []
    line = (await bench.control.messages(Search(flow="orders", states=["dead"]))).messages[0]
    assert (line.flow, line.state, line.key, line.at, line.reason) == ("orders", "dead", "b", 2000, "rejected: no")
    assert line.size == len(b'{"n": "beta"}')


async def test_pages_over_one_flow_and_over_all_show_every_message_once(bench: Bench) -> None:
    flows = ("orders", "ledger", "orders", "orders", "ledger", "ledger", "orders", "ledger")
    newest = reversed([(flow, await bench.put(flow, b"{}")) for flow in flows])
    expected = [(name, id) for flow, id in newest for name in (("ledger", "slips") if flow == "ledger" else (flow,))]
    for limit in (1, 2, 3, 5, 7, 50):
        for flow in ("", "orders"):
            seen: list[tuple[str, str]] = []
            before = ""
            while True:
                page = await bench.control.messages(Search(flow=flow, limit=limit, before=before))
                assert len(page.messages) <= limit
                seen += [(line.flow, line.id) for line in page.messages]
                before = page.next
                if not before:
                    break
            assert seen == [pair for pair in expected if flow in ("", pair[0])], "newest first over all flows"


async def test_a_page_that_looked_far_enough_says_where_to_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail.control.searching.MOST_LOOKS", 3)
    made = [await bench.put(flow, b"{}") for _ in range(70) for flow in ("orders", "ledger")]
    pages, before, seen = 0, "", []
    while pages == 0 or before:
        page = await bench.control.messages(Search(limit=20, before=before, reason=""))
        seen += [(line.id, line.flow) for line in page.messages]
        pages, before = pages + 1, page.next
    assert len(seen) == len(set(seen)) == 70 + 2 * 70
    assert list(dict.fromkeys(id for id, _ in seen)) == made[::-1]


async def test_a_journey_without_its_steps_says_why_and_hides_credentials(bench: Bench, history: Memo) -> None:
    headers = {"x-request-id": "r1", "authorization": "Bearer canary-1", "x-shop-hmac-sha256": "canary-2"}
    id = await bench.put("orders", b'{"id": 7}', State.DEAD, reason="rejected: sold out", memo=history, headers=headers)
    journey = await bench.control.show(id)
    assert (journey.message.state, journey.message.reason) == ("dead", "rejected: sold out")
    assert journey.headers == {"x-request-id": "r1", "authorization": "***", "x-shop-hmac-sha256": "***"}
    assert journey.body is not None
    assert journey.body.text == '{"id": 7}'
    assert [(attempt.step, attempt.code, attempt.detail) for attempt in journey.attempts] == [
        ("call:stock", "rejected", {"left": 0})
    ]
    assert [(effect.key, effect.target, effect.state, effect.status) for effect in journey.effects] == [
        ("k1", "erp", "done", 201), ("k2", "stock", "failed", 0),
    ]  # fmt: skip
    assert journey.effects[0].reply is not None
    assert journey.effects[0].reply.text == '{"no": 7}'
    assert journey.steps == []
    assert "start the server" in journey.steps_missing


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [(b"plain \xc3\xa9", "text", "plain é"), (b"\xff\xfe\x00", "base64", "//4A"), (b"nul\x00", "base64", "bnVsAA==")],
)
async def test_bytes_that_are_no_text_are_shown_in_base64(bench: Bench, body: bytes, encoding: str, text: str) -> None:
    journey = await bench.control.show(await bench.put("orders", body))
    assert journey.body is not None
    assert (journey.body.encoding, journey.body.text, journey.body.size) == (encoding, text, len(body))


async def test_a_large_body_is_cut_in_the_journey_but_whole_on_its_own(bench: Bench) -> None:
    body = "é".encode() * 100_000
    id = await bench.put("orders", b"x" + body)
    journey = await bench.control.show(id)
    assert journey.body is not None
    assert journey.body.cut
    assert journey.body.encoding == "text"
    assert journey.body.size == len(body) + 1
    assert bench.control.body(id) == b"x" + body


async def test_a_message_of_several_flows_is_shown_where_it_is_not_done(bench: Bench) -> None:
    id = await bench.put("ledger", b"{}", State.DONE)
    assert (await bench.control.show(id)).message.flow == "slips"
    journey = await bench.control.show(id, "ledger")
    assert (journey.message.flow, journey.message.state, journey.other_flows) == ("ledger", "done", ["slips"])


async def test_short_ids_do_and_foreign_ones_do_not(bench: Bench) -> None:
    id = await bench.put("orders", b"{}")
    assert (await bench.control.show(id.partition("-")[2])).message.id == id


@pytest.mark.parametrize("id", ["", "nonsense", "zzzz-1", "1-", "ffffffffffffffffffffffff", "-1", "0", "77", "../../x"])
async def test_what_is_not_there_is_a_404(bench: Bench, id: str) -> None:
    await bench.put("orders", b"{}")
    with pytest.raises(Refused) as refused:
        await bench.control.show(id)
    assert refused.value.status == 404


async def test_an_edit_is_seen_and_the_original_stays(bench: Bench) -> None:
    id = await bench.put("orders", b"before", State.DEAD)
    number = bench.flows["orders"][0]
    await bench.store.commit(Work(edits=[(number, int(id.partition("-")[2], 16), b"after", "ada")]))
    assert (await bench.control.show(id)).edited
    assert bench.control.body(id) == b"after"
    assert bench.control.body(id, original=True) == b"before"


async def test_wrong_questions_are_answered_with_what_to_write(bench: Bench) -> None:
    with pytest.raises(Refused, match=r"unknown state 'ded'; known: pending, waiting"):
        await bench.control.messages(Search(states=["ded"]))
    with pytest.raises(Refused, match=r"there is no flow 'order'; did you mean 'orders'\?"):
        await bench.control.messages(Search(flow="order"))
    with pytest.raises(Refused, match="limit must be"):
        await bench.control.messages(Search(limit=0))
    for wrong in ("orders:x", "orders:-1", "orders:0", f"orders:{2**63}"):
        with pytest.raises(Refused, match="no page's end"):
            await bench.control.messages(Search(flow="orders", before=wrong))
    assert set(ASKED) >= {"pending", "done", "dead", "discarded", "in_doubt"}


async def test_bodies_that_were_pruned_are_missed_in_words(bench: Bench, tmp_path: Path) -> None:
    id = await bench.put("orders", b"{}", State.DONE)
    for stream in {stream for _, stream in bench.flows.values()}:
        bench.store.register.set_readers(stream, [number for number, its in bench.flows.values() if its == stream])
    assert (await bench.store.journal.prune(Retention({}, Keeping.uniform(0), 0), 10**13, 10)).messages == 1
    with pytest.raises(Refused, match="there is no message"):
        bench.control.body(id)
