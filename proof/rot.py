"""Stored bytes that change by themselves: they are found and told, and nothing altered is ever sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from dovetail.store.sqlite import bitrot
from dovetail.testkit.history import Restored
from dovetail.testkit.processes import until
from proof.story import Story

HOWS = ("database", "log", "file", "file of a running server")
FLIPS = 5
HEAD, PAGE = 32, 24 + 8192  # bytes of a log before its first frame, and of a frame


class Rot:
    """One day, in the middle of which bytes change."""

    def __init__(self, story: Story, how: str, dice: Random, folder: Path) -> None:
        self._story, self._how, self._dice, self._backup = story, how, dice, folder / "backup"

    def run(self) -> None:
        """Raises AssertionError when nobody notices."""
        story = self._story
        story.ledger.fails = 10 if self._how.startswith("file") else 5
        assert story.send(), story.server.log()
        if self._how.startswith("file"):
            self._file(stopped=self._how == "file")
            return
        self._command("backup", str(self._backup))  # some are still under way
        assert story.settle(), story.server.log()
        spoil: dict[str, Callable[[], None]] = {"database": self._database, "log": self._log}
        spoil[self._how]()
        assert not story.server.begin(), "it works on a store that is damaged"
        said = story.server.log()[-2000:]
        assert "is damaged" in said and "restore a backup" in said, said
        self._command("restore", str(self._backup), "--replace")
        story.witness.add(Restored())
        assert story.server.begin(), story.server.log()

    def _database(self) -> None:
        """The server is stopped in good order, and bits of its database flip."""
        assert self._story.server.stop() == 0, self._story.server.log()
        path = self._story.server.store / "store.db"
        self._flip(path, [self._dice.randrange(path.stat().st_size) for _ in range(FLIPS)])

    def _log(self) -> None:
        """The server is killed, and a bit flips in what its log had on disk."""
        self._story.server.kill()
        path = self._story.server.store / "store.db"
        flushed = bitrot.flushed(path)
        assert flushed, "there is no log"
        self._flip(path.with_name("store.db-wal"), [self._dice.randrange(HEAD + flushed * PAGE)])

    def _file(self, stopped: bool) -> None:
        """A very large body changes while its message waits for another attempt. It becomes a dead letter; when its
        file is as it was, it is taken up again."""
        story = self._story
        files = story.server.store / "store.db-payloads"
        until("its attempts fail", lambda: self._waits())
        if stopped:
            story.server.kill()
        [file, *_] = [file for file in sorted(files.iterdir()) if not file.name.endswith(".tmp")]
        whole = file.read_bytes()
        self._flip(file, [self._dice.randrange(len(whole)) for _ in range(FLIPS)])
        if stopped:
            assert story.server.begin(), story.server.log()
        story.ledger.fails = 0
        until("a dead letter says so", lambda: self._told() or (not stopped and self._over()))
        file.write_bytes(whole)

    def _waits(self) -> bool:
        found = self._story.server.messages(flow="orders", state="waiting")
        return bool(found) or self._story.server.dead()

    def _over(self) -> bool:
        """Nothing is left to be read: a body that was in memory went out as it had come in."""
        flows = self._story.server.flows()
        return flows is not None and not flows["orders"]["pending"]

    def _told(self) -> bool:
        dead = self._story.server.messages(flow="orders", state="dead")
        return any("cannot be read from" in (line["reason"] or "") for line in dead)

    def _flip(self, path: Path, places: list[int]) -> None:
        with path.open("r+b") as file:
            for at in places:
                file.seek(at)
                [byte] = file.read(1)
                file.seek(at)
                file.write(bytes([byte ^ 1 << self._dice.randrange(8)]))
        self._story.witness.fault("bit-rot", self._how)

    def _command(self, *words: str) -> None:
        server = self._story.server
        where = ["--project", str(server.project), "--store", str(server.store)]
        done = subprocess.run(
            [sys.executable, "-m", "dovetail", *words, *where], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
