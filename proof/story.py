"""A day of the fault project at a real server: senders that repeat until they are told yes, an operator who redrives.

It is safe to go on after the server died.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from dovetail.testkit.checker import Report, check
from dovetail.testkit.history import Drained, Memory, Redrive
from dovetail.testkit.processes import Answer, Recorder, request, until
from proof import books, trips
from proof.day import Day, Item
from proof.proxy import Proxy
from proof.server import Server
from proof.witness import Ledger, Witness

TOO_LARGE = 413
TOLD = (200, 202, TOO_LARGE)  # a sender that was told this goes on with the next
MEMORY = 600 << 20  # bytes that a server may hold at the end of a day


class Story:
    """One day of one store, over several lives of its server."""

    def __init__(self, day: Day, folder: Path, fails: int = 0, witness: Witness | None = None) -> None:
        self.day, self.witness = day, witness or Witness()
        self.ledger = Ledger(day, self.witness, fails)
        self.target = Recorder(self.ledger)
        self.server = Server(folder, self.witness, self.target.url)
        self.door: Proxy | None = None  # what stands between the senders and the server
        self.left = list(day.items)
        self.refused = 0  # times that a sender was told to come back

    def close(self) -> None:
        """End everything that was started."""
        self.server.kill()
        self.target.close()

    def play(self) -> bool:
        """To the end; False when the server died on the way."""
        ways = (self.redrive, self.redrive_as_job)
        return self.send() and self.settle() and all(way() and self.settle() for way in ways)

    # --- senders --------------------------------------------------------------------------------------------------

    def send(self) -> bool:
        """Everything that has not been taken yet; every third of them twice. False when the server died."""
        while self.left:
            item = self.left[0]
            answer = self.post(item)
            if answer.status == 0:
                return False
            if answer.status in (500, 503):
                self.refused += 1
                until("it takes messages again", self._open)
                continue
            if len(self.left) % 3 == 0:
                self.witness.fault("source-repeats")
                self.post(item)
            del self.left[0]
        return True

    def post(self, item: Item) -> Answer:
        """One message, with its sender's word on it."""
        self.witness.send("invoke", item)
        port = self.door.port if self.door is not None else self.server.port
        headers = {"Content-Type": "application/json"}
        answer = request(port, "POST", item.path, json.dumps(item.document).encode(), headers)
        if answer.status in (200, 202) and answer.body:
            self.witness.send("ok", item, ref=answer.json["id"])
        elif answer.status in (200, 202):  # the network ate the rest
            self.witness.send("info", item)
            return Answer(0)
        elif answer.status == TOO_LARGE:
            self.witness.send("fail", item)
        elif answer.status and answer.status < 500:
            raise AssertionError(f"{item.path} {item.document}: {answer}")
        else:
            self.witness.send("info", item)
        return answer

    def _open(self) -> bool:
        return self.server.dead() or self.server.flows() is not None

    # --- the operator ---------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Until nothing is pending and only those are dead that must be; False when the server died."""
        self.ledger.fails = 0
        try:
            return until("everything is settled", self._settled) == "settled"
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.server.flows()}") from None

    def _settled(self) -> str:
        if self.server.dead():
            return "dead"
        flows = self.server.flows()
        if flows and sum(flow["dead"] for flow in flows.values()) > self.day.dead():
            self.redrive()  # a failpoint that raised leaves a dead letter, for which others may wait
            return ""
        if not flows or any(flow["pending"] for flow in flows.values()):
            return ""
        # A group that is not complete is no message yet.
        return "settled" if self.left or self.ledger.billed >= self.day.together else ""

    def redrive(self) -> bool:
        """Every dead letter once more, as it is; False when the server died."""
        dead = [
            (flow, message["id"])
            for flow in self.server.flows() or ()
            for message in self.server.messages(flow=flow, state="dead")
        ]
        for flow, ref in dead:
            if until("it is redriven", partial(self._redriven, flow, ref)) == "dead":
                return False
        return not self.server.dead()

    def redrive_as_job(self) -> bool:
        """Every dead letter once more, carried out by the server; False when it died."""
        return until("a job is over", self._job_over) == "over"

    def _job_over(self) -> str:
        if self.server.dead():
            return "dead"
        jobs = self.server.ask("GET", "/api/redrives")
        if jobs is None or any(job["state"] == "running" for job in jobs):
            return ""
        if jobs:
            return "over"
        for flow in self.server.flows() or ():
            for message in self.server.messages(flow=flow, state="dead"):
                self.witness.add(Redrive("invoke", flow, message["id"], last=True))
        self.server.ask("POST", "/api/redrives", {"by": "operator", "search": {}})
        return ""

    def _redriven(self, flow: str, ref: str) -> str:
        if self.server.dead():
            return "dead"
        self.witness.add(Redrive("invoke", flow, ref, last=True))
        told = self.server.ask("POST", "/api/redrive", {"ids": [ref], "flow": flow, "by": "operator"})
        if told is None:
            return ""
        if not told["skipped"]:
            self.witness.add(Redrive("ok", flow, ref, last=True))
        return "redriven"

    # --- the end --------------------------------------------------------------------------------------------------

    def judge(self, surprised: bool = False) -> Report:
        """Stop the server in good order and hold everything that was seen against every invariant. `surprised`: a
        failpoint raised."""
        flows: dict[str, Any] = self.server.flows() or {}
        assert self.server.process is not None
        held = Memory("bytes of the server's memory", resident(self.server.process.pid), MEMORY)
        status = self.server.stop()
        self.witness.add(Drained(), held, *books.counts(flows), *books.read(self.server.store / "store.db"))
        report = check(self.witness.events)
        report.breaches += [("accounted", found) for found in trips.problems(self.day, self.witness.events, surprised)]
        if status:
            report.breaches.append(("accounted", f"the drain ended with status {status}: {self.server.log()[-2000:]}"))
        return report


def resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096
