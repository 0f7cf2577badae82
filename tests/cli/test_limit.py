"""`--limit` takes pairs at even distances, each with its twin."""

import polars as pl

from misfired import write_suite
from misfired.cli.run import PairsOptions, choose_pairs

ROWS = [
    {
        "id": f"p{i}{suffix}",
        "suite": "s@1",
        "category": "c",
        "scenario": "x",
        "stereotyped_group": "g",
        "contrast_group": "h",
        "cue": None,
        "stereotyped": f"a {i}{suffix}?",
        "contrast": f"b {i}{suffix}?",
        "expected_stereotyped": "no" if suffix else "yes",
        "expected_contrast": "no" if suffix else "yes",
        "twin_of": f"p{i}" if suffix else None,
    }
    for i in range(6)
    for suffix in ("", "_no")
]


def test_pairs_keep_their_twins(tmp_path):
    file = tmp_path / "suite.parquet"
    write_suite(pl.DataFrame(ROWS), file)
    kept = choose_pairs(PairsOptions(suite=file, limit=3))["id"].to_list()
    assert kept == ["p0", "p0_no", "p2", "p2_no", "p4", "p4_no"]
    assert len(choose_pairs(PairsOptions(suite=file, limit=100))) == len(ROWS)


def test_a_suite_without_twins_is_spread_by_row(tmp_path):
    file = tmp_path / "suite.parquet"
    write_suite(pl.DataFrame(ROWS).drop("twin_of"), file)
    assert choose_pairs(PairsOptions(suite=file, limit=4))["id"].to_list() == [
        "p0",
        "p1_no",
        "p3",
        "p4_no",
    ]
