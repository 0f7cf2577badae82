"""From the `rng` argument to the seed that the core takes."""

import numpy as np

from misfired.errors import ArgumentError

Rng = int | np.random.Generator | None


def seed_of(rng: Rng) -> int:
    """The seed: the number itself, a draw from a generator, or fresh entropy for None.

    Raises:
        ArgumentError: If a number is outside 0 .. 2**64 - 1.

    Example:
        >>> seed_of(7)
        7
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**63))
    if rng is None:
        return int(np.random.default_rng().integers(0, 2**63))
    if not 0 <= rng < 2**64:
        raise ArgumentError(f"rng: {rng}, expected 0 to {2**64 - 1}")
    return int(rng)
