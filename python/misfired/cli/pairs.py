"""`misfired pairs`: build suites of pairs, and look at them."""

import random
import textwrap
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from misfired.cli.output import print_facts, print_json, print_table
from misfired.errors import ArgumentError, DataError
from misfired.suites import BUILT_SUITES, build_pairs, check_pairs, read_suite, write_suite
from misfired.suites.difference import differing_words, mark_difference

app = typer.Typer(
    help="Contrastive pairs: build a suite from BBQ, look at a suite.", no_args_is_help=True
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_WIDTH = 80
_SWAPS = {
    "columns": "",
    "subjects": "at least ",
    "texts": "unknown, for want of stereotyped_subject and contrast_subject",
}


@app.command(
    epilog="Example: misfired pairs build --bbq bbq --category Age -o pairs.parquet",
)
def build(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .parquet, .jsonl or .csv file.")
    ],
    bbq: Annotated[
        Path | None,
        typer.Option(
            help="Folder of BBQ's files (see `misfired bbq fetch`), for paper and strict."
        ),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="One category; repeat for more. Default: all 8."),
    ] = None,
    variant: Annotated[
        str, typer.Option(help=f"Which suite to build: {', '.join(BUILT_SUITES)}.")
    ] = "paper",
    report: Annotated[
        bool, typer.Option("--report", help="Say how good the pairs are (see `check`).")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Build a suite, from BBQ or from its own grammar, and write it.

    The benchmark quotes stereotypes in order to measure how models handle them.
    """
    pairs = build_pairs(bbq, categories=category, variant=variant)
    write_suite(pairs, output)
    by_category = pairs.group_by("category", maintain_order=True).agg(**_counts(pairs))
    total = pairs.select(**_counts(pairs)).row(0, named=True)
    if as_json:
        suite = {"file": str(output), "suite": pairs["suite"][0], **total}
        quality = {"report": check_pairs(pairs)} if report else {}
        print_json({**suite, "categories": by_category.to_dicts(), **quality})
        return
    rows = [*by_category.rows(), ("all", *total.values())]
    header = [name.removeprefix("n_").replace("_", " ") for name in by_category.columns]
    print_table(header, rows)
    typer.echo(f"{pairs['suite'][0]} written to {output}")
    if report:
        typer.echo()
        _print_report(check_pairs(pairs))


@app.command(epilog="Example: misfired pairs check pairs.parquet --model model.gguf")
def check(
    file: Annotated[Path, typer.Argument(help="A suite: .parquet, .jsonl or .csv.")],
    *,
    model: Annotated[
        Path | None, typer.Option(help="A GGUF file: lengths in its tokens instead of words.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Say how good a suite is.

    Swaps, negated questions, lengths, balance of expected answers, clusters.
    """
    report = _checked(read_suite(file), model)
    if as_json:
        print_json(report)
    else:
        _print_report(report)


@app.command(epilog="Example: misfired pairs show pairs.parquet --category Age --n 1")
def show(
    file: Annotated[Path, typer.Argument(help="A suite: .parquet, .jsonl or .csv.")],
    *,
    n: Annotated[int, typer.Option("--n", help="How many pairs, drawn at random.")] = 3,
    pair_id: Annotated[str | None, typer.Option("--id", help="This pair only.")] = None,
    category: Annotated[str | None, typer.Option(help="Pairs of this category only.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    as_json: _Json = False,
) -> None:
    """Print a few pairs, the words that differ in [brackets]."""
    suite = read_suite(file)
    for column, value in (("id", pair_id), ("category", category)):
        if value is not None:
            suite = suite.filter(pl.col(column) == value)
            if suite.is_empty():
                raise DataError(f"{file}: no pair with {column} {value!r}")
    pairs = _drawn(suite, n, seed).to_dicts()
    if as_json:
        print_json([_with_difference(pair) for pair in pairs])
    else:
        typer.echo("\n\n".join(_as_text(pair) for pair in pairs))


def _checked(pairs: pl.DataFrame, model: Path | None) -> dict[str, Any]:
    if model is None:
        return check_pairs(pairs)
    from misfired.scoring.llama.guard import open_model  # noqa: PLC0415  only a model needs llama.cpp

    with open_model(model, vocab_only=True) as opened:
        encode = opened.tokenizer.encode
        return check_pairs(
            pairs, count_tokens=lambda texts: [len(encode(t, parse_special=False)) for t in texts]
        )


def _print_report(report: dict[str, Any]) -> None:
    n_pairs, length = report["n_pairs"], report["length_difference"]
    swaps = report["exact_swaps"]
    known = "" if swaps is None else _share(swaps, n_pairs)
    rows = [
        ("suite", report["suite"]),
        (
            "pairs",
            f"{n_pairs}, and {report['n_twins']} twins, in {report['n_scenarios']} scenarios",
        ),
        ("expected answers", _listed(report["expected"])),
        ("exact swaps", _SWAPS[report["swaps_from"]] + known),
        ("tokens that differ", _listed(report["distance"])),
        ("negative questions", _share(report["negative_questions"], 2 * n_pairs)),
        ("negation anywhere", _share(report["negated"], 2 * n_pairs)),
        (
            f"length in {length['unit']}",
            f"stereotyped - contrast: mean {length['mean']:+.2f}, "
            f"absolute {length['mean_absolute']:.2f}, most {length['most']}",
        ),
        ("duplicates", str(report["duplicates"])),
        ("known misprints", _listed(report["glitches"]) or "none"),
        ("pairs a scenario", _listed(report["scenario_size"])),
        (
            "effective pairs",
            "; ".join(f"{n:.0f} at r = {r}" for r, n in report["n_effective"].items()),
        ),
    ]
    print_facts(rows)


def _listed(counts: dict[str, float]) -> str:
    return "; ".join(f"{name} {value:g}" for name, value in counts.items())


def _share(n: int, of: int) -> str:
    return f"{n} of {of} ({100 * n / of:.1f} %)"


def _counts(pairs: pl.DataFrame) -> dict[str, pl.Expr]:
    """What is counted of a suite; a twin is no pair of its own."""
    if "twin_of" not in pairs.columns:
        return {"n_pairs": pl.len(), "n_scenarios": pl.col("scenario").n_unique()}
    is_pair = pl.col("twin_of").is_null()
    return {
        "n_pairs": is_pair.sum(),
        "n_scenarios": pl.col("scenario").n_unique(),
        "n_exact_swaps": (is_pair & pl.col("exact_swap")).sum(),
        "n_twins": (~is_pair).sum(),
    }


def _drawn(suite: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    if n < 1:
        raise ArgumentError(f"n: {n}, expected at least 1")
    rows = random.Random(seed).sample(range(len(suite)), min(n, len(suite)))  # noqa: S311
    return suite[sorted(rows)]


def _with_difference(pair: dict[str, Any]) -> dict[str, Any]:
    return {**pair, "difference": differing_words(pair["stereotyped"], pair["contrast"])}


def _as_text(pair: dict[str, Any]) -> str:
    stereotyped, contrast = mark_difference(pair["stereotyped"], pair["contrast"])
    head = f"{pair['id']}  ({pair['suite']}, {pair['category']})"
    parts = [
        ("cue", pair["cue"] or "none"),
        (
            f"stereotyped: {pair['stereotyped_group']}, expected {pair['expected_stereotyped']}",
            stereotyped,
        ),
        (f"contrast: {pair['contrast_group']}, expected {pair['expected_contrast']}", contrast),
    ]
    lines = [head]
    for title, text in parts:
        lines.append(f"  {title}")
        lines += textwrap.wrap(
            text, _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False
        )
    return "\n".join(lines)
