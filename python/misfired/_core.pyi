"""The compiled core. Stub by hand, checked against the module by mypy's stubtest."""

import numpy as np
import numpy.typing as npt

__all__ = [
    "__version__",
    "build_profile",
    "measure_values",
    "resample",
]

__version__: str
build_profile: str

def resample(
    codes: npt.NDArray[np.uint8],
    scenario: npt.NDArray[np.uint32],
    category: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.float64],
    measures: list[str],
    unit: str,
    stratified: bool,
    method: str,
    confidence_level: float,
    n_resamples: int,
    seed: int,
    n_threads: int | None,
) -> tuple[
    npt.NDArray[np.float64],
    list[str | None],
    npt.NDArray[np.uint64],
    npt.NDArray[np.float64],
    npt.NDArray[np.uint64],
]: ...
def measure_values(
    counts: npt.NDArray[np.float64], measures: list[str]
) -> tuple[npt.NDArray[np.float64], list[str | None]]: ...
