"""The watched folder: what is taken and when, what becomes of bad rows and bad files, what a restart finds."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dovetail.connectors.file import FileSource, finished
from dovetail.connectors.file.root import Root
from dovetail.sdk import ProjectError, Refused
from dovetail.testkit.fakes import CollectingDeliver, FakeConnecting
from dovetail.testkit.source_suite import SourceCase, running

SPECTRUM = Path(__file__).parents[4].parent / "shared" / "data" / "business-documents" / "csv-spectrum"


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


class Watch:
    """A folder under watch. `marks` outlive a restart."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.inbox, self.done, self.bad = folder / "in", folder / "done", folder / "bad"
        self.inbox.mkdir(exist_ok=True)
        fast = {"folder": "in", "every": "50ms", "settle_for": "0s", "archive": "done", "quarantine": "bad"}
        self.config = FileSource.Config.parse({**fast, **config})
        self.context = FakeConnecting(folder)
        self.door = CollectingDeliver()
        self.case = SourceCase(
            lambda: FileSource(self.config, "flow"), self.context, lambda n: None, lambda n: b"", lambda: 0
        )

    def drop(self, name: str, body: bytes | str) -> Path:
        path = self.inbox / name
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        return path

    async def until(self, condition: Any) -> None:
        """Run until the folders look as they should."""
        async with running(self.case, self.door), asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - a folder gives no signal
                await asyncio.sleep(0.01)

    async def emptied(self, *reports: str) -> None:
        """Run until nothing is left in the folder and these reports are written."""
        await self.until(lambda: not names(self.inbox) and all((self.bad / report).exists() for report in reports))

    def finished(self, *names: str) -> bool:
        """Whether these, and no others, are remembered as finished."""
        return sorted(name for mark in self.context.marks.values() if isinstance(mark, dict) for name in mark) == [
            *names
        ]

    def values(self) -> list[Any]:
        return [message.value for message in self.door.messages]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, name, fields in self.context.logged.lines if name == event]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


# --- what is taken ----------------------------------------------------------------------------------------------------


async def test_a_whole_file_goes_in_byte_for_byte_and_is_archived(folder: Path) -> None:
    watch = Watch(folder)
    watch.drop("order.json", b'{ "a" : 1.10 }\r\n')
    await watch.emptied()
    (message,) = watch.door.messages
    assert (message.body, message.codec.name) == (b'{ "a" : 1.10 }\r\n', "json")
    assert message.headers == {"file-name": "order.json"}
    assert (watch.done / "order.json").read_bytes() == message.body


async def test_unfinished_hidden_other_and_linked_files_are_left_alone(folder: Path) -> None:
    secret = folder / "secret.csv"
    secret.write_text("a\n1\n")
    watch = Watch(folder, pattern="*.csv*")
    for name in (".a.csv", "a.csv.tmp", "a.csv.part", "a.csv.filepart", "a.csv.crdownload", "a.txt"):
        watch.drop(name, "x")
    (watch.inbox / "link.csv").symlink_to(secret)
    (watch.inbox / "sub.csv").mkdir()
    os.mkfifo(watch.inbox / "pipe.csv")
    left = set(names(watch.inbox))
    watch.drop("b.csv", "taken")
    await watch.until(lambda: set(names(watch.inbox)) == left)
    assert [message.body for message in watch.door.messages] == [b"taken"]
    assert secret.exists()


