"""What a project's mapping expressions may name, and how they see a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.codec import built_in_codecs
from dovetail.engine.observer import Observer
from dovetail.errors import ProjectError, Rejected
from dovetail.project.build import Builder, FlowBuild
from dovetail.project.load import check_tree, load_snapshot
from dovetail.project.model import Project
from dovetail.project.priority import priority_of
from dovetail.project.values import Surroundings
from dovetail.sdk import Message
from dovetail.testkit.clock import VirtualClock
from dovetail.testkit.steps import FakeContext, message

CATALOG = Catalog.builtin()
FLOW = """\
flow: orders
source:
  webhook: {path: /orders, verify: {open: a test}}
steps:
  - map: %s
"""
UNITS = b"shop,erp\npc,EA\nkg,KGM\n"
RATES = b'[{"country": "DE", "rate": 0.19}, {"country": "FR", "rate": 0.20}]'
FUNCTIONS = b"""\
import math


def vat(net, rate=0.19):
    return math.ceil(net * rate)


def country(code):
    return {"DE": "Germany"}[code]


def _hidden():
    return 1


async def later():
    return 1
"""
FILES: dict[str, bytes] = {
    "dovetail.yaml": b"project: acme\n",
    "tables/units.csv": UNITS,
    "tables/rates.json": RATES,
    "python/functions.py": FUNCTIONS,
}


def tree(text: str, **changes: bytes) -> dict[str, bytes]:
    files = {name.replace("__", "/").replace("_dot_", "."): data for name, data in changes.items()}
    return {**FILES, "flows/orders.yaml": (FLOW % json.dumps(text)).encode(), **files}


def load(files: Mapping[str, bytes]) -> tuple[Project | None, list[str]]:
    around = Surroundings.of(Path("nowhere"), "dev", {})
    project, problems = check_tree(files, CATALOG, around, Path("nowhere"))
    return project, [str(problem) for problem in problems]


def build(files: Mapping[str, bytes]) -> FlowBuild:
    project, problems = load(files)
    assert project is not None, problems
    assert problems == []
    builder = Builder(project, CATALOG, built_in_codecs(), Observer(), VirtualClock())
    return FlowBuild(builder, project.flows["orders"])


def value(text: str, body: Any = None, **attributes: Any) -> Any:
    return build(tree(text)).expression(text).evaluate(message({} if body is None else body, **attributes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('$xref("units", "shop", unit, "erp")', "EA"),
        ('$table("rates")[country = "FR"].rate', 0.2),
        ('"units" ~> $table() ~> $count()', 2),
        ("$table(which).erp", ["EA", "KGM"]),
        ('$parse("csv", text).b', "2"),
        ('$format("json", {"unit": unit})', '{"unit":"pc"}'),
        ("$vat(10)", 2),
        ("$vat(net, 0.5)", 50),
        ("$vat(net, missing)", 19),
        ('{"vat": $vat(missing)}', {}),
        ("[1, 2].$vat($)", [1, 1]),
        ('$map(["DE"], $country)', "Germany"),
        ("$millis()", 1_700_000_000_000),
        ("$message.id & $headers.`x-shop` & $vars.n", "m-1Lyon7"),
    ],
)
def test_what_an_expression_sees(text: str, expected: Any) -> None:
    body = {"unit": "pc", "which": "units", "text": "a,b\n1,2", "net": 100}
    attributes = {"time_ms": 1_700_000_000_000, "headers": {"x-shop": "Lyon"}, "variables": {"n": 7}}
    found = value(text, body, **attributes)
    assert json.loads(json.dumps(found, default=float)) == expected


def test_an_id_stays_the_same_for_a_message_and_a_place_alone() -> None:
    text = '[$uuid(), $uuid(), $uuid("invoice")]'
    one, other = build(tree(text)), build(tree(text))
    first, second = one.expression(text), one.expression(text)
    ids = first.evaluate(message({}, id="m-1"))
    assert ids == first.evaluate(message({"tried": "again"}, id="m-1")) == other.expression(text).evaluate(message({}))
    more = second.evaluate(message({}, id="m-1")) + first.evaluate(message({}, id="m-2"))
    assert len({*ids, *more}) == 8, "the name alone joins two places"
    assert ids[2] == more[2]


def test_dice_roll_on_within_an_evaluation_and_come_back_in_the_next() -> None:
    text = "[$random(), $random()]"
    expression = build(tree(text)).expression(text)
    rolled = expression.evaluate(message({}))
    assert rolled[0] != rolled[1]
    assert rolled == expression.evaluate(message({}))
    assert rolled != expression.evaluate(message({}, id="m-2"))


async def test_branches_with_the_same_text_draw_ids_of_their_own() -> None:
    one = build(tree("$uuid()"))
    steps = [one.steps([{"map": "$uuid()"}])[0] for _ in range(2)]
    drawn = [(await step.run([message({})], FakeContext())).out[0].value for step in steps]
    assert len(set(drawn)) == 2


CASES: list[tuple[str, str]] = [
    ('$table("unit")', "there is no table 'unit' (did you mean 'units'?)"),
    ('$xref("nope", "a", 1, "b")', "there is no table 'nope' "),
    ("$vta(1)", "there is no function $vta (did you mean '$vat'?)"),
    ("$_hidden()", "there is no function $_hidden"),
    ("$later()", "there is no function $later"),
    ("$sumn(lines)", "there is no function $sumn (did you mean '$sum'?)"),
    ("$header.id", "warning: nothing sets the variable $header (did you mean '$headers'?)"),
    ('$parse("cvs", text)', "there is no format 'cvs' (did you mean 'csv'?)"),
    ("$eval(text)", "$eval is switched off in a project"),
    ("$vat(net, 0.07, 2)", "$vat takes 2 arguments at most, and is given 3 (see python/functions.py)"),
]


@pytest.mark.parametrize(("text", "message"), CASES)
def test_names_that_nobody_knows_are_told_with_their_place(text: str, message: str) -> None:
    column = 10 if '"' in json.dumps(text) else 9
    [inline] = load(tree("  " + text))[1]
    assert inline.startswith(f"flows/orders.yaml:5:{column + 3}: {message}")
    [filed] = load(tree("maps/a.jsonata", maps__a_dot_jsonata=b'{\n  "a": ' + text.encode() + b"\n}"))[1]
    assert filed.startswith(f"maps/a.jsonata:2:8: {message}")


def test_names_that_an_expression_sets_itself_are_known() -> None:
    text = (
        "($f := function($a, $b){ $a + $b }; $g := $f(1, ?); lines@$l#$i.{'n': $g($i), 'l': $l.n, 't': $vat(?)} ~> $f)"
    )
    assert load(tree(text))[1] == []


def test_a_function_that_takes_any_number_of_arguments_is_given_any_number() -> None:
    source = b"def most(*given):\n    return max(given)\n\n\n@cached\ndef vat(net):\n    return net\n"
    assert load(tree("$most(1, 2, 3) + $vat(1, 2)", python__functions_dot_py=source))[1] == []


def test_faulty_tables_and_functions_are_told_with_their_place() -> None:
    problems = load(
        tree(
            "a",
            tables__broken_dot_json=b'[\n{"a": }]',
            tables__single_dot_json=b'{"a": 1}',
            tables__units_dot_json=b"[]",
            tables__ragged_dot_csv=b"a,b\n1,2\n1,2,3\n",
            python__functions_dot_py=b"def vat(x):\n    return x\n\n\ndef sum(x):\n    return x\n",
        )
    )[1]
    assert [one.split(": ")[0] for one in problems] == [
        "python/functions.py:5:1", "tables/broken.json:2:7", "tables/ragged.csv:3:1", "tables/single.json:1:1",
        "tables/units.json:1:1",
    ]  # fmt: skip
    assert "has a function $sum already" in problems[0] and "a table is a list of objects" in problems[3]


def test_tables_and_functions_belong_to_the_versions_of_the_flows_that_use_them(tmp_path: Path) -> None:
    def digest(text: str, **changes: bytes) -> str:
        project, problems = load(tree(text, **changes))
        assert project is not None, problems
        return project.flows["orders"].digest

    other: dict[str, bytes] = {"tables__units_dot_csv": UNITS + b"m,MTR\n"}
    again: dict[str, bytes] = {"python__functions_dot_py": FUNCTIONS.replace(b"ceil", b"floor")}
    for text, on_table, on_function in (
        ("a", False, False),
        ('$table("rates")', False, False),
        ('$table("units")', True, False),
        ("$table(name)", True, False),
        ("$vat(1)", False, True),
        ("$map(a, $vat)", False, True),
    ):
        assert (digest(text) != digest(text, **other)) == on_table, text
        assert (digest(text) != digest(text, **again)) == on_function, text

    project, _ = load(tree('$xref("units", "shop", a, "erp") & $vat(1)'))
    assert project is not None
    files = project.snapshot("orders")
    assert {"tables/units.csv", "python/functions.py"} < set(files) and "tables/rates.json" not in files
    (tmp_path / "dovetail.yaml").write_bytes(b"project: acme\n")
    older = load_snapshot(files, CATALOG, "dev", {}, tmp_path)
    assert older.tables["units"][0] == {"shop": "pc", "erp": "EA"}


def test_what_goes_wrong_in_a_mapping_rejects_its_message() -> None:
    with pytest.raises(Rejected, match=r"There is no lookup table named nope") as failed:
        value("$table(name)", {"name": "nope"})
    assert failed.value.code == "mapping D4002"
    with pytest.raises(Rejected, match=r"1:\d+: \$country failed: KeyError: 'XX'"):
        value('$country("XX")')
    project, _ = load(tree("$boom()", python__functions_dot_py=b"def boom():\n    pass\n\n\n1 / 0\n"))
    assert project is not None
    builder = Builder(project, CATALOG, built_in_codecs(), Observer(), VirtualClock())
    with pytest.raises(ProjectError, match=r"python/functions.py cannot be imported: ZeroDivisionError"):
        builder.version("orders", 1)


def test_an_expression_that_needs_no_world_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("nobody asked")

    for name in ("World", "bindings"):
        monkeypatch.setattr(f"dovetail.project.expressions.{name}", refuse)
    assert value('$uppercase(a) & $toMillis("2020-01-01T00:00:00Z") & $vat(1)', {"a": "x"}) == "X15778368000001"


@pytest.mark.parametrize(
    ("text", "body", "expected"),
    [
        ("urgent", {}, 1),
        ("background", {}, 3),
        ('tier = "gold" ? "urgent" : "background"', {"tier": "gold"}, 1),
        ('tier = "gold" ? "urgent"', {"tier": "iron"}, 2),
        ("$.tier", {"tier": "whatever"}, 2),
        ("$.tier", {"tier": ["urgent"]}, 2),
        ("$number(tier)", {"tier": "no number"}, 2),
    ],
)
def test_a_priority_is_one_of_three_and_normal_in_doubt(text: str, body: Any, expected: int) -> None:
    codec = built_in_codecs().by_name("json")
    compiled = priority_of(text, build(tree("1")).expression)
    assert compiled(Message(codec.encode(body), codec=codec)) == expected
