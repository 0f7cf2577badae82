"""The demo finds what was planted in the models that ship."""

import json

import pytest

pytestmark = pytest.mark.model


def test_the_demo_finds_what_was_planted(misfired, tmp_path) -> None:
    code, out, _ = misfired("demo", "-o", tmp_path, "--n-resamples", 500, "--json")
    assert code == 0
    shown = json.loads(out)
    rows = {(row["model"], row["priming"]): row for row in shown["rows"]}
    assert len(rows) == 6
    for row in rows.values():
        assert row["low"] <= row["designed"] <= row["high"]
        assert row["accuracy_contrast"] >= 99
        assert row["accuracy_no"] >= 99
    assert rows["instruct", "none"]["mar"] > 15 > rows["base", "none"]["mar"]
    first = shown["heads"][0]
    assert first["planted"]
    assert first["passes"]
    again = misfired("demo", "-o", tmp_path, "--n-resamples", 500)
    assert "Head found: layer 4 head 2" in again.out
    assert "base, unprimed: Reads: " in again.out
    said = " ".join(again.out.split())
    assert "No misfire shown" in said.partition("instruct, unprimed: ")[0]
    assert " Misfires: " in said.partition("instruct, unprimed: ")[2]
    assert max(map(len, again.out.splitlines())) <= 80
