"""The report in a real browser: filters, keyboard, address, paper, hostile text. Needs Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from invented_run import invented_pairs, write_run
from misfired.report.html import write_report
from misfired.report.measured import Measured, judged_pairs, read_measured

pytestmark = pytest.mark.ci

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install --no-install-recommends chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file offline; at the end, no request but the first, no error and no broken policy."""
    contexts, said, asked = [], [], []

    def open_file(path: Path, address: str = "", **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri() + address)
        return page

    yield open_file
    assert said == []
    assert len(asked) == len(contexts)
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report([measured], path)
    return path


def count(page: Any) -> int:
    return int(page.inner_text("#count").split(" of ")[0].replace(",", ""))


def choose(page: Any, **values: str) -> None:
    page.click("#reset")
    for name, value in {"outcome": "", **values}.items():
        field = page.locator(f"[name={name}]")
        if field.evaluate("node => node.tagName") == "SELECT":
            field.select_option(label=value) if value else field.select_option("")
        else:
            field.fill(value)


def test_every_filter_counts_as_polars_does(
    open_page: Callable[..., Any], report: Path, measured: Measured
) -> None:
    page, judged = open_page(report), judged_pairs(measured)
    assert count(page) == len(judged.filter(verdict="misfire"))
    for outcome in ("misfire", "reverse", "both_right", "both_wrong", "unscored"):
        choose(page)
        page.select_option("[name=outcome]", outcome)
        assert count(page) == len(judged.filter(verdict=outcome))
    for name in judged["category"].unique():
        choose(page, category=name)
        assert count(page) == len(judged.filter(category=name))
    for name in judged["priming"].unique():
        choose(page, priming=name)
        assert count(page) == len(judged.filter(priming=name))
    for low, high in (("-1", "1"), ("", "0"), ("2.5", "")):
        choose(page, low=low, high=high)
        margin = pl.col("margin_stereotyped").round(3)
        kept = judged.filter(
            margin.is_not_null(), margin >= float(low or "-inf"), margin <= float(high or "inf")
        )
        assert count(page) == len(kept)
    choose(page, search="BAKER norvik", priming="cue", low="0")
    words = measured.pairs.filter(*(
        pl.concat_str("id", "stereotyped", "contrast", separator="\n").str.to_lowercase().str.contains(word)
        for word in ("baker", "norvik")
    ))  # fmt: skip
    kept = judged.filter(pl.col("margin_stereotyped").round(3) >= 0, priming="cue").join(
        words, on="id", how="semi"
    )
    assert count(page) == len(kept) > 0


def test_order_is_by_the_lowest_margin(
    open_page: Callable[..., Any], report: Path, measured: Measured
) -> None:
    page = open_page(report)
    first = (
        judged_pairs(measured)
        .filter(verdict="misfire")
        .sort("margin_stereotyped")
        .row(0, named=True)
    )
    assert page.locator("#pairs summary .name").first.inner_text() == first["id"]
    assert page.locator("#pairs details").count() == 50
    page.click("#more")
    assert page.locator("#pairs details").count() == min(100, count(page))


def test_the_keyboard_alone_reaches_a_failing_pair(
    open_page: Callable[..., Any], report: Path
) -> None:
    page = open_page(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#pairs summary')"):
            break
    page.keyboard.press("Enter")
    entry = page.locator("#pairs details[open]")
    entry.locator(".prompt").first.wait_for()  # The page fills an entry once it is open.
    assert entry.locator(".prompt").count() == 2
    assert "wrong" in entry.locator(".prompt").first.inner_text()
    assert entry.locator("mark").count() >= 2


def test_the_address_keeps_the_filters(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report)
    choose(page, category="Town B", priming="cue", search="baker")
    address, n = page.evaluate("location.hash"), count(page)
    assert "search=baker" in address
    again = open_page(report, address)
    assert count(again) == n > 0
    assert again.locator("[name=priming] option:checked").inner_text() == "cue"
    again.click("#reset")
    assert "=" not in again.evaluate("location.hash")


def test_it_prints_with_the_numbers_unfolded(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report)
    assert page.pdf().startswith(b"%PDF")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(
        "[...document.querySelectorAll('details.numbers')].every((each) => each.open)"
    )
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert not page.evaluate(
        "[...document.querySelectorAll('details.numbers')].some((each) => each.open)"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(
    open_page: Callable[..., Any], report: Path, scheme: str
) -> None:
    page = open_page(report, viewport={"width": 400, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_hostile_text_shows_as_text(
    open_page: Callable[..., Any], hostile: Measured, tmp_path: Path
) -> None:
    write_report([hostile], tmp_path / "report.html")
    page = open_page(tmp_path / "report.html", viewport={"width": 400, "height": 800})
    choose(page)
    while page.locator("#more").is_visible():
        page.click("#more")
    for entry in page.locator("#pairs summary").all():
        entry.click()
    assert page.evaluate("window.hit") is None
    assert page.locator("#pairs img, #pairs script, #pairs b, #pairs i").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    shown = page.inner_text("#pairs")
    for words in (
        "<script>window.hit = 1</script>",
        "</script><script>",
        "\"quotes\" 'single'",
        "w" * 10_000,
    ):
        assert words in shown
    assert "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}U+202E" in shown
    assert "\u202e" not in shown


def test_a_large_report_is_small_and_opens_at_once(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "run", invented_pairs(2028))
    write_report(read_measured([folder]), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 2.5e6
    page = open_page(tmp_path / "report.html")
    assert page.inner_text("#count").endswith("of 6,084")
