"""The commands by name. Each one's module is imported only when it is run, so that help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from dovetail.cli.exits import INTERRUPTED, MEANINGS, OK, USAGE, code_of, report, words_of

HELP = "Join the applications you have: durable flows as text in a folder."
EXIT_CODES = f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in MEANINGS.items())}."
COMMANDS = {  # the first sentence stands in the list of commands, all of it in the command's own help
    "new": ("dovetail.cli.new:new", "Make a small project that runs: a webhook, a contract, a mapping, a file."),
    "check": (
        "dovetail.cli.check:check",
        "Read a project and list every problem in it.\n\nNeeds no server and connects to nothing.",
    ),
    "run": (
        "dovetail.cli.run:run",
        "Run a project until Ctrl-C, SIGTERM or a drain.\n\n"
        "What was accepted and has not ended goes on at the next start.",
    ),
    "status": (
        "dovetail.cli.status:status",
        "Flows, targets and store in numbers.\n\nAsks the running server, or opens the store when none runs.",
    ),
    "messages": (
        "dovetail.cli.messages:messages",
        "Search messages by flow, state, key, time and text.\n\n"
        "Newest first. Asks the running server, or opens the store when none runs.",
    ),
    "show": (
        "dovetail.cli.show:show",
        "One message's journey: each step with the body before and after, attempts, effects.\n\n"
        "Steps that touch nothing outside are computed again; calls show what was answered at the time.",
    ),
    "redrive": (
        "dovetail.cli.redrive:redrive",
        "Take dead letters up again where they stopped.\n\n"
        "Name them by id (- reads ids from standard input), or choose them with --flow, --key, --since, --until, "
        "--text, --reason, --step and --of-version, or take --all. What was done at targets is not repeated; ids and "
        "effect keys stay. They wait their turn: key order, rate limits and breakers hold as ever. --dry-run sends "
        "nothing: it shows what would "
        "be sent now, and how that differs from what was or would have been sent before.",
    ),
    "redrives": (
        "dovetail.cli.redrives:redrives",
        "Redrives that became jobs: list them, look at one, pause, resume or cancel it.\n\n"
        "A redrive of more than 500 dead letters, or one with a rate, is a job that the server carries out by itself, "
        "across kills and restarts.",
    ),
    "deploy": (
        "dovetail.cli.deploy:deploy",
        "Bring the project folder's text into the running server.\n\n"
        "Messages stay on the version that accepted them. The plan says which waiting ones could go on on the new one, "
        "which need a word on where they are (--step), and which finish on the old one; --move takes along what can "
        "go.",
    ),
    "promote": (
        "dovetail.cli.deploy:promote",
        "Give all new messages of a flow the version that was deployed last: a canary, or one that was rolled back.",
    ),
    "rollback": (
        "dovetail.cli.deploy:rollback",
        "Give new messages of a flow an older version again, until another text of it is deployed.\n\n"
        "Ends a canary. Messages stay on the version that accepted them.",
    ),
    "versions": (
        "dovetail.cli.deploy:versions",
        "The versions of a flow: which one new messages get, how many wait on each, how they ended.",
    ),
    "approvals": (
        "dovetail.cli.approve:approvals",
        "What waits for a person's decision.\n\nAsks the running server, or opens the store when none runs.",
    ),
    "approve": (
        "dovetail.cli.approve:approve",
        "Approve a message that waits for a decision, or reject it.\n\n"
        "The decision is on disk when this returns, with who made it; the message goes on at once, or when the server "
        "runs again.",
    ),
    "parked": (
        "dovetail.cli.parked:parked",
        "List the keys that stand still behind a dead letter.\n\n"
        "That is what on_failure: {poison: park_key} or {poison: block} of their flow asks for.",
    ),
    "unpark": (
        "dovetail.cli.parked:unpark",
        "Let a parked key go on.\n\n"
        "The messages that waited go on in their order; say with --failed what becomes of the one they waited for.",
    ),
    "discard": (
        "dovetail.cli.parked:discard",
        "End dead letters that nobody will send on.\n\n"
        "They count as discarded from then on; who did it and why stand in the audit trail.",
    ),
    "backup": (
        "dovetail.cli.backup:backup",
        "Copy the store into a new folder and check the copy.\n\n"
        "Asks the running server, which goes on accepting meanwhile, or opens the store when none runs.",
    ),
    "restore": (
        "dovetail.cli.backup:restore",
        "Put a backup in the place of the store.\n\n"
        "Everything in the backup is read and checked first. No server may run; a store that is there is moved aside "
        "only with --replace.",
    ),
    "map": ("dovetail.cli.map:map_", "Evaluate a mapping on an input.\n\nNeeds no project and no server."),
    "connectors": (
        "dovetail.cli.connectors:connectors",
        "List the steps, connectors and sources that a project may use, or describe one.\n\n"
        "Needs no project and no server.",
    ),
}  # fmt: skip


def build() -> App:
    """The command line as a value."""
    app = App(
        name="dovetail", help=HELP, version=_version, help_format="plaintext", result_action="return_value",
        exit_on_error=False, print_error=False, suppress_keyboard_interrupt=False,
        help_epilogue=EXIT_CODES, default_parameter=Parameter(negative=(), show_default=_default),
    )  # fmt: skip
    for order, (name, (place, help)) in enumerate(COMMANDS.items()):
        app.command(place, name=name, help=help, sort_key=order)
    return app


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Errors are one line on standard error, never a traceback."""
    given = list(sys.argv[1:] if words is None else words)
    as_json = "--json" in given
    try:
        result = build()(given)
    except CycloptsError as error:
        return report(_worded(error), "usage", USAGE, as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except Exception as error:
        return report(words_of(error), getattr(error, "code", "internal"), code_of(error), as_json)
    return result if isinstance(result, int) else OK


def _default(value: Any) -> str | None:
    """How help shows a default; one that only says "not given" is left out."""
    return None if value in (None, "", False) else str(value)


def _worded(error: CycloptsError) -> str:
    return " ".join(str(error).split()) + " (see --help)"


def _version() -> str:
    from importlib.metadata import version

    return version("dovetail")
