"""The documentation matches the code."""

from __future__ import annotations

import re
from pathlib import Path

from dovetail.mapping import Limits, compile
from dovetail.mapping.functions.registry import DECLARED
from dovetail.mapping.reference import reference

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_of_functions_is_current() -> None:
    assert (DOCS / "mapping-functions.md").read_text("utf-8") == reference()


def test_every_example_of_the_guide_compiles() -> None:
    text = (DOCS / "mapping.md").read_text("utf-8")
    examples = re.findall(r"```jsonata\n(.*?)```", text, re.S)
    assert len(examples) >= 5
    for example in examples:
        compile(example)


def test_the_guide_tells_the_limits_as_they_are() -> None:
    text = (DOCS / "mapping.md").read_text("utf-8")
    for name in Limits.__dataclass_fields__:
        assert f"| `{name}` | {getattr(Limits(), name)} |" in text
    for name in ("xref", "table", "decimal", "uuid", "hash", "parse", "format"):
        assert name in DECLARED
        assert f"${name}" in text
