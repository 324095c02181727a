"""The guest room: everything a step or a connector needs, and nothing else.

Built-ins walk through the same door as guests: a connector or a step imports only this package and its own client
library.
"""

from dovetail.clock import Clock, Ids, seeded
from dovetail.codec import BadRecord, CodecError, CsvCodec, Dialect, Framed
from dovetail.errors import (
    InDoubt,
    MessageError,
    Paused,
    ProjectError,
    Refused,
    Rejected,
    Retry,
    Throttled,
    Unavailable,
    Waiting,
)
from dovetail.mapping import UNDEFINED
from dovetail.message import (
    OPAQUE,
    Codec,
    Deliver,
    Delivery,
    Done,
    Dropped,
    Failed,
    Message,
    Outcome,
    Position,
    Receipt,
)
from dovetail.sdk.connector import Call, Connection, Operation, Repeat, Reply, Sink, Source
from dovetail.sdk.context import (
    Build,
    Chain,
    Checker,
    Codecs,
    Connecting,
    Context,
    Expression,
    Log,
    Result,
)
from dovetail.sdk.handing import hand_over
from dovetail.sdk.http import Handler, Request, Respond, Routes
from dovetail.sdk.registry import Plugin
from dovetail.sdk.saga import Saga
from dovetail.sdk.state import Group, State
from dovetail.sdk.step import Dropping, EffectStep, MessageStep, Step, TakingStep
from dovetail.sdk.threads import Threads
from dovetail.spec import Duration, Field, Problem, Rate, Secret, Size, Spec, field

__all__ = [
    "OPAQUE", "UNDEFINED", "BadRecord", "Build", "Call", "Chain", "Checker", "Clock", "Codec", "CodecError",
    "Codecs", "Connecting", "Connection", "Context", "CsvCodec", "Deliver", "Delivery", "Dialect", "Done",
    "Dropped", "Dropping", "Duration", "EffectStep", "Expression", "Failed", "Field", "Framed", "Group", "Handler",
    "Ids", "InDoubt", "Log", "Message", "MessageError", "MessageStep", "Operation", "Outcome", "Paused", "Plugin",
    "Position", "Problem", "ProjectError", "Rate", "Receipt", "Refused", "Rejected", "Repeat", "Reply", "Request",
    "Respond", "Result", "Retry", "Routes", "Saga", "Secret", "Sink", "Size", "Source", "Spec", "State", "Step",
    "TakingStep", "Threads", "Throttled", "Unavailable", "Waiting", "field", "hand_over", "seeded",
]  # fmt: skip
