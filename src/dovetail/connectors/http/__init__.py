"""HTTP: webhooks as a source, calls as operations of a connection."""

from dovetail.connectors.http.connection import HttpConnection
from dovetail.connectors.http.webhook import WebhookSource

__all__ = ["HttpConnection", "WebhookSource"]
