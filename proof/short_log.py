"""`dovetail` whose log is written back into the database often: more moments to cut the power at, and smaller ones."""

from __future__ import annotations

import sys

from dovetail.store.sqlite import connect

PAGES = 40  # of the log, instead of hundreds

if __name__ == "__main__":
    from dovetail.cli import main

    connect.CHECKPOINT = PAGES
    sys.exit(main())
