"""Expressions are held against the contract of the body that they read, and of the one that they make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.codec import built_in_codecs
from dovetail.engine.observer import Observer
from dovetail.errors import Rejected
from dovetail.project.build import Builder, FlowBuild
from dovetail.project.load import check_tree
from dovetail.project.model import Project
from dovetail.project.values import Surroundings
from dovetail.testkit.clock import VirtualClock
from dovetail.testkit.steps import FakeContext, message

CATALOG = Catalog.builtin()
SHOP = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer"},
        "status": {"type": "string"},
        "customer": {"$ref": "../customer/1.json"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
    },
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"sku": {"type": "string"}, "price": {"type": "number"}, "again": {"$ref": "#/$defs/line"}},
        }
    },
}
CUSTOMER = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "$defs": {"address": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
ERP = {
    "type": "object",
    "required": ["reference", "rows"],
    "additionalProperties": False,
    "properties": {
        "reference": {"type": "string"},
        "amount": {"type": "number"},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    },
}
GOOD = '{"reference": $string(id), "rows": lines.{"sku": sku}}'
FLOW = """\
flow: orders
source:
  webhook: {path: /orders, verify: {open: a test}}
contract: shop@1
key: customer.id
steps:
"""


def load(steps: str, head: str = FLOW, **maps: str) -> tuple[Project | None, list[str]]:
    files = {"dovetail.yaml": b"project: acme\n", "flows/orders.yaml": (head + steps).encode()}
    for ref, schema in (("shop", SHOP), ("customer", CUSTOMER), ("erp", ERP)):
        files[f"contracts/{ref}/1.json"] = json.dumps(schema).encode()
    files |= {f"maps/{name}.jsonata": text.encode() for name, text in maps.items()}
    project, problems = check_tree(files, CATALOG, Surroundings.of(Path("nowhere"), "dev", {}), Path("nowhere"))
    return project, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("  - filter: state = 1", "flows/orders.yaml:7:13: state is not in the contract shop@1 (did you mean"),
        ("  - filter: statuss = 1", "7:13: statuss is not in the contract shop@1 (did you mean 'status'?)"),
        ("  - filter: status * 2 > 1", "7:20: the left side of * (status) must be a number, it is string"),
        ('  - filter: "customer.name = 1"', "7:23: warning: customer.name is not in the contract shop@1"),
        ("  - filter: customer.address.town", "7:30: warning: customer.address.town is not in the contract shop@1"),
        ("  - filter: lines.again.again.skuu", "7:31: warning: lines.again.again.skuu is not in the contract shop@1"),
        ("  - filter: id > 1\n  - map: |\n      {\n        'a': idd\n      }", "10:14: idd is not in the contract"),
        ("  - set: {a: statsu}\n", "statsu is not in the contract shop@1"),
        ("  - route:\n    - when: statsu\n      steps: []", "8:13: statsu is not in the contract"),
        ("  - route:\n    - when: id\n      steps: [{map: statsu}]", "9:21: statsu is not in the contract"),
        ("  - parallel:\n    - filter: id\n    - map: statsu", "9:12: statsu is not in the contract"),
        ("  - split: linse", "split: nothing"),
        ("  - map: id\n  - filter: statsu", "nothing: the body is another one now"),
        ("  - map: maps/a.jsonata", "maps/a.jsonata:2:8: linse is not in the contract shop@1 (did you mean 'lines'?)"),
        ("  - map: maps/a.jsonata\n  - map: b", "maps/a.jsonata:2:8: linse is not in the contract shop@1"),
    ],
)
def test_what_reads_the_accepted_body_is_held_against_its_contract(steps: str, problem: str) -> None:
    found = load(steps, a='{\n  "a": linse\n}')[1]
    if "nothing" in problem:
        assert found == []
    else:
        assert [problem in one for one in found] == [True], found


def test_key_and_dedupe_read_the_accepted_body() -> None:
    found = load("  - log: seen\n", FLOW.replace("customer.id", "customre.id\ndedupe: id.x"))[1]
    assert found == [
        "flows/orders.yaml:5:6: customre is not in the contract shop@1 (did you mean 'customer'?)",
        "flows/orders.yaml:6:12: id.x cannot exist: id is number",
    ]


def test_a_body_that_nobody_promised_is_not_held_against_anything() -> None:
    assert load("  - filter: nope.nope\n", FLOW.replace("contract: shop@1\n", ""))[1] == []
    unbound = FLOW.replace("source:\n  webhook: {path: /orders, verify: {open: a test}}\n", "")
    assert load("  - filter: nope.nope\n", unbound)[1] == []


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        (GOOD, ""),
        ('{"reference": "a", "rows": [], "note": 1}', "note is not in the contract erp@1"),
        ('{"reference": "a", "rows": [], "amonut": 1}', "amonut is not in the contract erp@1 (did you mean 'amount'?)"),
        ('{"reference": "a"}', "rows is required and never written"),
        ('{"reference": id, "rows": []}', "reference must be string, it is number"),
        ('{"reference": $string(idd), "rows": []}', "idd is not in the contract shop@1"),
        ('{"reference": "a", "rows": lines.{"skuu": sku}}', "warning: rows.skuu is not in the contract erp@1"),
    ],
)
def test_what_a_map_makes_is_held_against_its_contract(mapping: str, problem: str) -> None:
    found = load("  - map: maps/a.jsonata\n    contract: erp@1\n", a=f"\n  {mapping}")[1]
    assert len(found) == bool(problem), found
    assert all(one.startswith("maps/a.jsonata:2:") and problem in one for one in found), found


def test_after_a_map_with_a_contract_the_body_keeps_that_one() -> None:
    steps = "  - map: maps/a.jsonata\n    contract: erp@1\n  - filter: refrence\n"
    assert load(steps, a=GOOD)[1] == [
        "flows/orders.yaml:9:13: refrence is not in the contract erp@1 (did you mean 'reference'?)"
    ]


def test_a_contract_that_is_not_there_is_told() -> None:
    found = load("  - map: id\n    contract: epr@1\n")[1]
    assert found == ["flows/orders.yaml:8:15: there is no contract 'epr@1' (did you mean 'erp@1'?)"]


async def through(body: Any, mapping: str = GOOD) -> Any:
    """The value that comes out of a map with the contract erp@1; raises what failed it."""
    project, problems = load("  - map: maps/a.jsonata\n    contract: erp@1\n", a=mapping)
    assert project is not None, problems
    assert "contracts/erp/1.json" in project.snapshot("orders")
    builder = Builder(project, CATALOG, built_in_codecs(), Observer(), VirtualClock())
    [step] = FlowBuild(builder, project.flows["orders"]).steps(project.flows["orders"].head.steps)
    result = await step.run([message(body)], FakeContext())
    for _, error in result.failed:
        raise error
    return result.out[0].value


@pytest.mark.parametrize(
    ("lines", "rows"), [([{"sku": "A"}], [{"sku": "A"}]), ([], []), ([{"sku": "A"}] * 2, [{"sku": "A"}] * 2)]
)
async def test_arrays_stay_arrays(lines: Any, rows: Any) -> None:
    assert await through({"id": 1, "lines": lines}) == {"reference": "1", "rows": rows}


async def test_a_result_that_breaks_its_contract_is_rejected_with_the_paths() -> None:
    with pytest.raises(Rejected, match="it does not keep erp@1: /rows/0/sku: 7 is not of type") as failed:
        await through({"id": 1, "lines": [{"sku": 7}]})
    assert [one["path"] for one in failed.value.detail] == ["/rows/0/sku"]
    with pytest.raises(Rejected, match="the mapping gives nothing"):
        await through({"id": 1}, "$vars.nothing")


async def test_exact_amounts_keep_a_contract() -> None:
    mapping = '{"reference": "1", "rows": [], "amount": $decimal("19.90") * 3}'
    assert str((await through({"id": 1}, mapping))["amount"]) == "59.70"
