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
GIANT = 5  # one in so many days has a very large body: it makes each look at the disk three times as dear
SOUND = ("dovetail", "proof.short_log", "proof.short_log", "proof.short_log")  # a day takes one of them


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
    counts = {"orders": dice.randint(2, 8), "careful": dice.randint(1, 2), "batches": 1, "bad": 1}
    return Day(
        **counts, groups=dice.randint(1, 4), shipping=dice.randint(1, 2), trips=dice.randint(1, 2),
        giant=int(seed % GIANT == 1), pad=dice.choice((0, 300, 70_000)),
    )  # fmt: skip


def record(folder: Path, seed: int, library: Path, bug: Mapping[str, str] = {}) -> Path:
    """The journal of two lives of a server on one store, the first one killed or stopped as the dice say, the second
    one drained.

    `bug`: the environment that plants one. Such a server is not expected to come to an end: it is killed instead.
    """
    dice, day = Random(seed), day_of(seed)
    path, root = folder / "journal", folder / "disk"
    root.mkdir()
    witness = MarkingWitness(path)
    story = Story(day, root, fails=dice.choice((0, 2)), witness=witness)
    story.server.module = "proof.planted" if bug else dice.choice(SOUND)
    story.server.environment |= {"LD_PRELOAD": str(library), "SHIM_LOG": str(path), "SHIM_ROOT": str(root), **bug}
    try:
        half = len(day.items) // 2
        _life(story, day.items[:half])
        if dice.random() < 0.5:
            story.server.kill()
        else:
            story.server.stop()
        _life(story, day.items[half:])
        if not bug:
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
