"""What the suite does not ask: places of errors, limits, bindings, threads, numbers, and the ways of calling."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from dovetail.errors import Rejected
from dovetail.mapping import UNDEFINED, Limits, MappingError, compile, define
from dovetail.mapping.explain import explain


def value(text: str, data: Any = UNDEFINED, **bindings: Any) -> Any:
    return compile(text).evaluate(data, bindings)


def fault(text: str, data: Any = UNDEFINED, limits: Limits | None = None, **bindings: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        compile(text, limits=limits).evaluate(data, bindings)
    return caught.value


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "position", "token"),
    [
        ("a +", "S0207", 1, 4, 3, "(end)"),
        ("(\n  a\n  b)", "S0202", 3, 3, 9, "b"),
        ("'abc", "S0101", 1, 1, 4, None),
        ("1 := 2", "S0212", 1, 1, 1, "1"),
        ("{'a': 1,\n 'b' 2}", "S0202", 2, 6, 15, "2"),
        ("a.\n  (b + 'x')", "T2002", 2, 6, 9, "+"),
        ("$sum(\n'x')", "T0412", 1, 5, 5, "sum"),
        ("[1, 2 ~> 3]", "T2006", 1, 7, 8, "~>"),
        ("$nope(1)", "T1006", 1, 6, 6, "nope"),
        ("uppercase('x')", "T1005", 1, 10, 10, "uppercase"),
        ("{a: 1}", "T1003", 1, 1, 1, None),
        ("$map([1], function($x){\n $x & -'a' })", "D1002", 2, 7, 31, "-"),
        ("$f(/(/)", "S0302", 1, 4, 7, None),
    ],
)  # fmt: skip
def test_errors_say_where(text: str, code: str, line: int, column: int, position: int, token: str | None) -> None:
    error = fault(text, {"a": {"b": 1}})
    assert (error.code, error.line, error.column, error.token) == (code, line, column, token)
    assert error.position == position
    assert isinstance(error, Rejected)
    assert f"line {line}, column {column}" in str(error)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("lines.(price * qty)", "lines[2].price"),
        ("lines[qty > 0].{'t': qty * price}", "lines[2].price"),
        ("customer.name * 2", "customer.name"),
        ("2 - customer.`first name`", "customer.`first name`"),
        ("$uppercase(customer.age)", "customer.age"),
        ("lines[price > 1]", "lines[2].price"),
        ("$map(lines, function($l){ $l.price * 2 })", None),
    ],
)
def test_errors_name_the_input_at_fault(text: str, path: str | None) -> None:
    lines = [{"price": 1, "qty": 0}, {"price": 2, "qty": 2}, {"price": "3", "qty": 1}]
    assert fault(text, {"lines": lines, "customer": {"age": 3, "name": "x", "first name": "y"}}).path == path


def test_messages_are_for_people() -> None:
    assert (
        fault("uppercase('x')").message
        == "Attempted to invoke something that is not a function. Did you mean $uppercase?"
    )
    assert fault("$error('No stock')").message == "No stock"
    assert fault("$number('1,5')").message == 'Unable to cast value to a number: "1,5"'


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("($f := function(){ $f() }; $f())", Limits(seconds=0.05)),
        ("($f := function($n){ 1 + $f($n) }; $f(1))", Limits(depth=50)),
        ("$pad('x', 1001)", Limits(text=1000)),
        ("[1..1000].[1..1000]", Limits(size=5000)),
        ("[1..1e6].($ + 1)", Limits(seconds=0.0)),
    ],
)
def test_limits_hold(text: str, limits: Limits) -> None:
    assert fault(text, limits=limits).code == "U1001"


def test_other_limits_have_their_own_codes() -> None:
    assert fault("[1..1000]", limits=Limits(sequence=999)).code == "D2015"
    assert fault("1 + 1", limits=Limits(source=4)).code == "S0502"
    assert fault("$eval('1')", limits=Limits(evaluate=False)).code == "D4001"
    assert fault("(" * 500 + "1" + ")" * 500).code == "S0501"


def test_numbers_come_out_as_they_went_in() -> None:
    data = {"big": 2**80, "id": 12345678901234567890, "amount": Decimal("19.90"), "whole": 3.0}
    assert value("{'a': big, 'b': id, 'c': amount, 'd': whole}", data) == dict(zip("abcd", data.values(), strict=True))
    assert str(value("amount", data)) == "19.90"
    assert value("id = 12345678901234567890", data) is True
    assert str(value("[0.5 + 0.5, 1e3, 6 / 3, 7 / 2, 0.1 + 0.2]")) == "[1, 1000, 2, 3.5, 0.30000000000000004]"
    assert value("amount * 2 > 39 and amount = 19.9 and amount in [19.9]", data) is True
    assert value("$max([amount, 5])", data) == Decimal("19.90")


def test_numbers_that_json_lacks_are_refused() -> None:
    for text in ("1 / 0", "{'a': 0 / 0}", "[-1 / 0]", "(1 > 0 ? 1 / 0)", "1e308 * 10"):
        assert fault(text).code == "D1001"
    assert fault("$string(1 / 0)").code == "D3001"
    assert value("1 / 0 > 5") is True


def test_bindings_are_variables_and_may_hide_built_ins() -> None:
    assert value("$x & $y.z", x="a", y={"z": "b"}) == "ab"
    assert value("$missing") is UNDEFINED
    assert value("$sum", sum=5) == 5
    assert value("$sum([1, 2])") == 3
    assert value("$double(4)", double=lambda x: x * 2) == 8
    assert value("$map([1, 2], $double)", double=lambda x: x * 2) == [2, 4]


def test_projects_register_functions() -> None:
    def vat(amount: Any, rate: Any = UNDEFINED) -> Any:
        return amount * (20 if rate is UNDEFINED else rate) / 100

    def broken(x: Any) -> Any:
        raise KeyError("no such thing")

    functions = {"vat": define("vat", vat, "<n-n?:n>"), "plain": len, "broken": broken}
    assert compile("amount.$vat()", functions=functions).evaluate({"amount": 50}) == 10
    assert compile("$vat(50, 10) + $plain([1, 2])", functions=functions).evaluate({}) == 7
    with pytest.raises(MappingError) as caught:
        compile("\n$vat('x')", functions=functions).evaluate({})
    assert (caught.value.code, caught.value.line) == ("T0410", 2)
    with pytest.raises(MappingError) as caught:
        compile("1 + $broken(1)", functions=functions).evaluate({})
    assert (caught.value.code, caught.value.column) == ("D4003", 12)
    assert "KeyError" in caught.value.message


def test_an_expression_serves_many_threads() -> None:
    expression = compile(
        "($f := function($n){ $n < 2 ? $n : $f($n - 1) + $f($n - 2) }; items.($x := v; $f($x % 10) + $x))"
    )
    expected = [expression.evaluate({"items": [{"v": n}, {"v": n + 1}]}) for n in range(20)]
    wrong: list[Any] = []

    def work(n: int) -> None:
        for _ in range(20):
            if expression.evaluate({"items": [{"v": n}, {"v": n + 1}]}) != expected[n]:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closures_keep_their_own_variables() -> None:
    assert value("($fs := [1..3].($n := $; function(){ $n }); $map($fs, function($f){ $f() }))") == [1, 2, 3]
    assert value("($x := 1; $f := function(){ $x }; $x := 2; $f())") == 2
    assert value("($x := 1; ($y := $x; $x := 5; $y & $x) & $x)") == "151"


def test_the_input_is_never_changed() -> None:
    data = {"a": {"b": [1, {"c": 2}]}, "e": []}
    before = repr(data)
    for text in (
        "$ ~> |a|{'b': 1}, 'x'|",
        "e{'k': 1}",
        "a.b[]",
        "$sort(a.b[0])",
        "$append(e, 1)",
        "a ~> |$|{'self': $}|",
    ):
        value(text, data)
    assert repr(data) == before


def test_undefined_may_be_the_input() -> None:
    assert value("$") is UNDEFINED
    assert value("{'a': $, 'b': 1}") == {"b": 1}
    assert not UNDEFINED
    assert repr(UNDEFINED) == "UNDEFINED"


def test_long_chains_are_no_deep_nesting() -> None:
    assert value(" & ".join(["'x'"] * 900)) == "x" * 900
    assert value(".".join(["a"] * 300)) is UNDEFINED
    assert value(" : ".join(f"n = {n} ? {n * n}" for n in range(60)) + " : 0", {"n": 59}) == 59 * 59


def test_an_explanation_shows_tree_reads_and_writes() -> None:
    found = explain("{'sku': lines[qty > 0].sku,\n 'n': $count(lines)}")
    assert found["reads"] == ["lines", "lines.qty", "lines.sku"]
    assert found["writes"] == ["sku", "n"]
    assert found["tree"]["type"] == "unary"
    assert found["tree"]["pairs"][1][1]["line"] == 2
    assert found["tree"]["pairs"][1][1]["procedure"] == {"type": "variable", "value": "count", "line": 2, "column": 7}
