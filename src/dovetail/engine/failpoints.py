"""Names for every boundary at which a crash would matter, and the hook that stands there.

An engine is built with a hook; the default does nothing. `from_text` makes one for chaos drills:
`after_send_before_record:2:kill` kills the process at the second time that boundary is crossed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

Hook = Callable[[str], None]

NAMES = (
    "before_accept_commit",
    "after_accept_commit_before_answer",
    "after_answer_before_run",
    "before_run",
    "before_intent_commit",
    "after_intent_before_send",
    "after_send_before_record",
    "after_outcome_before_commit",
    "after_outcome_commit",
    "before_retry_commit",
    "after_retry_claim",
    "before_dead_letter_commit",
    "before_compensation_commit",
    "after_compensation_before_record",
    "before_split_commit",
    "before_wait_commit",
    "before_emit_commit",
    "before_tell_commit",
    "before_due_commit",
    "before_redrive_commit",
    "after_redrive_commit",
    "during_recovery",
    "during_drain",
    "store_before_commit",
    "store_after_commit",
)


BESIDE = (  # beside the life of a message: very large bodies in files, pruning, backups
    "spill_before_write",
    "spill_before_rename",
    "spill_before_row",
    "prune_before_commit",
    "prune_before_unlink",
    "backup_before_files",
    "backup_before_manifest",
)


def nothing(name: str) -> None:
    """The hook that stands there when nobody drills."""


class Injected(RuntimeError):
    """What a failpoint raises when it was told to `raise`."""


def from_text(text: str) -> Hook:
    """A hook for `name:count:action`, action one of `kill`, `raise`, `hang`. Raises ValueError for anything else."""
    name, _, rest = text.partition(":")
    count, _, action = rest.partition(":")
    if name not in (*NAMES, *BESIDE) or not count.isdigit() or action not in ("kill", "raise", "hang"):
        raise ValueError(
            f"failpoint {text!r}: expected NAME:COUNT:kill|raise|hang, with NAME one of {', '.join((*NAMES, *BESIDE))}"
        )
    hits: Counter[str] = Counter()

    def hook(at: str) -> None:
        hits[at] += 1
        if at != name or hits[at] != int(count):
            return
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "hang":
            threading.Event().wait()
        raise Injected(f"failpoint {at}, hit {count}")

    return hook
