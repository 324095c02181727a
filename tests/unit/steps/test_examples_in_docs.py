"""The steps that the pages show may be written as they are shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dovetail.catalog import Catalog
from dovetail.project.steps import read_step
from dovetail.spec import Report, nowhere

PAGE = (Path(__file__).parents[3] / "docs/patterns.md").read_text()
BLOCKS = [YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]
STEPS = [step for block in BLOCKS for step in (block if isinstance(block, list) else block.get("steps", ()))]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: next(iter(step)))
def test_it_may_be_written(step: Any) -> None:
    report = Report(nowhere)
    read_step(step, (), Catalog.builtin(), set(), report)
    assert report.problems == []


def test_every_step_that_remembers_has_its_section() -> None:
    shown = {word for step in STEPS for word in step}
    assert shown >= {"aggregate", "approve", "claim_check", "dedupe", "delay", "join", "resequence", "signal", "wait"}
