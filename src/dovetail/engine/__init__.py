"""The corridor: intake, run, effects, settle, lanes, timers, policies, recovery and drain."""
