"""What a backup says about itself, and how far one is."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class Manifest(msgspec.Struct):
    """What a backup holds. `last` is the highest message number, `at` milliseconds, `digest` of the database."""

    format: int
    uid: str
    at: int
    last: int
    messages: int
    files: int
    bytes: int
    digest: str


@dataclass(slots=True)
class Progress:
    """How far a copy has come, in bytes; `phase` is `database`, `files`, `verifying` or `done`."""

    phase: str = "database"
    done: int = 0
    total: int = 0
