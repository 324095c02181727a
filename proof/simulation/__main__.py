"""`python -m proof.simulation`: see `tier.main`."""

from __future__ import annotations

import sys

from proof.simulation.tier import main

if __name__ == "__main__":
    sys.exit(main())
