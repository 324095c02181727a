"""Which version new messages of a flow get: what there is, rolling back, promoting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from dovetail.control.answers import DeployAnswer, FlowPlan, VersionLine, VersionOrder, VersionsAnswer
from dovetail.control.deploying import candidate_of, changed
from dovetail.control.moving import LOOKED, waiting
from dovetail.engine.definition import Application, FlowDefinition
from dovetail.engine.memo import unpack
from dovetail.errors import ProjectError, Refused
from dovetail.project.deployed import Decision, Deployed, decision_mark, kept, moved_mark
from dovetail.store.base import State, Work

if TYPE_CHECKING:
    from dovetail.control.desk import Control


async def promote(control: Control, order: VersionOrder) -> DeployAnswer:
    """The text that was deployed last becomes what new messages get: a canary takes all of them, a rollback is over.
    No other flow is touched."""
    flow = _flow(control, order)
    known = control.store.register.versions(control.place(order.flow).number)
    version = next((number for number, digest, _ in known if digest == flow.text), flow.current.number)
    return await _give(control, order, flow, version, b"")


async def roll_back(control: Control, order: VersionOrder) -> DeployAnswer:
    """New messages get an older version again, until another text of the flow is deployed. No other flow is touched."""
    flow = _flow(control, order)
    now = flow.current.number
    before = [number for number in Deployed(control.store).history(order.flow) if number < now]
    version = order.version or (now if flow.canary is not None else max(before, default=0))
    known = [number for number, _, _ in control.store.register.versions(control.place(order.flow).number)]
    if version not in known:
        text = f"flow {order.flow} has no version {version}" if order.version else "there is no version before this one"
        raise Refused(text, status=404, code="version")
    return await _give(control, order, flow, version, msgspec.msgpack.encode(Decision(flow.text, version)))


async def _give(
    control: Control, order: VersionOrder, flow: FlowDefinition, version: int, decision: bytes
) -> DeployAnswer:
    """Write the decision down and switch this one flow."""
    moved = {old: new for old, new in Deployed(control.store).moved(flow.name).items() if new == version}
    marks = {decision_mark(flow.name): decision, moved_mark(flow.name): msgspec.msgpack.encode(moved)}
    event = ("decided", control.place(flow.name).number, version, order.by)
    running = control.hand.application()
    try:
        other = _switched(flow, version, {old: new for old, new in moved.items() if old != version})
    except ProjectError as error:
        raise Refused(f"version {version} cannot be loaded: {error.message}", status=409, code="version") from error
    application = None
    if running is not None:
        flows = [other if each.name == flow.name else each for each in running.flows]
        application = Application(flows, running.connections, running.rates)
    await changed(control, Work(marks=marks, audit=[event]), application)
    plan = FlowPlan(flow.name, "changed", flow.current.number, version)
    return DeployAnswer([plan], deployed=control.hand.running)


def _switched(flow: FlowDefinition, version: int, moved: dict[int, int]) -> FlowDefinition:
    """The flow with another current version, and no canary. Raises ProjectError."""
    source = flow.source_of(version) if flow.source_of is not None else flow.source
    return replace(flow, current=flow.load(version), source=kept(source, flow.source), canary=None, moved=moved)


def _flow(control: Control, order: VersionOrder) -> FlowDefinition:
    """The flow as it runs; at rest, as a start would run it."""
    if not order.by.strip():
        raise Refused("say who decides (by)", status=422, code="by")
    control.place(order.flow)
    application = control.hand.application() or candidate_of(control, register=True)
    for flow in application.flows:
        if flow.name == order.flow:
            return flow
    raise Refused(f"flow '{order.flow}' is not in the project", status=409, code="not-running")


def versions(control: Control, flow: str) -> VersionsAnswer:
    """Every version of a flow, newest first, with what is known of its messages."""
    place = control.place(flow)
    lines = {
        number: VersionLine(number, digest, at)
        for number, digest, at in control.store.register.versions(place.number)
    }  # fmt: skip
    running = control.hand.application() or candidate_of(control)
    for definition in (each for each in running.flows if each.name == flow):
        if definition.current.number in lines:
            lines[definition.current.number].role = "current"
        if definition.canary is not None:
            line = lines[definition.canary.version.number]
            line.role, line.percent = "canary", definition.canary.percent
            line.keys = sorted(definition.canary.keys)
    for number, ended in control.hand.ended(flow).items():
        line = lines[number]
        line.done, line.discarded, line.dead = (ended.get(s, 0) for s in (State.DONE, State.DISCARDED, State.DEAD))
    rows, before = waiting(control, place)
    looked = len(rows)
    while True:
        for row, progress in rows:
            version = (unpack(progress.memo).version if progress is not None else 0) or row.version
            if version in lines:
                lines[version].waiting += 1
        if not before or looked >= LOOKED:
            break
        rows, before = waiting(control, place, before)
        looked += len(rows)
    return VersionsAnswer(flow, [lines[number] for number in sorted(lines, reverse=True)], more=bool(before))
