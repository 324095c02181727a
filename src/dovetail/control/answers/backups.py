"""Copies of the store."""

from __future__ import annotations

from msgspec import Struct


class BackupOrder(Struct):
    """Where the backup goes: a new or empty folder on the server's machine, as a whole path."""

    folder: str


class BackupState(Struct):
    """How far a backup is: bytes, and in the end how many messages and spill files it holds. `phase` is `database`,
    `files`, `verifying` or `done`.
    """

    folder: str = ""
    running: bool = False
    phase: str = ""
    done: int = 0
    total: int = 0
    messages: int = 0
    files: int = 0
    error: str = ""
