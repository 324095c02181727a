"""Several senders at once, who repeat until they are told yes and send things twice and late."""

from __future__ import annotations

from random import Random
from threading import Event, Thread
from time import sleep

from proof.day import Item
from proof.story import TOLD, Story

SENDERS = 3
AGAIN = 0.2  # how often something that was taken already is sent once more


class Senders:
    """They work in threads until everything is taken."""

    def __init__(self, story: Story, dice: Random) -> None:
        self._story = story
        items = list(story.day.items)
        dice.shuffle(items)
        story.left = []
        self._stop = Event()
        self._threads = [
            Thread(target=self._work, args=(items[n::SENDERS], Random(dice.random())), daemon=True)
            for n in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, items: list[Item], dice: Random) -> None:
        taken: list[Item] = []
        for item in items:
            while not self._stop.is_set() and self._story.post(item).status not in TOLD:
                sleep(0.02)  # before the next try, as senders do
            taken.append(item)
            if dice.random() < AGAIN and not self._stop.is_set():
                self._story.witness.fault("source-repeats")
                self._story.post(dice.choice(taken))

    def busy(self) -> bool:
        """Whether something is not taken yet."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self, patience: float = 60.0) -> None:
        """Wait for them. Raises AssertionError when they do not get through."""
        for thread in self._threads:
            thread.join(patience)
        self._stop.set()
        assert not self.busy(), "senders do not get through"
