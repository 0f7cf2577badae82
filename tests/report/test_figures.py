"""The numbers behind the marks of every chart, against polars on the answers themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import polars as pl
import pytest

from invented_run import invented_pairs, write_run
from misfired.report.figures import WIDTHS, Chart, localise, rates, runs, select, style
from misfired.report.figures.draw import highest
from misfired.report.measured import Measured, judged_pairs, read_measured
from misfired.text import shown

QUICK = {"statistics": {"n_resamples": 200, "unit": "scenario", "confidence_level": 0.95}}
SVG = "{http://www.w3.org/2000/svg}"


def cells(run: Measured, priming: str = "none") -> pl.DataFrame:
    """Outcomes of each pair from its answers alone; the contrast prompt is asked unprimed."""
    sides = [
        run.answers.filter(priming=name, condition=side).select("id", "category", (pl.col("answer") == pl.col("expected")).alias(side))
        for name, side in ((priming, "stereotyped"), ("none", "contrast"))
    ]  # fmt: skip
    return sides[0].join(sides[1].drop("category"), on="id").drop_nulls()


def mar(frame: pl.DataFrame) -> float:
    right = frame.filter("contrast")
    return 100 * (~right["stereotyped"]).sum() / len(right)


def marks(chart: Chart) -> list[tuple[float, float]]:
    """All points that the chart's lines with markers have drawn."""
    with style():
        figure = chart.figure()
    lines = [
        line
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_marker() not in {"", "None"}
    ]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]


def test_forest_shows_mar_of_every_category(measured: Measured) -> None:
    chart = rates.forest(measured)
    found = cells(measured)
    expected = {name: mar(part) for (name,), part in found.group_by("category")} | {
        "overall": mar(found)
    }
    told = chart.numbers.filter(pl.col("value").is_not_null())
    assert len(told) >= 3
    for row in told.iter_rows(named=True):
        assert row["value"] == pytest.approx(expected[row["slice"]])
        assert row["n_base"] == (
            len(found.filter("contrast"))
            if row["total"]
            else len(found.filter("contrast", category=row["slice"]))
        )
    assert sorted(x for x, _ in marks(chart) if np.isfinite(x)) == pytest.approx(
        sorted(told["value"])
    )


def test_forest_withholds_what_a_table_withholds(hostile: Measured) -> None:
    numbers = rates.forest(hostile).numbers
    summary = hostile.summary.filter(measure="mar", priming="none")
    withheld = set(summary.filter(pl.col("withheld").is_not_null())["slice"])
    assert withheld
    assert set(numbers.filter(pl.col("value").is_null())["slice"]) == {
        shown(name) for name in withheld
    }


def test_counts_are_those_of_the_answers(measured: Measured) -> None:
    found = cells(measured)
    number = {
        row["outcome"]: row["pairs"] for row in rates.counts(measured).numbers.iter_rows(named=True)
    }
    right, other = pl.col("stereotyped"), pl.col("contrast")
    assert number["misfire"] == len(found.filter(~right & other))
    assert number["reverse"] == len(found.filter(right & ~other))
    assert number["both_right"] == len(found.filter(right & other))
    assert number["both_wrong"] == len(found.filter(~right & ~other))
    assert number["unscored"] == 400 - len(found) > 0


def test_each_priming_has_its_own_charts(measured: Measured) -> None:
    charts = {chart.name: chart for chart in select.every_chart([measured]).charts}
    shown = measured.summary.filter(measure="mar", total=True)
    kinds = ("mar-by-category", "counts", "asymmetry", "margins")
    for priming, ending in (("none", ""), ("cue", "-cue"), ("neutral", "-neutral")):
        forest, counts, asymmetry, margins = (charts[f"{kind}{ending}"].numbers for kind in kinds)
        number = dict(counts.select("outcome", "pairs").rows())
        assert forest["value"][0] == shown.filter(priming=priming)["value"].item()
        assert number["misfire"] == len(
            judged_pairs(measured).filter(priming=priming, verdict="misfire")
        )
        assert asymmetry["n_pairs"][0] == counts["pairs"].sum() - number["unscored"]
        assert (
            margins["verdict"]
            .value_counts()
            .sort("verdict")
            .filter(verdict="misfire")["count"]
            .item()
            == number["misfire"]
        )
    assert charts["counts-cue"].title == "Pairs by outcome, priming cue"


