"""`dovetail backup` and `dovetail restore`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dovetail.cli.desk import Where
from dovetail.cli.output import size, write_json
from dovetail.control.answers import BackupState
from dovetail.control.client import Remote, Unreachable
from dovetail.control.places import Places
from dovetail.errors import DovetailError


def backup(folder: Path, *, where: Where | None = None) -> int:
    """Copy the store into a new folder and check the copy.

    Parameters
    ----------
    folder
        Where the backup goes: a folder that is new or empty, on the server's machine.
    """
    where = where or Where()
    folder = folder.absolute()
    places = Places.of(where.folder(), where.store)
    state = _running(places, folder, where.json)
    if state is None:
        state = _at_rest(places, folder)
    if state.error:
        raise DovetailError(state.error, code="backup")
    if where.json:
        write_json(state)
    else:
        sys.stdout.write(
            f"{folder}: {state.messages:,} messages, {state.files:,} files, {size(state.total)}, all read back\n"
        )
    return 0


def _running(places: Places, folder: Path, quiet: bool) -> BackupState | None:
    """By the running server; None when none runs."""
    server = places.running()
    if server is None:
        return None
    remote = Remote(server.url, places.read_token())
    try:
        state = remote.backup(str(folder))
    except Unreachable:
        return None
    with asyncio.Runner() as waiting:
        while state.running:
            if not quiet and sys.stderr.isatty():
                sys.stderr.write(f"\r{state.phase}: {size(state.done)} of {size(state.total)}   ")
            waiting.run(asyncio.sleep(0.2))
            state = remote.backup_state()
    return state


def _at_rest(places: Places, folder: Path) -> BackupState:
    """By this process."""
    from dovetail.app import backup_at_rest

    if not places.store.exists():
        raise DovetailError(f"there is no store at {places.store}: `dovetail run` makes one", code="no-store")
    return asyncio.run(backup_at_rest(places.store, folder))


def restore(
    folder: Path, *, replace: Annotated[bool, Parameter(alias="-f")] = False, where: Where | None = None
) -> int:
    """Put a backup in the place of the store.

    Parameters
    ----------
    folder
        What `dovetail backup` made.
    replace
        Move the store that is there aside (its files get names that end in .before- and a number).
    """
    from dovetail.app import restore_store

    where = where or Where()
    places = Places.of(where.folder(), where.store)
    manifest = restore_store(folder, places.store, replace)
    if where.json:
        write_json(manifest)
    else:
        sys.stdout.write(
            f"{places.store}: {manifest.messages:,} messages as of the backup. Start the server; what sources send "
            "again is accepted again, and effects bear the names they had.\n"
        )
    return 0
