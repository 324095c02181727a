"""Prints what was counted: cases of the official suite, fuzzed and hostile expressions."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    passed = terminalreporter.stats.get("passed", ())
    failed = terminalreporter.stats.get("failed", ())
    suite = "mapping/test_suite.py::test_case"
    good, bad = (sum(suite in report.nodeid for report in reports) for reports in (passed, failed))
    lines = [f"JSONata suite: {good} of {good + bad} cases pass"] if good + bad else []
    for report in (*passed, *failed):
        lines += [str(text) for name, text in getattr(report, "user_properties", ()) if name == "mapping"]
    if lines:
        terminalreporter.section("mapping language")
        for line in lines:
            terminalreporter.write_line(line)
