"""A guest package is installed as anybody's would be, is found by its entry point, and sits the exams."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dovetail.catalog import Catalog
from dovetail.sdk import Call, Operation, Plugin, ProjectError
from dovetail.testkit import operation_suite, step_suite
from dovetail.testkit.fakes import FakeConnecting
from dovetail.testkit.operation_suite import OperationCase
from dovetail.testkit.processes import Dovetail
from dovetail.testkit.step_suite import StepCase
from dovetail.testkit.steps import FakeBuild, message

GUEST = Path(__file__).parent / "guest"
PROJECT = Path(__file__).parent / "guest_project"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest, installed into a folder of its own from nothing but its files."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(GUEST)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def catalog(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """The catalog of a process that has the guest installed."""
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    yield Catalog.builtin().with_guests()
    for name in [name for name in sys.modules if name.startswith("dovetail_weather")]:
        del sys.modules[name]


def test_the_catalog_finds_it(catalog: Catalog) -> None:
    assert "shout" in catalog.names("step") and "weather" in catalog.names("connection")
    assert catalog.origin("step", "shout") == "dovetail-weather"
    assert catalog.origin("step", "map") == "dovetail"
    described = catalog.describe("weather")["connection"]
    assert described["operations"] == {"look_up": "natural"}
    assert [entry["name"] for entry in described["fields"]] == ["unit"]
    with pytest.raises(KeyError, match="did you mean 'shout'"):
        catalog.step("shoot")


def test_a_name_that_is_taken_is_refused(catalog: Catalog) -> None:
    rival = Plugin("rival", steps={"shout": catalog.step("shout")})
    with pytest.raises(ProjectError, match="the step 'shout' is taken by 'dovetail-weather'"):
        catalog.with_plugin(rival)


@pytest.mark.parametrize("name", step_suite.CHECKS)
async def test_its_step_sits_the_exam(name: str, catalog: Catalog) -> None:
    messages = [
        message({"city": "Oslo"}, id="m-1", ref=1), message({"city": 7}, id="m-2", ref=2), message([], id="m-3", ref=3)
    ]  # fmt: skip
    words = {"shout": catalog.step("shout")}
    await step_suite.CHECKS[name](StepCase({"shout": "city"}, lambda: FakeBuild(words=words), messages))


@pytest.mark.parametrize("name", operation_suite.CHECKS)
async def test_its_operation_sits_the_exam(name: str, catalog: Catalog) -> None:
    @asynccontextmanager
    async def open() -> AsyncIterator[Operation]:
        kind = catalog.connection("weather")
        weather = kind("almanac", kind.Config(unit="F"), {})
        await weather.open(FakeConnecting())
        yield weather.operation("look_up")
        await weather.close()

    def call(n: int) -> Call:
        return Call(message({}), f"key{n}", {"place": ("Oslo", "Rome", "Lima")[n % 3]})

    refused = Call(message({}), "key", {"place": "Atlantis"})
    await operation_suite.CHECKS[name](OperationCase(open, call, refused=[refused]))


def test_a_flow_uses_what_it_brought(servers: Callable[..., Dovetail], installed: Path) -> None:
    server = servers(PROJECT, PYTHONPATH=str(installed))
    assert server.start(), server.log()
    answer = server.post("/forecast", '{"city": "Oslo"}')
    assert (answer.status, answer.json) == (200, {"city": "OSLO", "weather": {"temperature": 39, "unit": "F"}})
    refused = server.post("/forecast", '{"city": "Atlantis"}')
    assert refused.status == 422
    assert "there is no weather for 'Atlantis'" in refused.json["detail"]


def test_without_the_package_the_project_does_not_load(servers: Callable[..., Dovetail]) -> None:
    server = servers(PROJECT)
    assert not server.start()
    assert "unknown step 'shout'" in server.log()
