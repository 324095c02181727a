"""Another application in the place of the one that runs: what was replaced lives as long as somebody needs it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.control.answers import Search
from dovetail.control.desk import Control
from dovetail.control.live import Live
from dovetail.engine.definition import Application
from dovetail.errors import ProjectError, Retry
from dovetail.sdk import Message
from dovetail.store.base import State
from dovetail.testkit.steps import FakeBuild

CATALOG = Catalog.builtin()
WORDS = {name: CATALOG.step(name) for name in CATALOG.names("step")}


class Link:
    """A connection that says whether it is open."""

    def __init__(self, fails: bool = False) -> None:
        self.opened, self.fails, self.config = False, fails, SimpleNamespace()

    async def open(self, context: Any) -> None:
        self.opened = True

    async def close(self) -> None:
        self.opened = False
        if self.fails:
            raise OSError("gone already")


async def deploy(rig: Any) -> None:
    await rig.engine.deploy(Application(list(rig.flows.values()), rig.connections, rig.rates))
    for flow in rig.flows.values():
        if flow.source.topic is None:
            await flow.source.ran.wait()


async def test_a_flow_of_a_topic_leaves_and_others_are_deployed_after_it(rig: Any) -> None:
    """What has left once does not stand in the way of any later deployment."""
    ran: list[tuple[int, Any]] = []

    def flow(number: int) -> None:
        rig.flow("f", rig.Apply("a", lambda m: ran.append((number, m.value))), number=number)

    flow(1)
    rig.flow("reads", rig.Apply("b", lambda m: None), topic="t")
    await rig.start()
    del rig.flows["reads"]
    for number in (2, 3):
        flow(number)
        await deploy(rig)
        await rig.put("f", "x")
    await rig.ended("f", 2)
    assert ran == [(2, "x"), (3, "x")]
    rig.flow("reads", rig.Apply("b", lambda m: None), topic="t")
    with pytest.raises(ProjectError, match="it left the project while the server ran: it comes back with a restart"):
        await deploy(rig)


async def test_what_a_flow_of_a_topic_has_left_to_do_stays_in_sight(rig: Any) -> None:
    hang, tried = asyncio.Event(), list[Any]()

    async def act(message: Message, context: Any) -> None:
        tried.append(message.value)
        if message.value == "wait" and tried.count("wait") == 1:
            raise Retry("later", after=60.0)
        if message.value == "hang":
            await hang.wait()

    rig.flow("f", rig.publish("p", "t"))
    rig.flow("reads", rig.Act("a", act), topic="t", from_start=True)
    engine = await rig.start()
    control = Control(rig.store, rig.clock, Live(engine), project="p", path="store.db")

    def pending() -> dict[str, int]:
        return {flow.flow: flow.pending for flow in control.status().flows}

    await rig.put("f", "wait", "hang")
    await rig.until(lambda: len(tried) == 2)
    del rig.flows["reads"]
    await deploy(rig)
    await rig.put("f", "new")
    await rig.ended("f", 3)
    await rig.flushed()
    assert pending() == {"f": 0, "reads": 2}
    page = await control.messages(Search(flow="reads"))
    assert sorted(line.state for line in page.messages) == ["running", "waiting"]
    hang.set()
    await rig.until(lambda: pending() == {"f": 0})
    assert tried == ["wait", "hang", "wait"]


async def test_a_flow_that_leaves_finishes_what_it_has_on_its_own_connections(rig: Any) -> None:
    link, tries = Link(), list[bool]()

    async def act(message: Message, context: Any) -> None:
        tries.append(link.opened)
        if len(tries) == 1:
            raise Retry("later", after=60.0)

    rig.flow("stays", rig.Apply("b", lambda m: None))
    rig.flow("f", rig.Act("a", act))
    rig.connections = {"erp": link}
    await rig.start()
    await rig.put("f", 1)
    await rig.until(lambda: rig.states("f")["waiting"] == 1)
    del rig.flows["f"]
    rig.connections = {}
    await deploy(rig)
    await rig.until(lambda: rig.states("f") == {"done": 1})
    assert tries == [True, True], "the second attempt found its connection open"
    await rig.until(lambda: not link.opened, 120.0)


async def test_a_connection_that_does_not_close_stops_nobody(rig: Any) -> None:
    bad, good = Link(fails=True), Link()
    rig.flow("f", rig.Apply("a", lambda m: None))
    rig.connections = {"bad": bad, "good": good}
    await rig.start()
    rig.connections = {}
    await deploy(rig)
    await rig.until(lambda: not rig.engine.retired and not good.opened)
    await rig.put("f", 1)
    await rig.ended("f", 1)
    assert rig.engine.failure is None


async def test_a_flow_that_comes_back_remembers_when_its_groups_are_complete(rig: Any) -> None:
    def flow() -> None:
        rig.flow("f", FakeBuild(words=WORDS, flow="f").make({"aggregate": "k", "within": "1h"}))

    flow()
    rig.flow("other", rig.Apply("b", lambda m: None))
    await rig.start()
    await rig.put("f", {"k": 1})
    await rig.ended("f", 1)
    left = rig.flows.pop("f")
    await rig.restart()
    rig.flows["f"] = left
    await deploy(rig)
    await rig.until(lambda: rig.states("f") == {"done": 2}, 4000.0)


async def test_what_a_source_remembers_is_on_disk_before_its_successor_opens(rig: Any) -> None:
    """Otherwise it would bring again what the first one brought."""
    seen: list[Any] = []

    class Counting(type(_inlet(rig))):  # type: ignore[misc]
        async def open(self, context: Any) -> None:
            self.context = context
            seen.append(context.marked("at"))
            await super().open(context)

        async def close(self) -> None:
            if self.ran.is_set():
                self.context.mark("at", 7)
            await super().close()

    rig.disk_takes = lambda: 0.1
    rig.flow("f", rig.Apply("a", lambda m: None), source=Counting())
    await rig.start()
    rig.flow("f", rig.Apply("a", lambda m: None), source=Counting())
    await deploy(rig)
    assert seen == [None, 7]


def _inlet(rig: Any) -> Any:
    rig.flow("made", rig.Apply("a", lambda m: None))
    return rig.flows.pop("made").source


async def test_a_message_that_was_moved_stays_where_it_went(rig: Any) -> None:
    """It began on the other version, so its further attempts are made there, too."""
    ran: list[int] = []
    gate = asyncio.Event()

    def flow(number: int, **more: Any) -> None:
        async def act(message: Message, context: Any) -> None:
            if number == 1:
                await gate.wait()
            ran.append(number)
            if ran.count(2) == 1 and number == 2:
                raise Retry("later", after=60.0)

        rig.flow("f", rig.Act("a", act), number=number, concurrency=1)

    flow(1)
    await rig.start()
    await rig.put("f", *range(1))
    await rig.until(lambda: rig.engine.flows["f"].running == 1)
    [second] = await rig.put("f", "second")
    await rig.crash()
    gate.set()
    flow(2)
    definition = rig.flows["f"]
    rig.flows["f"] = type(definition)(
        definition.name, definition.current, definition.source, definition.load, moved={1: 2}
    )
    await rig.start()
    await rig.until(lambda: rig.states("f") == {"done": 2})
    assert set(ran) == {2}, "no attempt was made on the version it had left"
    assert rig.memo("f", second).version == 2
    assert rig.state("f", second) is State.DONE


async def test_a_group_whose_version_is_gone_is_not_forgotten(rig: Any) -> None:
    """Its members are done: nothing else knows of them."""
    made = FakeBuild(words=WORDS, flow="f").make({"aggregate": "k", "within": "1m"})
    rig.flow("f", made)
    await rig.start()
    await rig.put("f", {"k": 1})
    await rig.ended("f", 1)
    await rig.crash()
    kept = rig.older["f"].pop(1)
    rig.flow("f", rig.Apply("b", lambda m: None), number=2)
    await rig.start()
    await rig.until(lambda: any(event == "due_failed" for event, _ in rig.log.events))
    rig.older["f"][1] = kept
    await rig.until(lambda: rig.states("f") == {"done": 2}, 100.0)


async def test_what_cannot_be_closed_does_not_keep_the_store_open(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    rig.connections = {"bad": Link(fails=True)}
    await rig.start()
    await rig.engine.stop()
    assert ("close_failed", {"error": "OSError('gone already')"}) in rig.log.events
    rig.connections = {}
    await rig.start()
    await rig.put("f", 1)
    await rig.ended("f", 1)


async def test_a_deployment_leaves_nothing_running(rig: Any) -> None:
    rig.flow("f", rig.Apply("a", lambda m: None))
    engine = await rig.start()
    running = len(engine._services)
    for number in (2, 3, 4):
        rig.flow("f", rig.Apply("a", lambda m: None), number=number)
        await deploy(rig)
    await rig.until(lambda: not engine.retired and len(engine._services) == running, 100.0)


async def test_what_waits_behind_its_key_as_its_flow_leaves_has_its_turn(rig: Any) -> None:
    hang, ran = asyncio.Event(), list[int]()

    async def act(message: Message, context: Any) -> None:
        ran.append(message.value)
        await hang.wait()

    rig.flow("f", rig.publish("p", "t"))
    rig.flow("reads", rig.Act("a", act), topic="t", from_start=True, key=lambda message: "k")
    engine = await rig.start()
    await rig.put("f", 1, 2, 3)
    await rig.until(lambda: len(engine.flows["reads"].active) == 3 and ran)
    del rig.flows["reads"]
    await deploy(rig)
    await rig.flushed()
    assert rig.states("reads") == {"running": 1, "held": 2}
    hang.set()
    await rig.until(lambda: rig.states("reads") == {"done": 3})
    assert ran == [1, 2, 3]
    await rig.quiet("reads")
