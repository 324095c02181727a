"""Where things lie around a project: the store's folder, the running server's address, the key to its door."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from dovetail.clock import Ids
from dovetail.errors import StoreError

FOLDER = ".dovetail"


class Server(msgspec.Struct):
    """What a running server writes down about itself: its admin API, its process, where flows listen for HTTP."""

    url: str
    pid: int
    http: str = ""


class Places:
    """The files of one store folder (by default `.dovetail` in the project)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store.db"
        self.server = folder / "server.json"
        self.token = folder / "admin.token"

    @classmethod
    def of(cls, project: Path, folder: Path | None) -> Places:
        """The given store folder, or the project's own."""
        return cls(folder if folder is not None else project / FOLDER)

    def prepare(self) -> None:
        """Make the folder, readable by its owner alone, and its name durable: what is flushed in a folder that has no
        name after a power cut is lost. Raises StoreError."""
        try:
            new = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in new:
                _flush_names(folder.parent)
        except OSError as error:
            raise StoreError(f"store folder {self.folder} cannot be made: {error.strerror}") from error

    def make_token(self, ids: Ids) -> str:
        """The admin API's token; drawn at the first start. Raises StoreError when others may read the file."""
        try:
            descriptor = os.open(self.token, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            return self.read_token()
        except OSError as error:
            raise StoreError(f"{self.token} cannot be made: {error.strerror}") from error
        token = ids.token(32)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        return token

    def read_token(self) -> str:
        """The token. Raises StoreError when it is missing, empty, or open to others."""
        try:
            with self.token.open() as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise StoreError(f"{self.token} can be read by others: chmod 600 it, or delete it to get a new one")
                token = file.read().strip()
        except OSError as error:
            raise StoreError(f"{self.token} cannot be read: {error.strerror}") from error
        if len(token) < 20:
            raise StoreError(f"{self.token} holds no token: delete it and start the server again")
        return token

    def announce(self, url: str, http: str) -> None:
        """Write down where this process listens (in one move, so that nobody reads half of it)."""
        draft = self.server.with_name("server.json.tmp")
        draft.write_bytes(msgspec.json.encode(Server(url, os.getpid(), http)))
        draft.replace(self.server)

    def retire(self) -> None:
        """The server is gone."""
        self.server.unlink(missing_ok=True)

    def running(self) -> Server | None:
        """The server that was announced and whose process is there; None otherwise."""
        try:
            server = msgspec.json.decode(self.server.read_bytes(), type=Server)
            os.kill(server.pid, 0)
        except PermissionError:  # alive, under another user
            return server
        except (OSError, msgspec.DecodeError, OverflowError):
            return None
        return server


def _flush_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
