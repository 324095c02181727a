"""Every source that comes with Dovetail sits the source exam, and so does the fake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.connectors.file import FileSource
from dovetail.connectors.http import WebhookSource
from dovetail.connectors.schedule import ScheduleSource
from dovetail.connectors.topic import TopicSource
from dovetail.testkit import loop
from dovetail.testkit.clock import VirtualClock
from dovetail.testkit.fakes import CODECS, CollectingDeliver, FakeConnecting, MemorySource
from dovetail.testkit.source_suite import CHECKS, SourceCase

CATALOG = Catalog.builtin()
JSON = CODECS.by_name("json")


def file_source(
    tmp_path: Path, options: dict[str, Any], text: Callable[[int], str], body: Callable[[int], bytes]
) -> SourceCase:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    config = {"folder": "inbox", "every": "50ms", "settle_for": "0s", "archive": "done", "quarantine": "bad", **options}

    def feed(n: int) -> None:
        (tmp_path / "writing").write_text(text(n))
        (tmp_path / "writing").rename(inbox / f"{n}.data")

    return SourceCase(
        make=lambda: FileSource(FileSource.Config.parse(config), "flow"),
        context=FakeConnecting(tmp_path),
        feed=feed,
        expected=body,
        owed=lambda: len(list(inbox.iterdir())),
    )


def whole_files(tmp_path: Path) -> SourceCase:
    return file_source(tmp_path, {}, lambda n: f"file {n}", lambda n: f"file {n}".encode())


def csv_files(tmp_path: Path) -> SourceCase:
    options = {"format": "csv", "csv": {"delimiter": ";"}}
    return file_source(
        tmp_path, options, lambda n: f"id;name\n{n};Zoë\n", lambda n: JSON.encode({"id": str(n), "name": "Zoë"})
    )


def line_files(tmp_path: Path) -> SourceCase:
    return file_source(tmp_path, {"format": "ndjson"}, lambda n: f'{{"id": {n}}}\n', lambda n: JSON.encode({"id": n}))


class WallClock(VirtualClock):
    """Time passes, but the clock on the wall shows only what it was set to."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = super().now_ms() // 60_000 * 60_000

    def now_ms(self) -> int:
        return self.wall


def schedule(tmp_path: Path) -> SourceCase:
    clock = WallClock()
    start = clock.wall

    def feed(n: int) -> None:
        clock.wall = start + (n + 1) * 60_000

    def body(n: int) -> bytes:
        moment = datetime.fromtimestamp((start + (n + 1) * 60_000) / 1000, UTC)
        return JSON.encode({"scheduled_at": moment.isoformat()})

    context = FakeConnecting(clock=clock)
    return SourceCase(
        make=lambda: ScheduleSource(ScheduleSource.Config(cron="* * * * *", missed="all"), "flow"),
        context=context,
        feed=feed,
        expected=body,
        owed=lambda: (clock.wall - context.marks["tick"]) // 60_000,
    )


def webhook(tmp_path: Path) -> SourceCase:
    context = FakeConnecting()
    asked: list[list[Any]] = []

    def feed(n: int) -> None:
        headers = {"content-type": "application/json"}
        asked.append(context.listener.send("POST", "/orders", b'{"n": %d}' % n, headers))

    return SourceCase(
        make=lambda: WebhookSource(WebhookSource.Config(path="/orders"), "flow"),
        context=context,
        feed=feed,
        expected=lambda n: b'{"n": %d}' % n,
        owed=lambda: sum(not answers for answers in asked),
        redelivers=False,
        waits_for_room=False,
    )


def memory(tmp_path: Path) -> SourceCase:
    items: list[bytes] = []
    made: list[MemorySource] = []

    def make() -> MemorySource:
        source = MemorySource()
        source.items = items
        made.append(source)
        return source

    return SourceCase(
        make=make,
        context=FakeConnecting(),
        feed=lambda n: made[-1].put(b"%d" % n),
        expected=lambda n: b"%d" % n,
        owed=lambda: len(items),
    )


CASES: dict[str, Callable[[Path], SourceCase]] = {
    "file": whole_files,
    "file-csv": csv_files,
    "file-ndjson": line_files,
    "webhook": webhook,
    "memory": memory,
}
VIRTUAL: dict[str, Callable[[Path], SourceCase]] = {"schedule": schedule, "memory": memory}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("source", CASES)
async def test_conformance(name: str, source: str, tmp_path: Path) -> None:
    await CHECKS[name](CASES[source](tmp_path))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("source", VIRTUAL)
def test_conformance_in_virtual_time(name: str, source: str, seed: int, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        await CHECKS[name](VIRTUAL[source](tmp_path))

    loop.run(main, seed)


async def test_a_topic_is_read_by_the_engine() -> None:
    source = TopicSource(TopicSource.Config.parse({"name": "orders", "from": "earliest"}), "flow")
    assert (source.topic, source.from_start) == ("orders", True)
    with pytest.raises(NotImplementedError):
        await source.run(CollectingDeliver())


def test_no_source_is_left_out() -> None:
    seen = {name.partition("-")[0] for name in {**CASES, **VIRTUAL}} | {"topic"}
    assert set(CATALOG.names("source")) <= seen
