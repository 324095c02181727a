"""An exam is worth what it fails: each planted fault is found by the check that is there for it; honest work passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dovetail.sdk import (
    Call,
    Context,
    Deliver,
    Delivery,
    Done,
    Message,
    Operation,
    Outcome,
    Position,
    Receipt,
    Rejected,
    Repeat,
    Reply,
    Result,
    Retry,
    Sink,
    Source,
    Spec,
    Step,
    field,
    hand_over,
)
from dovetail.testkit import operation_suite, sink_suite, source_suite, step_suite
from dovetail.testkit.fakes import CODECS, FakeConnecting, FakeConnection, FakeOperation, MemorySink, MemorySource
from dovetail.testkit.operation_suite import OperationCase
from dovetail.testkit.sink_suite import SinkCase
from dovetail.testkit.source_suite import SourceCase
from dovetail.testkit.step_suite import StepCase
from dovetail.testkit.steps import FakeBuild, message

# --- steps ------------------------------------------------------------------------------------------------------------


class Plain(Step):
    """Calls the shop and remembers what it said."""

    class Config(Spec):
        note: str = field(default="", main=True, help="A note.")

    def __init__(self, config: Any, build: Any) -> None:
        super().__init__(config, build)
        self.shop = build.operation("shop.call")

    async def one(self, message: Message, context: Context) -> Message:
        reply = await context.call(self.id, self.shop, message)
        return message.with_var("seen", [message.value["n"], reply.value])

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        result = Result()
        for each in batch:
            try:
                result.out.append(await self.one(each, context))
            except Exception as error:
                result.failed.append((each, error))
        return result


class Loses(Plain):
    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        result = await super().run(batch, context)
        result.failed.clear()
        return result


class Reorders(Plain):
    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        return await super().run(batch[::-1], context)


class Changes(Plain):
    async def one(self, message: Message, context: Context) -> Message:
        message.value["n"] = 0
        return message


class Counts(Plain):
    """Remembers the message before: neighbours matter."""

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        result = await super().run(batch, context)
        result.out = [message.with_var("batch", len(batch)) for message in result.out]
        return result


class Draws(Plain):
    drawn = 0

    async def one(self, message: Message, context: Context) -> Message:
        Draws.drawn += 1
        return message.with_var("drawn", Draws.drawn)


class Renames(Plain):
    async def one(self, message: Message, context: Context) -> Message:
        Draws.drawn += 1
        await context.call(f"step-{Draws.drawn}", self.shop, message)
        return message


class TakesNeighboursAlong(Plain):
    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        values = [message.value for message in batch]
        assert len(values) == len(batch)
        return await super().run(batch, context)


class Swallows(Plain):
    async def one(self, message: Message, context: Context) -> Message:
        try:
            return await super().one(message, context)
        except Rejected:
            return message


class SwallowsCancelling(Plain):
    async def one(self, message: Message, context: Context) -> Message:
        try:
            return await super().one(message, context)
        except asyncio.CancelledError:
            return message


class CallsForNothing(Plain):
    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        await context.call(self.id, self.shop, message({"n": 0}))
        return await super().run(batch, context)


class OpensOnce(Plain):
    opened = False

    async def open(self) -> None:
        assert not self.opened
        self.opened = True


class Silent(Plain):
    __doc__ = None


MESSAGES = [message({"n": n}, id=f"m-{n}", ref=n) for n in (1, 2, 3)] + [message([], id="m-4", ref=4)]


def step_case(kind: type[Step]) -> StepCase:
    def build() -> FakeBuild:
        return FakeBuild(words={"plain": kind}, connections={"shop": FakeConnection("shop")})

    return StepCase({"plain": "x"}, build, MESSAGES)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Loses, "every_message_is_accounted_for"),
        (Reorders, "messages_that_go_on_keep_their_order"),
        (Changes, "what_comes_in_is_not_changed"),
        (Counts, "a_message_does_not_depend_on_its_neighbours"),
        (Draws, "a_repeat_gives_the_same"),
        (Renames, "a_repeat_gives_the_same"),
        (Renames, "an_effect_on_record_is_not_made_again"),
        (Swallows, "failures_of_the_outside_fail_the_message"),
        (SwallowsCancelling, "cancelling_is_never_swallowed"),
        (CallsForNothing, "an_empty_batch_is_no_work"),
        (OpensOnce, "it_opens_and_closes_more_than_once"),
        (Silent, "it_says_what_it_is"),
    ],
)
async def test_a_bad_step_fails(kind: type[Step], check: str) -> None:
    with pytest.raises((AssertionError, TypeError)):
        await step_suite.CHECKS[check](step_case(kind))


async def test_a_step_that_takes_its_neighbours_along_fails() -> None:
    with pytest.raises(Rejected):
        await step_suite.CHECKS["a_body_nobody_can_read_fails_alone"](step_case(TakesNeighboursAlong))


@pytest.mark.parametrize("check", step_suite.CHECKS)
async def test_a_good_step_passes(check: str) -> None:
    await step_suite.CHECKS[check](step_case(Plain))


# --- operations -------------------------------------------------------------------------------------------------------


class Doubles(FakeOperation):
    async def call(self, call: Call) -> Reply:
        self.done[f"{call.key} {len(self.calls)}"] = await super().call(call)
        return self.done[call.key]


class Retries(FakeOperation):
    async def call(self, call: Call) -> Reply:
        try:
            return await super().call(call)
        except Rejected as error:
            raise Retry(str(error)) from error


class Mixes(FakeOperation):
    latest: Any = None

    async def call(self, call: Call) -> Reply:
        self.latest = call.message.value
        await asyncio.sleep(0)
        return Reply(value=self.latest, codec=CODECS.by_name("json"))


class Forgets(FakeOperation):
    async def query(self, call: Call) -> Reply | None:
        return None


class Hides(FakeOperation):
    async def call(self, call: Call) -> Reply:
        try:
            return await super().call(call)
        except asyncio.CancelledError:
            raise Rejected("cancelled") from None


class Bytes(FakeOperation):
    async def call(self, call: Call) -> Reply:
        return Reply(value=(1, 2), codec=CODECS.by_name("json"))


class Nameless(FakeOperation):
    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.target = ""


def operation_case(kind: type[FakeOperation], repeat: Repeat) -> OperationCase:
    fake = kind(repeat=repeat, answer=lambda call: Rejected("no") if call.args else call.message.value)

    @asynccontextmanager
    async def open() -> AsyncIterator[Operation]:
        yield fake

    def call(n: int, args: Mapping[str, Any] | None = None) -> Call:
        return Call(message({"n": n}), f"key{n}", args or {})

    return OperationCase(open, call, lambda: sorted(fake.done), [call(9, {"bad": 1})])


@pytest.mark.parametrize(
    ("kind", "repeat", "check"),
    [
        (Doubles, Repeat.NATURAL, "a_safe_repeat_is_one_effect"),
        (Retries, Repeat.NONE, "what_is_refused_for_good_says_so"),
        (Mixes, Repeat.NATURAL, "many_calls_at_once_do_not_disturb_each_other"),
        (Mixes, Repeat.NATURAL, "another_call_is_another_effect"),
        (Forgets, Repeat.QUERYABLE, "a_queryable_operation_can_be_asked"),
        (Hides, Repeat.NONE, "a_cancelled_call_leaves_it_usable"),
        (Bytes, Repeat.NONE, "it_answers"),
        (Nameless, Repeat.NONE, "it_declares_itself"),
    ],
)
async def test_a_bad_operation_fails(kind: type[FakeOperation], repeat: Repeat, check: str) -> None:
    with pytest.raises((AssertionError, Retry)):
        await operation_suite.CHECKS[check](operation_case(kind, repeat))


# --- sinks ------------------------------------------------------------------------------------------------------------


class ByPosition(MemorySink):
    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        outcomes = await super().write(calls)
        return {str(n): outcome for n, outcome in enumerate(outcomes.values())}


class AllOrNothing(MemorySink):
    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        outcomes = await super().write(calls)
        bad = next((outcome for outcome in outcomes.values() if not isinstance(outcome, Done)), None)
        return {key: bad or outcome for key, outcome in outcomes.items()}


class Appends(MemorySink):
    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        outcomes = await super().write(calls)
        self.written |= {f"{key} {len(self.batches)}": b"" for key in outcomes}
        return outcomes


class WritesNothing(MemorySink):
    async def write(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        self.written["header"] = b"x"
        return await super().write(calls)


def sink_case(kind: type[MemorySink]) -> SinkCase:
    sinks: list[MemorySink] = []

    @asynccontextmanager
    async def open() -> AsyncIterator[Sink]:
        sinks.append(kind(judge=lambda call: Rejected("no") if call.args else None))
        yield sinks[-1]

    def call(n: int, args: Mapping[str, Any] | None = None) -> Call:
        return Call(message({"n": n}), f"key{n}", args or {})

    return SinkCase(open, call, lambda: dict(sinks[-1].written), call(9, {"bad": 1}))


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (ByPosition, "every_key_has_its_outcome"),
        (AllOrNothing, "one_that_is_refused_takes_no_other_along"),
        (Appends, "a_safe_repeat_is_one_effect"),
        (Appends, "a_batch_is_the_same_as_one_by_one"),
        (WritesNothing, "nothing_to_write_is_no_work"),
    ],
)
async def test_a_bad_sink_fails(kind: type[MemorySink], check: str) -> None:
    with pytest.raises(AssertionError):
        await sink_suite.CHECKS[check](sink_case(kind))


# --- sources ----------------------------------------------------------------------------------------------------------


class AcksFirst(MemorySource):
    async def run(self, deliver: Deliver) -> None:
        while True:
            self._more.clear()
            while self.items:
                await deliver.room()
                body = self.items.pop(0)
                deliver(Delivery([Message(body, time_ms=1)], lambda receipts: None, park_refused=True))
            await self._more.wait()


class NeverAsks(MemorySource):
    async def run(self, deliver: Deliver) -> None:
        while True:
            self._more.clear()
            while self.items:
                settled: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
                deliver(Delivery([Message(self.items[0], time_ms=1)], settled.set_result, park_refused=True))
                await settled
                self.items.pop(0)
            await self._more.wait()


class NamesNothing(MemorySource):
    async def run(self, deliver: Deliver) -> None:
        while True:
            self._more.clear()
            while self.items:
                await hand_over(deliver, [Message(self.items[0], time_ms=1)])
                self.items.pop(0)
            await self._more.wait()


class Timeless(MemorySource):
    async def run(self, deliver: Deliver) -> None:
        while True:
            self._more.clear()
            while self.items:
                await hand_over(deliver, [Message(self.items[0])], [self.items[0].hex()])
                self.items.pop(0)
            await self._more.wait()


class CountsDown(MemorySource):
    async def run(self, deliver: Deliver) -> None:
        numbers = iter(range(100, 0, -1))
        while True:
            self._more.clear()
            while self.items:
                await hand_over(deliver, [Message(self.items[0], time_ms=1)], positions=[Position("p", next(numbers))])
                self.items.pop(0)
            await self._more.wait()


class Overlaps(MemorySource):
    async def run(self, deliver: Deliver) -> None:
        number = 0
        while True:
            self._more.clear()
            while self.items:
                await deliver.room()
                number += 1
                message = Message(self.items.pop(0), time_ms=1)
                deliver(Delivery([message], lambda receipts: None, positions=[Position("p", number)]))
            await self._more.wait()


class Stubborn(MemorySource):
    async def run(self, deliver: Deliver) -> None:
        try:
            await super().run(deliver)
        except asyncio.CancelledError:
            return


def source_case(kind: type[MemorySource]) -> SourceCase:
    items: list[bytes] = []
    made: list[MemorySource] = []

    def make() -> Source:
        source = kind()
        source.items = items
        made.append(source)
        return source

    def feed(n: int) -> None:
        made[-1].put(b"%d" % n)

    return SourceCase(make, FakeConnecting(), feed, lambda n: b"%d" % n, lambda: len(items))


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (AcksFirst, "nothing_is_acknowledged_before_its_receipt"),
        (NeverAsks, "it_reads_only_when_there_is_room"),
        (NeverAsks, "what_could_not_be_kept_comes_again"),
        (CountsDown, "positions_grow_from_delivery_to_delivery"),
        (Overlaps, "positions_grow_from_delivery_to_delivery"),
        (NamesNothing, "a_restart_loses_nothing_and_doubles_nothing"),
        (Timeless, "what_comes_is_delivered_and_acknowledged"),
        (Stubborn, "what_comes_is_delivered_and_acknowledged"),
    ],
)
def test_a_bad_source_fails(kind: type[MemorySource], check: str) -> None:
    with pytest.raises((AssertionError, TimeoutError)):
        in_virtual_time(lambda: source_suite.CHECKS[check](source_case(kind)))


def in_virtual_time(check: Callable[[], Any]) -> None:
    from dovetail.testkit import loop

    async def main(clock: object) -> None:
        await check()

    loop.run(main)
