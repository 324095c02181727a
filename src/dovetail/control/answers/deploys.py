"""Bringing another text into the running server, and the versions of a flow."""

from __future__ import annotations

from msgspec import Struct


class DeployOrder(Struct, forbid_unknown_fields=True):
    """Bring the project folder's text into the running server.

    `plan`: only say what would happen. `percent` and `keys` make what changed a canary: it takes that share of the new
    messages, the rest stays on the version of before. `move` takes waiting messages along as far as they can; `steps`
    says which step of the new version stands for one that is gone (old id → new id).
    """

    by: str
    plan: bool = False
    percent: float = 0.0
    keys: list[str] = []
    move: bool = False
    steps: dict[str, str] = {}


class WaitingLine(Struct):
    """Messages of one version that have not ended, and what a deploy means for them.

    `fate`: `moves` (they can go on on the new version, with --move), `mapping` (they can if --step says where they
    are), `finishes` (they end on the version they are on). `example` is one message's id.
    """

    version: int
    fate: str
    count: int
    why: str = ""
    example: str = ""


class FlowPlan(Struct):
    """One flow. `change`: new, changed, source (only where its messages come from), removed or same. `version` gets
    new messages now, `next` afterwards (0: a number that is not given yet)."""

    flow: str
    change: str
    version: int = 0
    next: int = 0
    percent: float = 0.0
    keys: list[str] = []
    waiting: list[WaitingLine] = []
    more: bool = False  # there are further waiting messages, which were not looked at


class DeployAnswer(Struct):
    """What a deploy does, or did (`deployed`). `connections` are opened anew; `moved` counts messages. `notes` say what
    of the order changes nothing, and what to do instead."""

    flows: list[FlowPlan]
    connections: list[str] = []
    deployed: bool = False
    moved: int = 0
    notes: list[str] = []


class VersionOrder(Struct, forbid_unknown_fields=True):
    """Give new messages of a flow another version: `version` (0: the one that was current before)."""

    by: str
    flow: str
    version: int = 0


class VersionLine(Struct):
    """One version of a flow. `role`: current, canary, or nothing. `waiting` messages have not ended; the other counts
    are of this life of the server, since the last deploy."""

    version: int
    digest: str
    at: int
    role: str = ""
    percent: float = 0.0
    keys: list[str] = []
    waiting: int = 0
    done: int = 0
    discarded: int = 0
    dead: int = 0


class VersionsAnswer(Struct):
    """The versions of one flow, newest first."""

    flow: str
    versions: list[VersionLine]
    more: bool = False  # not all waiting messages were counted
