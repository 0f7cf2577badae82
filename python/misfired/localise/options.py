"""Options of localisation, each stated once. Nothing here needs llama.cpp."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from misfired.errors import ArgumentError, check_one_of
from misfired.localise.probes import PROBES
from misfired.options import MOST, Options, at_least, between, one_of, option, within
from misfired.scoring.options import DecodingOptions, Devices, Mode
from misfired.stats.options import DrawOptions, ResamplingOptions

#: Replacements of a head's output.
HEAD_METHODS = ("zero", "mean", "resample", "patch")

#: A head, or a gap between the conditions, counts only above this share of the mean |margin|.
MIN_EFFECT = 0.1

#: The onset is the first layer from which on a curve has at least this share of the whole.
ONSET_SHARE = 0.5


def _each_of(allowed: Iterable[str]) -> Any:
    def check(name: str, words: Sequence[str]) -> None:
        if not words:
            raise ArgumentError(f"{name} must be some of {', '.join(allowed)}, got none")
        for word in words:
            check_one_of(name, word, allowed)

    return check


def _same(options: type[Options], name: str) -> Any:
    """Return the field of another stage's options, which says all about it."""
    field = options.__dataclass_fields__[name]
    return option(field.default, **field.metadata)


@dataclass(frozen=True, kw_only=True)
class CaseOptions(Options):
    """Which pairs of a run are looked into, and where the model is computed."""

    priming: str = option("none", help="Which of the run's primings to study.")
    n_pairs: int | None = option(
        None, help="Most failures to study. Default: all.", check=at_least(1)
    )
    seed: int = _same(ResamplingOptions, "seed")
    device: str = _same(Devices, "device")
    n_gpu_layers: int | None = _same(Devices, "n_gpu_layers")
    precision: str = _same(Devices, "precision")
    n_threads: int | None = _same(DecodingOptions, "n_threads")

    @property
    def devices(self) -> Devices:
        """Where the model is computed."""
        return Devices(device=self.device, n_gpu_layers=self.n_gpu_layers, precision=self.precision)


@dataclass(frozen=True, kw_only=True)
class LocaliseOptions(DrawOptions, CaseOptions):
    """How pairs are chosen and probed.

    Example:
        >>> LocaliseOptions(positions="all").head_methods
        ('zero',)
    """

    PANEL: ClassVar[str | None] = "Probes"

    probes: Sequence[str] = option(
        PROBES, help=f"Probes: {', '.join(PROBES)}.", check=_each_of(PROBES), flag="--probe"
    )
    methods: Sequence[str] | None = option(
        None,
        help=f"Of heads: {', '.join(HEAD_METHODS)}. Default: all; with --positions all, zero.",
        check=_each_of(HEAD_METHODS),
    )
    positions: str = option(
        "last",
        help="Change heads at the last token, or (zero only) at all tokens.",
        check=one_of(("last", "all")),
    )
    n_heads: int = option(
        1,
        help="Heads chosen on one half of the pairs and tested on the other.",
        check=at_least(1, 100_000),
    )
    n_random: int = option(
        5, help="Sets of random heads to compare with.", check=at_least(0, 1_000)
    )
    alpha: float = option(0.05, help="False discovery rate of the head map.", check=between(0, 1))
    min_effect: float = option(
        MIN_EFFECT,
        help="Least effect of a head that passes, as a share of the mean |margin|.",
        check=within(0, MOST),
    )
    mode: Mode = _same(DecodingOptions, "mode")  # noqa: RUF009  it returns a field
    anyway: bool = option(False, help="Look also into a run that does not read its stories.")

    @property
    def head_methods(self) -> tuple[str, ...]:
        """The methods of head ablation, with the default resolved."""
        if self.methods is not None:
            return tuple(self.methods)
        return HEAD_METHODS if self.positions == "last" else ("zero",)

    @property
    def statistics(self) -> dict[str, Any]:
        """Keywords of the bootstrap."""
        return {**vars(self.part(DrawOptions)), "rng": self.seed}

    def check_together(self) -> None:
        """Refuse probes and methods that the mode or the positions rule out."""
        super().check_together()
        if self.mode != "exact" and "attention" in self.probes:
            raise ArgumentError(
                f"mode must be exact for probe attention, got {self.mode!r}: flash attention never "
                "computes the weights"
            )
        if self.positions == "all" and self.head_methods != ("zero",):
            raise ArgumentError(
                f"methods must be zero where positions is all, got {', '.join(self.head_methods)}"
            )
