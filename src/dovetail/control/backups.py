"""The desk's backups: one at a time, started by one call and followed by others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from dovetail.control.answers import BackupState
from dovetail.errors import DovetailError, Refused
from dovetail.store.backup import Manifest, Progress

Make = Callable[[Path, Progress], Awaitable[Manifest]]


class Backups:
    """`make` copies the store into a folder and says how far it is."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._state = BackupState()
        self._told = Progress()
        self._task: asyncio.Task[None] | None = None

    def begin(self, folder: str) -> BackupState:
        """Start one. Raises `Refused`: a relative path (422), or one is under way (409)."""
        if not Path(folder).is_absolute():
            raise Refused(f"'{folder}' is not a whole path: write one that begins with /", status=422, code="folder")
        if self._task is not None and not self._task.done():
            raise Refused(f"a backup to {self._state.folder} is under way", status=409, code="busy")
        self._state, self._told = BackupState(folder=folder, running=True), Progress()
        self._task = asyncio.get_running_loop().create_task(self._run(self._state, self._told))
        return self.state()

    def state(self) -> BackupState:
        """How far the last one is."""
        state, told = self._state, self._told
        if state.running:
            state.phase, state.done, state.total = told.phase, told.done, told.total
        return state

    async def ended(self) -> BackupState:
        """Wait for the end."""
        if self._task is not None:
            await self._task
        return self._state

    async def _run(self, state: BackupState, told: Progress) -> None:
        try:
            manifest = await self._make(Path(state.folder), told)
        except DovetailError as error:
            state.error = error.message
        else:
            state.phase, state.done, state.total = "done", manifest.bytes, manifest.bytes
            state.messages, state.files = manifest.messages, manifest.files
        finally:
            state.running = False
