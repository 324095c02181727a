"""The part of the store's exam that is about what steps remember. `CHECKS` of `store_suite` holds these, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dovetail.store.base import Entry, Memory, Progress, State, Store, Work

Open = Callable[[], Awaitable[Store]]


def head(key: str, value: bytes | None = b"head", **more: int) -> Memory:
    return Memory(1, "step", key, 0, value, at=1000, **more)


def item(key: str, number: int, value: bytes | None = b"item") -> Memory:
    return Memory(1, "step", key, number, value, at=1000, version=2)


async def memory_comes_back_whole_after_a_crash(open: Open) -> None:
    store = await open()
    await store.commit(Work(memory=[head("a", due=5000, version=3), item("a", 2), item("a", 1, b"")]))
    await store.close(clean=False)
    again = await open()
    assert again.memory.get(1, "step", "a") == head("a", due=5000, version=3)
    assert again.memory.get(1, "step", "a", 2) == item("a", 2)
    assert again.memory.items(1, "step", "a") == [item("a", 1, b""), item("a", 2)]
    assert again.memory.get(2, "step", "a") is None and again.memory.get(1, "other", "a") is None
    assert again.memory.get(1, "step", "b") is None and again.memory.items(1, "step", "b") == []
    await again.close()


async def memory_moves_with_the_rest_of_the_work(open: Open) -> None:
    store = await open()
    entry = Entry(stream=1, at=1, version=1, meta=b"", body=b"{}")
    await store.commit(Work(entries=[entry]))
    row = Progress(1, entry.seq, State.DONE, 1)
    await store.commit(Work(progress=[row], memory=[item("a", 1)]))
    await store.close(clean=False)
    again = await open()
    assert again.progress.get(1, entry.seq) == row and len(again.memory.items(1, "step", "a")) == 1
    await again.close()


async def the_later_change_of_memory_wins(open: Open) -> None:
    store = await open()
    await store.commit(Work(memory=[head("a", b"1"), item("a", 1), head("a", b"2"), item("a", 1, b"new")]))
    assert store.memory.get(1, "step", "a") == head("a", b"2")
    assert store.memory.items(1, "step", "a") == [item("a", 1, b"new")]
    await store.commit(Work(memory=[item("a", 2), head("a", None), head("b"), head("a", b"3"), item("a", 7)]))
    assert store.memory.get(1, "step", "a") == head("a", b"3")
    assert store.memory.items(1, "step", "a") == [item("a", 7)], "what was there before the key was emptied is gone"
    assert store.memory.get(1, "step", "b") == head("b")
    await store.commit(Work(memory=[item("a", 7, None), item("a", 8, None)]))
    assert store.memory.items(1, "step", "a") == [] and store.memory.get(1, "step", "a") is not None
    await store.commit(Work(memory=[head("a", None)]))
    assert store.memory.get(1, "step", "a") is None
    await store.close()


async def due_memory_comes_earliest_first(open: Open) -> None:
    store = await open()
    heads = [head("late", due=300), head("never"), head("first", due=100), head("second", due=200)]
    await store.commit(Work(memory=[*heads, Memory(2, "step", "other", 0, b"", due=50)]))
    assert store.memory.next_due(1) == 100 and store.memory.next_due(2) == 50 and store.memory.next_due(3) is None
    assert [row.key for row in store.memory.due(1, 200, 10)] == ["first", "second"]
    assert [row.key for row in store.memory.due(1, 1000, 2)] == ["first", "second"]
    assert store.memory.due(1, 99, 10) == []
    await store.commit(Work(memory=[head("first", due=400), head("second", None)]))
    assert [row.key for row in store.memory.due(1, 1000, 9)] == ["late", "first"] and store.memory.next_due(1) == 300
    await store.close()


async def heads_page_by_key(open: Open) -> None:
    store = await open()
    await store.commit(Work(memory=[head("b"), head("a"), item("a", 1), head("c"), Memory(1, "else", "d", 0, b"")]))
    first = store.memory.heads(1, "step", "", 2)
    assert [row.key for row in first] == ["a", "b"] and first[0] == head("a")
    assert [row.key for row in store.memory.heads(1, "step", "b", 2)] == ["c"]
    assert store.memory.heads(2, "step", "", 9) == []
    await store.close()


CHECKS: dict[str, Callable[[Open], Awaitable[None]]] = {
    check.__name__: check
    for check in (
        memory_comes_back_whole_after_a_crash, memory_moves_with_the_rest_of_the_work, the_later_change_of_memory_wins,
        due_memory_comes_earliest_first, heads_page_by_key,
    )
}  # fmt: skip
