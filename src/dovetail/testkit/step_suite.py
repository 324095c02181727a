"""The exam that every step sits.

A check is an async function of one `StepCase`. `CHECKS` lists them by name. To run the exam, parametrize a test over
them::

    CASE = StepCase({"shout": "name"}, build, [message({"name": "ada"}, id="m-1", ref=1)])

    @pytest.mark.parametrize("name", CHECKS)
    async def test_shout(name):
        await CHECKS[name](CASE)
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dovetail.sdk import Chain, Context, Message, MessageError, Rejected, Result, Step
from dovetail.testkit.steps import FakeBuild, FakeContext, Journal


@dataclass
class StepCase:
    """A step as a flow's text has it, what it is built with, and messages that it deals with in its various ways.

    `build` makes a new world each time it is called: fakes must not remember what an earlier run did. `reads_body`: a
    message whose body cannot be read fails in it. `catches`: it deals with the failures of what it calls itself, by
    design. `remembers`: what becomes of a message depends on those before it.
    """

    text: Mapping[str, Any]
    build: Callable[[], FakeBuild]
    messages: Sequence[Message]
    reads_body: bool = True
    catches: bool = False
    remembers: bool = False

    def make(self) -> Step:
        """The step, newly built."""
        return self.build().make(self.text)


Check = Callable[[StepCase], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def looks(message: Message) -> tuple[Any, ...]:
    """Everything that can be seen of a message."""
    return (
        message.id, message.ref, message.body, message.codec.name, message.content_type, dict(message.headers),
        copy.deepcopy(message.variables), message.key, message.parent, message.source, message.type, message.time_ms,
    )  # fmt: skip


def told(result: Result, journal: Journal) -> dict[int, tuple[Any, ...]]:
    """What became of each message, by its number."""
    fate: dict[int, tuple[Any, ...]] = {message.ref: ("out", looks(message)) for message in result.out}
    fate |= {message.ref: ("failed", type(error).__name__, str(error)) for message, error in result.failed}
    fate |= {message.ref: ("dropped", reason) for message, reason in result.dropped}
    fate |= {int(id.rpartition("-")[2]): ("absorbed", reason) for id, reason in journal.memory.absorbed.items()}
    return fate


async def run(case: StepCase, messages: Sequence[Message], journal: Journal | None = None) -> tuple[Result, Journal]:
    context = FakeContext(journal)
    result = await case.make().run(list(messages), context)
    return result, context.journal


@check
async def every_message_is_accounted_for(case: StepCase) -> None:
    result, journal = await run(case, case.messages)
    ended = [message.ref for message in result.out]
    ended += [message.ref for message, _ in result.failed] + [message.ref for message, _ in result.dropped]
    ended += [message.ref for message in case.messages if message.id in journal.parts]
    ended += [message.ref for message in case.messages if message.id in journal.memory.absorbed]
    assert sorted(ended) == sorted(message.ref for message in case.messages), "a message was lost, or came out twice"


@check
async def a_message_does_not_depend_on_its_neighbours(case: StepCase) -> None:
    if case.remembers:
        return
    together, journal = await run(case, case.messages)
    alone: dict[int, tuple[Any, ...]] = {}
    for message in case.messages:
        result, own = await run(case, [message])
        alone |= told(result, own)
    assert told(together, journal) == alone


@check
async def messages_that_go_on_keep_their_order(case: StepCase) -> None:
    result, _ = await run(case, case.messages)
    places = [message.ref for message in case.messages]
    assert [message.ref for message in result.out] == sorted((m.ref for m in result.out), key=places.index)


@check
async def what_comes_in_is_not_changed(case: StepCase) -> None:
    before = [looks(message) for message in case.messages]
    values = [copy.deepcopy(message.value) for message in case.messages]
    await run(case, case.messages)
    assert [looks(message) for message in case.messages] == before
    assert [message.value for message in case.messages] == values


@check
async def a_repeat_gives_the_same(case: StepCase) -> None:
    first, journal = await run(case, case.messages)
    again, other = await run(case, case.messages)
    assert told(first, journal) == told(again, other)
    assert journal.attempted == other.attempted, "the names of its effects are not stable"


@check
async def an_effect_on_record_is_not_made_again(case: StepCase) -> None:
    first, journal = await run(case, case.messages)
    before = list(journal.attempted)
    undone = {key for key in before if key not in journal.effects and key not in journal.written}
    emitted = len(journal.memory.emitted)
    again, _ = await run(case, case.messages, journal)
    assert len(journal.memory.emitted) == emitted, "a message that was counted is counted again"
    assert set(journal.attempted[len(before) :]) <= undone
    assert told(first, journal) == told(again, journal)


@check
async def an_empty_batch_is_no_work(case: StepCase) -> None:
    result, journal = await run(case, [])
    assert (result.out, result.failed, result.dropped, journal.attempted) == ([], [], [], [])


@check
async def a_body_nobody_can_read_fails_alone(case: StepCase) -> None:
    broken = Message(b"{", codec=case.messages[0].codec, id="broken", ref=10_000)
    result, journal = await run(case, [broken, *case.messages])
    expected, own = await run(case, case.messages)
    fate = told(result, journal)
    found = fate.pop(broken.ref)
    assert fate == told(expected, own), "a message that cannot be read took its neighbours along"
    if case.reads_body:
        assert found[0] == "failed" and isinstance(result.failed[0][1], MessageError), found


@check
async def failures_of_the_outside_fail_the_message(case: StepCase) -> None:
    failing = Rejected("the outside says no", code="no")
    build = case.build()
    step = build.make(case.text)
    context = _FailingContext(failing)
    result = await step.run(list(case.messages), context)
    if not context.asked:
        return
    errors = [error for _, error in result.failed]
    assert (failing in errors) is not case.catches
    assert len(result.out) + len(result.failed) + len(result.dropped) == len(case.messages)


@check
async def it_opens_and_closes_more_than_once(case: StepCase) -> None:
    step = case.make()
    await step.close()
    await step.open()
    await step.open()
    await step.run(list(case.messages), FakeContext())
    await step.close()
    await step.close()


@check
async def what_is_nested_opens_and_closes_with_it(case: StepCase) -> None:
    build, opened = case.build(), []
    real = build.chain

    def chain(steps: Sequence[Any], label: str) -> Chain:
        made = real(steps, label)
        opened.append(Watched(made))
        return opened[-1]

    build.chain = chain  # type: ignore[method-assign]
    step = build.make(case.text)
    await step.open()
    assert all(each.state == "open" for each in opened), "its chains are not in `chains`"
    await step.close()
    assert all(each.state == "closed" for each in opened)


@check
async def cancelling_is_never_swallowed(case: StepCase) -> None:
    step, context = case.make(), _HangingContext()
    task = asyncio.ensure_future(step.run(list(case.messages), context))
    waiting = asyncio.ensure_future(context.hangs.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        task.cancel()
        await _rounds(task)
        cancelled = task.cancelled()
        while not task.done():
            task.cancel()
            await _rounds(task)
        assert cancelled, "it swallowed a cancellation"


@check
async def it_says_what_it_is(case: StepCase) -> None:
    kind = type(case.make())
    assert (kind.__doc__ or "").strip(), "the class needs a docstring: it is the reference page"
    for declared in kind.Config.fields():
        assert declared.help.strip().endswith("."), f"{declared.name}: its help is a sentence"


async def _rounds(task: asyncio.Task[Any]) -> None:
    """Let others run for a while, or until the task is done."""
    for _ in range(100):
        if task.done():
            return
        await asyncio.sleep(0)


class Watched:
    """A chain that knows whether it is open."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.effectful, self.state = chain, chain.effectful, "new"

    async def open(self) -> None:
        await self.chain.open()
        self.state = "open"

    async def close(self) -> None:
        await self.chain.close()
        self.state = "closed"

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        return await self.chain.run(batch, context)


class _FailingContext(FakeContext):
    """Every effect fails."""

    def __init__(self, error: MessageError, asked: list[str] | None = None) -> None:
        super().__init__()
        self.error = error
        self.asked: list[str] = [] if asked is None else asked

    def branch(self, label: str) -> _FailingContext:
        return _FailingContext(self.error, self.asked)

    async def call(self, step: str, *rest: Any, **more: Any) -> Any:
        self.asked.append(step)
        raise self.error

    async def write(self, step: str, *rest: Any, **more: Any) -> Any:
        self.asked.append(step)
        raise self.error


class _HangingContext(FakeContext):
    """Every effect hangs."""

    def __init__(self, hangs: asyncio.Event | None = None) -> None:
        super().__init__()
        self.hangs = hangs or asyncio.Event()

    def branch(self, label: str) -> _HangingContext:
        return _HangingContext(self.hangs)

    async def call(self, step: str, *rest: Any, **more: Any) -> Any:
        self.hangs.set()
        await asyncio.Event().wait()

    async def write(self, step: str, *rest: Any, **more: Any) -> Any:
        await self.call(step)

    async def pause(self, message: Message, seconds: float) -> None:
        await self.call("pause")
