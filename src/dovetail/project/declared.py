"""What the files of a project may say, declared once: problems, editor schemas and reference pages come from here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from dovetail.spec import Duration, Size, Spec, field

DAY = 86400.0
FORMAT = 1  # of the project folder; a project of a newer one is refused


class Keep(Spec):
    """How long messages are kept after their end, by how they ended, and how many bytes of them."""

    done: Duration | None = field(default=None, help="Messages that are done; 7d by default.", example="7d")
    discarded: Duration | None = field(
        default=None, help="Messages that a rule discarded; 7d by default.", example="7d"
    )
    dead: Duration | None = field(default=None, help="Dead letters; 90d by default.", example="90d")
    answers: Duration | None = field(
        default=None, help="What targets answered, of messages that ended well; 7d by default.", example="1d"
    )
    dedupe: Duration | None = field(
        default=None, help="Ids of messages, from their acceptance on; by default a day longer than anything else.",
        example="100d",
    )  # fmt: skip
    keep: Size | None = field(
        default=None, help="Bytes of bodies (10GB by default). Above, those of messages that ended well are let go, "
        "oldest first, except one in a hundred; never what is pending or dead.", example="10GB",
    )  # fmt: skip

    def rules(self) -> Iterable[tuple[str, str]]:
        """An id must be remembered for longer than its message may be looked at or sent again."""
        given = [time for time in (self.done, self.discarded, self.dead) if time is not None]
        if self.dedupe is not None and given and self.dedupe < max(given) + DAY:
            yield (
                "dedupe",
                f"it must be a day longer than the longest of the others: write {Duration(max(given) + DAY)}",
            )


class ProjectKeep(Keep):
    """As for a flow, and the audit."""

    audit: Duration = field(default="400d", help="The audit's events.")


class Disk(Spec):
    """How full the store's disk may be, in percent."""

    stop_accepting: int = field(default=80, help="Nothing more is accepted from here on.", min=1, max=100)
    stop_fetching: int = field(default=90, help="Nothing more is fetched from here on.", min=1, max=100)
    resume_below: int = field(default=2, help="It goes on this many percent lower.", min=0, max=50)

    def rules(self) -> Iterable[tuple[str, str]]:
        """The second threshold is not before the first."""
        if self.stop_fetching < self.stop_accepting:
            yield "stop_fetching", "it must not be lower than stop_accepting"


class Environment(Spec):
    """What is different in one environment."""

    env: dict[str, str] = field(
        default={},
        help="Values of ${env:NAME}; variables of the process come first.",
        example={"ERP_URL": "http://erp"},
    )
    connections: dict[str, dict[str, Any]] = field(
        default={}, help="Values that replace those of connections, by name.", example={"erp": {"timeout": "5s"}}
    )
    flows: dict[str, dict[str, Any]] = field(
        default={}, help="Values that replace those of flows, by name.", example={"orders": {"concurrency": 8}}
    )


class ProjectFile(Spec):
    """`dovetail.yaml`."""

    project: str = field(help="The project's name.", example="acme", pattern=r"[a-z][a-z0-9-]*")
    dovetail: int = field(default=FORMAT, help="The version of the project format.", min=1)
    summary: str = field(default="", help="What the project joins, in a sentence.")
    owner: str = field(default="", help="Who answers for it.")
    retention: ProjectKeep | None = field(
        default=None,
        help="How long messages are kept; a flow may say otherwise.",
        example={"done": "3d", "dead": "90d"},
    )
    disk: Disk | None = field(
        default=None, help="What happens when the disk fills.", example={"stop_accepting": 80, "stop_fetching": 90}
    )
    environments: dict[str, Environment] = field(
        default={},
        help="What differs between environments.",
        example={"production": {"connections": {"erp": {"url": "https://erp.example.com"}}}},
    )


class Retrying(Spec):
    """How long and how often a transient fault is tried again."""

    for_: Duration = field(default="24h", help="How long after the first failure it is still tried.")
    attempts: int | None = field(default=None, help="At most this many attempts in all.", min=1)
    base: Duration = field(default="1s", help="The shortest wait between attempts.")
    cap: Duration = field(default="15m", help="The longest wait between attempts.")


