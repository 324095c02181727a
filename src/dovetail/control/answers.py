"""What the operator's desk answers: plain data, the same over HTTP, in `--json` and behind every table.

Times are wall-clock milliseconds; ids are whole and can be pasted into any command.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dovetail.errors import Refused
from dovetail.store.base import PENDING, State


class Struct(msgspec.Struct, forbid_unknown_fields=False):
    """The base of all answers."""


# --- status ---------------------------------------------------------------------------------------------------------


class FlowStatus(Struct):
    """One flow's numbers. `states` splits `pending` by state word; `accepted` counts what stands in the stream it
    reads; `remembers` says how many keys (open groups, known ids) its steps remember, by step.
    """

    flow: str
    accepted: int
    pending: int
    done: int
    discarded: int
    dead: int
    states: dict[str, int] = {}
    waiting_for: str = ""  # the target that holds the flow back
    remembers: dict[str, int] = {}
    parked: int = 0  # keys that stand still behind a dead letter
    hot_keys: dict[str, int] = {}  # messages behind the head of the flow's longest lanes, as far as this process saw
    bytes: int = 0  # bodies that are kept in the stream it reads
    most_bytes: int = 0  # and how many may be; 0 when no server runs


class TargetStatus(Struct):
    """One outside system and its breaker: `closed`, `open` or `half_open`."""

    target: str
    breaker: str


class Status(Struct):
    """The whole server, or a store at rest (`running` false)."""

    running: bool
    project: str
    store: str
    flows: list[FlowStatus]
    targets: list[TargetStatus] = []
    ready: bool = False
    reasons: list[str] = []
    pid: int = 0
    uptime: float = 0.0
    usage: dict[str, int] = {}
    disk: str = ""  # `full`: nothing is accepted; `very full`: nothing is fetched, either


# --- backup ---------------------------------------------------------------------------------------------------------


class BackupOrder(Struct):
    """Where the backup goes: a new or empty folder on the server's machine, as a whole path."""

    folder: str


class BackupState(Struct):
    """How far a backup is: bytes, and in the end how many messages and spill files it holds. `phase` is `database`,
    `files`, `verifying` or `done`.
    """

    folder: str = ""
    running: bool = False
    phase: str = ""
    done: int = 0
    total: int = 0
    messages: int = 0
    files: int = 0
    error: str = ""


# --- messages -------------------------------------------------------------------------------------------------------


class MessageLine(Struct):
    """One message in one flow, as a list shows it. `reason` is a dead letter's or a waiting message's."""

    id: str
    flow: str
    state: str
    at: int
    size: int
    key: str = ""
    attempt: int = 0
    next_at: int = 0
    changed_at: int = 0
    reason: str = ""


class Page(Struct):
    """Messages, newest first. `next` continues the search; empty when there is no more."""

    messages: list[MessageLine]
    next: str = ""


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


# --- asking ---------------------------------------------------------------------------------------------------------


class Search(Struct, forbid_unknown_fields=True):
    """What to look for. Empty fields do not restrict. `states` are state words; `before` is a page's `next`.

    `flow` may be a pattern (`order-*`). `reason` is how a message's reason begins; `step` where its last attempt failed
    (or a pattern); `version` the flow version it is on.
    """

    flow: str = ""
    states: list[str] = []
    key: str | None = None
    since: int = 0
    until: int = 0
    text: str = ""
    reason: str = ""
    step: str = ""
    version: int = 0
    before: str = ""
    limit: int = 50


class RedriveOrder(Struct, forbid_unknown_fields=True):
    """Which dead letters to take up again: by `ids` (`id`, or `flow:id`), or those that `search` finds (oldest first,
    up to `limit`).

    `flow` narrows ids that several flows read. `body` (base64) replaces the body of one message. `version`: `current`,
    or `same` to stay on the version that the message was on. `rate`: messages a second, 0 for all at once. `map` is an
    expression that makes the new body of every message out of its body. `as_new`: the messages run anew from their
    beginning, with new ids and effect keys. `note` stands in the audit trail.
    """

    by: str
    ids: list[str] = []
    search: Search | None = None
    flow: str = ""
    body: str | None = None
    version: str = "current"
    rate: float = 0.0
    limit: int = 10000
    map: str = ""
    as_new: bool = False
    note: str = ""


class Skipped(Struct):
    """A message that was not touched, and why."""

    id: str
    why: str


class ParkedKey(Struct):
    """A key that stands still behind a message that failed (`failed`, its id), and how many wait behind it on disk.

    `state` is the failed one's: dead, or pending once it was redriven. `strict`: the flow says `block`.
    """

    flow: str
    key: str
    since: int
    behind: int
    failed: str
    state: str = ""
    reason: str = ""
    strict: bool = False


