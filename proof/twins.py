"""Two servers on one store: exactly one may ever work, and the other is told why it may not."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial

from dovetail.testkit.history import Crash
from dovetail.testkit.processes import PATIENCE, until
from proof.senders import Senders
from proof.story import Story

ROUNDS = 3
EVENTS = 20  # that happen between two tries
REFUSED = "is in use by process"
NOBODY = 1000  # the number of no life
HOWS = ("under load", "beside a zombie", "a zombie that is killed", "a race for what a dead one left")


class Twins:
    """A second server is started on the store of the first, in one of these ways."""

    def __init__(self, story: Story, how: str) -> None:
        self._story, self._how = story, how
        self.refused = 0

    def run(self, senders: Senders) -> None:
        """While the senders are at work. Raises AssertionError when more than one works, or none."""
        ways: dict[str, Callable[[], None]] = dict(
            zip(HOWS, (self._refuse, self._zombie, self._dead_zombie, self._race), strict=True)
        )
        for _ in range(ROUNDS):
            events = len(self._story.witness.events) + EVENTS
            until("something happens", partial(self._happened, senders, events))
            self._story.witness.fault("two-nodes", self._how)
            ways[self._how]()

    def _happened(self, senders: Senders, events: int) -> bool:
        return not senders.busy() or len(self._story.witness.events) >= events

    def _rival(self) -> subprocess.Popen[str]:
        """Another server on the same store; what it does at the target is seen as nobody's."""
        server = self._story.server
        more = {"ACCOUNTING_URL": f"{server.target}/life/{NOBODY}", **server.counting(NOBODY)}
        return subprocess.Popen(
            server.command(), env={**os.environ, **server.environment, **more},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def _refuse(self) -> None:
        """A second one beside one that works, or stands still."""
        process = self._story.server.process
        assert process is not None
        said = _end_of(self._rival())
        assert REFUSED in said and str(process.pid) in said, f"a second server was not refused: {said[-1500:]}"
        assert not self._story.server.dead(), "the first one went away"
        self.refused += 1

    def _zombie(self) -> None:
        self._signal(signal.SIGSTOP)
        try:
            self._refuse()
        finally:
            self._story.witness.add(Crash())  # an answer that came meanwhile may have come too late
            self._signal(signal.SIGCONT)

    def _dead_zombie(self) -> None:
        """One that stands still is killed, and its successor takes over."""
        self._signal(signal.SIGSTOP)
        self._refuse()
        self._story.server.kill()
        assert self._story.server.begin(), self._story.server.log()

    def _race(self) -> None:
        """Two begin at once when the first was killed: one wins, the other is refused."""
        self._story.server.kill()
        rival = self._rival()
        server = self._story.server
        server.begin()  # what it says may be the other one's word
        until("one of the two is refused", lambda: server.dead() or rival.poll() is not None)
        self.refused += 1
        if not server.dead():
            assert REFUSED in _end_of(rival), "two servers work on one store"
            return
        said = server.log()[-3000:]
        assert REFUSED in said and rival.poll() is None, f"none of the two came up: {said}"
        rival.kill()
        rival.communicate(timeout=PATIENCE)
        assert server.begin(), server.log()

    def _signal(self, number: signal.Signals) -> None:
        assert self._story.server.process is not None
        self._story.server.process.send_signal(number)


def _end_of(process: subprocess.Popen[str]) -> str:
    """What it said before it ended. Raises AssertionError when it did not."""
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError("a second server works on the same store") from None
    assert process.returncode != 0, said
    return said
