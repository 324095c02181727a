"""One message's journey through a flow."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dovetail.control.answers.messages import MessageLine


class Body(Struct):
    """Bytes fit to be shown: text as it is, anything else in base64. `size` is the whole length, even if `cut`."""

    text: str
    size: int
    encoding: str = "text"
    cut: bool = False


class EffectLine(Struct):
    """One call on an outside system."""

    key: str
    step: str
    target: str
    state: str
    attempt: int
    at: int
    status: int = 0
    reply: Body | None = None
    message: str = ""


class AttemptLine(Struct):
    """One failed attempt."""

    number: int
    at: int
    step: str
    code: str
    message: str
    detail: Any = None
    version: int = 0


class StepLine(Struct):
    """One step of the journey: the body before and after, and what came of it.

    `outcome` is done, dropped, failed, split, or pending (not reached, or waiting for its next attempt).
    """

    step: str
    kind: str
    outcome: str
    before: Body | None = None
    after: Body | None = None
    error: str = ""
    effects: list[EffectLine] = []


class Journey(Struct):
    """All that is known of one message in one flow. `steps_missing` says why the steps could not be computed again."""

    message: MessageLine
    source: str
    type: str
    content_type: str
    headers: dict[str, str]
    version: int
    body: Body | None
    trace: str = ""
    subject: str = ""
    parent: str = ""
    edited: bool = False
    redriven: int = 0
    crashes: int = 0
    steps: list[StepLine] = []
    attempts: list[AttemptLine] = []
    effects: list[EffectLine] = []
    parts: list[str] = []
    members: list[str] = []  # what a step made it of
    other_flows: list[str] = []  # further flows that read the same message
    steps_missing: str = ""
