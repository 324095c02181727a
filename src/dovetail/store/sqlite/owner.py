"""One process owns a store: a lock file beside the database, held by flock, so that it falls with the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from dovetail.errors import StoreError


class Owner:
    """The held lock. The file stays behind; only the lock on it counts."""

    def __init__(self, path: Path) -> None:
        """Take the lock of the store at `path`. Raises StoreError, naming the process that holds it."""
        try:
            self._fd = os.open(path.with_name(path.name + "-lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"store {path} cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreError(
                f"store {path} is in use by process {holder}: stop that one first, or ask it over its API"
            ) from None
        with contextlib.suppress(OSError):  # the name is a help for people; a full disk must not keep the store shut
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
