"""Scatter-gather and loop: what goes on, what fails, and what is the same when it is computed again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.sdk import InDoubt, Message, Paused, ProjectError, Rejected, Repeat, Reply, Result, Retry
from dovetail.testkit.fakes import FakeConnection, FakeOperation
from dovetail.testkit.steps import FakeBuild, FakeContext, message

CATALOG = Catalog.builtin()
WORDS = {name: CATALOG.step(name) for name in CATALOG.names("step")}


class World:
    """Carriers that are asked for quotes; `says` is what one answers, fails with (an error) or waits for (an event)."""

    def __init__(self) -> None:
        self.carriers = FakeConnection("carriers")
        self.says: dict[str, Any] = {}
        for name in ("dhl", "ups", "gls"):
            self.carriers.calls[name] = self._operation(name)
        self.build = FakeBuild(words=WORDS, connections={"carriers": self.carriers})
        self.context = FakeContext()

    def _operation(self, name: str) -> FakeOperation:
        class Asked(FakeOperation):
            async def call(asked, call: Any) -> Reply:
                asked.calls.append(call)
                said = self.says.get(name, {"price": len(name)})
                if isinstance(said, asyncio.Event):
                    await said.wait()
                if isinstance(said, BaseException):
                    raise said
                return Reply(value=said(call) if callable(said) else said)

        return Asked(f"carriers.{name}", Repeat.IDEMPOTENT)

    async def run(self, text: Mapping[str, Any], value: Any, **attributes: Any) -> Result:
        return await self.build.make(text).run([message(value, **attributes)], self.context)

    async def one(self, text: Mapping[str, Any], value: Any, **attributes: Any) -> Message:
        result = await self.run(text, value, **attributes)
        if result.failed:
            raise result.failed[0][1]
        (out,) = result.out
        return out

    def asked(self) -> list[str]:
        """Who was called, how often."""
        return [name for name in ("dhl", "ups", "gls") for _ in self.carriers.calls[name].calls]


@pytest.fixture
def world() -> World:
    return World()


def quotes(*names: str, **more: Any) -> dict[str, Any]:
    branches = {
        name: {"steps": [{"call": f"carriers.{name}", "as": "quote"}], "result": "$vars.quote", **more.pop(name, {})}
        for name in names
    }
    return {"scatter_gather": branches, "as": "quotes", **more}


# --- scatter-gather ---------------------------------------------------------------------------------------------------


async def test_answers_are_gathered_by_name_and_the_message_goes_on_as_it_came(world: World) -> None:
    out = await world.one(quotes("dhl", "ups"), {"n": 1}, variables={"old": 1})
    assert out.value == {"n": 1}
    gathered = {"answers": {"dhl": {"price": 3}, "ups": {"price": 3}}, "errors": {}}
    assert out.variables == {"old": 1, "quotes": gathered}


async def test_a_mapping_makes_the_body_of_the_answers(world: World) -> None:
    world.says = {"dhl": {"price": 7}, "ups": {"price": 5}}
    text = quotes("dhl", "ups", merge='{"n": n, "best": $min($vars.quotes.answers.*.price)}')
    assert (await world.one(text, {"n": 1})).value == {"n": 1, "best": 5}


ERRORS = [Rejected("no"), Retry("later"), Paused("away"), InDoubt("cut off")]


@pytest.mark.parametrize("error", ERRORS)
async def test_a_branch_fails_the_message_unless_it_may_be_left_out(world: World, error: Exception) -> None:
    world.says["ups"] = error
    with pytest.raises(type(error)) as failed:
        await world.one(quotes("dhl", "ups"), {"n": 1})
    told = {"code": error.code, "message": str(error), "step": "call"}  # type: ignore[attr-defined]
    assert failed.value.detail == {"branches": {"ups": told}}  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", ERRORS)
async def test_what_a_branch_that_may_be_left_out_failed_with_is_told(world: World, error: Exception) -> None:
    world.says["ups"] = error
    told = {"code": error.code, "message": str(error), "step": "call"}  # type: ignore[attr-defined]
    for text in (quotes("dhl", "ups", ups={"on_failure": "skip"}), quotes("dhl", "ups", need=1)):
        world.context = FakeContext()
        gathered = (await world.one(text, {"n": 1})).variables["quotes"]
        assert gathered == {"answers": {"dhl": {"price": 3}}, "errors": {"ups": told}}
    world.context = FakeContext()
    gathered = (await world.one(quotes("dhl", "ups", ups={"default": '{"n": n}'}), {"n": 1})).variables["quotes"]
    assert gathered == {"answers": {"dhl": {"price": 3}, "ups": {"n": 1}}, "errors": {"ups": told}}


async def test_a_doubt_that_a_person_must_resolve_is_never_left_out(world: World) -> None:
    error = InDoubt("cut off")
    error.park = True
    world.says["ups"] = error
    with pytest.raises(InDoubt):
        await world.one(quotes("dhl", "ups", ups={"default": "0"}), {"n": 1})


@pytest.mark.parametrize(
    ("says", "need", "raised"),
    [
        ({"dhl": Rejected("no")}, 2, None),
        ({"dhl": Rejected("no")}, 3, Rejected),
        ({"dhl": Rejected("no"), "ups": Retry("later")}, 1, None),
        ({"dhl": Rejected("no"), "ups": Retry("later")}, 2, Rejected),
        ({"dhl": Paused("away"), "ups": Retry("later")}, 2, Retry),
        ({"dhl": Paused("away"), "ups": Retry("later"), "gls": Rejected("no")}, 0, None),
    ],
)
async def test_so_many_must_answer(world: World, says: Any, need: int, raised: Any) -> None:
    world.says = says
    text = quotes("dhl", "ups", "gls", need=need)
    if raised is None:
        gathered = (await world.one(text, {"n": 1})).variables["quotes"]
        assert gathered["errors"].keys() == says.keys() and len(gathered["answers"]) == 3 - len(says)
    else:
        with pytest.raises(raised) as failed:
            await world.one(text, {"n": 1})
        assert failed.value.detail["branches"].keys() == says.keys()
        assert world.context.journal.memory.decided == {}


async def test_who_takes_too_long_is_left_out(world: World) -> None:
    world.says["ups"] = asyncio.Event()
    text = quotes("dhl", "ups", ups={"timeout": "50ms", "on_failure": "skip"})
    gathered = (await world.one(text, {"n": 1})).variables["quotes"]
    why = {"code": "timeout", "message": "branch ups gave no answer within 0.05 s", "step": ""}
    assert gathered == {"answers": {"dhl": {"price": 3}}, "errors": {"ups": why}}
    with pytest.raises(Retry, match=r"gave no answer within 0\.05 s"):
        await world.one(quotes("ups", ups={"timeout": "50ms"}), {"n": 1}, id="m-2")


async def test_what_was_decided_stays_so(world: World) -> None:
    """A later attempt does not ask again those that were left out, and those that answered must not fail now."""
    text = quotes("dhl", "ups", need=1)
    world.says["ups"] = Retry("later")
    first = (await world.one(text, {"n": 1})).variables
    del world.says["ups"]
    assert (await world.one(text, {"n": 1})).variables == first
    assert world.asked() == ["dhl", "ups"]
    world.context.journal.effects.clear()
    world.says["dhl"] = Retry("later")
    with pytest.raises(Retry):
        await world.one(text, {"n": 1})


async def test_a_branch_may_not_be_concerned(world: World) -> None:
    text = quotes("dhl", "ups", "gls", ups={"when": "n > 1"}, need=1)
    text["scatter_gather"]["gls"]["steps"] = [{"filter": "n > 1"}]
    gathered = (await world.one(text, {"n": 1})).variables["quotes"]
    assert gathered == {"answers": {"dhl": {"price": 3}}, "errors": {}} and world.asked() == ["dhl"]
    text["need"] = 2
    with pytest.raises(Rejected, match="1 branches answered, and 2 are needed"):
        await world.one(text, {"n": 1}, id="m-2")


@pytest.mark.parametrize(
    "text",
    [
        {"scatter_gather": {}},
        {"scatter_gather": {"a": []}, "need": 2},
        {"scatter_gather": {"a": {"steps": [], "default": "1", "on_failure": "fail"}}},
    ],
)
async def test_a_gathering_that_makes_no_sense_is_refused(world: World, text: Any) -> None:
    with pytest.raises(ProjectError):
        world.build.make(text)


# --- loop -------------------------------------------------------------------------------------------------------------

EACH = {"over": "lines", "as": "line", "index": "n", "collect": "got", "result": "$vars.answer",
        "steps": [{"call": "carriers.dhl", "body": '{"line": $vars.line, "n": $vars.n}', "as": "answer"}]}  # fmt: skip


async def test_each_item_in_order_and_what_came_of_it(world: World) -> None:
    world.says["dhl"] = lambda call: call.message.value
    out = await world.one({"loop": EACH}, {"lines": ["a", "b"]}, variables={"line": "kept", "n": 9, "got": 0})
    got = [{"line": "a", "n": 0}, {"line": "b", "n": 1}]
    assert out.variables == {"line": "kept", "n": 9, "got": got, "answer": got[1]}
    assert out.value == {"lines": ["a", "b"]}
    assert world.context.journal.attempted == ["m-1/loop/0/call", "m-1/loop/1/call"]


@pytest.mark.parametrize(("lines", "count"), [([], 0), (None, 0), ("one", 1)])
async def test_a_list_of_none_or_one(world: World, lines: Any, count: int) -> None:
    out = await world.one({"loop": EACH}, {"lines": lines})
    assert len(out.variables["got"]) == count and "line" not in out.variables


async def test_the_body_goes_along_and_decides_whether_there_is_another_round(world: World) -> None:
    pages = {"a": ["b", [1, 2]], "b": ["c", [3]], "c": [None, [4]]}
    world.says["dhl"] = lambda call: pages[call.message.value]
    text = {"loop": {"while": "$boolean(next)", "steps": [
        {"call": "carriers.dhl", "body": "next", "as": "page"},
        {"map": '{"next": $vars.page[0], "rows": $append(rows, $vars.page[1])}'},
    ]}}  # fmt: skip
    assert (await world.one(text, {"next": "a", "rows": []})).value == {"next": None, "rows": [1, 2, 3, 4]}


async def test_no_more_rounds_than_it_may(world: World) -> None:
    text = {"loop": {"while": "true", "max": 3, "steps": [{"call": "carriers.dhl"}]}}
    with pytest.raises(Rejected, match="still holds after 3 rounds"):
        await world.one(text, {})
    assert world.asked() == ["dhl"] * 3
    with pytest.raises(Rejected, match="has 3 items, and the loop ends after 2 rounds"):
        await world.one({"loop": {**EACH, "max": 2}}, {"lines": [1, 2, 3]}, id="m-2")
    assert world.asked() == ["dhl"] * 3, "it is too long before anything is done"


async def test_a_filter_ends_its_round_and_a_failure_the_message(world: World) -> None:
    steps = [{"filter": "$vars.line != 2"}, *EACH["steps"]]
    out = await world.one({"loop": {**EACH, "steps": steps, "result": "$vars.line"}}, {"lines": [1, 2, 3]})
    assert out.variables["got"] == [1, 3]
    world.says["dhl"] = Retry("busy")
    with pytest.raises(Retry):
        await world.one({"loop": EACH}, {"lines": [1, 2]}, id="m-2")


@pytest.mark.parametrize(
    "text",
    [
        {"steps": []},
        {"over": "a", "while": "b", "steps": []},
        {"while": "b", "as": "x", "steps": []},
        {"over": "a", "result": "x", "steps": []},
        {"over": "a", "max": 0, "steps": []},
    ],
)
async def test_a_loop_that_makes_no_sense_is_refused(world: World, text: Any) -> None:
    with pytest.raises(ProjectError):
        world.build.make({"loop": text})


# --- compensate -------------------------------------------------------------------------------------------------------


async def test_a_compensation_sees_the_message_and_the_reply_if_there_is_one(world: World) -> None:
    compensate = {"operation": "carriers.ups", "args": {"id": "$vars.reply.price", "n": "n"}, "body": "$vars.old"}
    text = {"call": "carriers.dhl", "body": "n", "compensate": {**compensate, "timeout": "5s"}}
    await world.one(text, {"n": 1}, variables={"old": 2})
    (saga,) = world.context.journal.sagas.values()
    assert (saga.compensation, saga.timeout, saga.pivot) == ("carriers.ups", 5.0, False)
    assert saga.request is not None
    for reply, args in ((Reply(value={"price": 3}), {"id": 3, "n": 1}), (None, {"n": 1})):
        asked, given = saga.request(reply)
        assert (asked.body, given) == (b"2", args)


async def test_a_pivot_has_no_compensation(world: World) -> None:
    with pytest.raises(ProjectError, match="after a pivot nothing is undone"):
        world.build.make({"call": "carriers.dhl", "pivot": True, "compensate": "carriers.ups"})
    await world.one({"send": "carriers.write", "pivot": True}, {})
    (saga,) = world.context.journal.sagas.values()
    assert saga.pivot and not saga.compensation
