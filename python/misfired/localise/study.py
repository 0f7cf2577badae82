"""`localise`: all probes on the failures of a run and on their matched controls."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import ArgumentError, DataError, check_one_of
from misfired.localise import summary, sweeps
from misfired.localise.ablation import (
    ablation_test,
    choose_heads,
    random_heads,
    split_scenarios,
)
from misfired.localise.cases import Case, build_cases, choose_cases
from misfired.localise.check import check_probe, redecoding
from misfired.localise.probe import Probe
from misfired.localise.run import RunData, check_base, read_run
from misfired.localise.sweeps import Chunk, References, chunks
from misfired.scoring.llama.guard import open_model, try_loading
from misfired.scoring.llama.library import versions
from misfired.scoring.llama.model import Model, model_sha256
from misfired.scoring.options import MODES, Devices, Mode
from misfired.scoring.tokens import PromptTokenizer

#: Called with (units of work done, units in all).
Progress = Callable[[int, int], None]

PROBES = ("lens", "patch", "heads", "attention", "substitution")

#: The method by whose specificity heads are chosen for the test on the other half.
CHOOSING_METHOD = "zero"


@dataclass(frozen=True)
class Localisation:
    """What was found.

    Attributes:
        cases: One row per pair studied: `id`, `category`, `scenario`, `kind` (`failure` or `control`),
            `margin_stereotyped`, `margin_contrast`, `unaligned` (why the persons' spans could not be
            aligned, or null).
        rows: For each probe its rows, one per pair and place; see `misfired.localise.sweeps`.
        tables: Summaries with intervals: `lens_curves`, `recovery_curves`, `head_map`,
            `attention_map`, `ablation`, and `figures` (single numbers).
        manifest: Parameters, start-up check, counts, versions, times.
    """

    cases: pl.DataFrame
    rows: dict[str, pl.DataFrame]
    tables: dict[str, pl.DataFrame]
    manifest: dict[str, Any]

    def heads(
        self, column: str = "specificity", *, method: str = "zero", model: str = "instruct"
    ) -> npt.NDArray[np.float64]:
        """One column of the head map as an array, shape (layer, head).

        Raises:
            ArgumentError: There is no such method, model or column.
        """
        table = self.tables.get("head_map", pl.DataFrame({"method": [], "model": []}))
        part = table.filter(pl.col("method") == method, pl.col("model") == model)
        if part.is_empty() or column not in part.columns:
            raise ArgumentError(f"the head map has no {column!r} for method {method!r}, {model!r}")
        n_layer = part["layer"].n_unique()
        part = part.sort("layer", "head")
        return part[column].to_numpy().astype(np.float64).reshape(n_layer, -1)

    def figure(self, measure: str, **keys: str) -> float | None:
        """One number of the table `figures`, such as `onset_of_suppression` of the lens.

        Raises:
            ArgumentError: No row, or more than one, fits.
        """
        rows = self.tables["figures"].filter(
            pl.col("measure") == measure, *[pl.col(name) == word for name, word in keys.items()]
        )
        if len(rows) != 1:
            raise ArgumentError(f"{len(rows)} rows of the figures fit {measure!r} {keys}")
        value: float | None = rows["value"][0]
        return value

    def write(self, folder: Path | str) -> None:
        """Write all tables as Parquet and the manifest as JSON; the manifest last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        frames = {"cases": self.cases, **self.tables}
        frames |= {f"{name}_rows": frame for name, frame in self.rows.items()}
        for name, frame in frames.items():
            frame.write_parquet(folder / f"{name}.parquet")
        text = json.dumps(self.manifest, indent=2, ensure_ascii=False)
        (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Options:
    """How pairs are chosen and probed; see `localise`."""

    probes: tuple[str, ...]
    priming: str
    n_pairs: int | None
    methods: tuple[str, ...]
    positions: str
    n_heads: int
    n_random: int
    n_resamples: int
    confidence_level: float
    alpha: float
    min_effect: float
    seed: int
    mode: Mode
    n_threads: int | None

    @property
    def statistics(self) -> dict[str, Any]:
        """Options of the bootstrap."""
        return {
            "n_resamples": self.n_resamples,
            "confidence_level": self.confidence_level,
            "rng": self.seed,
        }

    def check(self) -> None:
        """Refuse what cannot be done before anything is loaded."""
        for name in self.probes:
            if name not in PROBES:
                raise ArgumentError(f"probe is {name!r}, not one of {', '.join(PROBES)}")
        if not self.probes:
            raise ArgumentError(f"probes is empty: name some of {', '.join(PROBES)}")
        check_one_of("mode", self.mode, MODES)
        if self.mode != "exact" and "attention" in self.probes:
            raise ArgumentError(
                f"probe attention needs mode exact: in mode {self.mode} flash attention is on and "
                "attention weights are never computed"
            )
        limits = {"n_pairs": self.n_pairs, "n_heads": self.n_heads, "n_threads": self.n_threads}
        for name, value in limits.items():
            if value is not None and value < 1:
                raise ArgumentError(f"{name} is {value}, at least 1 needed")
        if self.n_random < 0:
            raise ArgumentError(f"n_random is {self.n_random}, at least 0 needed")
        sweeps.check_methods(self.methods, self.positions)


def localise(
    model: Path | str,
    run: Path | str,
    *,
    base: Path | str | None = None,
    probes: Sequence[str] = PROBES,
    priming: str = "none",
    n_pairs: int | None = None,
    methods: Sequence[str] | None = None,
    positions: str = "last",
    n_heads: int = 1,
    n_random: int = 5,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    alpha: float = 0.05,
    min_effect: float = summary.MIN_EFFECT,
    seed: int = 0,
    mode: str = "exact",
    n_gpu_layers: int = 0,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Localisation:
    """Find where in a model the evidence is overruled.

    The failures of a run (stereotyped prompt wrong, contrast prompt right) are studied beside as many
    controls of the same categories (both right).

    Args:
        model: The GGUF file that the run was made with.
        run: The run's folder.
        base: A base model with the same layers, heads and tokens: lens and heads are repeated on it
            with the same prompts.
        probes: Some of `lens`, `patch`, `heads`, `attention`, `substitution`.
        priming: Which of the run's primings to study.
        n_pairs: At most so many failures, all by default.
        methods: Of head ablation: `zero`, `mean`, `resample`, `patch`; by default all of them, and
            `zero` alone with `positions="all"`.
        positions: Change heads at the `last` token, or at `all` tokens.
        n_heads: Heads that are chosen on one half of the pairs and tested on the other.
        n_random: Sets of random heads to compare them with.
        n_resamples: Bootstrap resamples of scenarios.
        confidence_level: Of the intervals.
        alpha: False discovery rate of the head map.
        min_effect: A head must exceed this share of the mean |margin|.
        seed: Draws pairs, halves, donors, random heads and resamples.
        mode: `exact`, or `fast` (no attention weights).
        n_gpu_layers: Layers to offload; -1 offloads all.
        n_threads: CPU threads; all cores by default.
        progress: Called with (units of work done, units in all).

    Raises:
        ArgumentError: An option out of range.
        DataError: A run of another model, or no failures to study.
        ModelError: A model that cannot be probed, or a base that does not match.
    """
    if methods is None:
        methods = sweeps.METHODS if positions == "last" else ("zero",)
    options = Options(
        tuple(probes),
        priming,
        n_pairs,
        tuple(methods),
        positions,
        n_heads,
        n_random,
        n_resamples,
        confidence_level,
        alpha,
        min_effect,
        seed,
        mode,  # type: ignore[arg-type]
        n_threads,
    )
    options.check()
    started = time.time()
    if base is not None:
        try_loading(base)
    with open_model(model, Devices(n_gpu_layers=n_gpu_layers)) as opened:
        data = read_run(run, opened, priming=priming)
        study = _Study(opened, data, options, progress)
        study.probe_model("instruct", opened)
        if base is not None:
            with open_model(base, Devices(n_gpu_layers=n_gpu_layers)) as other:
                check_base(opened, other, data.pairs["stereotyped"].to_list()[:16])
                study.probe_model("base", other)
        found = study.found()
        found.manifest.update(
            model={"path": str(opened.path), "sha256": model_sha256(opened.path)},
            base=None if base is None else {"path": str(base), "sha256": model_sha256(Path(base))},
            run=str(run),
            times={"started": started, "seconds": time.time() - started},
        )
        return found


@dataclass
class _Study:
    """The work of one call of `localise`, model after model."""

    model: Model
    data: RunData
    options: Options
    progress: Progress | None
    cases: list[Case] = field(init=False)
    rows: dict[str, list[pl.DataFrame]] = field(init=False, default_factory=dict)
    tables: dict[str, pl.DataFrame] = field(init=False, default_factory=dict)
    checks: dict[str, Any] = field(init=False, default_factory=dict)
    margins: list[tuple[float, float]] = field(init=False, default_factory=list)
    done: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.tokenizer = PromptTokenizer(
            self.model.tokenizer, self.data.template, self.data.protocol, self.data.shots
        )
        chosen = choose_cases(
            self.data.outcomes, n_pairs=self.options.n_pairs, rng=self.options.seed
        )
        cases = self._build(chosen)
        # Failures first: the sweeps that look at failures only take a prefix.
        self.cases = sorted(cases, key=lambda case: case.kind == "control")
        self.failures = [case for case in self.cases if case.kind == "failure"]
        self.halves = None
        self.tested: list[Case] = []
        if "heads" in self.options.probes:
            self.halves = split_scenarios(self.data.outcomes, rng=self.options.seed)
            self.tested = self._test_cases()
        self.total = 2 * len(self.cases) + len(self.tested)

    def _build(self, chosen: pl.DataFrame) -> list[Case]:
        return build_cases(self.data.pairs, chosen, self.tokenizer, priming=self.data.priming)

    def _test_cases(self) -> list[Case]:
        assert self.halves is not None  # noqa: S101
        scored = self.data.outcomes.filter(
            pl.col("scenario").is_in(self.halves.tested_on),
            pl.col("stereotyped").is_not_null() & pl.col("contrast").is_not_null(),
        )
        failed = pl.col("contrast") & ~pl.col("stereotyped")
        kind = pl.when(failed).then(pl.lit("failure")).otherwise(pl.lit("other")).alias("kind")
        return self._build(scored.select("id", kind))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        cases = [*self.cases, *self.tested]
        return max(len(prompt.ids) for case in cases for prompt in case.prompts)

    def probe_model(self, name: str, model: Model) -> None:
        """All probes on the model under study; lens and heads on a base."""
        options = self.options
        with Probe(
            model, longest=self.longest, n_threads=options.n_threads, mode=options.mode
        ) as probe:
            self.checks[name] = check_probe(probe, self.cases[0].prompts)
            self.checks[name]["n_cells"] = probe.n_ctx
            references = None
            if "heads" in options.probes and {"mean", "resample"} & set(options.methods):
                references = References.gather(probe, self.cases, rng=options.seed)
            self._sweep(name, probe, references)
            if name == "instruct":
                if "attention" in options.probes:
                    self._keep("attention", name, sweeps.attention(probe, self.cases))
                if "heads" in options.probes:
                    self._test(probe)

    def _sweep(self, name: str, probe: Probe, references: References | None) -> None:
        """One prefill for each pair serves all probes that work on held prompts."""
        full = name == "instruct"
        patches = full and "patch" in self.options.probes
        first = 0
        # Chunks of failures and of controls are kept apart.
        controls = self.cases[len(self.failures) :]
        for part in [*chunks(self.failures, probe), *chunks(controls, probe)]:
            chunk = Chunk.hold(probe, part, with_spans=patches and part[0].kind == "failure")
            check = self.checks[name]
            check["redecoding"] = max(check["redecoding"], redecoding(chunk.held))
            if full:
                self.margins += [(float(m[0]), float(m[1])) for m in chunk.margins]
            if "lens" in self.options.probes:
                self._keep("lens", name, sweeps.lens(chunk))
            if part[0].kind == "failure":
                if patches:
                    self._keep("patch", name, sweeps.patch(chunk))
                if "heads" in self.options.probes:
                    self._keep("heads", name, self._head_sweep(chunk, references, first))
                if full and "substitution" in self.options.probes and probe.n_layer > 1:
                    self._keep("substitution", name, sweeps.substitution(chunk))
            first += len(part)
            self._advance(len(part) * (2 if full else 0))

    def _head_sweep(self, chunk: Chunk, references: References | None, first: int) -> pl.DataFrame:
        return sweeps.heads(
            chunk,
            methods=self.options.methods,
            positions=self.options.positions,
            references=references,
            first=first,
        )

    def _keep(self, probe: str, model: str, frame: pl.DataFrame) -> None:
        labelled = frame.select(pl.lit(model).alias("model"), pl.all())
        self.rows.setdefault(probe, []).append(labelled)

    def _advance(self, n: int) -> None:
        self.done += n
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)

    def _test(self, probe: Probe) -> None:
        """Choose heads on one half, ablate them on the other."""
        assert self.halves is not None  # noqa: S101
        options = self.options
        if CHOOSING_METHOD not in options.methods:
            return
        heads = pl.concat(self.rows["heads"]).filter(pl.col("method") == CHOOSING_METHOD)
        if heads.filter(pl.col("scenario").is_in(self.halves.chosen_on)).is_empty():
            raise DataError(
                "no failure was drawn in the half that heads are chosen on: raise n_pairs"
            )
        chosen = choose_heads(heads, self.halves, n_heads=options.n_heads)
        others = random_heads(probe, chosen, n_sets=options.n_random, rng=options.seed)
        start = self.done
        self.tables["ablation"] = ablation_test(
            probe,
            self.tested,
            chosen,
            others,
            progress=lambda done: self._advance(start + done - self.done),
            **options.statistics,
        )

    def found(self) -> Localisation:
        """Summaries of everything that was kept."""
        rows = {name: pl.concat(frames) for name, frames in self.rows.items()}
        options = self.options
        tables = dict(self.tables)
        figures = []
        if "lens" in rows:
            tables["lens_curves"] = summary.lens_curves(rows["lens"], **options.statistics)
            figures.append(summary.lens_figures(rows["lens"], **options.statistics))
        if "patch" in rows:
            tables["recovery_curves"] = summary.recovery_curves(rows["patch"], **options.statistics)
            figures.append(summary.recovery_figures(rows["patch"], **options.statistics))
        if "heads" in rows:
            tables["head_map"] = summary.head_map(
                rows["heads"],
                alpha=options.alpha,
                min_effect=options.min_effect,
                **options.statistics,
            )
        if "attention" in rows and len(rows["attention"]):
            tables["attention_map"] = summary.attention_map(rows["attention"], **options.statistics)
        if "substitution" in rows:
            figures.append(summary.substitution_figures(rows["substitution"], **options.statistics))
        if figures:
            tables["figures"] = pl.concat(figures, how="diagonal_relaxed")
        return Localisation(self._case_table(), rows, tables, self._manifest())

    def _case_table(self) -> pl.DataFrame:
        names = ("id", "category", "scenario", "kind")
        return pl.DataFrame(
            {
                **{name: [getattr(case, name) for case in self.cases] for name in names},
                "margin_stereotyped": [margins[0] for margins in self.margins],
                "margin_contrast": [margins[1] for margins in self.margins],
                "unaligned": pl.Series([case.unaligned for case in self.cases], dtype=pl.String),
            }
        )

    def _manifest(self) -> dict[str, Any]:
        unaligned = [case.id for case in self.cases if case.unaligned is not None]
        settings = {name: getattr(self.options, name) for name in Options.__dataclass_fields__}
        return {
            "settings": settings,
            "check": self.checks,
            "n_failures": len(self.failures),
            "n_controls": len(self.cases) - len(self.failures),
            "n_tested": len(self.tested),
            "n_unaligned": len(unaligned),
            "unaligned": unaligned,
            "versions": versions(),
        }
