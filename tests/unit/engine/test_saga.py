"""Sagas: what was done for a message that failed for good is undone in reverse, and nothing else ever is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dovetail.engine.journey import effect_key
from dovetail.engine.memo import message_id
from dovetail.errors import InDoubt, Paused, Rejected, Retry
from dovetail.sdk import Done, Failed, Repeat, Reply, Saga
from dovetail.store.base import State


class Warehouse:
    """A connection whose operations undo things. `undone` says what, in which order; `act` may fail a call."""

    def __init__(self, rig: Any, repeat: Repeat = Repeat.IDEMPOTENT) -> None:
        self.undone: list[str] = []
        self.calls: list[Any] = []
        self.act: Any = None
        self.ops = rig.Op(self._undo, target="warehouse", repeat=repeat)
        rig.connections["warehouse"] = self

    async def _undo(self, call: Any) -> None:
        self.calls.append(call)
        if self.act is not None:
            await self.act(call)
        self.undone.append(call.args["what"])

    def operation(self, name: str) -> Any:
        return {"undo": self.ops}[name]

    async def open(self, context: Any) -> None:
        pass

    async def close(self) -> None:
        pass


def reserve(rig: Any, id: str, op: Any, *, pivot: bool = False, before: Any = None) -> Any:
    """A step with a compensation (or a pivot) at the warehouse."""

    async def act(message: Any, context: Any) -> None:
        if before is not None:
            await before()
        reply = lambda found: {"what": id, "status": None if found is None else found.status}  # noqa: E731
        saga = Saga(pivot=True) if pivot else Saga("warehouse.undo", lambda found: (message, reply(found)))
        await context.call(id, op, message, saga=saga)

    return rig.Act(id, act)


def failing(rig: Any, *errors: Exception | None, target: str = "erp", last: bool = True, **more: Any) -> Any:
    """An operation that fails in these ways, one after the other, and (`last`) goes on with the last one."""
    left = list(errors)

    async def act(call: Any) -> None:
        error = left.pop(0) if len(left) > last else left[0] if left else None
        if error is not None:
            raise error

    return rig.Op(act, target=target, **more)


@pytest.fixture
def warehouse(rig: Any) -> Warehouse:
    return Warehouse(rig)


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_a_message_that_failed_for_good_is_undone_in_reverse(rig: Any, warehouse: Warehouse) -> None:
    first, second = rig.Op(repeat=Repeat.NATURAL), rig.Op(target="b")
    rig.flow("f", reserve(rig, "a", first), reserve(rig, "b", second), rig.call("c", failing(rig, Rejected("no"))))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert warehouse.undone == ["b", "a"]
    keys = [effect_key("f", message_id(rig.store.uid, seq), f"{step}/compensate", "") for step in "ba"]
    assert [call.key for call in warehouse.calls] == keys
    assert [call.args["status"] for call in warehouse.calls] == [0, 0], "the reply was at hand"
    assert rig.progress("f", seq).state is State.DEAD
    assert rig.progress("f", seq).reason == "compensated: rejected: no"
    states = {"a": "compensated", "b": "compensated", "c": "failed", "a/compensate": "done", "b/compensate": "done"}
    assert rig.effect_states("f", seq) == states
    assert rig.memo("f", seq).undo == {} and rig.memo("f", seq).undoing is None
    assert rig.check("f") == {"dead": 1}
    await rig.quiet("f")


async def test_what_undoes_an_effect_is_on_disk_before_the_effect_is_made(rig: Any, warehouse: Warehouse) -> None:
    seen: list[Any] = []

    async def act(call: Any) -> None:
        seen.append(rig.memo("f", call.message.ref).undo)

    rig.flow("f", reserve(rig, "a", rig.Op(act)))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    [(undo,)] = [list(found.values()) for found in seen]
    assert (undo.step, undo.operation, undo.body) == ("a", "warehouse.undo", b'{"n":1}')
    assert rig.state("f", seq) is State.DONE and warehouse.undone == []


async def test_side_by_side_the_last_to_be_done_is_the_first_to_be_undone(rig: Any, warehouse: Warehouse) -> None:
    other = asyncio.Event()

    async def release(call: Any) -> None:
        other.set()

    steps = [reserve(rig, "slow", rig.Op(target="slow"), before=other.wait), reserve(rig, "quick", rig.Op(release))]

    async def both(message: Any, context: Any) -> None:
        await asyncio.gather(*(step.act(message, context.branch(step.id)) for step in steps))
        raise Rejected("no")

    rig.flow("f", rig.Act("s", both))
    await rig.start()
    await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert warehouse.undone == ["slow", "quick"]


@pytest.mark.parametrize(
    ("error", "repeat", "undone"),
    [
        (Rejected("no"), Repeat.IDEMPOTENT, False),
        (Retry("refused", untouched=True), Repeat.IDEMPOTENT, False),
        (Retry("500"), Repeat.IDEMPOTENT, True),
        (Retry("refused"), Repeat.NONE, False),
        (InDoubt("cut off"), Repeat.IDEMPOTENT, True),
        (InDoubt("cut off"), Repeat.NONE, True),
        (ValueError("a fault of the connector"), Repeat.IDEMPOTENT, True),
    ],
)
@pytest.mark.parametrize("unsafe", ["park", "retry"])
async def test_only_what_was_provably_never_done_is_left_alone(
    rig: Any, warehouse: Warehouse, error: Exception, repeat: Repeat, undone: bool, unsafe: str
) -> None:
    op = failing(rig, error, repeat=repeat)
    rig.flow("f", reserve(rig, "a", rig.Op(target="a")), reserve(rig, "b", op), retry_for=20.0, unsafe=unsafe)
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert warehouse.undone == (["b", "a"] if undone else ["a"])
    assert warehouse.calls[0].args["status"] == (None if undone else 0), "of a doubt there is no reply"
    assert rig.progress("f", seq).reason.startswith("compensated: ")


@pytest.mark.parametrize(
    ("repeat", "undone"),
    [(Repeat.IDEMPOTENT, []), (Repeat.QUERYABLE, []), (Repeat.NATURAL, ["a"]), (Repeat.NONE, ["a"])],
)
@pytest.mark.parametrize("sure", [True, False])
async def test_a_refusal_takes_back_a_doubt_only_where_the_target_would_know(
    rig: Any, warehouse: Warehouse, repeat: Repeat, undone: list[str], sure: bool
) -> None:
    """It knows the key of what it did (unless it says that this key is in use), or it was asked."""
    refusal = Rejected("no")
    refusal.untouched = sure
    op = failing(rig, InDoubt("cut off"), refusal, repeat=repeat)
    rig.flow("f", reserve(rig, "a", op), unsafe="retry")
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert warehouse.undone == (undone if sure or repeat is not Repeat.IDEMPOTENT else ["a"])
    assert rig.progress("f", seq).reason.endswith("rejected: no")


async def test_a_doubt_that_nothing_undoes_is_a_persons(rig: Any, warehouse: Warehouse) -> None:
    """An effect of which nobody knows whether it took place, and which has no compensation: nothing is undone."""
    op = failing(rig, InDoubt("cut off"), repeat=Repeat.NONE)
    rig.flow("f", reserve(rig, "a", rig.Op(target="a")), rig.call("b", op))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert warehouse.undone == [] and rig.progress("f", seq).reason == "in_doubt: cut off"
    assert rig.effect_states("f", seq) == {"a": "done", "b": "in_doubt"}


@pytest.mark.parametrize(
    ("errors", "undone"),
    [
        ([None], []),
        ([Rejected("no")], ["a"]),
        ([Retry("refused", untouched=True)], ["a"]),
        ([InDoubt("cut off")], []),
        ([Retry("500")], []),
        ([InDoubt("cut off"), Rejected("no")], ["a"]),
        ([Retry("500"), Retry("refused", untouched=True)], []),
    ],
)
async def test_after_a_pivot_there_is_only_forward(
    rig: Any, warehouse: Warehouse, errors: list[Any], undone: list[str]
) -> None:
    """A pivot that is done, or may be, keeps everything; one that was provably refused does not."""
    pivot, last = failing(rig, *errors, target="b"), failing(rig, Rejected("no"), None, target="c", last=False)
    rig.flow("f", reserve(rig, "a", rig.Op()), reserve(rig, "b", pivot, pivot=True),
             reserve(rig, "c", last), retry_for=20.0)  # fmt: skip
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert warehouse.undone == undone
    assert rig.state("f", seq) is State.DEAD
    assert rig.progress("f", seq).reason.startswith("compensated: ") is bool(undone)
    if errors == [None]:  # what comes after it cannot be undone either: it is only done, by whoever sends it on
        await rig.redrive("f", seq)
        await rig.ended("f", 2)
        assert rig.state("f", seq) is State.DONE and warehouse.undone == [] and len(pivot.calls) == 1


async def test_a_compensation_is_retried_as_long_as_it_takes_and_holds_its_lane(rig: Any, warehouse: Warehouse) -> None:
    away = [Retry("away"), InDoubt("cut off"), Paused("its breaker is open", after=1.0), *[Retry("away")] * 8]

    async def act(call: Any) -> None:
        if away:
            raise away.pop(0)

    warehouse.act = act
    started: list[int] = []
    rig.flow(
        "f", rig.Apply("note", lambda m: started.append(m.ref)), reserve(rig, "a", rig.Op()),
        rig.call("b", failing(rig, Rejected("no"), None, target="b", last=False)), key=lambda m: "k",
        max_attempts=2, compensate_for=1e6,
    )  # fmt: skip
    await rig.start()
    first, second = await rig.put("f", {"n": 1}, {"n": 2})
    await rig.until(lambda: rig.state("f", first) is State.COMPENSATING)
    assert rig.progress("f", first).reason == "compensating: rejected: no"
    assert rig.engine.store.progress.pending(rig.engine.flows["f"].number)[State.COMPENSATING] == 1
    await rig.until(lambda: not away)
    assert second not in started, "the next one of its key waits"
    await rig.ended("f", 2)
    assert warehouse.undone == ["a"] and len({call.key for call in warehouse.calls}) == 1
    assert (rig.state("f", first), rig.state("f", second)) == (State.DEAD, State.DONE)
    await rig.quiet("f")


@pytest.mark.parametrize("error", [Retry("away"), Rejected("never heard of it")])
async def test_a_compensation_that_cannot_be_made_is_a_persons_who_lets_it_go_on(
    rig: Any, warehouse: Warehouse, error: Exception
) -> None:
    async def act(call: Any) -> None:
        if call.args["what"] == "a" and error:
            raise error

    warehouse.act = act
    rig.flow("f", reserve(rig, "a", rig.Op()), reserve(rig, "b", rig.Op(target="b")),
             rig.call("c", failing(rig, Rejected("no"), target="c")), compensate_for=3600.0)  # fmt: skip
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    code = f"{error.code}: {error}"  # type: ignore[attr-defined]
    left = f"compensation stopped: {code}; left to undo: a by warehouse.undo; it had failed: rejected: no"
    assert rig.progress("f", seq).reason == left and warehouse.undone == ["b"]
    error = None  # type: ignore[assignment]
    await rig.redrive("f", seq)
    await rig.ended("f", 2)
    assert warehouse.undone == ["b", "a"], "it goes on backwards, and what is undone is not undone again"
    assert rig.progress("f", seq).reason == "compensated: rejected: no"


async def test_what_nobody_can_put_together_is_a_persons(rig: Any, warehouse: Warehouse) -> None:
    async def act(message: Any, context: Any) -> None:
        def request(reply: Reply | None) -> Any:
            raise Rejected("there is no reply")

        await context.call("a", rig.Op(), message, saga=Saga("warehouse.undo", request))
        raise Rejected("no")

    rig.flow("f", rig.Act("s", act))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert "its request cannot be put together: there is no reply; left to undo: a" in rig.progress("f", seq).reason


async def test_an_operation_that_is_gone_is_a_persons(rig: Any, warehouse: Warehouse) -> None:
    warehouse.act = failing(rig, Retry("away")).call
    rig.flow("f", reserve(rig, "a", rig.Op()), rig.call("b", failing(rig, Rejected("no"), target="b")))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: rig.state("f", seq) is State.COMPENSATING)
    await rig.crash()
    del rig.connections["warehouse"]
    await rig.start()
    await rig.until(lambda: rig.state("f", seq) is State.DEAD)
    assert "the project has no operation 'warehouse.undo' any more" in rig.progress("f", seq).reason


async def test_an_unsafe_compensation_is_not_repeated_in_doubt(rig: Any) -> None:
    warehouse = Warehouse(rig, Repeat.NONE)

    async def act(call: Any) -> None:
        raise InDoubt("cut off")

    warehouse.act = act
    rig.flow("f", reserve(rig, "a", rig.Op()), rig.call("b", failing(rig, Rejected("no"), target="b")))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert len(warehouse.calls) == 1
    assert rig.progress("f", seq).reason.startswith("compensation stopped: in_doubt: cut off; left to undo: a")


@pytest.mark.parametrize("hang_at", ["a", "b"])
async def test_a_crash_on_the_way_back_only_interrupts_it(rig: Any, warehouse: Warehouse, hang_at: str) -> None:
    hang = asyncio.Event()

    async def act(call: Any) -> None:
        if call.args["what"] == hang_at and not hang.is_set():
            await hang.wait()

    warehouse.act = act
    first = rig.Op()
    rig.flow("f", reserve(rig, "a", first), reserve(rig, "b", rig.Op(target="b")),
             rig.call("c", failing(rig, Rejected("no"), target="c")))  # fmt: skip
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: any(call.args["what"] == hang_at for call in warehouse.calls))
    await rig.flushed()
    for _ in range(4):  # more crashes than a message may have been in flight at: it had its own count before
        await rig.crash()
        hang.set()
        await rig.start()
    await rig.until(lambda: rig.state("f", seq) is State.DEAD)
    assert warehouse.undone == ["b", "a"] and len(first.calls) == 1
    assert len({call.key for call in warehouse.calls}) == 2
    assert rig.progress("f", seq).reason == "compensated: rejected: no"


@pytest.mark.parametrize("name", ["before_compensation_commit", "after_compensation_before_record"])
async def test_a_crash_at_the_turning_point(rig: Any, warehouse: Warehouse, name: str) -> None:
    there, refusals = asyncio.Event(), [Rejected("no"), Rejected("still no")]

    def hook(at: str) -> None:
        if at == name and not there.is_set():
            there.set()
            raise asyncio.CancelledError

    rig.hook = hook
    rig.flow("f", reserve(rig, "a", rig.Op()), rig.call("b", failing(rig, *refusals, target="b")))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await there.wait()
    await rig.restart()
    await rig.until(lambda: rig.state("f", seq) is State.DEAD)
    assert set(warehouse.undone) == {"a"} and len({call.key for call in warehouse.calls}) == 1
    assert rig.progress("f", seq).reason.startswith("compensated: ")


async def test_an_end_that_cannot_be_written_down_is_still_on_the_way_back(rig: Any, warehouse: Warehouse) -> None:
    first = rig.Op()
    rig.flow("f", reserve(rig, "a", first), rig.call("c", failing(rig, Rejected("no"), target="c")),
             compensated="discard")  # fmt: skip
    await rig.start()

    def hook(at: str) -> None:
        if at == "after_outcome_before_commit" and warehouse.undone:
            rig.hook = lambda at: None
            raise RuntimeError("it slipped")

    rig.hook = hook
    [seq] = await rig.put("f", {"n": 1})
    await rig.until(lambda: rig.state("f", seq) is State.DEAD)
    assert rig.progress("f", seq).reason.startswith("compensation stopped: exception: RuntimeError: it slipped")
    assert "left to undo: nothing" in rig.progress("f", seq).reason
    await rig.redrive("f", seq)
    await rig.until(lambda: rig.state("f", seq) is State.DISCARDED)
    assert rig.progress("f", seq).reason == "compensated: rejected: no"
    assert warehouse.undone == ["a"] and len(first.calls) == 1, "nothing was done or undone again"


async def test_sent_on_after_it_was_undone_it_goes_forward_under_new_names(rig: Any, warehouse: Warehouse) -> None:
    """The target remembers the effects that were undone, so they must not be made under their old names."""
    first, kept, last = rig.Op(), rig.Op(target="k"), failing(rig, *[Rejected("no")] * 2, None, target="c", last=False)
    rig.flow("f", reserve(rig, "a", first), rig.call("kept", kept), rig.call("c", last))
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    for n in (2, 3):
        await rig.redrive("f", seq)
        await rig.ended("f", n)
    assert rig.state("f", seq) is State.DONE
    assert warehouse.undone == ["a", "a"] and len({call.key for call in warehouse.calls}) == 2
    assert len(first.calls) == 3 and len({call.key for call in first.calls}) == 3
    assert len(kept.calls) == 1, "what has no compensation stands, and is not repeated"
    assert rig.memo("f", seq).undo.keys() == {first.calls[-1].key}


async def test_a_message_may_end_as_discarded_once_it_is_undone(rig: Any, warehouse: Warehouse) -> None:
    rig.flow("f", reserve(rig, "a", rig.Op()), rig.call("b", failing(rig, Rejected("no"), target="b")),
             compensated="discard")  # fmt: skip
    await rig.start()
    [seq] = await rig.put("f", {"n": 1})
    await rig.ended("f", 1)
    assert warehouse.undone == ["a"] and rig.check("f") == {"discarded": 1}
    assert rig.progress("f", seq).reason == "compensated: rejected: no"


async def test_what_was_written_to_a_sink_is_undone_message_by_message(rig: Any, warehouse: Warehouse) -> None:
    async def write(calls: Any) -> dict[str, Any]:
        return {call.key: Failed(Rejected("no")) if call.message.value == 1 else Done() for call in calls}

    drain = rig.Drain(write)

    async def act(message: Any, context: Any) -> None:
        saga = Saga("warehouse.undo", lambda found: (message, {"what": message.value}))
        [outcome] = await context.write("w", drain, [message], sagas=[saga])
        if isinstance(outcome, Failed):
            raise outcome.error
        if message.value == 2:
            raise Rejected("no")

    rig.flow("f", rig.Act("s", act))
    await rig.start()
    await rig.put("f", 0, 1, 2)
    await rig.ended("f", 3)
    assert warehouse.undone == [2]
    assert rig.check("f") == {"done": 1, "dead": 2}
