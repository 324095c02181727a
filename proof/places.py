"""Folders for trials."""

from __future__ import annotations

import tempfile
from pathlib import Path

FAST = Path("/dev/shm")


def in_memory(prefix: str) -> Path:
    """A fresh folder in memory, if there is such a place: a process that is killed loses nothing that it had written,
    whether there is a disk below or not."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=FAST if FAST.is_dir() else None))
