"""What the operator's desk answers: plain data, the same over HTTP, in `--json` and behind every table.

One file a noun. Times are wall-clock milliseconds; ids are whole and can be pasted into any command.
"""

from dovetail.control.answers.approvals import ApprovalLine, ApprovalOrder
from dovetail.control.answers.backups import BackupOrder, BackupState
from dovetail.control.answers.deploys import (
    DeployAnswer,
    DeployOrder,
    FlowPlan,
    VersionLine,
    VersionOrder,
    VersionsAnswer,
    WaitingLine,
)
from dovetail.control.answers.journeys import AttemptLine, Body, EffectLine, Journey, StepLine
from dovetail.control.answers.messages import ASKED, MOST_LINES, WORDS, MessageLine, Page, Search, states
from dovetail.control.answers.projects import Checked, Connector, ConnectorLine, ProblemLine
from dovetail.control.answers.redrives import RedriveAnswer, RedriveOrder, Skipped
from dovetail.control.answers.rehearsals import Alike, Change, DryRun, DryRunAnswer, Outgoing
from dovetail.control.answers.settling import Discarded, DiscardOrder, ParkedKey, UnparkOrder
from dovetail.control.answers.status import FlowStatus, Status, TargetStatus

__all__ = [
    "ASKED",
    "MOST_LINES",
    "WORDS",
    "Alike",
    "ApprovalLine",
    "ApprovalOrder",
    "AttemptLine",
    "BackupOrder",
    "BackupState",
    "Body",
    "Change",
    "Checked",
    "Connector",
    "ConnectorLine",
    "DeployAnswer",
    "DeployOrder",
    "DiscardOrder",
    "Discarded",
    "DryRun",
    "DryRunAnswer",
    "EffectLine",
    "FlowPlan",
    "FlowStatus",
    "Journey",
    "MessageLine",
    "Outgoing",
    "Page",
    "ParkedKey",
    "ProblemLine",
    "RedriveAnswer",
    "RedriveOrder",
    "Search",
    "Skipped",
    "Status",
    "StepLine",
    "TargetStatus",
    "UnparkOrder",
    "VersionLine",
    "VersionOrder",
    "VersionsAnswer",
    "WaitingLine",
    "states",
]
