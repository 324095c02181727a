"""The operator's desk: the only door upstairs."""
