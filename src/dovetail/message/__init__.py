"""What moves through the corridor: messages, deliveries and their outcomes."""

from dovetail.message.delivery import Deliver, Delivery, Position, Receipt
from dovetail.message.message import OPAQUE, Codec, Message, OpaqueCodec
from dovetail.message.outcome import Done, Dropped, Failed, Outcome

__all__ = [
    "OPAQUE",
    "Codec",
    "Deliver",
    "Delivery",
    "Done",
    "Dropped",
    "Failed",
    "Message",
    "OpaqueCodec",
    "Outcome",
    "Position",
    "Receipt",
]
