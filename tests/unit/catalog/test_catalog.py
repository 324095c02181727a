"""The catalog: what is in it, what it says about itself, and whom it lets in."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import jsonschema_rs
import pytest

from dovetail.catalog import Catalog, UnknownName
from dovetail.catalog import catalog as module
from dovetail.sdk import Connection, Message, MessageStep, Plugin, ProjectError, Source, Spec, Step, field
from dovetail.spec import json_schema

CATALOG = Catalog.builtin()
EVERYTHING = [(kind, name) for kind in module.KINDS for name in CATALOG.names(kind)]


class Shout(MessageStep):
    """Says it aloud."""

    class Config(Spec):
        name: str = field(main=True, help="The field.", example="city")

    def apply(self, message: Message) -> Message:
        return message


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_everything_in_it_can_be_loaded_and_says_what_it_is(kind: Any, name: str) -> None:
    loaded = getattr(CATALOG, kind)(name)
    assert issubclass(loaded, {"step": Step, "connection": Connection, "source": Source}[kind])
    described = CATALOG.describe(name, kind)[kind]
    assert described["origin"] == "dovetail"
    assert described["summary"].endswith("."), "a summary is a sentence of the docstring"
    assert described["schema"] == json_schema(loaded.Config)
    assert [entry["name"] for entry in described["fields"]] == [declared.name for declared in loaded.Config.fields()]


NEEDS = {
    "aggregate.fold": {"until": "$ > 1000"},
    "aggregate": {"count": 1},
    "claim_check": {"action": "out"},
    "claim_check.leave": {"action": "in"},
    "claim_check.keep": {"action": "in"},
    "delay.until": {"for": None},
    "join": {"key": "id", "within": "1m"},
    "signal": {"key": "id"},
    "wait": {"key": "id"},
    "enrich": {"into": "x"},
    "loop": {"steps": []},
    "loop.while": {"steps": [], "over": None},
    "loop.result": {"steps": [], "collect": "x"},
    "try": {"steps": [], "catch": []},
    "wire_tap": {},
    "enrich.into": {},
    "enrich.merge": {},
}


@pytest.mark.parametrize("name", CATALOG.names("step"))
def test_the_examples_of_a_steps_settings_may_be_written(name: str) -> None:
    config = CATALOG.step(name).Config
    main = config.main_field()
    assert main is not None, "the step's own word sets a field"
    start = {} if main.example is None else {main.name: main.example}
    for declared in config.fields():
        if declared.example is not None:
            needed = NEEDS.get(f"{name}.{declared.name}", NEEDS.get(name, {}))
            _, problems = config.check({**start, **needed, declared.name: declared.example})
            assert not problems, f"{name}.{declared.name}: {problems}"


def test_one_name_may_be_several_things() -> None:
    assert set(CATALOG.describe("file")) == {"connection", "source"}
    assert set(CATALOG.describe("file", "source")) == {"source"}
    assert CATALOG.describe("file", "connection")["connection"]["sinks"] == {
        "write": "natural",
        "append": "none",
    }
    assert CATALOG.describe("http")["connection"]["operation"]["fields"]


def test_a_name_that_is_not_there_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName) as caught:
        CATALOG.step("fliter")
    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == "there is no step 'fliter' (did you mean 'filter'?)"
    assert caught.value.suggestion == "did you mean 'filter'?"
    for ask in (CATALOG.connection, CATALOG.source, CATALOG.describe):
        with pytest.raises(UnknownName, match=r"known: .*file"):
            ask("zzz")


def test_nothing_is_imported_until_it_is_asked_for() -> None:
    code = (
        "import sys; from dovetail.catalog import Catalog; c = Catalog.builtin(); c.names('step'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith(("dovetail.steps", "dovetail.connectors"))]


def test_a_plugin_gives_another_catalog_and_leaves_this_one_alone() -> None:
    more = CATALOG.with_plugin(Plugin("guest", steps={"shout": Shout}))
    assert more.step("shout") is Shout
    assert more.describe("shout")["step"]["origin"] == "guest"
    assert "shout" not in CATALOG.names("step")
    assert set(more.names("step")) == {*CATALOG.names("step"), "shout"}


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Plugin("guest", steps={"map": Shout}), "plugin 'guest': the step 'map' is taken by 'dovetail'; rename it"),
        (Plugin("guest", sources={"x": Shout}), "the source 'x' is not a dovetail.sdk.Source"),  # type: ignore[dict-item]
        (Plugin("guest", steps={"x": "Shout"}), "the step 'x' is not a dovetail.sdk.Step"),  # type: ignore[dict-item]
        (Plugin("guest", steps={"x": MessageStep}), "the step 'x' has no Config"),
    ],
)
def test_a_plugin_that_does_not_fit_is_refused(plugin: Plugin, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        CATALOG.with_plugin(plugin)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere_at_all:plugin", "plugin 'guest' \\(nowhere_at_all:plugin\\) cannot be imported: ModuleNotFoundError"),
        ("dovetail.catalog:Catalog", "dovetail.catalog:Catalog is not a dovetail.sdk.Plugin"),
    ],
)
def test_a_package_that_is_no_plugin_is_named(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("guest", value, module.GROUP)
    monkeypatch.setattr(module, "entry_points", lambda group: [point])
    with pytest.raises(ProjectError, match=message):
        CATALOG.with_guests()


@pytest.mark.parametrize(
    "branches", [[{"call": "a.b"}, {"call": "c.d"}], [[{"call": "a.b"}, {"map": "x"}]], [{"steps": [{"call": "a.b"}]}]]
)
def test_the_schema_knows_every_way_to_write_a_branch(branches: Any) -> None:
    config = CATALOG.step("parallel").Config
    assert not config.check({"branches": branches})[1]
    assert jsonschema_rs.is_valid(json_schema(config), {"branches": branches})
    assert not jsonschema_rs.is_valid(json_schema(config), {"branches": ["call"]})