async def test_a_file_is_taken_only_when_it_has_not_changed_for_a_while(folder: Path) -> None:
    watch = Watch(folder, settle_for="10s", every="50ms")
    looks = 0
    entries = Root.entries

    def counted(root: Root, name: str = "") -> Any:
        nonlocal looks
        looks += 1
        return entries(root, name)

    clock: Any = watch.context.clock
    path = watch.drop("slow.txt", "a")
    source = watch.case.make()
    await source.open(watch.context)
    source._root.entries = lambda: counted(Root(watch.inbox))  # type: ignore[attr-defined]
    task = asyncio.ensure_future(source.run(watch.door))

    async def look(times: int = 2) -> None:
        seen = looks
        while looks < seen + times:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    await look()
    clock.advance(9)
    with path.open("a") as file:
        file.write("b")
    await look()
    clock.advance(9)
    await look()
    assert not watch.door.messages
    clock.advance(2)
    await watch.door.count(1)
    assert watch.door.messages[0].body == b"ab"
    task.cancel()
    await asyncio.wait([task])


async def test_without_an_archive_files_stay_and_are_remembered_over_a_restart(folder: Path) -> None:
    watch = Watch(folder, archive=None)
    watch.drop("a.txt", "one")
    await watch.until(lambda: len(watch.door.messages) == 1 and watch.finished("a.txt"))
    watch.drop("b.txt", "two")
    await watch.until(lambda: watch.finished("a.txt", "b.txt"))
    watch.drop("a.txt", "changed")
    await watch.until(lambda: len(watch.door.messages) == 3)
    assert [message.body for message in watch.door.messages] == [b"one", b"two", b"changed"]


async def test_finished_files_that_are_gone_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished, "_BUCKETS", 1)
    watch = Watch(folder, archive=None)
    gone, stays = watch.drop("a.txt", "one"), watch.drop("b.txt", "two")
    await watch.until(lambda: watch.finished("a.txt", "b.txt"))
    gone.unlink()
    watch.drop("c.txt", "three")
    await watch.until(lambda: watch.finished("b.txt", "c.txt"))
    assert stays.exists() and len(watch.door.messages) == 3


async def test_what_an_earlier_version_finished_is_not_taken_again(folder: Path) -> None:
    watch = Watch(folder, archive=None)
    look = watch.drop("a.txt", "one").stat()
    watch.context.mark("done a.txt", [look.st_size, look.st_mtime_ns])
    watch.drop("b.txt", "two")
    await watch.until(lambda: watch.finished("b.txt"))
    assert [message.body for message in watch.door.messages] == [b"two"]


async def test_the_same_content_again_is_known_unless_told_otherwise(folder: Path) -> None:
    watch = Watch(folder)
    for n in range(2):
        watch.drop(f"{n}.txt", "same")
    await watch.emptied()
    assert len(watch.door.messages) == 1
    assert sorted(line["repeated"] for line in watch.logged("file_processed")) == [0, 1]
    again = Watch(folder, identical="process")
    for n in range(2):
        again.drop(f"{n}.txt", "same")
    await again.emptied()
    assert len(again.door.messages) == 2
    assert names(again.done) == ["0-2.txt", "0.txt", "1-2.txt", "1.txt"]


async def test_a_name_that_is_no_unicode_is_taken_too(folder: Path) -> None:
    watch = Watch(folder)
    with open(os.fsencode(watch.inbox) + b"/caf\xe9.txt", "wb") as file:  # noqa: ASYNC230, PTH123
        file.write(b"x")
    await watch.emptied()
    assert watch.door.messages[0].headers == {"file-name": "caf�.txt"}


# --- rows -------------------------------------------------------------------------------------------------------------


async def test_good_rows_go_on_and_bad_rows_are_quarantined_with_their_lines(folder: Path) -> None:
    watch = Watch(folder, format="csv", csv={"encoding": "latin-1", "delimiter": ";"}, batch=2)
    watch.drop("people.csv", "id;name\n1;Zoë\n2\n3;Bo\n4;Al;x\n5;Cy\n".encode("latin-1"))
    await watch.emptied()
    assert watch.values() == [{"id": "1", "name": "Zoë"}, {"id": "3", "name": "Bo"}, {"id": "5", "name": "Cy"}]
    assert [message.headers["file-line"] for message in watch.door.messages] == ["2", "4", "6"]
    assert [(message.body, reason) for message, reason in watch.door.parked] == [
        (b"2", "people.csv: the row has 1 fields where 2 are expected at line 3"),
        (b"4;Al;x", "people.csv: the row has 3 fields where 2 are expected at line 5"),
    ]
    rows, report = sorted(watch.bad.iterdir())
    assert rows.read_bytes() == b"id;name\n2\n4;Al;x\n"
    told = json.loads(report.read_text())
    assert (told["file"], told["rows"], [bad["line"] for bad in told["bad"]]) == ("people.csv", rows.name, [3, 5])
    assert (watch.done / "people.csv").exists()


