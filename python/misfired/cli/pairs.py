"""`misfired pairs`: build suites of pairs, and look at them."""

import random
from functools import partial
from pathlib import Path

import polars as pl
from typer import Option

from misfired.cli.options import Json, SuiteFile, group, takes
from misfired.cli.output import echo, echo_data
from misfired.errors import DataError
from misfired.options import at_least
from misfired.report.suites import check_report, counts_report, pair_counts, pair_text
from misfired.report.table import json_text
from misfired.suites import BUILT_SUITES, build_pairs, check_pairs, read_suite, write_suite
from misfired.suites.difference import differing_words
from misfired.text import shown

app = group()


@app.command()
@takes()
def build(
    *,
    output: Path = Option(..., "--output", "-o", help="A .parquet, .jsonl or .csv file."),
    bbq: Path | None = Option(
        None, help="Folder of BBQ's files (`misfired bbq fetch`), for paper and strict."
    ),
    category: list[str] | None = Option(
        None, metavar="NAME", help="Only this category; may be repeated. Default: all 8."
    ),
    variant: str = Option("paper", help=f"Suite to build: {', '.join(BUILT_SUITES)}."),
    report: bool = Option(False, "--report", help="Say how good the pairs are, as `check` does."),
    as_json: Json = False,
) -> None:
    """Build a suite, from BBQ or from its own grammar, and write it.

    The benchmark quotes stereotypes in order to measure how models handle them.

    Examples:
      misfired pairs build --bbq BBQ -o pairs.parquet
      misfired pairs build --bbq BBQ --category Age --variant strict -o age.csv
    """
    pairs = build_pairs(bbq, categories=category, variant=variant)
    write_suite(pairs, output)
    counts = pair_counts(pairs)
    by_category = pairs.group_by("category", maintain_order=True).agg(**counts)
    total = pairs.select(**counts).row(0, named=True)
    quality = check_pairs(pairs) if report else None
    name = pairs["suite"][0]
    if as_json:
        told = {"file": str(output), "suite": name, **total, "categories": by_category.to_dicts()}
        echo_data(json_text(told | ({"report": quality} if quality else {})))
        return
    echo(f"{counts_report(by_category, total)}\n{shown(name)} written to {shown(output)}")
    if quality:
        echo(f"\n{check_report(quality)}")


@app.command()
@takes()
def check(
    file: SuiteFile,
    *,
    model: Path | None = Option(None, help="A GGUF file: lengths in its tokens instead of words."),
    as_json: Json = False,
) -> None:
    """Say how good a suite is.

    Swaps, negated questions, lengths, balance of expected answers, clusters.

    Examples:
      misfired pairs check pairs.parquet
      misfired pairs check pairs.parquet --model model.gguf
    """
    pairs = read_suite(file)
    if model is None:
        found = check_pairs(pairs)
    else:
        from misfired.scoring.llama.model import open_model

        with open_model(model, vocab_only=True) as opened:
            encode = partial(opened.tokenizer.encode, parse_special=False)
            found = check_pairs(pairs, count_tokens=lambda texts: [len(encode(t)) for t in texts])
    if as_json:
        echo_data(json_text(found))
    else:
        echo(check_report(found))


@app.command()
@takes()
def show(
    file: SuiteFile,
    *,
    n: int = Option(3, "--n", help="How many pairs, drawn at random."),
    pair_id: str | None = Option(None, "--id", help="This pair only."),
    category: str | None = Option(None, help="Pairs of this category only."),
    seed: int = Option(0, help="Seed of the draw."),
    as_json: Json = False,
) -> None:
    """Print a few pairs, the words that differ in [brackets].

    Examples:
      misfired pairs show pairs.parquet
      misfired pairs show pairs.parquet --category Age --n 1
    """
    suite = read_suite(file)
    for column, value in (("id", pair_id), ("category", category)):
        if value is not None:
            suite = suite.filter(pl.col(column) == value)
            if suite.is_empty():
                raise DataError(f"{file}: no pair with {column} {value!r}")
    at_least(1)("n", n)
    rows = random.Random(seed).sample(range(len(suite)), min(n, len(suite)))  # noqa: S311
    pairs = suite[sorted(rows)].to_dicts()
    if as_json:
        for pair in pairs:
            pair["difference"] = differing_words(pair["stereotyped"], pair["contrast"])
        echo_data(json_text(pairs))
    else:
        echo("\n\n".join(map(pair_text, pairs)))
