"""The figures of the paper's table of results: reference rows, measured by its authors and not here.

Source: Deng et al. 2026, "The Wrong Kind of Right: Quantifying and Localizing Misfired Alignment in LLMs",
arXiv 2606.18656: MAR by category, MAR, BR and both accuracies of 25 models and of people, and the
increase of MAR under priming.
"""

from pathlib import Path

import polars as pl

from misfired.tables import read_csv

CITATION = "Deng et al. 2026, arXiv 2606.18656"
"""Where the figures are from."""

HUMAN = "Human"
"""The row of people."""

_OTHERS = ("model", "mar", "br", "acc_stereotyped", "acc_contrast", "mar_primed_delta")


def published_figures() -> pl.DataFrame:
    """Return the published figures, in percent: a row for each of 25 models, and one of people.

    Returns:
        Columns `model`, eight categories, `mar`, `br`, `acc_stereotyped`, `acc_contrast`, and
        `mar_primed_delta` (null for people).

    Example:
        >>> figures = published_figures()
        >>> figures.shape, figures.filter(model="Human")["acc_contrast"][0]
        ((26, 14), 96.2)
    """
    texts = read_csv(Path(__file__).with_name("published.csv"))
    return texts.with_columns(pl.exclude("model").cast(pl.Float64))


def published_categories(figures: pl.DataFrame) -> list[str]:
    """Return the columns of figures that are categories.

    Example:
        >>> published_categories(published_figures())[:2]
        ['Disability_status', 'Physical_appearance']
    """
    known = {*_OTHERS, "accuracy_stereotyped", "accuracy_contrast"}
    return [name for name in figures.columns if name not in known]