async def test_rows_that_the_flow_refuses_are_quarantined_too(folder: Path) -> None:
    watch = Watch(folder, format="csv")
    watch.door.refuse = lambda m: Refused("id is not a number") if m.value["id"] == "x" else None
    watch.drop("a.csv", 'id,name\n1,A\nx,"B, or ""C"""\n')
    await watch.emptied()
    rows, report = sorted(watch.bad.iterdir())
    assert rows.read_text() == 'id,name\nx,"B, or ""C"""\n'
    assert json.loads(report.read_text())["bad"] == [{"line": 3, "reason": "id is not a number"}]


async def test_a_restart_in_the_middle_goes_on_where_it_was(folder: Path) -> None:
    watch = Watch(folder, format="csv", batch=10)
    watch.drop("a.csv", "n\n" + "".join(f"{n}\n" if n % 7 else f"{n},\n" for n in range(100)))
    for stop in (1, 3, 4, 7):
        await watch.until(lambda stop=stop: len(watch.door.deliveries) >= stop)
    await watch.emptied()
    good = [str(n) for n in range(100) if n % 7]
    assert [value["n"] for value in watch.values()] == good, "lost, doubled or out of order"
    (report,) = watch.bad.glob("*.report.json")
    assert [bad["line"] for bad in json.loads(report.read_text())["bad"]] == [n + 2 for n in range(0, 100, 7)]
    assert not list(watch.bad.glob("unfinished-*"))


async def test_a_restart_that_was_never_told_doubles_nothing(folder: Path) -> None:
    watch = Watch(folder, format="lines", batch=3)
    watch.drop("a.txt", "".join(f"{n}\n" for n in range(10)))
    await watch.until(lambda: len(watch.door.messages) >= 6)
    watch.context.marks.clear()  # the marks never reached the disk
    await watch.emptied()
    assert watch.values() == [str(n) for n in range(10)]


async def test_a_torn_line_of_collected_rows_is_no_trouble(folder: Path) -> None:
    watch = Watch(folder, format="csv", batch=1)
    watch.drop("a.csv", "a,b\n1\n2\n3,4\n")
    await watch.until(lambda: len(watch.door.parked) >= 1)
    for unfinished in watch.bad.glob("unfinished-*"):
        unfinished.write_bytes(unfinished.read_bytes() + b'{"line": 3, "rea')
    await watch.emptied()
    (report,) = watch.bad.glob("*.report.json")
    assert [bad["line"] for bad in json.loads(report.read_text())["bad"]] == [2, 3]


async def test_a_file_of_nothing_but_bad_rows_is_given_up(folder: Path) -> None:
    watch = Watch(folder, format="csv", batch=5, max_bad=7)
    watch.drop("junk.csv", "a,b\n" + "x\n" * 1000)
    await watch.emptied("junk.csv.report.json")
    assert len(watch.door.parked) == 10
    assert "more than 7 bad rows" in json.loads((watch.bad / "junk.csv.report.json").read_text())["reason"]


@pytest.mark.parametrize("format", ["lines", "ndjson"])
async def test_lines_are_rows(folder: Path, format: str) -> None:
    watch = Watch(folder, format=format)
    watch.drop("a.txt", '1\n"two"\n\n' if format == "ndjson" else '1\n"two"\n')
    await watch.emptied()
    assert watch.values() == ([1, "two"] if format == "ndjson" else ["1", '"two"'])


