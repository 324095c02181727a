"""States in which a power cut could leave the disk, opened with the real store. `make prove` looks at many more."""

from __future__ import annotations

from random import Random

import pytest

from proof.images import tier
from proof.images.disk import MODELS, SYSTEMS, Cache, build, images
from proof.images.journal import Flush, Op

ROOT = "/r"
CREATE, WRITE, RENAME = ("L", "/r/a", 1, b""), ("W", 1, 0, b"x" * 1500), ("R", "/r/a", "/r/b", b"")
FILE, FOLDER = Flush(1, "/r/a", 9), Flush(0, "/r", 9)


def left(system: str, ops: list[Op], flush: Flush | None, model: str, seed: int = 0) -> dict[str, int]:
    """The sizes of the files that are found after a cut."""
    cache = Cache(system, ops, ROOT)
    for number in range(len(ops)):
        cache.does(number)
    if flush:
        cache.flushed(flush)
    image = next(image for image in images(cache, Random(seed)) if image.model == model)
    return {path: len(content) for path, content in build(cache, image).files().items()}


def test_only_what_was_flushed_is_safe() -> None:
    ops: list[Op] = [CREATE, WRITE]
    for system in SYSTEMS:
        assert left(system, ops, None, "all") == {"/r/a": 1500}
        assert left(system, ops, None, "synced") == {}
        assert left(system, ops, FOLDER, "synced") == {"/r/a": 0}
    assert left("ext4", ops, FILE, "synced") == {"/r/a": 1500}
    assert left("strict", ops, FILE, "synced") == {}, "a file is lost if its name is not safe"
    assert left("ext4", [*ops, RENAME], FILE, "synced") == {"/r/b": 1500}


def test_a_write_tears_at_a_sector_and_the_unflushed_goes_missing_anyhow() -> None:
    ops: list[Op] = [CREATE, WRITE]
    assert {left("ext4", ops, None, "torn", seed)["/r/a"] for seed in range(20)} == {0, 512, 1024}
    ops += [("W", 1, 1500, b"y")]
    for model, sizes in (("subset", {0, 1500, 1501}), ("prefix", {0, 1500, 1501})):
        found = [left("ext4", ops, None, model, seed) for seed in range(60)]
        assert {} in found
        assert {size for files in found for size in files.values()} == sizes


def test_every_image_of_a_day_keeps_the_promise() -> None:
    day = tier.examine(5, most=2400)
    assert day.breaches == []
    assert all(day.counters[f"{system}:{model}"] for system in SYSTEMS for model in MODELS)
    assert day.counters["drained"] and day.counters["early answers"]
    assert day.counters["early answers passed"] == 0, "an answer before its commit is noticed"


@pytest.mark.parametrize("bug", ["synchronous-normal", "dedupe-in-its-own-transaction"])
def test_a_planted_bug_is_caught(bug: str) -> None:
    assert tier.hunt(bug)
