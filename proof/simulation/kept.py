"""Seeds that once found something, with what it was. Each is played again by the tests.

A seed means what it meant as long as `world.py`, `flows.py` and `patterns.py` draw as before; what it found has a test
of its own beside the code that was mended, so that nothing is lost when the draws change. Those of `BEFORE` are played
without patterns, jobs and canaries, which they did not know.
"""

BEFORE = {
    8: "a store that failed while a start recovered: the start hung for ever",
    14: "a publication was lost: the row that told of it was written without it",
    53: "a store that failed while a start recovered: the start hung for ever",
    91: "a publication was lost: the row that told of it was written without it",
    109: "a handler had run, and the call whose refusal it handled was made again",
    599: "a held message was loaded while an earlier one was on its way to the disk",
    612: "a handler had run, and the call whose refusal it handled was made again",
    714: "a lane went on with held messages before earlier ones that had stood in memory",
    1503: "a redriven message was taken for the head of its lane, and the head was overtaken",
    2107: "a branch was refused and another in doubt: the refused one was called again",
    3356: "two were taken up while the head of their lane waited, and after a crash they were taken for the head",
    2042: "the clock was set forwards, and a restart in good order called a target before the time it had asked for",
    1984: "suspects that hang were polled every two milliseconds, which a world of them did not survive",
    12051: "an end while the store was asked once more passed for a good one, and what was in that commit was lost",
    20898: "what was taken up was taken for the head of its lane after a crash, and the head was overtaken",
}

KEPT = {
    **BEFORE,
    814: "nobody resumed a redrive job that had been paused",
    60264: "an operator who was stopped while a process ended took its supervisor along",
    1272: "a message that was sent again under a canary was taken for one of the version before",
    5213: "a store that took nothing for a moment made an orderly end an unclean one",
    6423: "a message whose end behind its compensation could not be written down went forward when it was taken up",
    17848: "a message that killed the process, but failed before that now and then, was never given up",
    36052: "each crash brought another window of messages into memory",
    3193: "a message whose wait could not be written down was a dead letter, and its event woke it all the same",
}
