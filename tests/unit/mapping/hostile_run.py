"""Runs the hostile corpus in a process of its own, with little memory and with every touch of the host forbidden.

Prints one JSON object: how many expressions ran, how they ended, what went wrong, and which ran too long. Time is the
CPU time of this thread, for the limit's own clock as well, so that a busy machine changes nothing; it is held against
the limit and against units measured in this process.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from typing import Any

from hostile_corpus import corpus
from hostile_slow import slow

from dovetail.mapping import UNDEFINED, Limits, MappingError, compile, limits

MANY = 3_000_000
LIMITS = Limits(seconds=0.05, sequence=MANY, text=MANY, size=MANY * 5 // 4, tokens=2000)
#: how far an evaluation may go beyond its limit, and compiling beyond a plain mapping of as many tokens
OVER = 1.5
DEARER = 3.0
#: an expression that was too slow is tried again, as the machine may have been busy with something else
TRIES = 3
HOPELESS = 3.0
#: CPU seconds after which the run is killed
MOST = 120
DATA = {
    "a": 1,
    "b": "text",
    "list": list(range(200)),
    "items": [{"k": i % 7, "v": "x" * 20} for i in range(200)],
    "deep": None,
    "__class__": "field",
    "text": "a" * 20000,
    # as large as a message may be, so that the time goes into what is done with it
    "big": list(range(MANY // 2)),
    "rows": [{"k": i * 7919 % 100003, "v": "x"} for i in range(MANY // 10)],
    "names": [str(i * 7919 % 100003) for i in range(MANY // 5)],
    "long": "ab" * (MANY // 4),
    "middle": "ab" * (MANY // 30),
    "digits": "".join(str(i * 7919 % 100003) for i in range(MANY // 60)),
}
deep: Any = {}
DATA["deep"] = deep
for _ in range(60):
    deep["d"] = {}
    deep = deep["d"]

ALLOWED = (
    "object.__getattr__",
    "sys._getframe",
    "code.__new__",
    "compile",
    "exec",
    "import",
    "builtins.id",
    "marshal.loads",
)
touched: list[str] = []
watching = False


def audit(event: str, args: Any) -> None:
    if watching and not event.startswith(ALLOWED):
        touched.append(f"{event} {args!r}"[:200])


def copying() -> float:
    """CPU seconds to build, copy and free a list as long as one may be: what a single step may take."""
    start = time.thread_time()
    items = list(range(LIMITS.sequence))
    del items[:]
    return time.thread_time() - start


def compiling() -> float:
    """CPU seconds to compile a plain mapping of as many tokens as are allowed."""
    fields = ",".join(f"'k{i}':a.b{i}[c=1].d & $uppercase(x)" for i in range(LIMITS.tokens // 20))
    start = time.thread_time()
    compile("{" + fields + "}", limits=LIMITS)
    return time.thread_time() - start


def attempt(text: str, report: dict[str, Any] | None) -> tuple[float, float]:
    """CPU seconds for compiling and for evaluating; how it ended goes into the report."""
    global watching
    start = between = time.thread_time()
    watching = True
    outcome: tuple[str, str] = ("values", "")
    try:
        expression = compile(text, limits=LIMITS)
        between = time.thread_time()
        value = expression.evaluate(DATA)
        del value
    except MappingError as error:
        outcome = ("errors", error.code)
        if error.line is None or not error.message or (len(str(error)) > 1000 and error.code not in SPOKEN):
            outcome = ("wrong", f"no place or message: {str(error)[:100]}")
    except BaseException as error:
        outcome = ("wrong", f"{type(error).__name__}: {error}"[:200])
    watching = False
    end = time.thread_time()
    if report is not None:
        kind, what = outcome
        if kind == "values":
            report["values"] += 1
        elif kind == "errors":
            report["errors"][what] = report["errors"].get(what, 0) + 1
        else:
            report["wrong"].append([text[:100], what])
    return (between - start, end - between) if between > start else (end - start, 0.0)


#: errors whose message is the expression's own text
SPOKEN = ("D3137", "D3141", "D4002")


def judge(text: str, report: dict[str, Any], step: float, plain: float) -> None:
    """Run one expression; it is late if each of several tries took more than its limit and the allowance."""
    ratio = 0.0
    for turn in range(TRIES):
        compiled, ran = attempt(text, None if turn else report)
        over = max(ran / (LIMITS.seconds * OVER + step), compiled / (plain * DEARER))
        ratio = over if not turn else min(ratio, over)
        if ratio <= 1 or ratio > HOPELESS:
            break
    report["slowest"].append([round(ratio, 2), text[:80]])
    if ratio > 1:
        report["late"].append([round(ratio, 2), text[:200]])


def main() -> None:
    # what is loaded on first use is loaded before the watch begins
    compile("$base64encode('é') & $match('a', /(?=a)a/).index & $toMillis('1', '[Y]')").evaluate(DATA)
    compile("$hmac($hash('a'), 'b') & $encodeUrl('é') & $sort([2, 1]) & $string($decimal('1'))").evaluate(DATA)
    step, plain = copying(), compiling()
    limits._monotonic = time.thread_time
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST, MOST))
    sys.addaudithook(audit)
    report: dict[str, Any] = {"count": 0, "values": 0, "errors": {}, "wrong": [], "late": [], "slowest": []}
    for text in [*corpus(), *slow()]:
        report["count"] += 1
        judge(text, report, step, plain)
    if DATA["a"] != 1 or len(DATA["list"]) != 200 or UNDEFINED:  # type: ignore[arg-type]
        report["wrong"].append(["", "the input was changed"])
    report["touched"] = touched
    report["slowest"] = sorted(report["slowest"], reverse=True)[:25]
    report["units"] = [round(step, 3), round(plain, 3)]
    report["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report["seconds"] = round(time.process_time(), 1)
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
