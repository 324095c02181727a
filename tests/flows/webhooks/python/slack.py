"""What Slack puts into a form."""

import json
from typing import Any


def said(form: dict[str, Any]) -> Any:
    """The document inside an interaction; a slash command's fields as they are."""
    return json.loads(form["payload"]) if "payload" in form else form