def test_charts_of_one_spelling_have_names_of_their_own(measured: Measured) -> None:
    found = select.Selected()
    for _ in range(3):
        found.add(rates.counts(measured))
    assert [chart.name for chart in found.charts] == ["counts", "counts-2", "counts-3"]


def test_charts_without_a_value_are_left_out(several: list[Measured]) -> None:
    little = [replace(run, summary=run.summary.with_columns(withheld=pl.lit("little_support"), value=None)) for run in several]  # fmt: skip
    found = select.side_by_side(little)
    assert found.charts == []
    assert found.left_out[0] == "Runs by MAR: not drawn, since no value can be given."


@pytest.mark.parametrize("priming", ["cue", "neutral"])
def test_dumbbells_join_mar_without_and_with_the_priming(measured: Measured, priming: str) -> None:
    row = rates.dumbbells(measured, priming).numbers.row(0, named=True)
    assert row["before"] == pytest.approx(mar(cells(measured)))
    assert row["after"] == pytest.approx(mar(cells(measured, priming)))
    both = cells(measured).join(cells(measured, priming), on="id", suffix="_primed")
    change = mar(both.select("contrast", stereotyped="stereotyped_primed")) - mar(both)
    assert row["change"] == pytest.approx(change)


def test_asymmetry_is_of_scored_pairs(measured: Measured) -> None:
    chart, found = rates.asymmetry(measured), cells(measured)
    assert isinstance(chart, Chart)
    for row in chart.numbers.iter_rows(named=True):
        part = found if row["total"] else found.filter(category=row["slice"])
        assert row["n_pairs"] == len(part)
        assert row["misfire"] == pytest.approx(
            100 * part.select((~pl.col("stereotyped") & pl.col("contrast")).mean()).item()
        )
    with style():
        axes = chart.figure().axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert sorted(widths) == pytest.approx(
        sorted([*chart.numbers["misfire"], *(-chart.numbers["reverse"])])
    )


def test_margins_lie_where_the_answers_say(measured: Measured) -> None:
    chart = rates.margins(measured)
    assert isinstance(chart, Chart)
    asked = measured.answers.filter(priming="none").pivot(
        "condition", index="id", values="logit_diff"
    )
    points = sorted(asked.drop_nulls().select("contrast", "stereotyped").rows())
    assert len(points) > 200
    # The diagonal has no marker, so every mark is a pair.
    np.testing.assert_allclose(sorted(marks(chart)), points)
    below = chart.numbers.filter(verdict="misfire")
    assert (below["margin_stereotyped"] < 0).all()
    assert (below["margin_contrast"] > 0).all()


def test_margins_of_no_are_those_of_the_right_answer(measured: Measured) -> None:
    flipped = measured.answers.with_columns(expected=pl.lit("no"))
    run = Measured(**{**vars(measured), "answers": flipped})
    own, other = (
        judged_pairs(each).filter(priming="none")["margin_contrast"] for each in (measured, run)
    )
    assert other.to_list() == pytest.approx([None if value is None else -value for value in own])


def test_without_margins_words_stand_for_the_chart(several: list[Measured]) -> None:
    found = select.charts_of_run(several[2])
    assert found.left_out == [
        "No margins are drawn: no pair has a margin of yes over no on both sides."
    ]
    assert "margins" not in {chart.name for chart in found.charts}


def test_runs_stand_in_order_of_mar(several: list[Measured]) -> None:
    chart = runs.ranking(several, human=0.0)
    expected = sorted((mar(cells(run)), run.name) for run in several)
    assert chart.numbers["run"].to_list() == [name for _, name in expected]
    assert [x for x, _ in marks(chart)] == pytest.approx([value for value, _ in expected])
    assert "rate of people, 0.0 %" in chart.text


def test_people_stand_beside_the_pairs_that_they_saw(several: list[Measured]) -> None:
    assert select.human_rate(several) is None
    manifest = several[0].manifest
    settings = msgspec.structs.replace(manifest.settings, suite="veto-paper@1.0.0")
    asked = replace(several[0], manifest=msgspec.structs.replace(manifest, settings=settings))
    assert select.human_rate([asked]) == 0.0
    assert select.human_rate([asked, several[1]]) is None


