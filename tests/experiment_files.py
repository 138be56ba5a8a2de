"""Small experiment files, for tests of sweeps and their commands."""

SWEEP = "name: e\ntitle: t\ndataset: nmnist-sim\nseeds: [0]\ngrid:\n  - {method: baseline}\n"
FILE = """
name: small
title: "Small: baseline and SAST"
dataset: nmnist-sim
seeds: [0, 1]
fixed: {epochs: 2, limit: 60}
grid:
  - {method: baseline}
  - {method: sast, rho: [0.1, 0.3]}
profiles: [loihi_int8]
"""


def small_experiment(folder):
    """Write FILE into a folder and return its path."""
    path = folder / "small.yaml"
    path.write_text(FILE, "utf-8")
    return path
