"""A server whose doors turn everything wrong away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dovetail.testkit.processes import Dovetail, Recorder

DOOR = Path(__file__).parent / "door"
SECRETS = {name: f"the {name} secret" for name in ("github", "slack", "stripe")}


@pytest.fixture
def target() -> Iterator[Recorder]:
    """A target for each test: an order that is sent to another store has the same names there."""
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `in` and `out`."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "in").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], place: Path) -> Dovetail:
    secrets = {f"DOVETAIL_SECRET_{name.upper()}": secret for name, secret in SECRETS.items()}
    server = servers(DOOR, IN=str(place / "in"), OUT=str(place / "out"), **secrets)
    assert server.start(), server.log()
    return server
