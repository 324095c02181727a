"""One simulated world: what a seed draws, the lives of its node, the mischief around it, and its end.

A seed draws families of flows, the knobs of the engine (small windows make rare branches common), clients, and which
faults are on. When the clients have their answers, the faults stop, everything gets the time to end, the operator takes
up every dead letter, and the desk is asked about each message: only then the checker judges.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from dovetail.control.answers import FlowStatus, Search
from dovetail.engine.failpoints import NAMES, Injected
from dovetail.engine.flow import FlowRun
from dovetail.sdk import Message, Rejected
from dovetail.store.base import State, Work
from dovetail.testkit import history
from dovetail.testkit.checker import Report, check
from dovetail.testkit.clock import SeededIds
from dovetail.testkit.store import Disk
from proof.simulation.clients import Client, Queue
from proof.simulation.families import RETRIES, Draft, Family
from proof.simulation.flows import FAMILIES
from proof.simulation.hands import Hands
from proof.simulation.loop import NodeLoop
from proof.simulation.node import Life
from proof.simulation.outside import JSON, TROUBLES, Plan, System, fingerprint, identity
from proof.simulation.patterns import PATTERNS, judged, kept_together

PENDING_LIMIT = 3600.0  # virtual seconds in which everything must have ended when nothing stands in its way
START_LIMIT = 300.0  # virtual seconds in which a process must be up, or have ended
FAULTS = (
    "kill", "disk-full", "fsync-failure", "database-partition", "clock-jump", "bad-target", "source-repeats",
    "broker-restart", "poison", "giant", "slow-consumer", "schema-drift", "deploy", "expired-credentials",
)  # fmt: skip


class World:
    """Everything of one seed. `events` is its history, `counters` are its `sometimes`."""

    def __init__(self, seed: int, patterns: Sequence[Family] = PATTERNS) -> None:
        """Without `patterns` a seed draws what it drew before there were any."""
        self.seed = seed
        self.dice = random.Random(f"world {seed}")
        self.odds = random.Random(f"odds {seed}")  # what depends on the order of events
        self.events: list[history.Event] = []
        self.counters: Counter[str] = Counter()
        self.breaches: list[tuple[str, str]] = []
        self.disk, self.ids = Disk(), SeededIds(seed)
        self.systems: dict[str, System] = {}
        self.queues: dict[str, Queue] = {}
        self.sends: dict[str, Draft] = {}
        self.unsure: set[str] = set()  # ids of which nobody knows under which version they came in
        self.sent_under: dict[str, int] = {}  # id -> the version that was current when it was handed over
        self.deploying = False
        self.versions_of: dict[str, tuple[int, ...]] = {}
        self.healed = False  # nothing is wrong with any message any more
        self.calm = False  # no more faults
        self.over = False
        self.kills: Counter[str] = Counter()
        self._silent: dict[str, tuple[float, int]] = {}  # by target: until when, and which life has heard it
        self._peaks: dict[str, tuple[float, float]] = {}
        self._stirred: asyncio.Event
        self.hands = Hands(self)
        self.more = random.Random(f"patterns {seed}") if patterns else None
        # Whether an operator redrives by jobs, lets new versions begin small, and stops the process now and then.
        self.jobs = self.canaries = self.restarts = False
        self.sparing = False  # whether targets say 429 all the time
        self.canary: Counter[str] = Counter()  # by family: how often its version has changed
        self.shared: dict[str, int] = {}  # id -> the canary under which it was handed over
        self.under_canary: dict[str, tuple[int, Draft]] = {}
        self._draw(patterns)

    # --- what the seed draws ------------------------------------------------------------------------------------------

    def _draw(self, patterns: Sequence[Family]) -> None:
        dice = self.dice
        self.faults = {fault for fault in FAULTS if dice.random() < 0.35} if dice.random() < 0.95 else set()
        self.families = sorted(
            dice.sample(list(FAMILIES), min(len(FAMILIES), dice.choice((1, 1, 2, 3)))), key=lambda one: one.name
        )
        if self.more is not None:
            self._draw_patterns(self.more, patterns)
        self.versions = {family.name: 1 for family in self.families}
        self.sources = {
            family.name: "queue" if family.deduped and dice.random() < 0.3 else "hand" for family in self.families
        }
        self.retries = {family.name: dice.choice(list(RETRIES)) for family in self.families}
        self.pace = dice.choice((0.0, 0.005, 0.1, 1.0))
        self.latency = dice.choice((0.0, 0.002, 0.02))
        self.slow_disk = dice.choice((0.0, 0.0, 0.003, 0.02))
        self.sweep = 1.0
        window = dice.choice((2, 4, 8, 64))
        self.knobs: dict[str, Any] = {
            "FlowRun.window": window, "FlowRun.batch": dice.choice((1, 3, 200)),
            "Backlog.claim_ahead": dice.choice((1, 4, 8192)), "FlowRun.patience": dice.choice((1, 3, 16)),
            "Lanes.depth": dice.choice((0, 1, 4, 64)), "Timer.batch": dice.choice((1, 3, 256)),
            "Writer.most_entries": dice.choice((1, 3, 4000)), "Writer.linger": dice.choice((0.0, 0.002)),
            "Door.most_waiting": dice.choice((3, 20_000)), "Breaker.longest_open": 10.0,
            "Recovery.alone": dice.choice((0.01, 0.2, 5.0)), "Engine.most_waiters": dice.choice((1, 10_000)),
            "RetryBudget.trickle": 2.0,
        }  # fmt: skip
        if self.on("giant"):
            self.knobs["FlowRun.window_bytes"] = 4000
        self.crashes = dice.choice((1, 2, 3, 5)) if self.on("kill") else 0
        self._lanes = (0, 0)  # of so many drafts, at most so many lanes
        self.drafts = self._messages(dice.choice((4, 8, 16, 30)))

    def _draw_patterns(self, dice: random.Random, patterns: Sequence[Family]) -> None:
        if dice.random() < 0.6:
            keep = dice.choice((0, 0, 1))
            self.families = [*self.families[:keep], *dice.sample(list(patterns), dice.choice((1, 1, 2)))]
        self.jobs, self.canaries, self.restarts = dice.random() < 0.6, dice.random() < 0.7, dice.random() < 0.4
        self.sparing = self.on("bad-target") and dice.random() < 0.5

    def on(self, fault: str) -> bool:
        """Whether this seed has the fault."""
        return fault in self.faults

    def _messages(self, count: int) -> list[Draft]:
        dice = self.dice
        keys = [f"k{n}" for n in range(dice.choice((1, 2, 4)))]
        drafts = []
        for n in range(count):
            family = dice.choice(self.families)
            how = dice.choice(family.hows) if self.on("poison") and dice.random() < 0.15 else ""
            id = f"{family.name[:2]}{n}"
            value = {"id": id, "k": dice.choice(keys), "n": (1 << 60) + n, "how": how}
            family.make(dice, value)
            if self.on("giant") and dice.random() < 0.2:
                value["padding"] = "x" * dice.choice((1000, 5000, 20_000))
            drafts.append(Draft(id, family, value, id, how))
        return drafts

    # --- the run ------------------------------------------------------------------------------------------------------

    async def run(self, loop: NodeLoop) -> Report:
        """Play it to the end and judge it."""
        self.loop, self.clock = loop, loop.clock
        self.began = self.clock.now_ms()
        self._stirred = asyncio.Event()
        loop.blow = self._blow
        self.life = Life(self, 0)
        keeper = loop.create_task(self._keep_alive())
        mischief = [loop.create_task(work) for work in self.hands.mischief()]
        try:
            await self._send_everything()
            await self._settle("while faults go on", breach=False, limit=20.0)
            for task in mischief:
                task.cancel()
            self._calm_down()
            await self._end()
        finally:
            self.over = True
            for task in [keeper, *mischief]:
                task.cancel()
            if not self.life.dead:
                self.life.fall()
        report = check(self.events)
        report.breaches += self.breaches
        return report

    async def _keep_alive(self) -> None:
        """A supervisor: whenever the process has ended, it is started again."""
        number = 0
        while not self.over:
            number += 1
            self.life = life = Life(self, number)
            self._arm()
            life.task(life.run())
            await asyncio.wait([life.gone], timeout=START_LIMIT)
            if not life.served and not life.dead:
                self.breach("accounted", "the process does not come up, and does not end either")
                life.fall()
            await life.gone
            await asyncio.sleep(self.dice.choice((0.0, 0.1, 2.0)))

    async def _send_everything(self) -> None:
        dice, clients = self.dice, []
        for family in self.families:
            mine = [draft for draft in self.drafts if draft.family is family]
            if self.sources[family.name] == "queue":
                self.queues[family.door] = Queue(self, mine)
                continue
            hands = dice.choice((1, 1, 2, 3))
            clients += [Client(self, mine[n::hands]) for n in range(hands)]
        work = [self.loop.create_task(client.run()) for client in clients]
        while not all(task.done() for task in work) or not all(queue.empty for queue in self.queues.values()):
            if not await self.until(lambda: all(t.done() for t in work) and all(q.empty for q in self.queues.values())):
                self.breach("accounted", "clients wait for ever at the door")
                break
        for task in work:
            if task.done() and not task.cancelled():
                task.result()

    def _calm_down(self) -> None:
        self.calm, self.disk_full = True, False
        self.loop.fuse = -1
        for system in self.systems.values():
            system.trouble = None

    async def _end(self) -> None:
        """Everything ends; dead letters are taken up, first as they are, then mended."""
        if self.jobs:
            await self.hands.resume_jobs()  # whoever had paused one was interrupted
        await self._settle("when the faults had stopped")
        if self.chance(0.5):
            self.calm = self.chance(0.5)
            await self.hands.redrive_all(last=False)
            self._calm_down()
            await self._settle("after a redrive")
        self.healed = True
        for _ in range(3):
            if not await self.hands.redrive_all(last=True):
                break
            await self._settle("after the last redrive")
        life = await self.a_life()
        life.task(life.end(30.0))
        await life.gone
        if not self.disk.clean:
            self.breach("accounted", "an orderly end, and the store was not closed in good order")
        life = await self.a_life()
        await self._settle("after an orderly end")
        await self._observe(life)

    async def _settle(self, when: str, breach: bool = True, limit: float = PENDING_LIMIT) -> None:
        """Wait until nothing is pending."""
        if not await self.until(self._nothing_pending, limit) and breach:
            self.breach("accounted", f"messages are still pending {when}")
        self.measured_now()

    def _nothing_pending(self) -> bool:
        life = self.life
        if not life.up or any(flow.running for flow in life.engine.flows.values()):
            return False  # what runs is pending: no need to ask the desk
        return not any(map(busy, life.control.status().flows)) and self.no_job()

    def no_job(self) -> bool:
        """Whether no redrive job is on its way."""
        lines = self.life.control.jobs.lines() if self.jobs and self.life.up else []
        return self.life.up and all(line.state in ("done", "cancelled") for line in lines)

    async def until(self, holds: Callable[[], bool], seconds: float = PENDING_LIMIT) -> bool:
        """Wait, looking again whenever something stirs and every so often; whether it came true."""
        deadline, nap = self.clock.monotonic() + seconds, 0.05
        while not holds():
            if self.clock.monotonic() > deadline:
                return False
            self._stirred.clear()
            nap = min(nap * 1.5, 5.0)
            self.loop.call_later(nap, self._stirred.set)
            await self._stirred.wait()
        return True

    def stir(self) -> None:
        """Something happened that somebody may wait for."""
        self._stirred.set()

    async def a_life(self) -> Life:
        """A life that is up."""
        if not await self.until(lambda: self.life.up):
            self.breach("accounted", "the process does not come up")
            raise Stuck
        return self.life

    async def door(self, flow: str) -> Life:
        """A life whose door for the flow is open."""
        if not await self.until(lambda: flow in self.life.doors and self.life.up):
            self.breach("accounted", f"the door of {flow} does not open")
            raise Stuck
        return self.life

    async def patiently(self, told: asyncio.Future[Any]) -> Any:
        """What a life has to say, if it says it within half a minute."""
        done, _ = await asyncio.wait([told], timeout=30.0)
        if not done:
            self.some("a client gave up waiting")
        return told.result() if done else None

    # --- what is written down -----------------------------------------------------------------------------------------

    def add(self, event: history.Event) -> None:
        """Write down what somebody outside saw."""
        event.at = self.clock.monotonic()
        self.events.append(event)

    def fault(self, name: str, text: str = "") -> None:
        """A fault was injected."""
        self.counters[f"fault: {name}"] += 1
        self.add(history.Fault(name, text))

    def some(self, what: str) -> None:
        """Something happened that should happen sometimes."""
        self.counters[what] += 1

    def breach(self, invariant: str, text: str) -> None:
        """A promise is broken that only the world could see."""
        self.breaches.append((invariant, text))

    def measured(self, what: str, value: float, bound: float) -> None:
        """Keep the highest value of something bounded."""
        if value > self._peaks.get(what, (-1.0, 0.0))[0]:
            self._peaks[what] = (value, bound)

    def measured_now(self) -> None:
        if self.life.up:
            self.life.measure()

    def most_in_memory(self, flow: FlowRun) -> float:
        """How many messages of a flow may be in memory: its window, what runs, what is brought back, one a lane."""
        if len(self.drafts) != self._lanes[0]:
            keys = {draft.value["k"] for draft in self.drafts if draft.family.keyed}
            lanes = 2 * len(keys) + sum(len(draft.value.get("items", ())) for draft in self.drafts)
            self._lanes = (len(self.drafts), lanes)
        concurrency = flow.versions.current.policy.concurrency
        return float(flow.window + concurrency + self.knobs["Timer.batch"] + self._lanes[1])

    def handed_over(self, draft: Draft, life: Life) -> None:
        """A client hands a message to a life's door. Under which version, if that can be said."""
        name = draft.family.name
        if self.deploying:
            return
        self.sent_under.pop(draft.id, None)
        self.shared.pop(draft.id, None)
        if life.sharing(draft.family):
            self.shared[draft.id] = self.canary[name]
        else:
            self.sent_under[draft.id] = life.versions[name]

    def accepted(self, draft: Draft, receipt: Any) -> None:
        """A client was told that its message is in: it stays on the version it came in on."""
        if receipt.duplicate:
            self.some("a repeat was recognised")
        elif draft.id not in self.unsure and draft.id in self.sent_under:
            self.versions_of.setdefault(draft.id, (self.sent_under[draft.id],))
        elif draft.id not in self.unsure and draft.id in self.shared and draft.family.keyed:
            self.under_canary[draft.id] = (self.shared[draft.id], draft)

    def answered(self, draft: Draft, reply: Message) -> None:
        """A caller got the flow's answer."""
        target = f"{draft.family.name}-caller"
        self.add(history.Effect(target, draft.id, "", fingerprint(reply.value), once=False))

    def stands(self, draft: Draft) -> str:
        return "conflict" if draft.conflicting else draft.family.stands

    def renamed(self, draft: Draft) -> Draft:
        """A new message for one that may have been taken."""
        return draft.renamed(f"{draft.id.partition('~')[0]}~{len(self.sends)}")

    def repeat_soon(self, draft: Draft) -> None:
        """The source sends it again, perhaps with another body."""
        self.loop.create_task(self._repeat(draft))

    async def _repeat(self, draft: Draft) -> None:
        from proof.simulation.clients import invoke, told

        await asyncio.sleep(self.dice.choice((0.0, 0.01, 1.0, 30.0)))
        if self.chance(0.3) and draft.id in self.versions_of:
            draft = draft.conflict()
        life = self.life
        if not life.up or draft.family.door not in life.doors:
            return
        self.fault("source-repeats", "conflict" if draft.conflicting else "repeat")
        invoke(self, draft)
        self.unsure.add(draft.id)
        receipts = await self.patiently(life.deliver(draft.family.door, [draft.body], None))
        if receipts is not None:
            told(self, draft, receipts[0])
        else:
            self.add(history.Send("info", draft.id, draft.family.door))

    # --- the world as the node meets it -------------------------------------------------------------------------------

    def chance(self, share: float) -> bool:
        """Whether something that depends on the order of events happens."""
        return self.odds.random() < share

    def outside(self, seconds: float, function: Callable[..., Any], *args: Any) -> None:
        """Do something a while later, whatever becomes of the node."""
        self.loop.call_later(seconds, function, *args, context=OUTSIDE)

    def system(self, name: str, repeat: Any, flow: str, lane: bool, strict: bool, parks: bool) -> System:
        """The system of that name; its books outlive every node."""
        found = self.systems.get(name)
        if found is None:
            found = self.systems[name] = System(self, name, repeat, flow, lane, strict, parks)
        return found

    def queue(self, flow: str) -> Queue:
        return self.queues[flow]

    def plan(self, system: System, call: Any, value: Any) -> Plan:
        """What becomes of a call."""
        how, never, operation = value.get("how"), value.get("never"), system.name.rpartition(".")[2]
        if never == operation:
            return Plan(applied=False, error=lambda: Rejected("it was not agreed upon", code="http_409"))
        if never == "heard" and operation == "create":
            return Plan(0.01, answered=False)
        if how and not self.healed and not system.name.endswith(".look"):
            plan = self._poison(system, str(value.get("id")), call.key, how)
            if plan is not None:
                return plan
        sparing = self.sparing and not self.calm and self.chance(0.2)
        if sparing or (system.trouble is not None and not self.calm and self.chance(system.trouble[1])):
            word = "429" if sparing else self.odds.choice(system.trouble[0])  # type: ignore[index]
            if word == "4xx" and self.more is not None and system.knows(call.key):
                return Plan()  # it recognises a repeat before it looks at it
            fault = {"credentials": "expired-credentials", "slow": "slow-consumer"}.get(word, "bad-target")
            self.fault(fault, word)
            self.some(f"target: {word}")
            return TROUBLES[word](self.odds)
        return Plan(self.odds.uniform(0.0, self.latency), self.odds.uniform(0.0, self.latency))

    def too_soon(self, system: System, key: str) -> None:
        """A target that asked for patience must not be called before its time, unless the node forgot it by a crash."""
        wanted = system.not_before.pop(key, 0.0)
        if self.clock.monotonic() < wanted - 0.05:
            self.breach("once", f"{system.name} was called {wanted - self.clock.monotonic():.1f} s before it wished")

    def silent(self, target: str, seconds: float) -> None:
        """A node has heard that a target wants to be left alone for a while."""
        until, _ = self._silent.get(target, (0.0, 0))
        self._silent[target] = max(until, self.clock.monotonic() + seconds), self.life.number

    def silent_still(self, target: str) -> None:
        """What one life has heard, the next one knows, unless there was a crash between the two."""
        until, number = self._silent.get(target, (0.0, 0))
        if number != self.life.number and self.clock.monotonic() < until - 0.05:
            self.breach("once", f"after a restart {target} was called {until - self.clock.monotonic():.1f} s too soon")

    def _poison(self, system: System, id: str, key: str, how: str) -> Plan | None:
        self.fault("poison", how)
        if how == "hang":
            self.some("a message hung")
            return Plan(applied=False, answered=False)
        if how == "kill":
            self.kills[key] += 1
            self.some("a message killed the process")
            if self.kills[key] > 8:
                self.breach("accounted", f"{id} has killed the process {self.kills[key]} times")
                return None
            self.life.die()
        if system.name.rpartition(".")[2] in ("create", "fire", "write", "drop"):
            self.some("a message was refused by its target")
            return Plan(applied=False, error=lambda: Rejected("it is not wanted", code="http_422"))
        return None

    def disk_takes(self) -> float:
        """Seconds before and after a commit."""
        return self.odds.uniform(0.0, self.slow_disk) if self.slow_disk else 0.0

    def disk_fault(self) -> str:
        """What is wrong with this commit."""
        if self.calm:
            return ""
        if self.on("disk-full") and self.disk_full:
            self.fault("disk-full")
            return "full"
        if self.on("fsync-failure") and self.chance(0.01):
            self.fault("fsync-failure")
            return self.odds.choice(("broken", "broken-kept"))
        return ""

    disk_full = False

    def committed(self, life: Life, work: Work) -> None:
        """Work is on the disk."""
        for text in life.early(work):
            self.breach("order", text)
        for row in work.progress:
            if row.state is State.HELD:
                self.some("a message was held on disk")
            elif row.state is State.SPLIT:
                self.some("a message was split")
            elif row.state is State.IN_DOUBT:
                self.some("a message was in doubt")
            elif row.state is State.COMPENSATING:
                self.some("a saga went backwards")
            elif row.state is State.WAITING and row.reason.startswith("waits for"):
                self.some("a message waited for an event")
        for parked in work.parks.values():
            if parked is not None:
                self.some("a lane was parked")

    # --- death --------------------------------------------------------------------------------------------------------

    _boundary: tuple[str, int, str] | None = None

    def _arm(self) -> None:
        """Choose how the life that begins now will end."""
        self._boundary, self.loop.fuse = None, -1
        if self.crashes and not self.calm:
            self.crashes -= 1
            if self.dice.random() < 0.5:
                self.loop.fuse = int(self.dice.expovariate(1 / 150))
            else:
                action = "raise" if self.dice.random() < 0.15 else "kill"
                self._boundary = (self.dice.choice(NAMES), self.dice.choice((1, 1, 2, 3, 6)), action)

    def _blow(self) -> None:
        if not self.life.dead and not self.calm:
            self.some("a crash at an await" if self.life.up else "a crash while starting")
            self.fault("kill", "at an await")
            self.life.fall()

    def boundary(self, life: Life, name: str) -> None:
        """A node crosses a named boundary."""
        self.counters[f"boundary: {name}"] += 1
        if self._boundary is None or self._boundary[0] != name or self.calm:
            return
        left = self._boundary[1] - 1
        self._boundary = (name, left, self._boundary[2])
        if left:
            return
        self.fault("kill", name)
        self.some(f"killed: {name}")
        if self._boundary[2] == "raise":
            self.add(history.Crash())  # what was heard may have been forgotten
            raise Injected(name)
        life.die()

    def ended(self, life: Life, clean: bool) -> None:
        """A life is over."""
        if not clean:
            self.add(history.Crash())
            self._silent.clear()
            for system in self.systems.values():
                system.not_before.clear()
        else:
            self.some("an orderly end")
        self.stir()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _observe(self, life: Life) -> None:
        """Ask the desk about every message, and read the audit."""
        self.add(history.Drained())
        life.measure()
        self.measured("things left in memory", life.left_over(), 0)
        for what, (value, bound) in self._peaks.items():
            self.add(history.Memory(what, value, bound))
        status = life.control.status()
        for flow in status.flows:
            self.add(history.Count(flow.flow, flow.accepted, flow.pending, flow.done, flow.discarded, flow.dead))
        page = await life.control.messages(Search(limit=1000))
        for line in page.messages:
            (id, part), reason = identity(JSON.decode(life.control.body(line.id, line.flow))), line.reason or ""
            self.add(
                history.Seen(
                    line.flow, line.id, line.state, id + "!c" * reason.startswith("conflict"), part, reason,
                    int(line.id.rpartition("-")[2], 16),
                )
            )  # fmt: skip
        self._audit(life)
        self._narrow()
        self.breaches += judged(self.families, self.sends, self.events)
        self.breaches += kept_together(self.under_canary, self.events)

    def _audit(self, life: Life) -> None:
        engine = life.engine
        flows = {flow.number: flow.name for flow in engine.flows.values()}
        uid = life.store.uid
        event: Any
        for _, _, event in life.store.audit.events(0, 1_000_000):
            if event[0] == "accepted":
                _, stream, first, last = event
                for flow in engine._by_stream.get(stream, ()):
                    for seq in range(first, last + 1):
                        self.add(history.Audited(flow.name, f"{uid}-{seq:x}", "accepted"))
            elif event[0] == "state":
                for number, seq, state, _ in event[1]:
                    self.add(history.Audited(flows[number], f"{uid}-{seq:x}", State(state).word))
            elif event[0] == "redriven":
                self.add(history.Audited(flows[event[1]], f"{uid}-{event[2]:x}", "redriven"))

    def _narrow(self) -> None:
        """A message whose version is known must have had that version's effects, and no other's."""
        for event in self.events:
            if isinstance(event, history.Send) and event.op == "invoke" and event.id in self.versions_of:
                draft, versions = self.sends[event.id], self.versions_of[event.id]
                event.wants = draft.wants(versions)
                event.may = draft.wants(versions) + draft.wants(versions, optional=True)


def busy(flow: FlowStatus) -> bool:
    """Whether a flow has something to do. What stands behind a dead letter waits for an operator; an open group waits
    for its time."""
    held = flow.states.get("held", 0) if flow.parked else 0
    return flow.pending > held or bool(flow.remembers)


class Stuck(Exception):
    """The world cannot go on; a breach says why."""


OUTSIDE = contextvars.copy_context()  # of no node
