"""A mapping against its contracts: what cannot exist, what is not wanted, what is missing, what cannot fit."""

from __future__ import annotations

from typing import Any

import pytest

from dovetail.mapping import MappingError, Shaper, check, compile, shape

SOURCE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer"},
        "customer": {"$ref": "#/$defs/customer"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "notes": {"type": ["string", "null"]},
        "extra": {"type": "object"},
        "pay": {"oneOf": [{"properties": {"iban": {"type": "string"}}}, {"properties": {"card": {"type": "string"}}}]},
    },
    "$defs": {
        "customer": {"allOf": [{"type": "object", "properties": {"email": {"type": "string"}}}]},
        "line": {
            "type": "object",
            "properties": {"sku": {"type": "string"}, "qty": {"type": "integer"}, "price": {"type": "number"}},
            "additionalProperties": False,
        },
    },
}
TARGET: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["number", "items"],
    "properties": {
        "number": {"type": "string"},
        "total": {"type": "number"},
        "note": {"type": "string"},
        "items": {
            "type": "array",
            "items": {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}}},
        },
    },
}
GOOD = """{
    "number": $string(id),
    "items": lines[qty > 0].{"code": sku},
    "total": $sum(lines.(price * qty))
}"""


def codes(text: str, source: Any = SOURCE, target: Any = TARGET) -> list[tuple[str, int, int, str | None]]:
    return [(one.code, one.line, one.column, one.nearest) for one in check(text, source, target)]


def test_a_mapping_that_fits_has_no_findings() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "nearest"),
    [
        ("lines.skuu", "unknown-path", 1, 7, "sku"),
        ("lines[quantity > 0]", "unknown-path", 1, 7, None),
        ("\n  lines.{'a': Price}", "unknown-path", 2, 15, "price"),
        ("customer.e_mail", "unknown-path", 1, 10, "email"),
        ("$lookup(customer, 'mail')", "unknown-path", 1, 19, "email"),
        ("$map(lines, function($l){ $l.skuu })", "unknown-path", 1, 30, "sku"),
        ("($l := lines[0]; $l.sk)", "unknown-path", 1, 21, "sku"),
        ("lines@$l.$l.quantity", "unknown-path", 1, 13, None),
        ("lines^(pric).sku", "unknown-path", 1, 8, "price"),
        ("id.value", "unknown-path", 1, 4, None),
        ("{'a': 1}.b", "unknown-path", 1, 10, None),
        ("$$.customr.email", "unknown-path", 1, 4, "customer"),
        ("lines ~> $map(function($l){ $l.sku2 })", "unknown-path", 1, 32, "sku"),
        ("customer.email * 2", "type-clash", 1, 16, None),
        ("-(notes)", "type-clash", 1, 1, None),
        ("id < customer.email", "type-clash", 1, 4, None),
    ],
)
def test_what_the_source_does_not_have(text: str, code: str, line: int, column: int, nearest: str | None) -> None:
    assert codes(text, target=None) == [(code, line, column, nearest)]


@pytest.mark.parametrize(
    "text",
    [
        "pay.iban & pay.card",
        "extra.anything.at.all",
        "lines.*",
        "**.foo",
        "$unbound.x",
        "lines#$i.($i + qty)",
        "$reduce(lines, function($sum, $line){ $sum + $line.qty })",
        "$each(customer, function($v){ $v.x })",
        "notes & ''",
        "lines.(qty > 1 ? sku : price)",
        "lines{sku: $sum(qty)}",
        "$f(id)",
        "customer.email[0]",
        "lines[0].sku",
        "lines[-1].qty * 2",
    ],
)
def test_what_is_unknown_is_not_reported(text: str) -> None:
    assert codes(text, target=None) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'number': 'x', 'items': []}", []),
        ("{'number': 'x'}", [("missing-field", 1, 1, None)]),
        (
            "{'number': 'x', 'items': lines.{'kode': sku}}",
            [("missing-field", 1, 17, None), ("unknown-field", 1, 33, "code")],
        ),
        ("{'number': id, 'items': []}", [("type-clash", 1, 2, None)]),
        ("{'number': 'x', 'items': [], 'totl': 1}", [("unknown-field", 1, 30, "total")]),
        (
            "id > 1 ? {'number': 'x', 'items': []} : {'number': 'y', 'items': [], 'Note': 'z'}",
            [("unknown-field", 1, 70, "note")],
        ),
        ("{'number': 'x', 'items': lines[0].{'code': sku}, 'note': notes}", []),
        ("'text'", [("type-clash", 1, 1, None)]),
        ("{'number': 'x', 'items': [], $string(id): 1}", []),
        ("$merge([{'number': 'x'}])", []),
    ],
)
def test_what_the_target_wants(text: str, expected: list[Any]) -> None:
    assert codes(text) == expected


def test_undeclared_fields_are_only_warned_of() -> None:
    loose = {"type": "object", "properties": {"name": {"type": "string"}}}
    assert [one.severity for one in check("nam", loose)] == ["warning"]
    assert [one.severity for one in check("nam", {**loose, "additionalProperties": False})] == ["error"]
    assert check("nam", {**loose, "additionalProperties": True}) == []


def test_a_wrong_text_is_an_error_with_its_place() -> None:
    with pytest.raises(MappingError) as caught:
        check("{'a': }", SOURCE, TARGET)
    assert (caught.value.line, caught.value.column) == (1, 7)


def test_recursive_contracts_and_functions_end() -> None:
    tree = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"child": {"$ref": "#/$defs/n"}}}}}
    assert check("child.child.child.child", tree) == []
    assert [one.nearest for one in check("child.child.chld", tree)] == ["child"]
    assert check("($f := function($n){ $n.child ? $f($n.child) : $n }; $f($))", tree) == []


def test_an_expression_tells_what_it_reads_and_writes() -> None:
    expression = compile(GOOD)
    assert ("lines", "price") in expression.reads
    assert ("id",) in expression.reads
    assert expression.writes == (("number",), ("items", "code"), ("total",))


def test_results_take_the_targets_shape() -> None:
    one = compile(GOOD).evaluate({"id": 1, "lines": [{"sku": "A", "qty": 2, "price": 3}]})
    assert one["items"] == {"code": "A"}
    assert shape(one, TARGET) == {"number": "1", "items": [{"code": "A"}], "total": 6}
    none = compile(GOOD).evaluate({"id": 1, "lines": [{"sku": "A", "qty": 0, "price": 3}]})
    assert shape(none, TARGET)["items"] == []
    shaper = Shaper({"type": "array", "items": {"properties": {"a": {"type": ["array", "null"]}}}})
    assert shaper.apply({"a": 1}) == [{"a": [1]}]
    assert shaper.apply([{"a": None}, {"b": 2}]) == [{"a": None}, {"b": 2}]
    same = {"number": "1", "items": [{"code": "A"}]}
    assert shape(same, TARGET) == same
