"""`dovetail deploy`, `promote`, `rollback` and `versions`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from dovetail.cli.check import drawn
from dovetail.cli.desk import Where, desk, user
from dovetail.cli.exits import OK, PROBLEMS, report
from dovetail.cli.output import line, notes, number, table, when, write, write_json
from dovetail.control.answers import DeployAnswer, DeployOrder, FlowPlan, ProblemLine, VersionOrder
from dovetail.errors import Refused

FATES = {
    "moves": "can go on on the new version",
    "mapping": "need to know where they are: --step OLD=NEW",
    "finishes": "finish on the version they are on",
}


def deploy(
    *, plan: bool = False, canary: str = "",
    canary_keys: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    move: bool = False, step: list[str] | None = None, by: str = "",
    where: Where | None = None,
) -> int:  # fmt: skip
    """Deploy, and print what changed and what it means for messages that wait.

    Parameters
    ----------
    plan
        Only say what would change.
    canary
        The new versions take only this share of the new messages: 10%. Messages of one key stay together. When no
        text was changed, canaries that run get this share.
    canary_keys
        The new versions take the messages of these keys.
    move
        Take waiting messages along as far as they can go on on the new version; also later, when the text is the same.
    step
        A step of the old version and the one that stands for it in the new one: call:erp.create=call:erp.put.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    """
    where = where or Where()
    order = DeployOrder(
        by=by or user(), plan=plan, percent=_share(canary), keys=canary_keys or [], move=move, steps=_steps(step or [])
    )
    with desk(where) as asked:
        try:
            answer = asked.deploy(order)
        except Refused as error:
            if error.code != "project":
                raise
            _problems(error)
            return report(error.message, error.code, PROBLEMS, where.json)
    _told(answer, where.json)
    return OK


def promote(flow: str, /, *, by: str = "", where: Where | None = None) -> int:
    """Print what changed.

    Parameters
    ----------
    flow
        The flow.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    """
    where = where or Where()
    with desk(where) as asked:
        answer = asked.promote(VersionOrder(by=by or user(), flow=flow))
    _told(answer, where.json)
    return OK


def rollback(flow: str, /, *, to: int = 0, by: str = "", where: Where | None = None) -> int:
    """Print what changed.

    Parameters
    ----------
    flow
        The flow.
    to
        The version. Default: the one that was current before; while there is a canary, the one beside it.
    by
        Who is answerable; stands in the audit trail. Default: the user of this session.
    """
    where = where or Where()
    with desk(where) as asked:
        answer = asked.rollback(VersionOrder(by=by or user(), flow=flow, version=to))
    _told(answer, where.json)
    return OK


def versions(flow: str, /, *, where: Where | None = None) -> int:
    """Print them, newest first.

    Parameters
    ----------
    flow
        The flow.
    """
    where = where or Where()
    with desk(where) as asked:
        answer = asked.versions(flow)
    if where.json:
        write_json(answer)
        return OK
    drawn = table(
        "version", "first seen", "role", "waiting", "done", "discarded", "dead", "text",
        right=("version", "waiting", "done", "discarded", "dead"),
    )  # fmt: skip
    for each in answer.versions:
        role = Text(each.role, "green" if each.role == "current" else "yellow")
        if each.role == "canary":
            role.append(f" {_taken(each.percent, each.keys)}")
        drawn.add_row(
            str(each.version), when(each.at), role, number(each.waiting), number(each.done), number(each.discarded),
            number(each.dead), each.digest[:12],
        )  # fmt: skip
    write(drawn)
    if answer.more:
        write(Text("there are more waiting messages than were counted", "dim"))
    return OK


def _share(text: str) -> float:
    if not text:
        return 0.0
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = -1.0
    if not 0 < share < 100:
        raise Refused(f"--canary must be a share such as 10%, not {text!r}", code="canary")
    return share


def _steps(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for (old, _, new), text in zip(pairs, given, strict=True):
        if not old or not new:
            raise Refused(f"--step must be OLD=NEW, not {text!r}", code="step")
    return {old: new for old, _, new in pairs}


def _problems(error: Refused) -> None:
    """What is wrong with the project, as `check` shows it."""
    for problem in error.detail or ():
        notes().print(drawn(ProblemLine(**problem)), soft_wrap=True)


def _told(answer: DeployAnswer, as_json: bool) -> None:
    if as_json:
        write_json(answer)
        return
    shown = [plan for plan in answer.flows if plan.change != "same" or plan.waiting or plan.more]
    lines = [text for plan in shown for text in _plan(plan, answer.deployed)]
    if answer.connections:
        lines.append(Text(f"connections opened anew: {', '.join(map(line, answer.connections))}"))
    same = sum(plan.change == "same" for plan in answer.flows)
    lines.append(Text(f"{same} flow{'' if same == 1 else 's'} unchanged", "dim"))
    lines += [Text(line(note), "yellow") for note in answer.notes]
    if answer.moved:
        lines.append(Text(f"{answer.moved:,} waiting messages taken along", "green"))
    lines.append(
        Text("deployed", "green") if answer.deployed else Text("nothing was changed: this is the plan", "yellow")
    )
    write(*lines, whole=True)


def _plan(plan: FlowPlan, done: bool) -> list[Text]:
    head = Text(line(plan.flow), "bold").append(f"  {plan.change}", "cyan")
    if plan.change == "changed":
        head.append(f", version {plan.version} → {plan.next or 'a new one'}")
    if plan.change == "removed":
        head.append(": it finishes what it has" if done else ": it would finish what it has")
    if plan.percent or plan.keys:
        head.append(f", canary for {_taken(plan.percent, plan.keys)}", "yellow")
    lines = [head]
    for each in plan.waiting:
        text = Text(f"    {each.count:,} on version {each.version} {FATES[each.fate]}")
        if each.why:
            text.append(f" ({line(each.why)})", "dim")
        lines.append(text.append(f"  e.g. {each.example}", "dim"))
    if plan.more:
        lines.append(Text("    and more, which were not looked at", "dim"))
    return lines


def _taken(percent: float, keys: list[str]) -> str:
    parts = [f"{percent:g} %"] if percent else []
    parts += [f"keys {', '.join(map(line, keys))}"] if keys else []
    return " and ".join(parts)
