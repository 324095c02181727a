"""docs/cli.md, made from the commands themselves: `python -m dovetail.cli.reference > docs/cli.md`."""

from __future__ import annotations

import re
import sys

from dovetail.cli.exits import MEANINGS
from dovetail.cli.main import build
from dovetail.control.access import OPEN
from dovetail.control.api import ROUTES

HEAD = """# The command line and the admin API

This page is made from the commands themselves (`python -m dovetail.cli.reference`).

`status`, `messages`, `show` and `redrive` ask the running server over its admin API; when none runs they open the
store themselves. They find both in the store's folder, `.dovetail` in the project unless `--store` says otherwise. With
`--json` the answer on standard output is JSON; times in it are milliseconds since 1970 (UTC), and an error is one line
of JSON on standard error: `{"error": {"code", "message", "exit"}}`.

| exit code | meaning |
|---|---|
"""

API = """
## The admin API

It listens on `127.0.0.1:8081` unless `run` is told otherwise. Every request needs `Authorization: Bearer <token>` with
the token in the store folder's `admin.token` (made at the first start, readable by its owner alone), a `Host` that the
server goes by, and, if it sends one, an `Origin` of the server's own. Errors are problem documents (RFC 9457) with a
stable word in `title`.

| request | answer | token |
|---|---|---|
"""


def reference() -> str:
    """The page."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in MEANINGS.items())
    commands = build().generate_docs(output_format="markdown")
    commands = commands[commands.index("## dovetail ") :]
    commands = re.sub(r"\n {2,}(?=\S)", " ", commands)  # an option's help on one line
    routes = "".join(
        f"| `{method} {path}` | {what} | {'no' if path in OPEN else 'yes'} |\n" for method, path, _, what in ROUTES
    )
    return HEAD + codes + "\n" + commands.strip() + "\n" + API + routes


if __name__ == "__main__":
    sys.stdout.write(reference())
