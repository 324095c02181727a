"""`dovetail` with its failpoints counted: every crossing of a boundary goes into a file, which outlives the process."""

from __future__ import annotations

import mmap
import os
import struct
import sys
from pathlib import Path

from dovetail.engine import failpoints

VARIABLE = "PROOF_CROSSINGS"
ALL = (*failpoints.NAMES, *failpoints.BESIDE)
_NUMBER = struct.Struct("<Q")


class Crossings:
    """How often each failpoint was crossed, in a file of one number each that is mapped into memory."""

    def __init__(self, path: Path) -> None:
        size = _NUMBER.size * len(ALL)
        with path.open("ab+") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)

    def add(self, name: str) -> None:
        """It is crossed."""
        place = ALL.index(name) * _NUMBER.size
        _NUMBER.pack_into(self._map, place, _NUMBER.unpack_from(self._map, place)[0] + 1)

    def __getitem__(self, name: str) -> int:
        return int(_NUMBER.unpack_from(self._map, ALL.index(name) * _NUMBER.size)[0])


def count(path: Path) -> None:
    """Have every hook that is made from now on count in `path` before it does what it was told."""
    crossings, make = Crossings(path), failpoints.from_text

    def counted(text: str) -> failpoints.Hook:
        hook = make(text)

        def both(name: str) -> None:
            crossings.add(name)
            hook(name)

        return both

    failpoints.from_text = counted


def main() -> None:
    """`dovetail` with the words of `sys.argv`; the process ends with its status."""
    from dovetail.cli import main

    count(Path(os.environ[VARIABLE]))
    sys.exit(main())


if __name__ == "__main__":
    main()
