"""The story of the shop: 2,000 orders, some told twice, some junk, the ERP away for a while; then the reconciliation.

``python examples/shop/story.py`` plays it and keeps serving until Ctrl-C. With ``--once`` (or ``ONCE=1``) it ends
after the reconciliation: status 0 when every order is accounted for, 1 when not, 2 when a part of the story failed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from parts import HERE, Cast, ask
from reconcile import Junk, Row, count, reconcile
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ORDERS = int(os.environ.get("ORDERS", "2000"))
RATE = 150  # orders a second, so that the outage falls into the middle
OUTAGE = (0.35, 0.65)  # the ERP is away while this share of the deliveries is sent
PATIENCE = 180.0  # seconds without any progress before giving up
CONSOLE = Console(width=None if sys.stdout.isatty() else 120)


class Screen:
    """Progress bars on a terminal, a plain line now and then elsewhere."""

    BARS = ("delivered", "sales orders", "invoices", "ledger entries", "pending")

    def __init__(self) -> None:
        columns = (TextColumn("{task.description:>14}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=CONSOLE, disable=not CONSOLE.is_terminal)
        self.bars = {name: self.progress.add_task(name, total=None) for name in self.BARS}
        self.told = 0.0

    def show(self, total: int, counts: dict[str, int]) -> None:
        for name, value in counts.items():
            self.progress.update(self.bars[name], completed=value, total=total)
        if not CONSOLE.is_terminal and time.monotonic() - self.told >= 2:
            self.told = time.monotonic()
            say("  " + "   ".join(f"{name} {value:,}" for name, value in counts.items()))


def say(line: str) -> None:
    """One plain line, at once."""
    CONSOLE.print(line, highlight=False, markup=False, soft_wrap=True)
    sys.stdout.flush()


def play(cast: Cast) -> None:
    """Place the orders, take the ERP away in the middle, wait until nothing is pending."""
    ask(cast.shop.control, "POST", "/campaign", {"orders": ORDERS, "rate": RATE})
    screen = Screen()
    last: dict[str, int] = {}
    outage, since = "before", time.monotonic()
    with screen.progress:
        while True:
            cast.alive()
            shop = ask(cast.shop.control, "GET", "/progress")
            flows = cast.dovetail.status()
            outage = weather(cast, outage, shop["planned"] / ORDERS)
            counts = {
                "delivered": shop["finished"],
                "sales orders": count(cast.folder, "erp", "sales_orders"),
                "invoices": count(cast.folder, "accounting", "invoices"),
                "ledger entries": count(cast.folder, "backoffice", "ledger_entries"),
                "pending": sum(flow["pending"] for flow in flows.values()),
            }
            screen.show(max(shop["planned"], ORDERS), counts)
            if counts != last:
                last, since = counts, time.monotonic()
            elif not shop["busy"] and counts["pending"] == 0:
                return
            elif time.monotonic() - since > PATIENCE:
                raise RuntimeError(f"nothing has moved for {PATIENCE:.0f} s: {counts}")
            time.sleep(0.25)


def weather(cast: Cast, outage: str, share: float) -> str:
    """Take the ERP away and bring it back at the right moments; returns the new state of the outage."""
    if outage == "before" and share >= OUTAGE[0]:
        cast.erp.faults(down=True)
        say("The ERP goes away: connections are refused.")
        return "away"
    if outage == "away" and share >= OUTAGE[1]:
        cast.erp.faults()
        say("The ERP is back.")
        return "over"
    return outage


def report(rows: list[Row], junk: list[Junk]) -> bool:
    """Print both tables; says whether every order is accounted for."""
    table = Table("system", "what", "expected", "found", "", title="Reconciliation, from the systems' own databases")
    for row in rows:
        verdict = "[green]ok[/]" if row.good else f"[red]{row.trouble or 'differs'}[/]"
        table.add_row(row.system, row.what, f"{row.expected:,}", f"{row.found:,}", verdict)
    CONSOLE.print(table)
    fates = Table("junk", "refused", "kept", "answer", title="What the shop was told about its junk")
    for kind in junk:
        fates.add_row(kind.kind, str(kind.refused), str(kind.kept), escape(next(iter(kind.answers), "")))
    CONSOLE.print(fates)
    return all(row.good for row in rows)


def serve(cast: Cast) -> None:
    """Keep everything up until Ctrl-C."""
    project, store = HERE / "project", cast.dovetail.store
    say(f"Dovetail serves on {cast.dovetail.url}")
    say(f"Look around:        dovetail status {project} --store {store}")
    say(f"Another 100 orders: curl -X POST http://127.0.0.1:{cast.shop.control}/campaign -d '{{\"orders\": 100}}'")
    say(f"The ERP away:       curl -X PUT http://127.0.0.1:{cast.erp.control}/faults -d '{{\"down\": true}}'")
    say("Ctrl-C ends it.")
    while True:
        cast.alive()
        time.sleep(0.5)


def prepare(folder: Path) -> Path:
    """An empty folder for the databases and logs of this run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Play the story; returns the exit status."""
    signal.signal(signal.SIGTERM, interrupt)
    cast, status = None, 130
    try:
        say("Starting shop, ERP, warehouse, accounting, back office and Dovetail.")
        cast = Cast(prepare(HERE / ".dovetail" / "story"))
        play(cast)
        good = report(*reconcile(cast.folder, cast.dovetail.status()))
        say("Every order is accounted for." if good else "Orders are NOT accounted for, see the table.")
        status = 0 if good else 1
        if "--once" not in sys.argv[1:] and os.environ.get("ONCE") != "1":
            serve(cast)
    except RuntimeError as error:
        say(f"The story stopped: {error}")
        status = 2
    except KeyboardInterrupt:
        say("Stopping.")
    finally:
        if cast is not None:
            cast.stop()
    return status


if __name__ == "__main__":
    sys.exit(main())
