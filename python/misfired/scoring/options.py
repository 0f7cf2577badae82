"""Options of scoring: everything that decides how a model is asked and how it computes.

Nothing here needs llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl

from misfired.errors import ArgumentError
from misfired.labels import LABELS
from misfired.options import MOST, Options, at_least, more_than, one_of, option, seeds, within
from misfired.prompts.primings import PRIMINGS, Priming, check_primings
from misfired.prompts.shots import HELD_OUT, Shot, draw_shots, fixed_shots
from misfired.scoring.intervention import Intervention, read_intervention
from misfired.scoring.protocol import PROTOCOLS, Protocol, get_protocol
from misfired.tables import read_table

Mode = Literal["exact", "stable", "fast"]

#: Types of the K/V cache, as llama.cpp names them; those after bf16 are quantised.
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "iq4_nl", "q4_1", "q4_0")
FLASH_ATTENTION = ("auto", "off", "on")

#: Where a model is computed, and how exactly a GPU multiplies.
DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("default", "highest")

#: The smallest batch that a plan can work with.
LEAST_BATCH = 4
#: llama.cpp takes no more.
MOST_THREADS = 512

#: Ways of llama.cpp to divide a model among devices: not at all, by layers, or by rows of each matrix.
SPLIT_MODES = ("none", "layer", "row")


#: llama.cpp takes shares as 32-bit numbers.
_MOST_SHARE = 1e30


def _shares(name: str, value: tuple[float, ...]) -> None:
    if not min(value, default=-1) >= 0 < sum(value) <= _MOST_SHARE:
        rule = f"shares of at least 0, not all 0, together at most {_MOST_SHARE:g}"
        raise ArgumentError(f"{name} must be {rule}, got {value}")


def _two_amounts(name: str, value: tuple[float, ...]) -> None:
    if not (len(value) == 2 and all(0 <= each <= MOST for each in value)):
        raise ArgumentError(f"{name} must be two numbers of 0 to {MOST}, got {value}")


@dataclass(frozen=True)
class KvCache:
    """Types of the K/V cache, and how attention reads it."""

    type_k: str = "f32"
    type_v: str = "f32"
    flash_attention: str = "off"


#: The K/V cache of each mode; design/scoring.md measures what they cost.
MODES = {"exact": KvCache(), "stable": KvCache(), "fast": KvCache("f16", "f16", "auto")}


@dataclass(frozen=True, kw_only=True)
class PromptOptions(Options):
    """How a prompt is put to a model and how its answer is read."""

    priming: Sequence[str | Priming] = option(
        ("none",),
        help=f"Sentences put to the prompts: {', '.join(PRIMINGS)}, or TOML files.",
    )
    protocol: str | Protocol = option(
        "logit", help=f"How to ask and read: {', '.join(PROTOCOLS)}, or a TOML file."
    )
    template: str | None = option(
        None,
        help="Chat template: plain, a Jinja or a GGUF file; `run` takes several. Default: the model's.",
    )
    n_shots: int = option(
        0,
        help="Few-shot demonstrations before every prompt, drawn from the suite.",
        check=at_least(0, 10_000),
        panel="Few-shot",
    )
    shots: Path | None = option(
        None,
        help="File of fixed demonstrations: the first --n-shots are shown; the pairs of all are excluded.",
        panel="Few-shot",
    )
    shots_seed: int = option(0, help="Seed of the few-shot draw.", check=seeds, panel="Few-shot")
    hold_out: str = option(
        "scenario",
        help="Exclude each demonstration's whole scenario, or only its pair.",
        check=one_of(HELD_OUT),
        panel="Few-shot",
    )
    n_generate: int | None = option(
        None,
        help="Most tokens of a text, for protocols that write one; the paper's reasoning has 8192.",
        check=at_least(1, 1_000_000),
        panel="More",
    )

    @cached_property
    def primings(self) -> tuple[Priming, ...]:
        """Primings in their standard order, with those that others need."""
        return check_primings(self.priming)

    @cached_property
    def resolved_protocol(self) -> Protocol:
        """The protocol that `protocol` names."""
        named = self.protocol
        found = named if isinstance(named, Protocol) else get_protocol(named)
        return found if self.n_generate is None else found.with_budget(self.n_generate)

    def choose_shots(self, suite: pl.DataFrame) -> tuple[tuple[Shot, ...], pl.DataFrame]:
        """Return the demonstrations, from their file or drawn, and the pairs that are left to measure."""
        if self.shots is None:
            return draw_shots(suite, self.n_shots, seed=self.shots_seed, hold_out=self.hold_out)
        listed = read_table(self.shots, labels=LABELS)
        return fixed_shots(suite, listed, self.n_shots, hold_out=self.hold_out)

    def check_together(self) -> None:
        """Resolve names and files now, so that errors come early and files are read once."""
        super().check_together()
        _ = self.primings, self.resolved_protocol


@dataclass(frozen=True, kw_only=True)
class Devices(Options):
    """Where the layers of a model are computed, and how. None leaves the choice to llama.cpp."""

    PANEL: ClassVar[str | None] = "Devices"

    device: str = option(
        "auto",
        help="cpu, gpu, or auto: the GPU if there is one, else the CPU.",
        check=one_of(DEVICES),
        panel=None,
    )
    n_gpu_layers: int | None = option(
        None,
        help="Layers to offload to the GPU; -1 is all. Default: all that fit.",
        check=within(-1, 100_000),
    )
    precision: str = option(
        "default",
        help="highest: a GPU multiplies and adds in f32, without TF32.",
        check=one_of(PRECISIONS),
    )
    split_mode: str | None = option(
        None,
        help="Divide the model among devices by layer or row; none: do not.",
        check=one_of(SPLIT_MODES),
    )
    main_gpu: int | None = option(
        None, help="Device of a model that is not divided.", check=at_least(0, 1_000)
    )
    tensor_split: tuple[float, ...] | None = option(
        None, help="Shares of the devices, such as 3,1.", metavar="SHARES", check=_shares
    )

    def check_together(self) -> None:
        """Refuse contradictions, and options without effect."""
        super().check_together()
        if self.device == "cpu" and self.n_gpu_layers:
            raise ArgumentError(f"n_gpu_layers must be 0 with device cpu, got {self.n_gpu_layers}")
        if self.device == "gpu" and self.n_gpu_layers == 0:
            raise ArgumentError("n_gpu_layers must not be 0 with device gpu")
        on_cpu = "device is cpu" if self.device == "cpu" else "n_gpu_layers is 0"
        if self.divides and (self.device == "cpu" or self.n_gpu_layers == 0):
            raise ArgumentError(f"{self.divides} must go with a GPU, and {on_cpu}")

    @property
    def divides(self) -> str | None:
        """The first given option that divides a model among GPUs, None if none is given."""
        names = ("main_gpu", "split_mode", "tensor_split")
        return next((name for name in names if getattr(self, name) is not None), None)


#: A model in main memory, which no GPU touches.
CPU = Devices(device="cpu", n_gpu_layers=0)


@dataclass(frozen=True, kw_only=True)
class DecodingOptions(Options):
    """How prompts are decoded. None chooses for the job and the device."""

    PANEL: ClassVar[str | None] = "K/V cache"

    cache_type_k: str | None = option(
        None,
        help="Type of keys: f32, f16, bf16, q8_0, ... Default: f32, in mode fast f16.",
        check=one_of(CACHE_TYPES),
    )
    cache_type_v: str | None = option(
        None, help="Type of values. Default: f32, in mode fast f16.", check=one_of(CACHE_TYPES)
    )
    flash_attention: str | None = option(
        None,
        help="on, off or auto. Default: off, in mode fast auto.",
        check=one_of(FLASH_ATTENTION),
    )
    n_ctx: int | None = option(
        None, help="Cells of the K/V cache. Default: as many as needed.", check=at_least(1)
    )
    n_batch: int | None = option(
        None,
        help="Tokens a batch. Default: by device and work.",
        check=at_least(LEAST_BATCH, 1 << 24),
    )
    mode: Mode = option(
        "exact",
        help="exact: as if alone; stable: neighbours by seed; fast (f16 cache, flash attention).",
        check=one_of(MODES),
        panel=None,
    )
    n_threads: int | None = option(
        None, help="CPU threads. Default: all cores.", check=within(1, MOST_THREADS), panel="More"
    )
    intervention: Path | str | Intervention | None = option(
        None, help="TOML file of heads to ablate or a direction to add.", panel="More"
    )

    @property
    def kv_cache(self) -> KvCache:
        """The K/V cache of the mode, with the types that are given."""
        own = MODES[self.mode]
        return KvCache(
            self.cache_type_k or own.type_k,
            self.cache_type_v or own.type_v,
            self.flash_attention or own.flash_attention,
        )

    @cached_property
    def resolved_intervention(self) -> Intervention | None:
        """The intervention that `intervention` names."""
        named = self.intervention
        return read_intervention(named) if isinstance(named, (str, Path)) else named

    def check_together(self) -> None:
        """Refuse a quantised cache that attention cannot read, and read the intervention."""
        super().check_together()
        cache = self.kv_cache
        if cache.flash_attention == "off" and cache.type_v not in {"f32", "f16", "bf16"}:
            raise ArgumentError(
                f"cache_type_v must be f32, f16 or bf16 without flash attention, got {cache.type_v!r}"
            )
        _ = self.resolved_intervention


@dataclass(frozen=True, kw_only=True)
class ServerOptions(Options):
    """How a server is reached and what it costs."""

    PANEL: ClassVar[str | None] = "Server"

    server_model: str | None = option(
        None, help="Name of the model at the server. Default: its only model."
    )
    api_key_env: str | None = option(None, help="Environment variable that holds the API key.")
    concurrency: int = option(8, help="Requests in flight at once.", check=at_least(1, 1_000))
    timeout: float = option(
        120.0, help="Seconds within which an answer must be complete.", check=more_than(0, 86_400)
    )
    n_attempts: int = option(
        6, help="Most attempts for each prompt.", check=at_least(1, 1_000), flag="--n-attempts"
    )
    price: tuple[float, float] | None = option(
        None,
        help="Price of a million prompt tokens and of a million generated tokens.",
        check=_two_amounts,
    )
    extra_body: Mapping[str, Any] = option(
        {}, help="More fields of each request, as JSON; null removes a field.", metavar="JSON"
    )


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(ServerOptions, DecodingOptions, Devices, PromptOptions):
    """How a model is asked; together with model and suite it decides every answer.

    Example:
        >>> options = ScoringOptions(priming=["cue"], mode="fast")
        >>> [priming.name for priming in options.primings], options.kv_cache.type_k
        (['none', 'cue'], 'f16')

    Raises:
        ArgumentError: A value breaks its rule; the message names option, rule and value.
        DataError: A file that an option names does not hold what it should.
    """

    PANEL: ClassVar[str | None] = None

    cache: Path | str | None = option(
        None, help="Folder that keeps answers across runs.", panel="More"
    )
    seed: int = option(0, help="Same seed, same bits.", check=seeds, panel="More")
    reading_check: bool = option(
        True,
        help="Ask pairs that all expect yes some questions that expect no, which MAR leaves out.",
        flag="--reading-check/--no-reading-check",
        panel="More",
    )
