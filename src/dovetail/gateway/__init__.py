"""HTTP in: the shared listener that webhooks, APIs and the built-in endpoints are mounted on."""

from dovetail.gateway.limits import Limits
from dovetail.gateway.listener import Listener

__all__ = ["Limits", "Listener"]
