"""The official JSONata test suite, every case strictly: value, nothing, or error code (and token, if it has one)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dovetail.mapping import UNDEFINED, Limits, MappingError, compile

SUITE = Path(__file__).parents[4] / "shared/data/conformance/jsonata-test-suite"
DATASETS = {one.stem: json.loads(one.read_text("utf-8")) for one in (SUITE / "datasets").glob("*.json")}


def cases() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for file in sorted((SUITE / "groups").glob("*/*.json")):
        content = json.loads(file.read_text("utf-8"))
        for number, case in enumerate(content if isinstance(content, list) else [content]):
            if "expr" not in case:
                case["expr"] = (file.parent / case["expr-file"]).read_text("utf-8")
            found.append((f"{file.parent.name}/{file.stem}-{number}", case))
    return found


CASES = cases()


def alike(one: Any, two: Any) -> bool:
    """Equality of JSON: true is not 1, but 1 is 1.0."""
    if isinstance(one, bool) or isinstance(two, bool) or one is None or two is None:
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(alike, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(alike(one[key], two[key]) for key in one)
    return isinstance(one, str) == isinstance(two, str) and bool(one == two)


def evaluate(case: dict[str, Any]) -> Any:
    limits = Limits(seconds=case["timelimit"] / 1000, depth=case["depth"]) if "timelimit" in case else None
    name = case.get("dataset")
    data = case["data"] if "data" in case else DATASETS[name] if name else UNDEFINED
    return compile(case["expr"], limits=limits).evaluate(data, case.get("bindings"))


def test_the_whole_suite_is_there() -> None:
    assert len(CASES) >= 1135


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_case(case: dict[str, Any]) -> None:
    fault = case.get("error", case)
    if "code" in fault:
        with pytest.raises(MappingError) as caught:
            evaluate(case)
        assert caught.value.code == fault["code"]
        if "token" in fault:
            assert caught.value.token == fault["token"]
        if "message" in fault:
            assert caught.value.message == fault["message"] or fault["code"] == "D3140"
        assert caught.value.line is not None
        return
    value = evaluate(case)
    if case.get("undefinedResult"):
        assert value is UNDEFINED
    elif case.get("unordered") and isinstance(value, list):
        assert sorted(map(json.dumps, value)) == sorted(map(json.dumps, case["result"]))
    else:
        assert alike(value, case["result"])
