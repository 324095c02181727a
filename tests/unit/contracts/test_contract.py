from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dovetail.codec import JsonCodec
from dovetail.contracts import Contract, ContractError, parse_ref

SUITE = Path(__file__).parents[4] / "shared/data/conformance/json-schema/tests/draft2020-12"
CASES = [
    pytest.param(group["schema"], test["data"], test["valid"], id=f"{group['description']}: {test['description']}")
    for path in sorted(SUITE.glob("*.json"))
    for group in JsonCodec().decode(path.read_bytes())
    for test in group["tests"]
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "valid"), CASES)
def test_schema_suite(schema: Any, value: Any, valid: bool) -> None:
    contract = Contract("suite", 1, schema)
    assert contract.is_valid(value) is valid
    assert (contract.validate(value) == []) is valid


def test_the_suite_is_there() -> None:
    assert len(CASES) > 150


ORDER = {
    "type": "object",
    "required": ["id", "lines"],
    "properties": {
        "id": {"type": "integer"},
        "total": {"type": "number", "multipleOf": 0.01},
        "at": {"type": "string", "format": "date-time"},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
        "customer": {"$ref": "../shop.customer/1.json"},
        "a/b~c": {"type": "string"},
    },
    "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}},
}
CUSTOMER = {"type": "object", "required": ["name"]}
CONTRACT = Contract("shop.order", 2, ORDER, {"shop.customer@1": CUSTOMER})


def test_all_violations_come_with_their_paths_and_rules() -> None:
    value = {"id": "7", "lines": [{"sku": "a"}, {}], "at": "yesterday", "customer": {}, "a/b~c": 1}
    found = {(violation.path, violation.rule) for violation in CONTRACT.validate(value)}
    assert found == {
        ("/id", "type"),
        ("/lines/1", "required"),
        ("/at", "format"),
        ("/customer", "required"),
        ("/a~1b~0c", "type"),
    }
    assert '"sku"' in next(str(violation) for violation in CONTRACT.validate(value) if violation.path == "/lines/1")
    assert CONTRACT.ref == "shop.order@2"


def test_exact_numbers_are_checked_exactly() -> None:
    good = {"id": 2**80, "total": Decimal("19.99"), "lines": [{"sku": "a"}]}
    assert CONTRACT.validate(good) == []
    assert CONTRACT.is_valid({**good, "id": Decimal("5.0")})
    assert not CONTRACT.is_valid({**good, "id": Decimal("5.5")})
    assert not CONTRACT.is_valid({**good, "total": Decimal("19.999")})


def test_many_violations_are_cut() -> None:
    assert len(CONTRACT.validate({"id": 1, "lines": [{}] * 1000})) == 50


def test_long_messages_are_cut() -> None:
    violation = CONTRACT.validate({"id": "x" * 10_000, "lines": [{"sku": "a"}]})[0]
    assert len(violation.message) <= 300


@pytest.mark.parametrize(
    ("schema", "word", "pointer"),
    [
        ({"type": "objekt"}, "objekt", "/type"),
        ({"properties": {"a": {"minLength": -1}}}, "-1", "/properties/a/minLength"),
        ({"properties": {"a": {"type": "objct"}}}, '"objct" is no type: write array, boolean', "/properties/a/type"),
        ({"type": ["string", "nul"]}, '["string", "nul"] is no type', "/type"),
        ({"items": [{}]}, "prefixItems", "/items"),
        ({"type": Decimal("1.5")}, "1.5", "/type"),
        ({"multipleOf": Decimal("-0.5")}, "-0.5", "/multipleOf"),
        ([], "", ""),
        ({"$ref": "#/$defs/nope"}, "nope", ""),
        ({"$ref": "../other/1.json"}, "no contract other@1", ""),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "nothing is fetched", ""),
        ({"$ref": "file:///etc/passwd"}, "nothing is fetched", ""),
        ({"pattern": "("}, "(", ""),
        ({"pattern": "(?=a)b"}, "", ""),
    ],
)
def test_an_unusable_schema_is_refused(schema: Any, word: str, pointer: str) -> None:
    with pytest.raises(ContractError) as caught:
        Contract("a", 1, schema)
    assert word in caught.value.message
    assert caught.value.pointer.startswith(pointer)


def test_patterns_are_linear() -> None:
    contract = Contract("a", 1, {"pattern": "^(a+)+$"})
    assert not contract.is_valid("a" * 50_000 + "!")


def test_refs() -> None:
    assert parse_ref("shop.order@2") == ("shop.order", 2)
    for wrong in ("shop.order", "@2", "a@0", "a@x", "a b@1", "../a@1", "a@1@2"):
        with pytest.raises(ValueError, match="name@version"):
            parse_ref(wrong)


def test_the_schema_survives_json() -> None:
    assert json.loads(json.dumps(CONTRACT.schema)) == ORDER
