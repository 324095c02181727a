"""The folder as a connection: safe names, whole writes, remembered reads."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dovetail.connectors.file import FileConnection
from dovetail.connectors.file.root import Root, translated
from dovetail.sdk import Call, InDoubt, MessageError, Paused, Rejected, Retry
from dovetail.testkit.fakes import FakeConnecting
from dovetail.testkit.steps import message


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def opened(folder: Path, **config: Any) -> FileConnection:
    connection = FileConnection("files", FileConnection.Config(root="root", **config), {})
    await connection.open(FakeConnecting(folder))
    (folder / "root").mkdir(exist_ok=True)
    return connection


def call(value: Any = None, key: str = "key", **args: Any) -> Call:
    return Call(message(value, id="m-7"), key, args)


@pytest.mark.parametrize("operation", ["read", "write", "append"])
@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "link/x", "file-link", "", ".", "a\0b", 7, None, ".dovetail-x", "y" * 300],
)
async def test_no_name_leads_out(tmp_path: Path, operation: str, name: Any) -> None:
    files = await opened(tmp_path)
    (tmp_path / "x").write_text("secret")
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    (tmp_path / "root" / "file-link").symlink_to(tmp_path / "x")
    if operation == "write" and name == "file-link":
        await files.operation(operation).call(
            call("new", path=name)
        )  # it takes the link's place, and does not follow it
        assert not (tmp_path / "root" / "file-link").is_symlink()
    else:
        with pytest.raises(Rejected):
            await files.operation(operation).call(call("new", path=name))
    assert (tmp_path / "x").read_text() == "secret"
    assert names(tmp_path) == ["root", "x"]


async def test_a_read_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    files = await opened(tmp_path, cache="100B")
    read = files.operation("read")
    path = tmp_path / "root" / "a.json"
    path.write_text('{"n": 1}')
    assert (await read.call(call(path="a.json"))).value == {"n": 1}
    assert files._cached == 8
    path.write_text('{"n": 2}')
    os.utime(path, ns=(1, 1))
    assert (await read.call(call(path="a.json"))).value == {"n": 2}
    (tmp_path / "root" / "b.txt").write_text("x" * 99)
    assert (await read.call(call(path="b.txt"))).value == "x" * 99
    assert files._cached == 99, "the oldest made room"


async def test_the_ending_says_the_format_and_an_argument_overrules_it(tmp_path: Path) -> None:
    files = await opened(tmp_path)
    read = files.operation("read")
    (tmp_path / "root" / "a.csv").write_text("n\n1\n")
    (tmp_path / "root" / "a.bin").write_text("[1]")
    assert (await read.call(call(path="a.csv"))).value == [{"n": "1"}]
    assert (await read.call(call(path="a.bin"))).value == b"[1]"
    assert (await read.call(call(path="a.bin", format="json"))).value == [1]


async def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    files = await opened(tmp_path, max_size="10B")
    (tmp_path / "root" / "a").write_text("x" * 11)
    with pytest.raises(Rejected, match="longer than the 10 bytes"):
        await files.operation("read").call(call(path="a"))


async def test_a_write_is_whole_and_names_itself(tmp_path: Path) -> None:
    files = await opened(tmp_path)
    write = files.operation("write")
    assert (await write.call(call([1], path="a/b/c.json"))).value == {"path": "a/b/c.json", "size": 3}
    assert (await write.call(call([2]))).value == {"path": "m-7.json", "size": 3}
    assert (tmp_path / "root" / "a" / "b" / "c.json").read_bytes() == b"[1]"
    assert names(tmp_path / "root") == ["a", "m-7.json"]


async def test_a_write_is_on_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _r=real, **k: (steps.append(_n), _r(*a, **k))[1])
    files = await opened(tmp_path)
    await files.operation("write").call(call([1], path="a.json"))
    assert steps == ["fsync", "rename", "fsync"]


async def test_leftovers_of_a_crash_are_overwritten_and_never_seen(tmp_path: Path) -> None:
    files = await opened(tmp_path)
    (tmp_path / "root" / ".dovetail-key").write_text("half")
    assert (await files.operation("list").call(call())).value == []
    await files.operation("write").call(call([1], path="a.json"))
    assert names(tmp_path / "root") == ["a.json"]


async def test_an_append_that_fails_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = await opened(tmp_path)
    append = files.operation("append")
    await append.call(call("one", path="log"))
    monkeypatch.setattr(os, "fsync", _raises(OSError(errno.ENOSPC, "full")))
    with pytest.raises(Retry):
        await append.call(call("two", path="log"))
    assert (tmp_path / "root" / "log").read_text() == '"one"\n'


def _raises(error: Exception) -> Any:
    def function(*args: Any) -> None:
        raise error

    return function


async def test_a_list_shows_regular_files(tmp_path: Path) -> None:
    files = await opened(tmp_path)
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / "root" / name).write_text("x")
    (tmp_path / "root" / "d.csv").symlink_to("/etc/passwd")
    (tmp_path / "root" / "e.csv").mkdir()
    listed = (await files.operation("list").call(call(pattern="*.csv"))).value
    assert [(entry["name"], entry["size"]) for entry in listed] == [("a.csv", 1), ("b.csv", 1)]
    with pytest.raises(Rejected):
        await files.operation("list").call(call(folder=".."))


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_translated(number: int) -> None:
    error = translated(OSError(number, os.strerror(number)), "a.txt")
    assert isinstance(error, MessageError) and not isinstance(error, InDoubt)
    assert str(error).startswith("a.txt: ")
    permanent = number in (
        errno.ENOENT,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.EEXIST,
        errno.EINVAL,
    )
    assert isinstance(error, Rejected) is permanent
    assert isinstance(error, Paused) is (number in (errno.EACCES, errno.EPERM, errno.EROFS))


def test_a_move_to_another_file_system_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "a.txt").write_text("new")
    (tmp_path / "there" / "a.txt").write_text("old")
    monkeypatch.setattr(os, "link", _raises_always(OSError(errno.EXDEV, "other device")))
    moved = Root(tmp_path / "here").move("a.txt", Root(tmp_path / "there"), "a.txt")
    assert moved == "a-2.txt"
    assert (tmp_path / "there" / "a-2.txt").read_text() == "new"
    assert (tmp_path / "there" / "a.txt").read_text() == "old"
    assert not names(tmp_path / "here")


def _raises_always(error: Exception) -> Any:
    def function(*args: Any, **more: Any) -> None:
        raise error

    return function


def test_a_crash_in_the_middle_of_a_move_is_finished(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "a.txt").write_text("x")
    os.link(tmp_path / "here" / "a.txt", tmp_path / "there" / "a.txt")
    assert Root(tmp_path / "here").move("a.txt", Root(tmp_path / "there"), "a.txt") == "a.txt"
    assert (names(tmp_path / "here"), names(tmp_path / "there")) == ([], ["a.txt"])
