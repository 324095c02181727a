"""The proof: every promise of the engine held against kills, broken disks, broken networks and planted bugs.

`python -m proof` runs its tiers (see `proof.__main__`), each of which writes what it tried and found as one result.
"""
