"""What the text says about retention and the disk, as the store and the engine read it."""

from __future__ import annotations

from dovetail.engine.definition import DiskLimits
from dovetail.project.declared import DAY, Disk, Keep, ProjectFile, ProjectKeep
from dovetail.store.base import Keeping

DEFAULTS = {"done": 7 * DAY, "discarded": 7 * DAY, "dead": 90 * DAY, "answers": 7 * DAY}  # seconds
BYTES = 10 * 10**9


def keeping(project: ProjectFile, flow: Keep | None) -> Keeping:
    """How long a flow's messages are kept: its own word, else the project's, else the default."""
    given = [word for word in (flow, project.retention) if word is not None]

    def said(name: str) -> float | None:
        return next((getattr(word, name) for word in given if getattr(word, name) is not None), None)

    times = {name: said(name) or default for name, default in DEFAULTS.items()}
    longest = max(times["done"], times["discarded"], times["dead"])
    dedupe = max(said("dedupe") or 0.0, longest + DAY)
    times["answers"] = min(times["answers"], longest)
    milliseconds = {name: int(seconds * 1000) for name, seconds in times.items()}
    return Keeping(**milliseconds, dedupe=int(dedupe * 1000), most_bytes=int(said("keep") or BYTES))


def audit(project: ProjectFile) -> int:
    """How long the audit's events are kept, in milliseconds."""
    return int((project.retention or ProjectKeep()).audit * 1000)


def disk(project: ProjectFile) -> DiskLimits:
    """How full the disk may be."""
    said = project.disk or Disk()
    return DiskLimits(said.stop_accepting / 100, said.stop_fetching / 100, said.resume_below / 100)
