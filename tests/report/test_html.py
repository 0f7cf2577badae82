"""The report as a file: its policy, its text, its bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from invented_run import TOWNS
from misfired.errors import DataError
from misfired.report.html import report_html
from misfired.report.measured import Measured, judged_pairs, read_measured


class Page(HTMLParser):
    """Tags with their attributes, and the text of scripts and style sheets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag in {"script", "style"} and data.strip():
            self.raw.append((tag, attributes, data))
        self.text += data

    def all(self, name: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes in self.tags if tag == name)


@pytest.fixture(scope="module")
def page(measured: Measured) -> str:
    return report_html([measured])


@pytest.fixture(scope="module")
def page_of_several(several: list[Measured]) -> str:
    return report_html(several)


def data_of(text: str) -> dict[str, list]:
    found = re.search(
        r'<script type="application/json" id="pairs-data">(.*?)</script>', text, re.DOTALL
    )
    assert found
    return json.loads(found[1])


def test_the_policy_names_the_hash_of_the_one_script_and_style_sheet(page: str) -> None:
    found = Page(page)
    policy = next(tag["content"] for tag in found.all("meta") if tag.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    codes = [text for tag, attributes, text in found.raw if attributes.get("type") is None]
    assert len(codes) == 2
    for text in codes:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_the_page_needs_nothing_else(page: str) -> None:
    found = Page(page)
    assert not {tag for tag, _ in found.tags} & {
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "audio",
    }
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)


def test_ids_are_unique_and_links_lead_somewhere(page_of_several: str) -> None:
    found = Page(page_of_several)
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(tag["href"] or "")[1:] for tag in found.all("a")} <= set(ids)


def test_every_chart_has_a_name_a_description_and_its_numbers(page: str) -> None:
    found = Page(page)
    charts = list(found.all("svg"))
    # Four charts of each of three primings, and two changes.
    assert len(charts) == 14
    for chart in charts:
        assert chart["role"] == "img"
    for name in ("title", "desc"):
        assert sum(tag == name and "id" in attributes for tag, attributes in found.tags) == len(
            charts
        )
    assert sum(tag == "table" for tag, _ in found.tags) == len(charts)


def test_rows_are_the_pairs_under_each_priming(page: str, measured: Measured) -> None:
    data, judged = data_of(page), judged_pairs(measured)
    assert len(data["rows"]) == len(judged) == 1200
    names = ("misfire", "reverse", "both_right", "both_wrong", "unscored")
    told = {
        (data["pairs"][pair]["name"], data["primings"][priming]["name"]): (names[verdict], answers)
        for _, pair, priming, verdict, answers, _ in data["rows"]
    }
    for row in judged.iter_rows(named=True):
        answers = [row["answer_stereotyped"], row["answer_contrast"]]
        assert told[row["id"], row["priming"]] == (row["verdict"], answers)
    prompts = {
        row["id"]: (row["stereotyped"], row["contrast"])
        for row in measured.pairs.iter_rows(named=True)
    }
    for pair in data["pairs"]:
        for at in (0, 1):
            text = "".join(run if isinstance(run, str) else run[at] for run in pair["text"])
            assert text == prompts[pair["name"]][at]


def test_the_headline_says_what_it_rests_on(page: str) -> None:
    text = " ".join(Page(page).text.split())
    assert "What this rests on" in text
    assert "MAR rests on" in text
    assert "Whether it reads is unknown" in text
    assert "Unscored prompts: " in text
    assert text.index("Content note.") < text.index("Result") < text.index("MAR by category")


def test_equal_runs_give_equal_bytes(page: str, run_folder: Path) -> None:
    assert report_html(read_measured([run_folder])) == page


def test_without_text_no_prompt_and_no_group_is_in_the_page(measured: Measured) -> None:
    text = report_html([measured], with_text=False)
    data = data_of(text)
    assert len(data["rows"]) == 1200
    for town in TOWNS:
        assert town not in text
    for words in ("lost the key", "market day", "not okay to assume", "stereotyped_group"):
        assert words not in text
    assert str(measured.path) not in text


def test_hostile_text_stays_text(hostile: Measured) -> None:
    text = report_html([hostile])
    found = Page(text)
    assert sum(tag == "script" for tag, _ in found.tags) == 2
    assert not list(found.all("img"))
    assert not list(found.all("b"))
    pairs = {row["id"]: row for row in hostile.pairs.iter_rows(named=True)}
    for pair in data_of(text)["pairs"]:
        side = "".join(run if isinstance(run, str) else run[0] for run in pair["text"])
        assert side == pairs[pair["name"]]["stereotyped"]
        assert pair["groups"] == ["<script>group</script>", "</textarea>"]


def test_several_runs_stand_side_by_side_with_their_differences(page_of_several: str) -> None:
    text = " ".join(Page(page_of_several).text.split())
    for other in ("beta", "people"):
        assert f"alpha minus {other}" in text
    assert "Shared: 400 pairs of 40 scenarios." in text
    data = data_of(page_of_several)
    assert data["runs"] == ["alpha", "beta", "people"]
    assert len(data["pairs"]) == 400
    assert len(data["rows"]) == 3600


def test_a_run_named_twice_is_refused(run_folder: Path) -> None:
    with pytest.raises(DataError, match="runs must differ"):
        read_measured([run_folder, run_folder / "."])


def test_a_folder_without_its_pairs_shows_answers_alone(run_folder: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "answers.parquet"):
        (tmp_path / name).write_bytes((run_folder / name).read_bytes())
    data = data_of(report_html(read_measured([tmp_path])))
    assert len(data["rows"]) == 1200
    assert data["pairs"][0]["name"] == "pair_0"
    assert data["pairs"][0]["expected"] == ["yes", "yes"]
    assert not any("text" in pair or "groups" in pair for pair in data["pairs"])


def test_two_runs_of_one_model_are_named_by_their_folders(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for file in run_folder.iterdir():
        (tmp_path / "again" / file.name).write_bytes(file.read_bytes())
    names = [run.name for run in read_measured([run_folder, tmp_path / "again"])]
    assert len(set(names)) == 2
    assert names[1].endswith("again")