class UnparkOrder(Struct, forbid_unknown_fields=True):
    """Let a parked key go on. `failed` says what becomes of the dead letter at its head: `redrive` (first it, then the
    others), `discard`, or `leave` (it stays a dead letter and the others pass it). `reason` goes into the audit.
    """

    by: str
    flow: str
    key: str
    failed: str
    reason: str = ""


class DiscardOrder(Struct, forbid_unknown_fields=True):
    """Dead letters that nobody will send on. `flow` narrows ids that several flows read."""

    by: str
    reason: str
    ids: list[str]
    flow: str = ""


class Discarded(Struct):
    """What was discarded."""

    discarded: list[str]
    skipped: list[Skipped] = []


class RedriveAnswer(Struct):
    """What was taken up again; `new` are the ids of those that run as new, in the same order. `more`: the search found
    further ones beyond the limit."""

    redriven: list[str]
    skipped: list[Skipped] = []
    more: bool = False
    new: list[str] = []


class Outgoing(Struct):
    """What a message would send: `what` is call, write or publish; `to` the operation, sink or topic; `key` the effect
    key; `args` as JSON."""

    what: str
    step: str
    to: str
    key: str
    args: dict[str, str]
    body: str


class Change(Struct):
    """One place where what would be sent now differs. `kind`: added, removed or changed; values as JSON, shortened."""

    kind: str
    path: str
    was: str
    now: str


class DryRun(Struct):
    """One dead letter, rehearsed. `before` and `version`: the flow version it was on and the one it would take.

    `ends`: done, discarded, split, failed (it would be a dead letter again: `step`, `code`, `why`) or open (`step`
    needs the answer of a call that is only made for real). `untouched`: done effects that stay as they are. What was
    (`was`) sent or would have been, by the old version, is computed again.
    """

    id: str
    flow: str
    before: int
    version: int
    ends: str
    step: str
    code: str
    why: str
    untouched: int
    was: list[Outgoing]
    now: list[Outgoing]
    changes: list[Change]


class Alike(Struct):
    """Dry runs with the same shape of difference and the same end; `example` is one message's id."""

    flow: str
    before: int
    version: int
    ends: str
    reason: str
    changes: list[str]
    count: int
    example: str
    why: str


class DryRunAnswer(Struct):
    """What a redrive would do; nothing was sent or written."""

    runs: list[DryRun]
    groups: list[Alike] = []
    skipped: list[Skipped] = []
    more: bool = False


# --- deploying ------------------------------------------------------------------------------------------------------


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
    """What a deploy does, or did (`deployed`). `connections` are opened anew; `moved` counts messages."""

    flows: list[FlowPlan]
    connections: list[str] = []
    deployed: bool = False
    moved: int = 0


class ApprovalOrder(Struct, forbid_unknown_fields=True):
    """Approve (or reject) the message `id`, which waits for a decision; `flow` and `step` when it waits for several."""

    id: str
    by: str
    approve: bool = True
    comment: str = ""
    flow: str = ""
    step: str = ""


class ApprovalLine(Struct):
    """A message that waits for a decision: by whom, what they are asked, since when and until when (0: for ever)."""

    message: str
    flow: str
    step: str
    by: str
    what: str
    since: int
    deadline: int


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


# --- checking a project ---------------------------------------------------------------------------------------------


class ProblemLine(Struct):
    """One thing to mend in a project's text; `level` is error or warning."""

    level: str
    code: str
    file: str
    line: int
    column: int
    message: str
    suggestion: str = ""


class Checked(Struct):
    """What reading a project found; `ok` when it would run."""

    ok: bool
    problems: list[ProblemLine]
    project: str = ""
    environment: str = ""
    flows: list[str] = []
    connections: list[str] = []


# --- connectors -----------------------------------------------------------------------------------------------------


class ConnectorLine(Struct):
    """One word of a project's vocabulary: a step, a connector or a source."""

    name: str
    kind: str
    summary: str
    origin: str = ""


class Connector(Struct):
    """All about one of them; `fields` is form data, `reference` a page of Markdown, `schema` JSON Schema."""

    name: str
    kind: str
    summary: str
    description: str
    reference: str
    schema: dict[str, Any]
    operations: dict[str, str] = {}
    sinks: dict[str, str] = {}


# --- states as words ------------------------------------------------------------------------------------------------

WORDS = {state: "pending" if state is State.FRESH else state.word for state in State}
ASKED = {"pending": PENDING, **{state.word: (state,) for state in State if state is not State.FRESH}}


def states(words: list[str]) -> tuple[State, ...]:
    """The states that these words ask for; `pending` means every message that has not ended. Raises `Refused`."""
    found: list[State] = []
    for word in words:
        if word not in ASKED:
            raise Refused(f"unknown state '{word}'; known: {', '.join(ASKED)}", code="unknown-state")
        found += [state for state in ASKED[word] if state not in found]
    return tuple(found)
