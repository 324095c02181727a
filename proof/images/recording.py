"""A real server at work under the shim: what it does to its disk, with what senders and the target saw in between."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from random import Random
from threading import Thread

from dovetail.testkit.history import Event
from proof.day import Day, Item
from proof.images.journal import mark
from proof.story import Story
from proof.witness import Witness

SENDERS = 3
SOUND = "dovetail"


class MarkingWitness(Witness):
    """Writes every event into the shim's journal as well, at its place among the writes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def added(self, event: Event) -> None:
        os.write(self._journal, mark(event))

    def close(self) -> None:
        """No more."""
        os.close(self._journal)


def day_of(seed: int) -> Day:
    """What is sent on the day of a seed."""
    dice = Random(seed)
    counts = {"orders": dice.randint(6, 9), "careful": dice.randint(1, 2), "batches": 1, "bad": 1}
    return Day(
        **counts, groups=dice.randint(2, 4), shipping=2, trips=2, giant=seed % 2, pad=dice.choice((0, 300, 70_000))
    )


def record(folder: Path, seed: int, library: Path, module: str = SOUND, more: Mapping[str, str] = {}) -> Path:
    """The journal of two lives of a server on one store, the first one killed or stopped as the dice say, the second
    one drained.

    `module` is what is run. One that has a bug planted is not expected to come to an end: it is killed instead.
    """
    dice, day = Random(seed), day_of(seed)
    path, root = folder / "journal", folder / "disk"
    root.mkdir()
    witness = MarkingWitness(path)
    story = Story(day, root, fails=dice.choice((0, 2)), witness=witness)
    story.server.module = module
    story.server.environment |= {"LD_PRELOAD": str(library), "SHIM_LOG": str(path), "SHIM_ROOT": str(root), **more}
    try:
        half = len(day.items) // 2
        _life(story, day.items[:half])
        if dice.random() < 0.5:
            story.server.kill()
        else:
            story.server.stop()
        _life(story, day.items[half:])
        if module == SOUND:
            story.left = []
            story.play()
            story.server.stop()
    finally:
        story.close()
        witness.close()
    return path


def _life(story: Story, items: list[Item]) -> None:
    assert story.server.begin(), story.server.log()
    lanes: list[list[Item]] = [[] for _ in range(SENDERS)]
    for item in items:
        lanes[hash(item.lane or item.id) % SENDERS].append(item)

    def work(lane: list[Item]) -> None:
        for item in lane:
            story.post(item)

    senders = [Thread(target=work, args=(lane,)) for lane in lanes]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
