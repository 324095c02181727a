"""The production engine in a world of its own: virtual time, seeded faults, and a checker that only sees the outside.

`python -m proof.simulation --seed 17` plays one seed and prints its trace; `--seeds 5000` plays many, `--planted`
plants every bug of `planted.py` in turn and demands that it is found. See `world.py` for what a seed draws.
"""
