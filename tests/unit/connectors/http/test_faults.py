"""The table of errors is complete, and says what the promises say."""

from __future__ import annotations

import pytest

from dovetail.connectors.http import faults
from dovetail.connectors.http.faults import FAULTS, Fault, of_fault, of_status, retry_after
from dovetail.sdk import InDoubt, MessageError, Paused, Rejected, Repeat, Retry, Throttled

NOW_MS = 1_714_521_600_000
SAFE, UNSAFE = Repeat.IDEMPOTENT, Repeat.NONE


def status(number: int, repeat: Repeat = SAFE, **headers: str) -> MessageError:
    return of_status(
        number, {k.replace("_", "-"): v for k, v in headers.items()}, {"status": number}, repeat, "erp", NOW_MS
    )


def test_every_fault_is_in_the_table() -> None:
    declared = {
        value
        for value in vars(faults).values()
        if isinstance(value, type) and issubclass(value, Fault) and value is not Fault
    }
    assert declared == set(FAULTS)
    assert set(Fault.__subclasses__()) == set(FAULTS)


def test_what_a_fault_leads_to() -> None:
    kinds = {fault.__name__: type(of_fault(fault("why"), "erp")) for fault in FAULTS}
    assert kinds == {
        "Unresolved": Paused, "Denied": Paused, "Untrusted": Paused, "Unsent": Retry, "Unanswered": InDoubt,
    }  # fmt: skip
    error = of_fault(faults.Unsent("refused"), "erp")
    assert (error.message, error.code) == ("erp: refused", "unreachable")


@pytest.mark.parametrize("repeat", Repeat)
def test_every_status_leads_somewhere(repeat: Repeat) -> None:
    for number in range(100, 600):
        error = status(number, repeat)
        assert type(error) in (Rejected, Retry, Throttled, Paused, InDoubt)
        assert (error.code, error.detail) == (f"http_{number}", {"status": number})


@pytest.mark.parametrize(
    ("numbers", "safe", "unsafe"),
    [
        (
            [400, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 417, 422, 424, 426, 431, 451, 499],
            Rejected,
            Rejected,
        ),
        ([401, 407], Paused, Paused),
        ([408, 421, 423, 425, 503], Retry, Retry),
        ([429], Throttled, Throttled),
        ([500, 501, 502, 504, 505, 507, 508, 511, 599], Retry, InDoubt),
        ([300, 301, 302, 303, 304, 307, 308], Rejected, Rejected),
        ([200, 202, 226], Rejected, Rejected),
        ([100, 102], InDoubt, InDoubt),
    ],
)
def test_what_a_status_leads_to(numbers: list[int], safe: type[MessageError], unsafe: type[MessageError]) -> None:
    for number in numbers:
        for repeat in Repeat:
            assert type(status(number, repeat)) is (safe if repeat.safe else unsafe), (number, repeat)


def test_retry_after() -> None:
    assert retry_after(None, NOW_MS) is None
    assert retry_after("120", NOW_MS) == 120
    assert retry_after(" 0 ", NOW_MS) == 0
    assert retry_after("Wed, 01 May 2024 00:01:30 GMT", NOW_MS) == 90
    assert retry_after("Tue, 30 Apr 2024 00:00:00 GMT", NOW_MS) == 0
    assert retry_after("Wed, 01 May 2034 00:00:00 GMT", NOW_MS) == 86_400
    assert retry_after("9" * 400, NOW_MS) == 86_400
    for nonsense in ("", "soon", "-1", "1.5", "²", "Wed, 99 May 2024 00:00:00 GMT", "Wed, 01 May 2024 00:00:00 -0000"):
        assert retry_after(nonsense, NOW_MS) is None, nonsense


def test_the_targets_own_word_is_kept() -> None:
    for number in (408, 425, 429, 500, 503):
        error = status(number, retry_after="7")
        assert isinstance(error, Retry)
        assert error.after == 7
        error = status(number)
        assert isinstance(error, Retry)
        assert error.after is None
    assert isinstance(paused := status(401), Paused)
    assert paused.after == faults.PAUSE
