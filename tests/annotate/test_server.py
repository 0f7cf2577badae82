"""The pages over HTTP: a whole session, what guards it, and kills."""

import random
import re
import socket
import threading
from http.client import HTTPException
from urllib.parse import quote

import polars as pl
import pytest

from helpers import make_suite
from misfired.annotate.collect import collect_study
from misfired.annotate.record import Record
from misfired.annotate.study import make_study
from misfired.runs.finished import open_run
from simulated_people import Browser, Server, fetch, fields, serving

pytest.importorskip("starlette", reason="starlette is part of the annotate extra")
pytest.importorskip("uvicorn", reason="uvicorn is part of the annotate extra")


EVERYWHERE = "0.0.0.0"  # noqa: S104  the test is about its warning
PROXY = "https://study.example.org"


def small_study(path, **options):
    suite = make_suite(24).with_columns(cue=None)
    return make_study(
        suite, path, **{"n_pairs": 6, "core": 2, "annotators": 3, "attention": 3} | options
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("study") / "study", annotators=8, core=6)


@pytest.fixture(scope="module")
def server(study):
    with serving(study) as server:
        yield server


def test_a_whole_session_without_script_shows_nothing_that_tells(server, study):
    browser = Browser(server.links[0], lambda place: ("yes", "no", "cannot tell")[place % 3])
    orders, items = study.orders(), {row["item"]: row for row in study.items().to_dicts()}
    order = orders["annotator-01"]
    secrets = {row[key] for row in study.pairs().to_dicts() for key in ("id", "scenario")}
    words = "Religion, invented@, stereotyp, contrast, expected, foil, attention, condition, item-"
    secrets |= set(words.split(", "))
    pages = []
    while True:
        status, _, page, headers = fetch(browser.link)
        assert status == 200
        pages.append(page + str(headers))
        if not browser.step():
            break
    assert len(pages) == len(order) + 7
    for place, page in enumerate(pages[5:-2]):
        story = items[order[place]]["text"]
        assert re.search(r'<p class="story" dir="auto">([^<]*)</p>', page)[1] in story
        assert not [word for word in secrets if word.lower() in page.lower()]
        assert "server" not in page[page.rindex("{") :].lower()
    record = Record(study.path / "answers" / "annotator-01.jsonl")
    assert [record.answers[place][-1]["item"] for place in range(len(order))] == order
    assert {
        place: lines[-1]["answer"] for place, lines in record.answers.items()
    } == browser.acknowledged
    assert all(line["shown"] <= line["at"] for lines in record.answers.values() for line in lines)


def test_an_answer_can_be_changed_and_both_are_kept(server, study):
    browser = Browser(server.links[1], lambda _: "yes")
    while len(browser.acknowledged) < 3:
        browser.step()
    url = f"{browser.link}/q/2"
    _, _, page, _ = fetch(url)
    assert 'value="yes" data-key="y" aria-keyshortcuts="y" aria-pressed="true"' in page
    _, after, *_ = fetch(url, fields(page) | {"answer": "no"})
    assert after.endswith("/q/3")
    fetch(url, fields(page) | {"answer": "cannot tell"})  # an old form, from another tab
    lines = Record(study.path / "answers" / "annotator-02.jsonl").answers[1]
    assert [line["answer"] for line in lines] == ["yes", "no"]
    assert [line["revision"] for line in lines] == [0, 1]


def test_links_cannot_be_guessed_or_traversed(server):
    link = server.links[2]
    base, word = link.rsplit("/", 1)
    other = server.links[3].rsplit("/", 1)[1]
    for wrong in ("", "annotator-03", word[:-1], word + "x", word.lower(), "..%2f..%2flinks.json",
                  "../../links.json"):  # fmt: skip
        status, _, page, _ = fetch(f"{base}/{wrong}")
        assert status in {200, 404}
        assert "does not exist" in page or "link that you were given" in page
    for path in ("links.json", "study.json", "answers/annotator-01.jsonl", "../pyproject.toml", "%2e%2e/links.json",
                 "docs", "openapi.json", "a/", "style.css/../links.json", "base.html", "consent.md"):  # fmt: skip
        status, _, page, _ = fetch(f"{base[:-2]}/{path}")
        assert status == 404, path
    for name in ("q/0", "q/-1", "q/99999", "q/1%00", "q/٣", "q/1/2", "answers", "../" + other, "done",
                 "withdrawn"):  # fmt: skip
        status, _, page, _ = fetch(f"{link}/{quote(name, safe='/%.')}")
        assert status == 404 or "Would you like to take part" in page, name


