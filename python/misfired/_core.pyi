"""The compiled core. Stub by hand, checked against the module by mypy's stubtest."""

from collections.abc import Sequence
from os import PathLike
from typing import final

import numpy as np
import numpy.typing as npt

__all__ = [
    "Library",
    "Prober",
    "Scorer",
    "Tokenizer",
    "__version__",
    "build_profile",
    "measure_values",
    "resample",
    "veto_pairs",
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
def veto_pairs(
    files: Sequence[tuple[PathLike[str], str]],
) -> tuple[list[tuple[str, list[str]]], npt.NDArray[np.int64], npt.NDArray[np.int64]]: ...

@final
class Library:
    def __new__(cls, path: str | PathLike[str], batch_layout: list[int]) -> Library: ...

@final
class Tokenizer:
    def __new__(cls, library: Library, model: int) -> Tokenizer: ...
    def encode(self, text: str, *, parse_special: bool) -> npt.NDArray[np.int32]: ...
    def piece(self, token: int) -> bytes: ...
    def special_tokens(self) -> list[tuple[int, str, bool, bool]]: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def bos(self) -> tuple[int, bool]: ...

@final
class Scorer:
    def __new__(
        cls,
        library: Library,
        context: int,
        tokens: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.int32],
        wanted_offsets: npt.NDArray[np.int64],
        *,
        n_block: int,
        packing: str,
    ) -> Scorer: ...
    @property
    def n_blocks(self) -> int: ...
    @property
    def n_distinct_tokens(self) -> int: ...
    @property
    def n_decoded_tokens(self) -> int: ...
    def block_sequences(self, block: int) -> npt.NDArray[np.int64]: ...
    def start(self, block: int) -> None: ...
    def step(
        self,
    ) -> (
        tuple[
            npt.NDArray[np.int64],
            npt.NDArray[np.float64],
            npt.NDArray[np.int32],
            npt.NDArray[np.float64],
        ]
        | None
    ): ...

@final
class Prober:
    def __new__(cls, library: Library) -> Prober: ...
    @property
    def callback(self) -> tuple[int, int]: ...
    def attach(self, context: int, *, n_slots: int) -> tuple[int, int, list[int]]: ...
    def clear(self) -> None: ...
    def run(
        self,
        jobs: npt.NDArray[np.int64],
        tokens: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.int32],
        wanted_offsets: npt.NDArray[np.int64],
        edits: npt.NDArray[np.int64],
        values: npt.NDArray[np.float32],
        reads: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...
    def unembed(
        self,
        rows: npt.NDArray[np.float32],
        wanted: npt.NDArray[np.int32],
        wanted_offsets: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32]: ...
    def attention(
        self, tokens: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]: ...
