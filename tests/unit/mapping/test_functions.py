"""Every built-in function's examples, as the documentation shows them."""

from __future__ import annotations

from typing import Any

import pytest

from dovetail.mapping import UNDEFINED, compile
from dovetail.mapping.functions.registry import DECLARED

EXAMPLES = [(one.name, text, value) for one in DECLARED.values() for text, value in one.examples]
#: what has no fixed answer, or none at all
WITHOUT = {"random", "shuffle", "now", "millis", "error", "uuid"}


@pytest.mark.parametrize(("name", "text", "value"), EXAMPLES, ids=[f"{name}-{text[:30]}" for name, text, _ in EXAMPLES])
def test_example(name: str, text: str, value: Any) -> None:
    found = compile(text).evaluate({})
    assert (found is UNDEFINED) == (value is UNDEFINED)
    assert found is UNDEFINED or found == value
    assert f"${name}" in text


def test_every_function_has_help_and_examples() -> None:
    assert [one.name for one in DECLARED.values() if not one.help] == []
    assert {one.name for one in DECLARED.values() if not one.examples} <= WITHOUT
