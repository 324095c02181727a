"""Crash images: every state in which a power cut could have left the disk, opened with the real store and engine."""