@pytest.mark.parametrize("name", sorted(path.stem for path in (SPECTRUM / "csvs").glob("*.csv")))
async def test_odd_csv_files_mean_what_they_should(folder: Path, name: str) -> None:
    watch = Watch(folder, format="csv")
    watch.drop(f"{name}.csv", (SPECTRUM / "csvs" / f"{name}.csv").read_bytes())
    await watch.emptied()
    assert watch.values() == json.loads((SPECTRUM / "json" / f"{name}.json").read_text())


# --- files that cannot be taken ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "body", "reason"),
    [
        ({"max_size": "10B"}, b"x" * 11, "it has 11 bytes; at most 10B are taken as one message"),
        ({"format": "csv"}, b"a,a\n1,2\n", "a"),
        ({"format": "csv", "csv": {"encoding": "utf-8"}}, b"\xff,b\n1,2\n", "0xff"),
    ],
)
async def test_a_file_that_cannot_be_read_is_quarantined_with_the_reason(
    folder: Path, config: dict[str, Any], body: bytes, reason: str
) -> None:
    watch = Watch(folder, **config)
    watch.drop("x.csv", body)
    watch.drop("z.csv", b"a,b\n1,2")
    await watch.emptied("x.csv.report.json")
    assert (watch.bad / "x.csv").read_bytes() == body
    assert reason in json.loads((watch.bad / "x.csv.report.json").read_text())["reason"]
    assert len(watch.door.messages) == 1, "the next file is not held up"


async def test_a_whole_file_that_is_refused_is_quarantined(folder: Path) -> None:
    watch = Watch(folder)
    watch.door.refuse = lambda message: Refused("no order", status=422)
    watch.drop("a.json", "{}")
    await watch.emptied("a.json.report.json")
    assert len(watch.door.parked) == 1
    assert json.loads((watch.bad / "a.json.report.json").read_text())["reason"].endswith("dead letter: no order")


@pytest.mark.parametrize(("number", "quarantined"), [(errno.EACCES, True), (errno.EIO, False)])
async def test_what_the_system_refuses_decides(
    folder: Path, number: int, quarantined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(folder)
    opened, fails = Root.open, 3

    def failing(root: Root, name: str) -> int:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise OSError(number, os.strerror(number))
        return opened(root, name)

    monkeypatch.setattr(Root, "open", failing)
    watch.drop("a.txt", "x")
    await watch.emptied()
    assert (watch.bad / "a.txt").exists() is quarantined
    assert len(watch.door.messages) == (0 if quarantined else 1)


async def test_a_folder_that_is_not_there_is_waited_for_and_complained_of_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(folder)
    watch.inbox.rmdir()
    looks, entries = 0, Root.entries

    def counted(root: Root, name: str = "") -> Any:
        nonlocal looks
        looks += 1
        return entries(root, name)

    monkeypatch.setattr(Root, "entries", counted)
    await watch.until(lambda: looks >= 4)
    assert watch.context.logged.events() == ["folder_unreadable"]
    watch.inbox.mkdir()
    watch.drop("a.txt", "x")
    await watch.emptied()
    assert len(watch.door.messages) == 1


async def test_an_archive_that_cannot_be_written_holds_nothing_up(folder: Path) -> None:
    watch = Watch(folder)
    watch.done.write_text("a file stands in its place")
    watch.drop("a.txt", "x")
    watch.drop("b.txt", "y")
    await watch.until(lambda: watch.finished("a.txt", "b.txt"))
    watch.done.unlink()
    await watch.emptied()
    assert len(watch.door.messages) == 2
    assert names(watch.done) == ["a.txt", "b.txt"]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ProjectError, match="there is no encoding 'latin-99'"):
        FileSource.Config.parse({"folder": "in", "csv": {"encoding": "latin-99"}})
