"""HTTP: webhooks as a source, calls as operations of a connection."""

from dovetail.connectors.http.webhook import Webhook

__all__ = ["Webhook"]
