"""What keeps a server from starting is said in one line, with an exit code that tells whose move it is."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from dovetail.store.sqlite.bitrot import checksums
from dovetail.testkit.processes import Dovetail

PROJECT = Path(__file__).resolve().parents[1] / "flows/publish-subscribe"
PROBLEMS, UNREACHABLE = 1, 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Dovetail]:
    server = Dovetail(PROJECT, tmp_path, {"SYSTEMS_URL": "http://127.0.0.1:9"})
    yield server
    server.kill()


def refuses(server: Dovetail, code: int, *says: str) -> str:
    """It does not start; the last line says why, and there is no traceback."""
    before = len(server.log())
    assert not server.start()
    assert server.process is not None
    said = server.log()[before:]
    assert server.process.returncode == code, said
    assert "Traceback" not in said and "fault in Dovetail" not in said, said
    last = said.splitlines()[-1]
    assert last.startswith("dovetail: "), said
    for words in says:
        assert words in last, said
    return said


@pytest.fixture(scope="module")
def good_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was used and closed."""
    server = Dovetail(PROJECT, tmp_path_factory.mktemp("good"), {"SYSTEMS_URL": "http://127.0.0.1:9"})
    assert server.start(), server.log()
    assert server.post("/orders", b'{"id":1,"customer":"c","total":0,"lines":[]}').status == 202
    assert server.stop() == 0
    return server.store


@pytest.fixture
def used(server: Dovetail, good_store: Path) -> Path:
    """The server's store, which was used before: its file."""
    shutil.copytree(good_store, server.store)
    return server.store / "store.db"


def scribble(file: Path, start: int, length: int) -> None:
    content = bytearray(file.read_bytes())
    content[start : start + length] = b"\xa5" * length
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: scribble(file, 0, 16), "is not a Dovetail store"),
        (lambda file: scribble(file, 8192, 8192), "damaged"),
        (lambda file: scribble(file, 100, 4000), "damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:20_000]), "damaged"),
        (lambda file: file.write_bytes(b"SQLite format 3\0" + b"\0" * 5000), "store.db"),
        (lambda file: file.write_text("not even close"), "is not a Dovetail store"),
        (lambda file: (file.unlink(), file.mkdir()), "Is a directory"),
    ],
    ids=["no header", "a page", "the schema", "cut off", "zeros", "text", "a folder"],
)
def test_a_damaged_store(server: Dovetail, used: Path, spoil: Callable[[Path], object], says: str) -> None:
    spoil(used)
    content = used.read_bytes() if used.is_file() else None
    refuses(server, UNREACHABLE, says, "store.db")
    assert content is None or used.read_bytes() == content, "it was left alone for whoever mends it"


def execute(file: Path, sql: str) -> None:
    checksums()  # or its pages would be taken for damaged ones
    with apsw.Connection(str(file)) as database:
        database.execute(sql)
    database.close()


def test_a_store_of_a_newer_version_and_of_another_program(server: Dovetail, used: Path) -> None:
    execute(used, "PRAGMA user_version = 999")
    refuses(server, UNREACHABLE, "newer Dovetail", "999")
    used.unlink()
    execute(used, "CREATE TABLE customers (id)")
    refuses(server, UNREACHABLE, "another program")


def test_a_store_that_is_in_use(server: Dovetail, tmp_path: Path) -> None:
    assert server.start(), server.log()
    assert server.process is not None
    (tmp_path / "other").mkdir()
    second = Dovetail(PROJECT, tmp_path / "other", server.environment)
    second.store = server.store
    refuses(second, UNREACHABLE, f"in use by process {server.process.pid}")
    assert server.send("/orders", {"id": 2, "customer": "c", "total": 0, "lines": []}) == 202, "the first is unharmed"


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_that_is_taken(server: Dovetail, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        server.options = [option, port]
        refuses(server, UNREACHABLE, "cannot listen", port, option, "in use")
    assert server.start(), server.log()
    assert str(server.port if option == "--port" else server.admin) == port


def test_a_token_that_others_may_read(server: Dovetail, used: Path) -> None:
    (server.store / "admin.token").chmod(0o644)
    refuses(server, UNREACHABLE, "admin.token", "chmod 600")


def test_a_store_folder_that_cannot_be(server: Dovetail, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server.store = tmp_path / "file/store"
    refuses(server, UNREACHABLE, "cannot be made")


def test_a_variable_and_a_secret_that_are_not_set(tmp_path: Path) -> None:
    server = Dovetail(PROJECT.parent / "webhooks", tmp_path, {"DOVETAIL_SECRET_SLACK": "a", "INBOX": "b"})
    said = refuses(server, PROBLEMS, "problem(s)")
    assert re.search(r"connections/target.yaml:\d+:\d+: error: the environment variable TARGET_URL is not set", said)
    assert re.search(
        r"flows/github.yaml:\d+:\d+: error: the secret 'github' is not set\n +set DOVETAIL_SECRET_GITHUB", said
    )
    assert "INBOX" not in said and "slack" not in said
    assert not server.store.exists(), "nothing was begun"


def test_a_project_of_a_newer_format(tmp_path: Path) -> None:
    (tmp_path / "dovetail.yaml").write_text("project: tomorrow\ndovetail: 2\nnobody: knows this yet\n")
    said = refuses(Dovetail(tmp_path, tmp_path), PROBLEMS, "1 problem(s)")
    assert "dovetail.yaml:2:11: error: this project is written in format 2" in said and "newer Dovetail" in said


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    refuses(Dovetail(tmp_path, tmp_path), PROBLEMS, "not a Dovetail project", "dovetail new")
    refuses(Dovetail(tmp_path / "missing", tmp_path), UNREACHABLE, "there is no folder")
