"""`misfired report` and `misfired plot` as a user meets them."""

from pathlib import Path

import pytest

from invented_run import invented_pairs, write_run

QUICK = {"statistics": {"n_resamples": 100, "unit": "scenario", "confidence_level": 0.95}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    pairs = invented_pairs(96, n_categories=2, per_scenario=8)
    first, second = (
        write_run(
            folder / name, pairs, primings=("none",), model=f"{name}.gguf", seed=seed, **QUICK
        )
        for seed, name in enumerate(("one", "two"))
    )
    return first, second


def test_report_writes_one_file(misfired, runs, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    done = misfired("report", runs[0], "-o", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(str(out))
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]


def test_plot_names_files_and_what_is_left_out(misfired, runs, tmp_path: Path) -> None:
    done = misfired("plot", *runs, "-o", tmp_path, "--format", "svg", "--human", "1.5")
    assert done.code == 0
    names = {Path(line).name for line in done.out.splitlines()}
    assert names == {path.name for path in tmp_path.iterdir()}
    each = ("mar-by-category", "counts", "asymmetry", "margins")
    assert {f"{run}-{name}.svg" for run in ("one", "two") for name in each} <= names
    assert {"runs-by-mar.svg", "mar-map.svg", "mar-by-accuracy.svg"} <= names
    assert "rate of people, 1.5 %" in (tmp_path / "runs-by-mar.svg").read_text(encoding="utf-8")
    assert "left out: base against instruct: needs --base RUN" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "gif"], "format must be one of svg, pdf, png, got 'gif'"),
        (["--format", ","], "format must be one of svg, pdf, png, got ','"),
        (["--width", "three"], "width must be one of one, two, got 'three'"),
    ],
)
def test_plot_refuses_what_it_cannot_draw(
    misfired, runs, tmp_path: Path, words: list[str], message: str
) -> None:
    done = misfired("plot", runs[0], "-o", tmp_path / "out", *words)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_plot_needs_runs_or_localisations(misfired, runs, tmp_path: Path) -> None:
    assert "runs must be named" in misfired("plot", "-o", tmp_path).err
    done = misfired("plot", runs[0], "--base", runs[0], "--base", runs[1], "-o", tmp_path)
    assert "base must be given once for each run, 1 times, got 2" in done.err


def test_a_folder_that_is_no_localisation_is_refused(misfired, runs, tmp_path: Path) -> None:
    done = misfired("report", runs[0], "--localise", runs[1], "-o", tmp_path / "page.html")
    assert done.code == 2
    assert "not the manifest of a localisation" in done.err
