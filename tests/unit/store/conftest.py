"""A disk that fails on demand, and a store on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import apsw
import pytest

from dovetail.clock import SystemClock, SystemIds
from dovetail.store.sqlite import SqliteStore
from dovetail.store.sqlite.bitrot import checksums

Open = Callable[..., Awaitable[SqliteStore]]


class Disk(apsw.VFS):
    """SQLite's own file layer with faults: `fail(call, suffix, times)` lets calls on files with that suffix fail."""

    def __init__(self) -> None:
        checksums()
        super().__init__("faulty", "cksmvfs", makedefault=True)
        self.faults: dict[tuple[str, str], int] = {}
        self.met: list[tuple[str, str]] = []

    def fail(self, call: str, suffix: str, times: int) -> None:
        self.faults[call, suffix] = times

    def pass_or_raise(self, call: str, name: str) -> None:
        for (wanted, suffix), left in self.faults.items():
            if call == wanted and name.endswith(suffix) and left:
                self.faults[wanted, suffix] = left - 1
                self.met.append((call, suffix))
                error = apsw.IOError(f"{call} of {suffix}")
                error.extendedresult = apsw.SQLITE_IOERR_FSYNC if call == "xSync" else apsw.SQLITE_IOERR_WRITE
                raise error

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return DiskFile(self, name, flags)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        super().__init__("cksmvfs", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xSync(self, flags: int) -> None:
        self._disk.pass_or_raise("xSync", self._name)
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.pass_or_raise("xWrite", self._name)
        super().xWrite(data, offset)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Open]:
    """Open the store of this test; what is left open is closed at the end."""
    opened: list[SqliteStore] = []

    async def open_store(path: Path = tmp_path / "store.db", **more: Callable[[str], None]) -> SqliteStore:
        opened.append(await SqliteStore.open(path, clock=SystemClock(), ids=SystemIds(), **more))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close(clean=False)
