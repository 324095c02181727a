"""`python -m proof [TIER …]`: run the tiers, print what they found, and end with 1 if any of it is not as it must be.

Each tier writes `build/proof/TIER.json`. Without --long the sizes are those of CI.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dovetail.testkit.cells import bound
from proof import failpoints, faults, kills, report, simulated
from proof.images import tier as images
from proof.result import OUTPUT, Result, problems

Options = argparse.Namespace
SIZES = {
    "simulation": (5_000, 100_000),
    "images": (20_000, 1_000_000),
    "kills": (32, 500),
    "faults": (len(faults.CASES), 10 * len(faults.CASES)),
}


def size(options: Options, tier: str) -> int:
    """How many trials: what was asked for, or the usual."""
    return int(options.count or SIZES[tier][options.long])


def seeds(options: Options) -> list[int]:
    """The one that was asked for, or none."""
    return [] if options.seed is None else [options.seed]


TIERS: Mapping[str, Callable[[Options], Result]] = {
    "failpoints": lambda options: failpoints.tier([] if options.case is None else [options.case]),
    "simulation": lambda options: simulated.tier(size(options, "simulation"), seeds(options), options.first),
    "images": lambda options: images.tier(size(options, "images"), options.first, options.seed),
    "kills": lambda options: kills.tier(size(options, "kills"), seeds(options), options.first),
    "faults": lambda options: faults.tier(size(options, "faults"), [] if options.case is None else [options.case]),
}


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=f"of {', '.join(TIERS)}; all if none is named")
    parser.add_argument("--long", action="store_true", help="the long run: an hour or more")
    parser.add_argument("--count", type=int, help="so many trials")
    parser.add_argument("--first", type=int, default=1, help="the first seed: to go on where an earlier run ended")
    parser.add_argument("--case", type=int, help="the one trial with this number (failpoints, faults)")
    parser.add_argument("--seed", type=int, help="the one day or store of this seed (simulation, images, kills)")
    parser.add_argument(
        "--record", action="store_true", help=f"write {report.RECORD} and {report.PAGE} from the results"
    )
    return parser


def tell(result: Mapping[str, Any]) -> None:
    """A tier's result in a few lines."""
    wrong = problems(result)
    planted = result["planted"]
    caught = f", {sum(map(bool, planted.values()))} of {len(planted)} planted bugs caught" if planted else ""
    rate = "" if wrong else f" (95 %: below {bound(result['trials']):.1e})"
    print(
        f"{result['tier']}: {result['trials']:,} trials, {len(wrong)} problems{rate}{caught}, {result['seconds']:.0f} s"
    )
    for problem in wrong:
        print(f"  {problem}")


def main() -> int:
    """Run what was asked for; the exit status."""
    options = arguments().parse_args()
    if unknown := set(options.tiers) - set(TIERS):
        arguments().error(f"there is no tier {', '.join(unknown)}: there are {', '.join(TIERS)}")
    failed = False
    for name in options.tiers or TIERS:
        result = TIERS[name](options)
        result.write()
        tell(result.plain())
        failed |= bool(problems(result.plain()))
        sys.stdout.flush()
    if options.record:
        found = [json.loads(path.read_text()) for path in (OUTPUT / f"{name}.json" for name in TIERS) if path.exists()]
        command = "make prove LONG=1" if options.long else "make prove"
        report.write({"command": command, "machine": report.machine(), "tiers": found})
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
