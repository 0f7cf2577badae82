"""Outcomes of pairs as codes: 0 both right, 1 reverse failure, 2 misfire, 3 both wrong."""

import numpy as np


def flags(codes):
    codes = np.asarray(codes)
    return codes < 2, codes % 2 == 0


def clustered(seed=0, n_scenarios=60, p=(0.8, 0.05, 0.1, 0.05)):
    rng = np.random.default_rng(seed)
    scenario = np.repeat(np.arange(n_scenarios), rng.integers(4, 21, n_scenarios))
    return rng.choice(4, p=p, size=len(scenario)), scenario


def units_of(codes, scenario):
    return [
        np.bincount(codes[scenario == g], minlength=4).astype(float) for g in np.unique(scenario)
    ]
