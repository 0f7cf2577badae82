"""Slow plain twin of the bounds of alpha spending: the joint normal distribution of all looks at once."""

import numpy as np
from scipy import stats


def no_exit(shares: list[float], bounds: list[float]) -> float:
    """Return the probability that |z| stays below its bound at every look, by scipy's cubature."""
    t = np.array(shares)
    covariance = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    upper, exact = np.array(bounds), {"maxpts": 100_000, "abseps": 1e-7, "releps": 1e-7, "seed": 0}
    normal = stats.multivariate_normal(np.zeros(len(t)), covariance, **exact)
    return float(normal.cdf(upper, lower_limit=-upper))


def spent(share: float, alpha: float) -> float:
    """Return the error that O'Brien and Fleming's spending function allows up to a share."""
    return 4 * stats.norm.sf(stats.norm.isf(alpha / 4) / np.sqrt(share))
