"""The demo: the shipped organisms measured, what was planted beside what is found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from misfired.localise import localise
from misfired.runs.asking import Progress
from misfired.runs.pipeline import Run, run
from misfired.stats import summarize
from misfired.suites.organism import PRIMINGS, build_organism_suite, card, models

#: Failures that are localised; each costs a few dozen decodes.
N_LOCALISED = 24


@dataclass(frozen=True)
class Demo:
    """Both organisms on the organism suite.

    Attributes:
        rows: One row per model and priming: `model`, `priming`, `n_pairs`, `mar`, `low`, `high`,
            `designed`, `accuracy_stereotyped`, `accuracy_contrast`, `accuracy_no` (questions whose
            answer is no), `n_planted`, `n_planted_failed`, `n_other_failed`; in percent where a rate.
        runs: The runs, by model.
        lens: One row per model, condition and layer: `margin`, the mean lead of the right answer read
            after that layer, over the localised failures.
        heads: One row per head of `instruct`, most specific first: `layer`, `head`, `specificity`,
            `passes`, `planted`.
    """

    rows: pl.DataFrame
    runs: dict[str, Run]
    lens: pl.DataFrame
    heads: pl.DataFrame


def demo(
    out: Path | str,
    *,
    n_resamples: int = 10_000,
    seed: int = 0,
    n_threads: int = 1,
    device: str = "auto",
    progress: Callable[[str], Progress] | None = None,
) -> Demo:
    """Score `organism-base` and `organism-instruct` on the organism suite under three primings.

    Args:
        out: Folder for the two run folders, `base` and `instruct`.
        n_resamples: Bootstrap resamples, by scenario.
        seed: Same seed, same bits.
        n_threads: CPU threads; models this small gain nothing from a second one.
        device: `cpu`, `gpu`, or `auto`: the GPU if there is one.
        progress: Returns the callback of the run of the model whose name it is given.
    """
    runs: dict[str, Run] = {}
    rows: list[dict[str, Any]] = []
    for name, path in models().items():
        suite = build_organism_suite(organism=name)
        runs[name] = run(
            path,
            suite,
            out=Path(out) / name,
            priming=PRIMINGS,
            protocol="logit-bare",
            n_resamples=n_resamples,
            seed=seed,
            n_threads=n_threads,
            device=device,
            progress=None if progress is None else progress(name),
        )
        rows += _rows(name, suite, runs[name].outcomes, n_resamples, seed)
    lens, heads = _localise(Path(out) / "instruct", seed=seed, n_threads=n_threads, device=device)
    return Demo(pl.DataFrame(rows), runs, lens, heads)


def _localise(run_folder: Path, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Look for the planted head as if it were unknown."""
    found = localise(
        models()["instruct"],
        run_folder,
        base=models()["base"],
        probes=["lens", "heads"],
        methods=["resample"],
        n_pairs=N_LOCALISED,
        n_resamples=1000,
        n_random=1,
        **options,
    )
    curves = found.tables["lens_curves"].filter(pl.col("condition") != "gap", kind="failure")
    lens = curves.select("model", "condition", "layer", margin="true_question")
    planted = card()["organisms"]["instruct"]["planted_head"]
    is_planted = (pl.col("layer") == planted["layer"]) & (pl.col("head") == planted["head"])
    heads = found.tables["head_map"].filter(model="instruct").sort("rank")
    return lens, heads.select("layer", "head", "specificity", "passes", planted=is_planted)


def _rows(
    name: str, suite: pl.DataFrame, outcomes: pl.DataFrame, n_resamples: int, seed: int
) -> Iterator[dict[str, Any]]:
    expects_yes = suite.filter(pl.col("expected_stereotyped") == "yes")
    denied = outcomes.join(expects_yes, on="id", how="anti")
    outcomes = outcomes.join(expects_yes.select("id"), on="id", how="semi")
    summary = summarize(outcomes, n_resamples=n_resamples, rng=seed).filter(total=True)
    overall = {(row["priming"], row["measure"]): row for row in summary.to_dicts()}
    for priming in PRIMINGS:
        mar = overall[priming, "mar"]
        asked = outcomes.filter(priming=priming).join(expects_yes, on="id")
        failed, planted = asked["contrast"] & ~asked["stereotyped"], asked[f"planted_{priming}"]
        no = denied.filter(priming=priming)
        scored = [right for right in (*no["stereotyped"], *no["contrast"]) if right is not None]
        yield {
            "model": name,
            "priming": priming,
            "n_pairs": mar["n_pairs"],
            "mar": mar["value"],
            "low": mar["low"],
            "high": mar["high"],
            "designed": card()["organisms"][name]["designed_mar"][priming],
            "accuracy_stereotyped": overall[priming, "accuracy_stereotyped"]["value"],
            "accuracy_contrast": overall[priming, "accuracy_contrast"]["value"],
            "accuracy_no": 100 * sum(scored) / len(scored) if scored else None,
            "n_planted": int(planted.sum()),
            "n_planted_failed": int((failed & planted).sum()),
            "n_other_failed": int((failed & ~planted).sum()),
        }