def test_forms_of_other_sites_and_people_are_refused(server, study):
    link = server.links[4]
    _, url, page, _ = fetch(link)
    form = fields(page) | {"answer": "agree"}
    for headers in (
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        status, *_ = fetch(url, form, **headers)
        assert status == 403
    other = fields(fetch(server.links[5])[2])
    assert fetch(url, form | {"form": other["form"]})[0] == 403
    assert fetch(url, {"answer": "agree"})[0] == 403
    assert fetch(url, form | {"answer": "x" * 20_000})[0] == 403
    for host in ("rebound.example", "[", "[::1", ""):
        assert fetch(url, form, Host=host)[0] == 400, host
    assert not (study.path / "answers" / "annotator-05.jsonl").exists()
    own = url.split("/a/")[0]
    assert fetch(url, form, Origin=own, Sec_Fetch_Site="same-origin")[1].endswith("/instructions")


def test_pages_are_guarded_against_scripts_frames_and_caches(server):
    for address in (server.links[6], server.links[6] + "x", server.links[6].split("/a/")[0]):
        headers = fetch(address)[3]
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "same-origin"
        assert "set-cookie" not in headers


def test_declining_records_nothing_and_withdrawing_deletes(server, study):
    link = server.links[7]
    _, url, page, _ = fetch(link)
    assert fetch(url, fields(page) | {"answer": "decline"})[1].endswith("/declined")
    file = study.path / "answers" / "annotator-08.jsonl"
    assert not file.exists()
    browser = Browser(link, lambda _: "no")
    while len(browser.acknowledged) < 2:
        browser.step()
    assert file.exists()
    _, url, page, _ = fetch(f"{link}/withdraw")
    assert fetch(url, fields(page) | {"answer": "stay"})[1].endswith("/q/3")
    assert fetch(url, fields(page) | {"answer": "withdraw"})[1].endswith("/withdrawn")
    assert not file.exists()
    assert fetch(link)[1].endswith("/withdrawn")
    assert fetch(f"{link}/q/1", fields(page) | {"answer": "yes", "revision": "0"})[1].endswith(
        "/withdrawn"
    )
    assert not file.exists()


def test_texts_of_a_suite_are_text(tmp_path):
    bad = "<script>document.title='x'</script> & \"quoted\" {{ 7 * 7 }} <img src=x onerror=alert(1)>. Did it run?"
    suite = make_suite(4).with_columns(
        stereotyped=pl.lit("A. " + bad), contrast=pl.lit("B. " + bad)
    )
    study = make_study(suite, tmp_path / "study", n_pairs=1, annotators=1, attention=0, foils=0)
    (study.path / "consent.md").write_text("# <b>Hello</b>\n\n<script>x</script>\n")
    with serving(study) as server:
        page = fetch(server.links[0])[2]
        assert "<script>x" not in page
        assert "&lt;b&gt;Hello&lt;/b&gt;" in page
        browser = Browser(server.links[0], lambda _: "yes")
        for _ in range(5):
            browser.step()
        page = fetch(browser.link)[2]
    assert "&lt;script&gt;document.title" in page
    assert "{{ 7 * 7 }}" in page
    assert page.count("<script") == 1
    assert "<img" not in page


@pytest.mark.parametrize(
    ("words", "places", "is_bare"),
    [
        (["--host", EVERYWHERE], "{name}:{port}", True),
        (["--host", EVERYWHERE, "--url", PROXY], PROXY + " and {name}:{port}", True),
        (["--url", PROXY], PROXY, False),
        (["--url", "http://study.example.org"], "http://study.example.org", True),
        ([], None, False),
    ],
)
def test_another_address_is_told_loudly(tmp_path, words, places, is_bare):
    server = Server(small_study(tmp_path / "study").path, 0, *words)
    told = server.stop()
    at = places and places.format(name=socket.gethostname(), port=server.port)
    assert re.findall("can be reached by others at (.*)", told) == ([at] if at else [])
    assert ("pages and answers travel unencrypted" in told) == is_bare


def test_a_study_is_served_once_and_a_client_that_leaves_leaves_no_trace(tmp_path, misfired):
    study = small_study(tmp_path / "study")
    server = Server(study.path)
    try:
        done = misfired("annotate", "serve", study.path, "--port", 0)
        assert (done.code, done.err) == (
            1,
            f"error: {study.path}: another process serves this study\n",
        )
        path = server.links[0].partition(str(server.port))[2]
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST {path}/consent HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n"
            client.sendall(head.encode())
        assert fetch(server.links[0])[0] == 200
    finally:
        told = server.stop()
    assert "Traceback" not in told


@pytest.mark.parametrize("url", [PROXY, "https://Study.Example.org:443/"])
def test_behind_a_proxy_with_another_name(tmp_path, url):
    study = small_study(tmp_path / "study")
    with serving(study, "--url", url) as server:
        link = f"http://127.0.0.1:{server.port}/a/{server.links[0].rpartition('/')[2]}"
        for host in ("study.example.org", f"127.0.0.1:{server.port}"):
            form = fields(fetch(link, Host=host)[2]) | {"answer": "decline"}
            for origin, status in (
                (PROXY, 200),
                ("https://else.example.org", 403),
                (PROXY + ":8", 403),
            ):
                assert fetch(f"{link}/consent", form, Host=host, Origin=origin)[0] == status


def test_answers_of_any_suite_have_buttons_and_keys(tmp_path):
    suite = make_suite(6).with_columns(
        stereotyped=pl.lit("It is late. ") + pl.col("id") + pl.lit(": which bird sings <A>?"),
        contrast=pl.lit("It is early. ") + pl.col("id") + pl.lit(": which bird sings <B>?"),
        expected_stereotyped=pl.lit("wren & owl"), expected_contrast=pl.lit("warbler"),
    )  # fmt: skip
    answers = ("wren & owl", "warbler", "crow")
    study = make_study(
        suite, tmp_path / "study", answers=answers, n_pairs=6, annotators=1, attention=0
    )
    said = iter([*answers, "cannot tell"] * 3)
    with serving(study) as server:
        browser = Browser(server.links[0], lambda _: next(said))
        while not browser.acknowledged:
            browser.step()
        page = fetch(browser.link)[2]
        keys = re.findall(r'value="([^"]+)" data-key="(.)"', page)
        assert keys == [
            ("wren &amp; owl", "1"),
            ("warbler", "2"),
            ("crow", "3"),
            ("cannot tell", "4"),
        ]
        browser.finish()
    found = collect_study(study, tmp_path / "human")
    told = open_run(found.folders[0]).answers
    assert set(told["answer"]) == {*answers, None}
    assert set(told["outcome"]) == {"correct", "wrong", "abstained"}


def test_a_port_that_is_taken(tmp_path, misfired, server):
    done = misfired(
        "annotate", "serve", small_study(tmp_path / "study").path, "--port", server.port
    )
    assert (done.code, done.err.splitlines()[-1]) == (
        1, f"error: 127.0.0.1:{server.port}: cannot be listened on (Address already in use)")  # fmt: skip


def kills(path, n_kills, seed):
    """Kill a server at random moments while three people answer; return the study and the people."""
    rng = random.Random(seed)
    study = small_study(path, n_pairs=10, core=10)
    server = Server(study.path)
    port = server.port
    people = []
    for n, link in enumerate(server.links):
        draws = random.Random(n)
        people.append(
            Browser(link, lambda _, draws=draws: draws.choice(("yes", "no", "cannot tell")))
        )
    over = threading.Event()

    def work(person):
        while not over.is_set():
            try:
                if not person.step():
                    return
            except (OSError, HTTPException):
                over.wait(0.01)  # the server is gone for a moment

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for _ in range(n_kills):
        over.wait(rng.uniform(0, 0.06))
        assert any(thread.is_alive() for thread in threads), "everyone is done before the last kill"
        server.kill()
        server = Server(study.path, port)
    for thread in threads:
        thread.join(120)
    over.set()
    server.kill()
    return study, people


def check_nothing_lost(study, people):
    orders = study.orders()
    for (name, order), person in zip(orders.items(), people, strict=True):
        record = Record(study.path / "answers" / f"{name}.jsonl")
        assert sorted(record.answers) == list(range(len(order)))
        for place, lines in record.answers.items():
            assert len(lines) == 1, "an answer is doubled"
            assert lines[0]["item"] == order[place]
            if place in person.acknowledged:
                assert lines[0]["answer"] == person.acknowledged[place]
        # A reply that was lost in a kill is the only way to answer without being told so.
        assert len(person.acknowledged) > len(order) // 2


def test_no_acknowledged_answer_is_lost_or_doubled_by_kills(tmp_path):
    check_nothing_lost(*kills(tmp_path / "study", 2, seed=0))


@pytest.mark.ci
def test_twenty_kills_lose_and_double_nothing(tmp_path):
    check_nothing_lost(*kills(tmp_path / "study", 20, seed=1))
