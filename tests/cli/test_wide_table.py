import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import polars as pl
import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.stats import check_published
from misfired.stats.published import published_categories, published_figures
from misfired.stats.testing import adjust, permutation_test
from stats.answerers import answers_of

STRANGE = r"50%_of #1 & <b>{x}$\^~"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Four runs in two categories, one with a strange name."""
    folder = tmp_path_factory.mktemp("wide")
    names = {
        "misfire": "one_run",
        "reader_plus": STRANGE.replace("/", ""),
        "reader_minus": "three",
        "random": "four",
    }
    files = []
    for answerer, name in names.items():
        answers = answers_of(answerer, 1)
        late = pl.col("scenario").str.slice(1).cast(int) >= 25
        frame = answers.with_columns(
            category=pl.when(late).then(pl.lit("SES")).otherwise(pl.lit(STRANGE))
        )
        frame.write_parquet(folder / f"{name}.parquet")
        files.append(folder / f"{name}.parquet")
    return files


def run(*words):
    done = CliRunner().invoke(load("leaderboard"), list(map(str, words)))
    assert done.exit_code == 0, done.exception
    return done.stdout


def by_polars(file):
    """Counts of one run, straight from its answers, twins left out."""
    answers = pl.read_parquet(file).filter(pl.col("twin_of").is_null())
    right = answers.with_columns(right=pl.col("outcome") == "correct")
    wide = right.pivot("condition", index=["id", "category", "scenario"], values="right")
    c = (~pl.col("stereotyped") & pl.col("contrast")).sum()
    a = (pl.col("stereotyped") & pl.col("contrast")).sum()
    b = (pl.col("stereotyped") & ~pl.col("contrast")).sum()
    found = {
        name: 100 * part.select(c / (a + c)).item() for (name,), part in wide.group_by("category")
    }
    return wide, found | {
        "mar": 100 * wide.select(c / (a + c)).item(),
        "br": 100 * wide.select(b / (a + b)).item(),
        "accuracy_stereotyped": 100 * wide["stereotyped"].mean(),
        "accuracy_contrast": 100 * wide["contrast"].mean(),
    }


def test_the_table_of_four_runs_is_what_polars_counts(files):
    table = pl.read_csv(
        io.StringIO(run(*files, "--by", "category", "--csv")), infer_schema_length=None
    )
    assert len(table) == 4
    for file in files:
        row = table.row(by_predicate=pl.col("run") == str(file), named=True)
        expected = by_polars(file)[1]
        assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_stars_are_of_the_cluster_sign_flip_test_adjusted_over_the_runs(files):
    rows = [json.loads(line) for line in run(*files, "--by", "category", "--json").splitlines()]
    p_values = []
    for file in files:
        pairs = by_polars(file)[0]
        found = permutation_test(
            pairs["stereotyped"], pairs["contrast"], scenario=pairs["scenario"]
        )
        p_values.append(found.p_value)
    total = {row["run"]: row for row in rows if row["total"] and row["measure"] == "mar"}
    for file, p, adjusted in zip(files, p_values, adjust(p_values), strict=True):
        row = total[str(file)]
        expected = (p, None if p is None else adjusted)
        assert (row["p_value"], row["p_adjusted"]) == pytest.approx(expected, abs=1e-12)
    shown = run(files[0], "--by", "category")
    assert "***" in shown
    assert "cluster sign-flip test" in shown


def test_published_figures_stand_beside_and_are_marked(files):
    shown = run(files[0], "--by", "category", "--published")
    assert len(published_figures()) == 26
    assert shown.count("Human (published)") >= 1
    assert "not measured here; figures of Deng et al. 2026, arXiv 2606.18656" in " ".join(
        shown.split()
    )
    assert "Human: br 0.0 is printed" in shown
    assert max(map(len, shown.splitlines())) <= 80
    table = pl.read_csv(
        io.StringIO(run(files[0], "--by", "category", "--published", "--csv")),
        infer_schema_length=None,
    )
    figures = published_figures().rename({"model": "run"})
    columns = published_categories(figures.rename({"run": "model"}))
    columns.remove("SES")
    both = table.filter(source="published").join(figures, on="run", suffix="_paper")
    assert len(both) == 26
    for name in (*columns, "SES", "mar", "br"):
        assert both[name].to_list() == both[f"{name}_paper"].to_list()
    ranked = run(files[0], "--published")
    assert "DeepSeek-R1 (published)" in ranked


def test_the_shipped_figures_are_those_of_the_paper(test_data):
    file = test_data / "published_mar.csv"
    assert published_figures().equals(pl.read_csv(file))
    assert check_published(published_figures())["consistent"].to_list() == [True] * 25 + [False]


def cells_of(line):
    """Cells of a LaTeX row, split at `&` that are not escaped."""
    return re.split(r"(?<!\\)&", line.removesuffix(r" \\"))


def test_latex_has_whole_rows_and_no_bare_special_sign(files):
    text = run(*files, "--by", "category", "--latex", "--published")
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert (lines[0][:15], lines[1], lines[-2:]) == (
        r"\begin{tabular}",
        r"\toprule",
        [r"\bottomrule", r"\end{tabular}"],
    )
    n_columns = len(re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}", lines[0])[1])
    rows = [line for line in lines if line.endswith(r" \\")]
    assert len(rows) == 1 + 4 + 26
    assert {len(cells_of(row)) for row in rows} == {n_columns}
    for row in rows:
        bare = re.sub(r"\\text[a-z]+\{\}|\\[_&%#${}\\ ]|\$\^\{\*+\}\$|\{\}", "", row)
        assert not re.search(r"[_%#${}\\^~<>]", bare), row
    assert (
        r"50\%\_of \#1 \& \textless{}b\textgreater{}\{x\}\$\textbackslash{}\textasciicircum{}\textasciitilde{}"
        in rows[0]
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX")
def test_latex_compiles(files, tmp_path):
    body = run(*files, "--by", "category", "--latex", "--published")
    begin = (
        r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}\begin{document}\tiny"
    )
    (tmp_path / "table.tex").write_text(f"{begin}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "table.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.rows, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, _attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        if self.rows and data.strip() and self.lasttag in {"td", "th"}:
            self.rows[-1].append(data)


def test_html_shows_names_as_text_and_the_numbers_of_the_csv(files):
    found = Cells(run(*files, "--by", "category", "--html"))
    assert "b" not in found.tags
    assert STRANGE in found.rows[0]
    table = pl.read_csv(
        io.StringIO(run(*files, "--by", "category", "--csv")), infer_schema_length=None
    )
    for shown, row in zip(found.rows[1:], table.rows(), strict=True):
        assert shown[0] == row[0]
        for cell, value in zip(shown[1:], row[2:], strict=True):
            assert cell == "-" or float(cell.strip("*")) == pytest.approx(value, abs=0.0501)


def test_runs_that_do_not_read_stand_last(files):
    shown = run(*files, "--by", "category").splitlines()
    first = [line for line in shown if "four.parquet" in line or "one_run.parquet" in line]
    assert "four.parquet" in first[1]
    assert "does not read: its rates mean nothing" in " ".join(" ".join(shown).split())


def test_a_format_of_the_wide_table_needs_it(files):
    done = CliRunner().invoke(load("leaderboard"), [str(files[0]), "--latex"])
    assert "--latex must stand beside --by category" in str(done.exception)
    alone = CliRunner().invoke(load("leaderboard"), ["--published", "figures.csv"])
    assert "runs must be at least 1" in str(alone.exception)
