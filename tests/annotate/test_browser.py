"""A study in a real browser: by keys, by clicks without a script, on a small screen, through a kill."""

import shutil

import polars as pl
import pytest

from helpers import make_suite
from misfired.annotate.record import Record
from misfired.annotate.stories import PRACTICE
from misfired.annotate.study import make_study
from simulated_people import Server, serving

pytest.importorskip("starlette", reason="starlette is part of the annotate extra")
pytest.importorskip("uvicorn", reason="uvicorn is part of the annotate extra")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives a browser")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]

#: The key of each answer.
KEYS = {"yes": "y", "no": "n", "cannot tell": "c"}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def study(tmp_path):
    return make_study(
        make_suite(24), tmp_path / "study", n_pairs=3, core=3, annotators=2, attention=3
    )


def given(study, name):
    record = Record(study.path / "answers" / f"{name}.jsonl")
    return [record.answers[place][-1]["answer"] for place in sorted(record.answers)]


def begin_by_keys(page, link):
    page.goto(link)
    page.keyboard.press("Tab")
    assert (
        page.evaluate("document.activeElement.textContent")
        == "I have read this and want to take part"
    )
    page.keyboard.press("Enter")
    page.wait_for_url("**/instructions")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for number, (*_, right, _) in enumerate(PRACTICE, start=1):
        page.wait_for_url(f"**/practice/{number}")
        page.keyboard.press(KEYS[right])
    page.wait_for_url(f"**/practice/{len(PRACTICE) + 1}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/q/1")


def story(page):
    return page.locator(".story").inner_text(), page.locator("#question").inner_text()


def test_a_whole_session_by_keys_through_a_kill(browser, study):
    n = len(study.orders()["annotator-01"])
    wanted = [list(KEYS)[place % 3] for place in range(n)]
    page = browser.new_page()
    faults = []
    page.on("pageerror", lambda fault: faults.append(fault))  # noqa: PLW0108
    server = Server(study.path)
    try:
        begin_by_keys(page, server.links[0])
        for place, answer in enumerate(wanted):
            page.wait_for_url(f"**/q/{place + 1}")
            if place == n // 2:
                server.kill()  # the answer before is acknowledged: its next page is shown
                server = Server(study.path, server.port)
                page.goto(server.links[0])
                page.wait_for_url(f"**/q/{place + 1}")
            assert page.locator("progress").get_attribute("value") == str(place)
            page.keyboard.press(KEYS[answer])
        page.wait_for_url("**/end")
        assert given(study, "annotator-01") == wanted
        page.goto(server.links[0] + "/q/2")
        page.keyboard.press("y")  # changes the second answer, which was no
        page.wait_for_url("**/q/3")
        page.keyboard.press("ArrowLeft")
        page.wait_for_url("**/q/2")
        assert page.get_by_role("button", pressed=True).inner_text().startswith("Yes")
        page.keyboard.press("ArrowRight")
        page.wait_for_url("**/q/3")
        page.goto(server.links[0])
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/done")
        page.goto(f"{server.links[0]}/q/2")  # handed in: nothing can be changed
        page.wait_for_url("**/done")
    finally:
        server.kill()
        page.close()
    assert given(study, "annotator-01")[:3] == ["yes", "yes", "cannot tell"]
    assert not faults


def test_two_people_see_other_orders_and_clicks_need_no_script(browser, study):
    seen = []
    with serving(study) as server:
        for link in server.links:
            context = browser.new_context(java_script_enabled=False)
            page = context.new_page()
            page.goto(link)
            page.get_by_role("button", name="want to take part").click()
            page.get_by_role("button", name="Start").click()
            for *_, right, _ in PRACTICE:
                page.get_by_role("button", name=right.capitalize(), exact=True).click()
            page.get_by_role("button", name="Begin").click()
            own = []
            while not page.url.endswith("/end"):
                own.append(story(page))
                page.get_by_role("button", name="No", exact=True).click()
            seen.append(own)
            context.close()
    assert seen[0] != seen[1]
    n = len(study.orders()["annotator-01"])
    assert given(study, "annotator-01") == given(study, "annotator-02") == ["no"] * n


def test_pages_fit_a_telephone_and_name_what_they_show(browser, study):
    with serving(study) as server:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        begin_by_keys(page, server.links[0])
        for name in ("q/1", "withdraw", "instructions"):
            page.goto(f"{server.links[0]}/{name}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
            assert page.locator("main").count() == page.locator("h1").count() == 1
            assert page.evaluate("document.documentElement.lang") == "en"
        page.goto(f"{server.links[0]}/q/1")
        n = len(study.orders()["annotator-01"])
        question = page.locator("#question").inner_text()
        assert page.get_by_role("progressbar", name=f"Questions answered: 0 of {n}").count() == 1
        group = page.get_by_role("group", name=question)
        for name in ("Yes", "No", "Cannot tell"):
            button = group.get_by_role("button", name=name, exact=True)
            assert button.bounding_box()["height"] >= 44
        assert page.title() == f"Question 1 of {n}"
        # Ink on paper, and the accent on both: at least 4.5 to 1 (WCAG 2.2, 1.4.3), light and dark.
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for selector in (".story", "#question", "button", "footer a", ".where"):
                assert contrast(page, selector) >= 4.5, (scheme, selector)
        page.close()


CONTRAST = """selector => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(x => x / 255)
    .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const element = document.querySelector(selector);
  let behind = element, paper = [0, 0, 0, 0];
  while (behind && paper[3] === 0) {
    paper = parse(getComputedStyle(behind).backgroundColor);
    if (paper.length === 3) paper.push(1);
    behind = behind.parentElement;
  }
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(paper)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


def contrast(page, selector):
    return page.evaluate(CONTRAST, selector)


def test_a_script_in_a_suite_does_not_run(browser, tmp_path):
    bad = "A cat ran.<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script> Did it?"
    suite = make_suite(4).with_columns(stereotyped=pl.lit("X. " + bad), contrast=pl.lit(bad))
    study = make_study(suite, tmp_path / "study", n_pairs=1, annotators=1, attention=0, foils=0)
    with serving(study) as server:
        page = browser.new_page()
        begin_by_keys(page, server.links[0])
        assert "<script>" in page.locator("main").inner_text()
        assert page.title() == "Question 1 of 2"
        page.close()
