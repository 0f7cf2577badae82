"""Whether published figures can all be true of one set of pairs."""

import polars as pl

from misfired.errors import DataError

_COLUMNS = ("mar", "br", "accuracy_stereotyped", "accuracy_contrast")


def check_published(published: pl.DataFrame, *, tolerance: float = 0.15) -> pl.DataFrame:
    """Check that MAR, BR and the two accuracies of each row fit one another.

    With a, b, c, d as shares of n: c = MAR/100 (a + c), and a + b - (a + c) = b - c, so
    b = MAR/100 accuracy_contrast + accuracy_stereotyped - accuracy_contrast and
    br = 100 b / accuracy_stereotyped. Figures rounded to 0.1 satisfy this within 0.15.

    Args:
        published: Columns `mar`, `br`, `accuracy_stereotyped`, `accuracy_contrast` in percent
            (`acc_stereotyped` and `acc_contrast` are read too); others are kept.
        tolerance: Largest difference, in percentage points, that rounding explains.

    Returns:
        The rows with `br_expected`, `consistent` (null where a figure is missing) and `reason`
        (null where consistent).

    Raises:
        DataError: If a column is missing.

    Example:
        >>> rows = pl.DataFrame({"mar": [0.0], "br": [0.0], "accuracy_stereotyped": [98.5],
        ...     "accuracy_contrast": [96.2]})
        >>> check_published(rows)["reason"][0]
        'br 0.0 is printed, but mar 0.0 and accuracies 98.5, 96.2 give 2.3'
    """
    short = {"acc_stereotyped": "accuracy_stereotyped", "acc_contrast": "accuracy_contrast"}
    renames = {old: new for old, new in short.items() if old in published.columns}
    frame = published.rename(renames)
    for column in _COLUMNS:
        if column not in frame.columns:
            raise DataError(f"published: column {column!r} is missing")
    mar, br, stereotyped, contrast = (pl.col(column).cast(pl.Float64) for column in _COLUMNS)
    expected = 100 * (mar / 100 * contrast + stereotyped - contrast) / stereotyped
    printed = pl.format(
        "br {} is printed, but mar {} and accuracies {}, {} give {}",
        br, mar, stereotyped, contrast, expected.round(1),
    )  # fmt: skip
    consistent = (expected - br).abs() <= tolerance
    missing = pl.lit("a figure is missing")
    reason = pl.when(consistent).then(None).when(consistent.is_null()).then(missing)
    return frame.with_columns(
        br_expected=expected, consistent=consistent, reason=reason.otherwise(printed)
    )
