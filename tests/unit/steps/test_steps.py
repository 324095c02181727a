"""What is peculiar to each step; what all have in common is in the step exam."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.sdk import (
    Call,
    Dropping,
    InDoubt,
    Message,
    MessageError,
    Paused,
    ProjectError,
    Rejected,
    Reply,
    Result,
    Retry,
    Throttled,
)
from dovetail.testkit.fakes import FakeConnection
from dovetail.testkit.steps import FakeBuild, FakeContext, message

CATALOG = Catalog.builtin()
WORDS = {name: CATALOG.step(name) for name in CATALOG.names("step")}


class World:
    """A build, a context and a shop."""

    def __init__(self, **build: Any) -> None:
        self.shop = FakeConnection("shop")
        self.build = FakeBuild(words=WORDS, connections={"shop": self.shop}, **build)
        self.context = FakeContext()

    async def run(self, text: Mapping[str, Any], *values: Any, **attributes: Any) -> Result:
        batch = [
            value if isinstance(value, Message) else message(value, id=f"m-{n}", ref=n, **attributes)
            for n, value in enumerate(values)
        ]
        return await self.build.make(text).run(batch, self.context)

    async def one(self, text: Mapping[str, Any], value: Any, **attributes: Any) -> Message:
        """The message that goes on; raises what failed it."""
        result = await self.run(text, value, **attributes)
        if result.failed:
            raise result.failed[0][1]
        (out,) = result.out
        return out

    def answers(self, answer: Any) -> None:
        self.shop.calls["call"].answer = lambda call: answer(call) if callable(answer) else answer


@pytest.fixture
def world() -> World:
    return World()


# --- filter, map, validate --------------------------------------------------------------------------------------------


async def test_a_filter_says_why(world: World) -> None:
    result = await world.run({"filter": "paid = true"}, {"paid": True}, {"paid": False})
    assert [m.value for m in result.out] == [{"paid": True}]
    assert result.dropped[0][1] == "not paid = true"
    result = await world.run({"filter": "paid", "reason": "nobody paid"}, {})
    assert result.dropped[0][1] == "nobody paid"


async def test_a_map_puts_its_value_in_place(world: World) -> None:
    out = await world.one({"map": '{"n": a}'}, {"a": 12345678901234567890})
    assert out.body == b'{"n":12345678901234567890}'
    assert out.content_type == "application/json"
    assert (await world.one({"map": "null"}, {})).body == b"null"
    text = await world.one({"map": "a", "format": "text"}, {"a": "hi"})
    assert (text.body, text.content_type) == (b"hi", "text/plain; charset=utf-8")


async def test_a_map_that_gives_nothing_fails_clearly(world: World) -> None:
    with pytest.raises(Rejected, match="gives nothing for this message: missing; use 'filter'"):
        await world.one({"map": "missing"}, {})


async def test_a_map_keeps_the_contract_it_names() -> None:
    world = World(contracts={"order@1": lambda value: "" if "id" in value else "id is missing"})
    text = {"map": "order", "contract": "order@1"}
    assert (await world.one(text, {"order": {"id": 1}})).value == {"id": 1}
    with pytest.raises(Rejected, match="id is missing"):
        await world.one(text, {"order": {"no": 1}})


async def test_a_contract_that_is_broken_fails() -> None:
    world = World(contracts={"order@1": lambda value: "" if "id" in value else "id is missing"})
    with pytest.raises(Rejected, match="id is missing"):
        await world.one({"validate": "order@1"}, {})
    kept = message({"id": 1}, id="m", ref=1)
    assert await world.one({"validate": "order@1"}, kept) is kept


# --- route, parallel --------------------------------------------------------------------------------------------------

CASES = [{"when": "n > 10", "steps": [{"map": '"many"'}]}, {"when": "n > 5", "steps": [{"map": '"some"'}]}]


async def test_the_first_case_that_matches_takes_a_message_and_order_is_kept(world: World) -> None:
    result = await world.run({"route": [*CASES, {"otherwise": [{"map": '"few"'}]}]}, *({"n": n} for n in (7, 1, 20, 8)))
    assert [m.value for m in result.out] == ["some", "few", "many", "some"]


async def test_a_message_that_no_case_takes(world: World) -> None:
    result = await world.run({"route": CASES}, {"n": 1})
    assert result.dropped[0][1] == "no case of the route matches"
    with pytest.raises(Rejected, match="no case of the route matches"):
        await world.one({"route": CASES, "unmatched": "fail"}, {"n": 1})
    assert (await world.one({"route": CASES, "unmatched": "pass"}, {"n": 1})).value == {"n": 1}


async def test_all_that_match_get_a_message_and_it_goes_on_as_it_came(world: World) -> None:
    cases = [
        {"when": "n > 1", "steps": [{"publish": "one"}]},
        {"when": "n > 2", "steps": [{"publish": "two"}]},
        {"otherwise": [{"publish": "rest"}]},
    ]
    result = await world.run({"route": cases, "match": "all"}, {"n": 2}, {"n": 3}, {"n": 0})
    assert [m.value["n"] for m in result.out] == [2, 3, 0]
    published = {topic: [m.value["n"] for m in sent] for topic, sent in world.context.journal.published.items()}
    assert published == {"one": [2, 3], "two": [3], "rest": [0]}
    cases[0]["steps"] = [{"map": "missing"}]
    result = await world.run({"route": cases, "match": "all"}, {"n": 3})
    assert len(result.failed) == 1 and not result.out


@pytest.mark.parametrize(
    "cases",
    [[{"otherwise": []}, {"when": "true", "steps": []}], [{"when": "true", "otherwise": []}], [{"steps": []}], []],
)
async def test_a_route_that_makes_no_sense_is_refused(world: World, cases: Any) -> None:
    with pytest.raises(ProjectError):
        world.build.make({"route": cases})


async def test_branches_run_at_the_same_time_and_variables_meet(world: World) -> None:
    started: set[str] = set()
    both = asyncio.Event()

    class Meeting:
        repeat, target = world.shop.calls["call"].repeat, "shop"

        def __init__(self, name: str) -> None:
            self.name = name

        async def call(self, call: Call) -> Reply:
            started.add(self.name)
            if len(started) == 2:
                both.set()
            await both.wait()
            return Reply(value=self.name)

    world.shop.calls |= {name: Meeting(name) for name in ("a", "b")}  # type: ignore[dict-item]
    branches = [{"call": "shop.a", "as": "first"}, [{"call": "shop.b", "as": "second"}, {"map": "99"}]]
    async with asyncio.timeout(10):
        out = await world.one({"parallel": branches}, {"n": 1}, variables={"old": 0})
    assert out.variables == {"old": 0, "first": "a", "second": "b"}
    assert out.value == {"n": 1}


@pytest.mark.parametrize(
    ("errors", "first"),
    [
        ((Retry("later"), Rejected("never")), Rejected),
        ((Rejected("never"), InDoubt("who knows")), InDoubt),
        ((Paused("away"), Throttled("slowly"), Retry("later")), Retry),
        ((Paused("away"), Dropping("out")), Paused),
    ],
)
async def test_the_gravest_failure_of_the_branches_counts(errors: tuple[Any, ...], first: type[MessageError]) -> None:
    def fails(n: int) -> Any:
        def function(value: Any) -> None:
            raise errors[n]

        return function

    world = World(functions={f"f:{n}": fails(n) for n in range(len(errors))})
    with pytest.raises(first):
        await world.one({"parallel": [{"python": f"f:{n}"} for n in range(len(errors))]}, {})


# --- split ------------------------------------------------------------------------------------------------------------


async def test_parts_know_where_they_come_from(world: World) -> None:
    text = {"split": "lines", "key": "sku", "as": "part"}
    whole = {"lines": [{"sku": 7, "q": 1}, {"sku": "b", "q": 2}]}
    result = await world.run(text, whole, variables={"order": 5}, headers={"h": "1"}, key="k")
    assert (result.out, result.failed, result.dropped) == ([], [], [])
    first, second = world.context.journal.parts["m-0"]
    assert (first.value, first.key, first.parent) == ({"sku": 7, "q": 1}, "7", "m-0")
    assert second.variables == {"order": 5, "part": {"index": 1, "count": 2}}
    assert second.headers == {"h": "1"}


@pytest.mark.parametrize(("value", "count"), [({}, 0), ({"lines": []}, 0), ({"lines": [1]}, 1), ({"lines": "x"}, 1)])
async def test_nothing_or_one_thing_is_split_too(world: World, value: Any, count: int) -> None:
    await world.run({"split": "lines"}, value)
    assert len(world.context.journal.parts["m-0"]) == count


# --- call, enrich, send, publish --------------------------------------------------------------------------------------


async def test_a_call_sends_what_it_is_told_and_remembers_the_answer(world: World) -> None:
    world.answers({"number": 42})
    out = await world.one({"call": "shop.call", "args": {"id": "id", "no": "missing"}, "body": "items", "as": "erp"},
                          {"id": 7, "items": [1, 2]})  # fmt: skip
    (call,) = world.shop.calls["call"].calls
    assert (call.args, call.message.body) == ({"id": 7}, b"[1,2]")
    assert out.variables == {"erp": {"number": 42}}
    assert out.value == {"id": 7, "items": [1, 2]}


async def test_an_answer_of_bytes_is_remembered_as_text_or_not_at_all(world: World) -> None:
    world.answers(Reply(b"OK 7"))
    assert (await world.one({"call": "shop.call", "as": "said"}, {})).variables == {"said": "OK 7"}
    world.answers(Reply(b"\xff\xfe\x00"))
    with pytest.raises(Rejected, match="3 bytes that are no text"):
        await world.one({"call": "shop.call", "as": "said"}, message({}, id="m-9"))


async def test_an_answer_enriches_the_body(world: World) -> None:
    world.answers({"tier": "gold"})
    out = await world.one({"enrich": "shop.call", "into": "customer.crm"}, {"customer": {"id": 1}})
    assert out.value == {"customer": {"id": 1, "crm": {"tier": "gold"}}}
    out = await world.one(
        {"enrich": "shop.call", "merge": '{"id": id, "tier": $vars.reply.tier}'}, message({"id": 1}, id="x")
    )
    assert (out.value, out.variables) == ({"id": 1, "tier": "gold"}, {})
    out = await world.one({"enrich": "shop.call", "into": "crm", "as": "kept"}, message({}, id="y"))
    assert (out.value, out.variables) == ({"crm": {"tier": "gold"}}, {"kept": {"tier": "gold"}})


async def test_an_answer_that_has_no_place_fails_clearly(world: World) -> None:
    with pytest.raises(Rejected, match="cannot go into 'crm': its place is in list"):
        await world.one({"enrich": "shop.call", "into": "crm"}, [1])
    for text in ({"enrich": "shop.call"}, {"enrich": "shop.call", "into": "a", "merge": "b"}):
        with pytest.raises(ProjectError, match="either 'into' a field, or 'merge'"):
            world.build.make(text)


async def test_a_batch_is_sent_at_once_and_each_has_its_outcome(world: World) -> None:
    sink = world.shop.writes["write"]
    sink.judge = lambda call: Retry("full") if call.args["path"] == "2" else None
    text = {"send": "shop.write", "args": {"path": "$string(n)"}, "body": "n * 10"}
    result = await world.run(text, {"n": 1}, {"n": 2}, {"n": "x"}, {"n": 3})
    (batch,) = sink.batches
    assert [(call.args["path"], call.message.body) for call in batch] == [("1", b"10"), ("2", b"20"), ("3", b"30")]
    assert [m.value["n"] for m in result.out] == [1, 3]
    assert {type(error) for _, error in result.failed} == {Retry, Rejected}


async def test_what_is_published_may_look_different(world: World) -> None:
    out = await world.one({"publish": "orders", "body": "id", "headers": {"X-Kind": '"order"'}}, {"id": 7})
    (sent,) = world.context.journal.published["orders"]
    assert (sent.body, sent.headers, out.value, out.headers) == (b"7", {"x-kind": "order"}, {"id": 7}, {})


# --- wire tap, throttle, headers, variables, log, respond -------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [Rejected("no"), Retry("later"), Paused("away"), InDoubt("perhaps"), ValueError("bug")]
)
async def test_a_tap_never_fails_the_message(world: World, error: Exception) -> None:
    world.answers(error)
    came = message({"n": 1}, id="m", ref=1)
    assert await world.one({"wire_tap": {"steps": [{"call": "shop.call"}]}}, came) is came
    assert world.context.logged.events() == ["wire_tap_failed"]


async def test_a_tap_may_be_a_topic(world: World) -> None:
    await world.one({"wire_tap": "seen"}, {"n": 1})
    assert [m.value for m in world.context.journal.published["seen"]] == [{"n": 1}]
    with pytest.raises(ProjectError, match="either a 'topic', or 'steps'"):
        world.build.make({"wire_tap": {"topic": "a", "steps": []}})


async def test_a_throttle_spaces_messages_out(world: World) -> None:
    await world.run({"throttle": "4/s"}, {}, {}, {})
    assert world.context.journal.pauses == [("m-1", 0.25), ("m-2", 0.5)]


async def test_a_throttle_by_key_and_the_time_that_passes(world: World) -> None:
    step = world.build.make({"throttle": "4/s", "key": "k"})
    for n, key in enumerate("aba"):
        await step.run([message({"k": key}, id=f"{key}{n}", ref=n)], world.context)
    assert world.context.journal.pauses == [("a2", 0.25)]
    world.context.clock.advance(1.0)  # type: ignore[attr-defined]
    await step.run([message({"k": "a"}, id="later")], world.context)
    assert len(world.context.journal.pauses) == 1


async def test_a_throttle_forgets_keys_whose_turn_is_past(world: World) -> None:
    step: Any = world.build.make({"throttle": "1000/s", "key": "k"})
    for n in range(10_050):
        world.context.clock.advance(0.01)  # type: ignore[attr-defined]
        await step.run([message({"k": n})], world.context)
    assert len(step._next) < 100


async def test_headers_are_set_and_removed(world: World) -> None:
    text = {"set_headers": {"X-Id": "id", "X-None": "missing", "X-Yes": "true"}, "remove": ["Secret"]}
    out = await world.one(text, {"id": 7}, headers={"secret": "s", "kept": "k", "x-none": "old"})
    assert out.headers == {"kept": "k", "x-none": "old", "x-id": "7", "x-yes": "true"}


@pytest.mark.parametrize("value", ["a\r\nset-cookie: x", "a\0", ["x"], {"a": 1}, None])
async def test_what_is_no_header_is_refused(world: World, value: Any) -> None:
    with pytest.raises(Rejected, match="the header X-Bad must be"):
        await world.one({"set_headers": {"X-Bad": "bad"}}, {"bad": value})


async def test_variables_are_set_together(world: World) -> None:
    out = await world.one(
        {"set": {"a": "$vars.b", "b": "$vars.a", "c": "missing"}}, {}, variables={"a": 1, "b": 2, "c": 3}
    )
    assert out.variables == {"a": 2, "b": 1, "c": 3}


async def test_a_log_line_has_the_fields_it_was_given(world: World) -> None:
    await world.one({"log": "priced", "level": "warning", "fields": {"total": "t", "event": "1"}}, {"t": 5})
    assert world.context.logged.lines == [("warning", "priced", {"step": "log", "message_id": "m-0", "total": 5})]


async def test_the_caller_gets_an_answer_of_its_own(world: World) -> None:
    out = await world.one({"respond": '{"id": id}', "status": 201, "headers": {"Location": '"/" & id'}},
                          {"id": "7"}, headers={"private": "x"})  # fmt: skip
    reply, status = world.context.journal.replies["m-0"]
    assert (reply.body, reply.headers, status) == (b'{"id":"7"}', {"Location": "/7"}, 201)
    assert (out.value, out.headers) == ({"id": "7"}, {"private": "x"})


# --- try, sub-flow ----------------------------------------------------------------------------------------------------

TRY = {"try": [{"map": '{"changed": true}'}, {"call": "shop.call"}], "catch": [{"set": {"why": "$vars.error"}}]}


async def test_a_permanent_failure_is_caught_at_once(world: World) -> None:
    world.answers(Rejected("no such customer", code="not_found"))
    out = await world.one(TRY, {"n": 1})
    assert out.value == {"n": 1}
    assert out.variables["why"] == {"code": "not_found", "message": "no such customer", "step": "call"}


@pytest.mark.parametrize("error", [Retry("later"), Throttled("slowly")])
async def test_a_transient_failure_is_caught_only_at_the_last_attempt(world: World, error: Exception) -> None:
    world.answers(error)
    with pytest.raises(type(error)):
        await world.one(TRY, {})
    world.context.last = True
    assert (await world.one(TRY, {})).variables["why"]["message"] == str(error)


@pytest.mark.parametrize("error", [Paused("away"), InDoubt("perhaps")])
@pytest.mark.parametrize("last", [False, True])
async def test_a_pause_and_a_doubt_are_never_caught(world: World, error: Exception, last: bool) -> None:
    world.answers(error)
    world.context.last = last
    with pytest.raises(type(error)):
        await world.one(TRY, {})


async def test_what_a_rule_ends_inside_has_ended(world: World) -> None:
    result = await world.run({"try": [{"filter": "false"}], "catch": []}, {})
    assert len(result.dropped) == 1


async def test_a_failure_in_the_handler_fails_the_message(world: World) -> None:
    with pytest.raises(Rejected, match="gives nothing"):
        await world.one({"try": [{"map": "missing"}], "catch": [{"map": "missing"}]}, {})


async def test_a_sub_flow_twice_makes_its_effects_twice(world: World) -> None:
    world.build.flows = {"tell": [{"call": "shop.call"}]}
    for name in ("first", "second"):
        await world.one({"sub_flow": "tell", "id": name}, {})
    assert world.context.journal.attempted == ["m-0/first/call", "m-0/second/call"]
