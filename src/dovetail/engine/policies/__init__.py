"""Wrappers around calls that read the kind of the error: retry, breaker, budget, rate, deadline."""