class Compensating(Spec):
    """What happens to a message that failed for good after effects that declare a compensation."""

    for_: Duration = field(
        default="24h", help="How long a compensation that fails is retried; then a person decides (a dead letter)."
    )
    then: Literal["dead_letter", "discard"] = field(
        default="dead_letter", help="How a message ends when everything is undone: `discard` needs nobody's attention."
    )


class OnFailure(Spec):
    """A flow's word on failure."""

    retry: Retrying | None = field(default=None, help="Retries of transient faults.", example={"for": "24h"})
    then: Literal["dead_letter"] = field(default="dead_letter", help="What becomes of a message that cannot go on.")
    compensate: Compensating | None = field(
        default=None, help="Compensations of what was done before.", example={"for": "7d", "then": "discard"}
    )
    in_doubt: Literal["park", "retry"] | None = field(
        default=None,
        help="When an operation that must not be repeated may or may not have happened: `park` keeps the message as a "
        "dead letter for a person, `retry` does it again.",
    )
    poison: Literal["skip", "park_key", "block"] = field(
        default="skip",
        help="What later messages of the same key do when one became a dead letter. `skip`: they go on. `park_key`: "
        "they wait in order until the dead letter was redriven with success or discarded, or a person unparks the key. "
        "`block`: the same, but nobody can let them pass an unsettled dead letter. Other keys go on in any case.",
    )
    crashes: int = field(default=3, help="In flight at this many crashes of the process: a dead letter.", min=1)


class FlowFile(Spec):
    """`flows/<name>.yaml`."""

    flow: str = field(help="The flow's name; the same as the file's.", pattern=r"[a-z][a-z0-9-]*")
    owner: str = field(default="", help="Who answers for it.", example="sales-ops")
    summary: str = field(default="", help="What it does, in a sentence.")
    source: dict[str, Any] | None = field(
        default=None, help="Where its messages come from: one source. A flow without one is used by others.",
        example={"webhook": {"path": "/hooks/orders"}},
    )  # fmt: skip
    contract: str | None = field(
        default=None, help="What a message must look like; anything else is refused.", kind="contract",
        example="shop.order@2",
    )  # fmt: skip
    key: str | None = field(
        default=None, help="Messages of one key keep their order.", kind="expression", example="customer.id"
    )
    dedupe: str | None = field(
        default=None, help="What tells a message from others: the same one again is accepted only once.",
        kind="expression", example="id",
    )  # fmt: skip
    priority: str | None = field(
        default=None, kind="priority", example='customer.tier = "gold" ? "urgent" : "background"',
        help="Who goes first when messages wait for the same thing: `urgent`, `normal` (as without this) or "
        "`background`, or an expression that gives one of these for each message. Less urgent ones keep a small share, "
        "and messages of one key keep their order.",
    )  # fmt: skip
    steps: list[Any] = field(help="What happens to a message, in order.", kind="steps")
    on_failure: OnFailure | None = field(default=None, help="What happens when a step fails.")
    retention: Keep | None = field(
        default=None, help="How long its messages are kept.", example={"done": "7d", "dead": "90d", "keep": "10GB"}
    )
    concurrency: int = field(default=128, help="Messages under way at once.", min=1, max=10_000)
    timeout: Duration = field(default="30s", help="The total time one call may take, unless the step says otherwise.")


class ConnectionFile(Spec):
    """The part of `connections/<name>.yaml` that every connector shares; the rest is the connector's own."""

    connection: str = field(help="The connection's name; the same as the file's.", pattern=r"[a-z][a-z0-9_-]*")
    connector: str = field(help="What kind of system it is.", example="http")
    summary: str = field(default="", help="Which system it is, in a sentence.")
    owner: str = field(default="", help="Who answers for it.")
    operations: dict[str, Any] | None = field(
        default=None, help="Operations of the project's own.", example={"create": {"method": "POST", "path": "/orders"}}
    )

    @classmethod
    def own(cls) -> Iterable[str]:
        """The names of the shared fields."""
        return [declared.name for declared in cls.fields()]
