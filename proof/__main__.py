"""`python -m proof [TIER …]`: run the tiers, print what they found, and end with 1 if any of it is not as it must be.

Each tier writes `build/proof/TIER.json`. Without --long the sizes are those of CI.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dovetail.testkit.cells import CELLS, bound, run_cells
from proof import failpoints, faults, kills, report, simulated
from proof.images import tier as images
from proof.result import OUTPUT, Result, commit, problems

Options = argparse.Namespace
SHOWN = 100  # characters of how a planted bug was caught
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
    parser.add_argument("--resume", action="store_true", help="leave out tiers that ended at this commit already")
    parser.add_argument(
        "--record", action="store_true", help=f"write {report.RECORD} and {report.PAGE} from the results"
    )
    return parser


def tell(result: Mapping[str, Any]) -> None:
    """A tier's result in a few lines, and who caught which planted bug."""
    wrong = problems(result)
    planted = result["planted"]
    caught = f", {sum(map(bool, planted.values()))} of {len(planted)} planted bugs caught" if planted else ""
    rate = "" if wrong else f" (95 %: below {bound(result['trials']):.1e})"
    print(
        f"{result['tier']}: {result['trials']:,} trials, {len(wrong)} problems{rate}{caught}, {result['seconds']:.0f} s"
    )
    for name, how in planted.items():
        print(f"  planted: {name}: {how[:SHOWN] or 'NOT CAUGHT'}")
    for problem in wrong:
        print(f"  {problem}")
    sys.stdout.flush()


def kept(name: str, options: Options) -> Mapping[str, Any] | None:
    """A tier's result that is there already, for this commit and at least as large; None if there is no such."""
    path = OUTPUT / f"{name}.json"
    if not (options.resume and path.exists()):
        return None
    found: Mapping[str, Any] = json.loads(path.read_text())
    fits = found.get("over") and found["commit"] == commit()
    large = found["trials"] >= (size(options, name) if name in SIZES else 1)
    return found if fits and large else None


def command(options: Options) -> str:
    """What a reader types to run the same."""
    return " ".join(["make prove", *["LONG=1"] * options.long, *([f"COUNT={options.count}"] if options.count else [])])


def prove(options: Options) -> list[Mapping[str, Any]]:
    """Run the tiers, and record each as it ends; their results."""
    found: list[Mapping[str, Any]] = []
    for name in options.tiers or TIERS:
        result = kept(name, options)
        if result is None:
            print(f"{name}: begins", file=sys.stderr, flush=True)
            ran = TIERS[name](options)
            ran.write()
            result = ran.plain()
        found.append(result)
        tell(result)
        if options.record:
            report.record(command(options), found, list(TIERS))
    return found


def estimate(found: Sequence[Mapping[str, Any]]) -> str:
    """How long the long run takes at the rates of this one."""
    minutes = {
        result["tier"]: result["seconds"] / result["trials"] * SIZES.get(result["tier"], (0, result["trials"]))[1] / 60
        for result in found
        if result["trials"]
    }
    told = ", ".join(f"{tier} {time:,.0f} min" for tier, time in minutes.items())
    return f"the long run at these rates: {told}; together {sum(minutes.values()) / 60:.1f} h"


def main() -> int:
    """Run what was asked for; the exit status."""
    options = arguments().parse_args()
    if unknown := set(options.tiers) - set(TIERS):
        arguments().error(f"there is no tier {', '.join(unknown)}: there are {', '.join(TIERS)}")
    found = prove(options)
    planted = [how for result in found for how in result["planted"].values()]
    cells, seconds = run_cells(found), sum(result["seconds"] for result in found)
    wrong = [problem for result in found for problem in problems(result)]
    print(
        f"{len(wrong)} problems; {len(cells)} of {len(CELLS)} cells run; {sum(map(bool, planted))} of {len(planted)} "
        f"planted bugs caught; {seconds:,.0f} s"
    )
    if not options.long:
        print(estimate(found))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