def test_map_and_accuracy_hold_every_run(several: list[Measured]) -> None:
    wide = runs.heat(several).table
    assert wide["run"].to_list() == [run.name for run in several]
    assert wide["overall"].to_list() == pytest.approx([mar(cells(run)) for run in several])
    right = [100 * cells(run)["contrast"].mean() for run in several]
    expected = sorted(zip(right, wide["overall"], strict=True))
    np.testing.assert_allclose(sorted(marks(runs.accuracy(several))), expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_of_a_figure_do_not_run_out_of_it(several: list[Measured], width: str) -> None:
    named = [replace(run, name=f"{run.name}-{'m' * 30}-v{at}") for at, run in enumerate(several)]
    for chart in select.side_by_side(named, human=1.0).charts:
        with style():
            figure = chart.figure(width)
            figure.draw_without_rendering()
            drawn = figure.get_tightbbox()
        assert drawn.x0 > -0.01
        assert drawn.x1 < WIDTHS[width] + 0.01


def test_base_and_instruct_are_joined(several: list[Measured]) -> None:
    chart = runs.paired([(several[1], several[0])], ("base", "instruct"))
    row = chart.numbers.row(0, named=True)
    assert (row["before"], row["after"]) == pytest.approx(
        (mar(cells(several[1])), mar(cells(several[0])))
    )


def test_shots_and_reasoning_join_runs_of_one_model(tmp_path: Path) -> None:
    shot = {
        "id": "x",
        "category": "c",
        "scenario": "s",
        "condition": "contrast",
        "text": "t",
        "answer": "yes",
    }
    pairs = invented_pairs(200, n_categories=2)
    made = [
        ("no", 0, 2.0, "logit"),
        ("two", 2, 1.0, "logit"),
        ("cot", 0, 0.2, "cot"),
        ("other", 0, 0.1, "logit"),
    ]
    for name, n, harm, protocol in made:
        shots = {"seed": 0, "hold_out": "pair", "demonstrations": [shot] * n} if n else None
        model = "b.gguf" if name == "other" else "a.gguf"
        write_run(
            tmp_path / name, pairs, model=model, harm=harm, protocol=protocol, shots=shots, **QUICK
        )
    found = read_measured([tmp_path / name for name, *_ in made])
    charts = {chart.name: chart for chart in select.charts_of_runs(found).charts}
    rates_of = [mar(cells(run)) for run in found]
    np.testing.assert_allclose(marks(charts["mar-by-shots"]), [(0, rates_of[0]), (2, rates_of[1])])
    (row,) = charts["direct-and-reasoning"].numbers.iter_rows(named=True)
    assert (row["before"], row["after"]) == pytest.approx((rates_of[0], rates_of[2]))


def test_every_chart_of_every_kind_can_be_drawn(several: list[Measured], tmp_path: Path) -> None:
    found = select.every_chart(several[:2], bases=several[1:])
    assert len({chart.name for chart in found.charts}) == len(found.charts)
    for chart in found.charts:
        (svg,) = chart.write(tmp_path, ["svg"], width="two")
        root = ET.parse(svg).getroot()  # noqa: S314  our own file
        assert root.get("role") == "img"
        assert root.findtext(f"{SVG}title") == chart.title
        assert root.findtext(f"{SVG}desc") == chart.text
        assert "@font-face" in svg.read_text(encoding="utf-8")
        assert root.findall(f".//{SVG}text")
        assert float(root.get("width", "").removesuffix("pt")) == pytest.approx(72 * WIDTHS["two"])
        assert len(chart.table)
    again = tmp_path / "again"
    again.mkdir()
    chart = found.charts[0]
    svg, pdf = chart.write(again, ["svg", "pdf"], width="two")
    assert svg.read_bytes() == (tmp_path / svg.name).read_bytes()
    assert b"/FontFile2" in pdf.read_bytes()
    assert chart.write(tmp_path, ["pdf"], width="two")[0].read_bytes() == pdf.read_bytes()
    (png,) = chart.write(again, ["png"])
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_chart_for_a_page_has_no_style_and_ids_of_its_own(measured: Measured) -> None:
    one, two = (rates.forest(measured).svg(prefix=prefix) for prefix in ("r1-", "r2-"))
    assert "style" not in one
    ids = [
        {
            node.get("id")
            for node in ET.fromstring(text).iter()  # noqa: S314  our own text
            if node.get("id")
        }
        for text in (one, two)
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_names_are_text_in_charts(hostile: Measured) -> None:
    text = rates.forest(hostile).svg()
    root = ET.fromstring(text)  # noqa: S314  our own text
    said = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert any(words.startswith("<i>cat</i>") for words in said)
    assert "\u202e" not in text
    assert not root.findall(f".//{SVG}script")


def lens_curves(models: tuple[str, ...] = ("instruct", "base"), n_layer: int = 4) -> pl.DataFrame:
    """A table as `misfired localise` writes it: evidence grows with the layer, the gap by half of that."""
    rows = []
    for model in models:
        for kind in ("failure", "control"):
            for condition, slope in (("stereotyped", 1.0), ("contrast", 1.5), ("gap", 0.5)):
                for layer in range(n_layer):
                    value = slope * layer * (2 if model == "instruct" else 1)
                    rows.append((model, kind, condition, layer, value, value - 0.2, value + 0.2, 9, 5, None, value, -value, "evidence"))  # fmt: skip
    names = "model kind condition layer value low high n_pairs n_scenarios reason true_question false_question quantity"
    return pl.DataFrame(rows, schema=names.split(), orient="row")


def test_layers_and_gap_draw_the_curves_of_the_table() -> None:
    curves = lens_curves()
    gap = curves.filter(condition="gap", kind="failure")
    assert sorted(marks(localise.gap(curves))) == sorted(gap.select("layer", "value").rows())
    chart = localise.layers(curves)
    assert "gap" not in chart.numbers["condition"].to_list()
    own = chart.numbers.filter(model="instruct").select("layer", "value").rows()
    # Lines of the base model and of single questions have no markers.
    assert sorted(marks(chart)) == sorted(own)


def test_models_stand_over_relative_depth() -> None:
    chart = localise.depth({"small": lens_curves(n_layer=3), "large": lens_curves(n_layer=5)})
    assert sorted(marks(chart)) == sorted([
        *((layer / 2, 1.0 * layer) for layer in range(3)),
        *((layer / 4, 1.0 * layer) for layer in range(5)),
    ])  # fmt: skip


def colours_of(chart: Chart) -> list[dict[tuple[int, int], tuple[float, ...]]]:
    """The colour of every cell of each map, by layer and head; the last axes of a row hold the scale."""
    with style():
        figure = chart.figure()
    maps = []
    for axes in figure.axes:
        if axes.get_xlabel() == "head":
            found = {}
            for patch in axes.patches:
                # A cell is four corners from its lower left one.
                corners = patch.get_path().vertices.reshape(-1, 4, 2)
                found |= {
                    (round(y + 0.5), round(x + 0.5)): patch.get_facecolor()
                    for (x, y), *_ in corners
                }
            maps.append(found)
    return maps


def test_heads_and_attention_colour_every_cell_by_its_number() -> None:
    places = [(layer, head) for layer in range(3) for head in range(2)]
    values = {(layer, head): 0.5 * layer - head for layer, head in places}
    heads = pl.DataFrame(
        [("instruct", method, *place, value, value, value, value == 1.0, 1) for method in ("zero", "mean") for place, value in values.items()],
        schema=["model", "method", "layer", "head", "specificity", "low", "high", "passes", "rank"], orient="row",
    )  # fmt: skip
    found = colours_of(localise.heads(heads))
    assert len(found) == 2
    for cells_of in found:
        assert set(cells_of) == set(places)
        # Orange above zero, purple below, and the same colour for the same number.
        for place, (red, _, blue, _) in cells_of.items():
            assert (red > blue) == (values[place] > 0) or values[place] == 0
        assert cells_of[2, 1] == cells_of[0, 0]
    looks = pl.DataFrame(
        [("failure", "true", person, *place, value, 0.0, value, value, value, 9) for person in ("asked", "other") for place, value in values.items()],
        schema=["kind", "question", "person", "layer", "head", "stereotyped", "contrast", "difference", "low", "high", "n_pairs"], orient="row",
    )  # fmt: skip
    assert [set(each) for each in colours_of(localise.attention(looks))] == [set(places)] * 2


def test_recovery_draws_each_site_in_its_panel() -> None:
    rows = [
        (site, target, direction, layer, layer / 3 + at, None, None, 9)
        for at, site in enumerate(("residual", "attention"))
        for target in ("last", "span") for direction in ("denoising", "noising") for layer in range(4)
    ]  # fmt: skip
    names = ["site", "target", "direction", "layer", "value", "low", "high", "n_pairs"]
    chart = localise.recovery(pl.DataFrame(rows, schema=names, orient="row"))
    np.testing.assert_allclose(sorted(marks(chart)), sorted((row[3], row[4]) for row in rows))
    assert "half from layer 2" in chart.text


def test_the_highest_of_nothing_is_zero() -> None:
    assert highest(pl.DataFrame({"value": [None]}, schema={"value": pl.Float64}), "value") == 0.0
