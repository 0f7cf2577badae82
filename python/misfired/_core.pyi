"""The compiled core. Stub by hand, checked against the module by mypy's stubtest."""

from collections.abc import Sequence
from os import PathLike
from typing import final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

__all__ = [
    "Context", "Generator", "Library", "Model", "ProbeRequest", "Prober", "Run", "Scorer",
    "Tokenizer", "Watcher", "__version__", "adjust", "agreement", "bbq_glitches", "bbq_statement",
    "build_profile", "coverage", "design_effect", "embeddings", "intraclass_correlation",
    "match_texts", "mcnemar", "measure_values", "permutation", "power", "proportion_interval",
    "ranking", "resample", "strict_pairs", "t_quantile", "veto_pairs",
]  # fmt: skip

__version__: str
build_profile: str

_Floats = npt.NDArray[np.float64]
_Codes = npt.NDArray[np.uint8]
_Numbers = npt.NDArray[np.uint32]
_Counts = npt.NDArray[np.uint64]
_Indices = npt.NDArray[np.int64]
_Tokens = npt.NDArray[np.int32]
_Activations = npt.NDArray[np.float32]
_Flags = npt.NDArray[np.bool_]
#: Rows in one flat array, and the offsets where they begin and the last one ends.
_Rows = tuple[_Tokens, _Indices]
_Scored = tuple[_Indices, _Floats, _Tokens, _Floats]
_Generated = tuple[_Indices, list[bytes], list[str], _Indices, _Floats, _Floats]
_Reasons = list[str | None]
_Texts = list[tuple[str, list[str]]]
#: Name, category and content of each.
_Files = Sequence[tuple[str, str, str]]
_Side = tuple[list[str], _Numbers, list[list[str]]]

def resample(
    codes: _Codes, scenario: _Numbers, category: _Numbers, weights: _Floats, *,
    paired: bool, measures: list[str], unit: str, by_category: bool, stratified: bool,
    method: str | None, confidence_level: float, n_resamples: int | None, seed: int,
    n_threads: int | None,
) -> tuple[_Floats, _Reasons, list[str], _Counts, _Floats, _Counts, _Counts]: ...  # fmt: skip
def measure_values(counts: _Floats, measures: list[str]) -> tuple[_Floats, _Reasons]: ...
def coverage(
    sizes: _Numbers, *, mar: float, primed: float, accuracy_contrast: float, correlation: float,
    methods: list[str], unit: str, confidence_level: float, n_simulations: int, n_resamples: int,
    seed: int, n_threads: int | None,
) -> _Floats: ...  # fmt: skip
def mcnemar(b: _Counts, c: _Counts, *, alternative: str, mid_p: bool) -> _Floats: ...
def permutation(
    codes: _Codes, scenario: _Numbers, *, measure: str | None, unit: str, alternative: str,
    n_resamples: int, seed: int, n_threads: int | None,
) -> tuple[float, float, float, bool, int, int]: ...  # fmt: skip
def adjust(p_values: _Floats, method: str) -> _Floats: ...
def proportion_interval(
    hits: float, n: float, *, method: str, confidence_level: float
) -> tuple[float, float]: ...
def t_quantile(p: float, degrees: float) -> float: ...
def design_effect(sizes: _Indices, correlation: float) -> float: ...
def intraclass_correlation(hits: _Numbers, trials: _Numbers) -> float: ...
def power(
    sizes: _Numbers, *, gain: float, loss: float, correlation: float, alpha: float,
    alternative: str, n_simulations: int | None, seed: int, n_threads: int | None,
) -> _Floats: ...  # fmt: skip
def agreement(
    codes: _Codes, cluster: _Numbers, *, n_values: int, method: str, confidence_level: float,
    n_resamples: int, seed: int, n_threads: int | None,
) -> tuple[float, float, float, int]: ...  # fmt: skip
def ranking(
    codes: _Codes, scenario: _Numbers, category: _Numbers, *, measure: str, unit: str,
    stratified: bool, confidence_level: float, n_threads: int | None,
) -> tuple[_Floats, _Reasons]: ...  # fmt: skip
def match_texts(
    left: _Side, right: _Side, max_pairs: int
) -> tuple[_Indices, _Indices, _Indices, _Flags, list[str]]: ...
def bbq_glitches() -> list[tuple[str, str]]: ...
def bbq_statement(question: str, answer: str) -> str | None: ...
def strict_pairs(files: _Files) -> tuple[_Texts, list[_Indices], _Flags]: ...
def veto_pairs(files: _Files) -> tuple[_Texts, _Indices, _Indices]: ...

@final
class Library:
    def __new__(cls, path: str | PathLike[str], batch_layout: list[int]) -> Library: ...

@final
class Model:
    def __new__(cls, library: Library, address: int) -> Model: ...

@final
class Context:
    def __new__(cls, model: Model, address: int, watcher: Watcher | None = None) -> Context: ...
    def ablate(self, layer: int, head: int, values: _Activations | None = None) -> None: ...

@final
class Tokenizer:
    def __new__(cls, model: Model) -> Tokenizer: ...
    def encode(self, text: str, *, parse_special: bool) -> _Tokens: ...
    def piece(self, token: int) -> bytes: ...
    def ends_generation(self, token: int) -> bool: ...
    def special_tokens(self) -> list[tuple[int, str, bool, bool]]: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def bos(self) -> tuple[int, bool]: ...

@disjoint_base
class Run:
    """What `Scorer` and `Generator` share: the plan's blocks and the counters."""

    @property
    def n_blocks(self) -> int: ...
    @property
    def n_distinct_tokens(self) -> int: ...
    @property
    def n_decoded_tokens(self) -> int: ...
    def block_sequences(self, block: int) -> _Indices: ...
    def start(self, block: int) -> None: ...

@final
class Scorer(Run):
    def __new__(
        cls,
        context: Context,
        tokens: _Rows,
        wanted: _Rows,
        *,
        n_block: int,
        packing: str,
        seed: int = 0,
    ) -> Scorer: ...
    def step(self) -> _Scored | None: ...

@final
class Generator(Run):
    def __new__(
        cls, context: Context, tokens: _Rows, *, n_generate: int, stop: list[str], n_places: int,
        n_block: int, packing: str,
    ) -> Generator: ...  # fmt: skip
    def step(self) -> _Generated | None: ...

@final
class Watcher:
    def __new__(cls, library: Library) -> Watcher: ...
    @property
    def callback(self) -> tuple[int, int]: ...

@final
class ProbeRequest:
    def __new__(cls) -> ProbeRequest: ...
    def add(
        self, tokens: _Tokens, wanted: _Tokens, *, parent: int | None = None, n_shared: int = 0,
        keep: int | None = None,
    ) -> int: ...  # fmt: skip
    def write(
        self, job: int, site: str, layer: int, position: int, values: _Activations, *, column: int = 0
    ) -> None: ...  # fmt: skip
    def zero(
        self, job: int, site: str, layer: int, position: int, *, column: int, n_columns: int
    ) -> None: ...
    def read(self, job: int, site: str, layer: int, position: int) -> None: ...

@final
class Prober:
    def __new__(cls, context: Context, *, n_slots: int) -> Prober: ...
    @property
    def shape(self) -> tuple[int, int, list[int]]: ...
    def run(self, request: ProbeRequest) -> tuple[list[_Activations], list[_Activations]]: ...
    def unembed(self, rows: _Activations, wanted: _Rows) -> _Activations: ...
    def attention(self, tokens: _Rows) -> _Activations: ...

def embeddings(context: Context, tokens: _Tokens) -> _Activations: ...
