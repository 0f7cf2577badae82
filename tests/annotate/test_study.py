"""What a study draws, and how the journal of an annotator survives kills."""

import errno
import json
import os
import stat
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from helpers import make_suite
from misfired.annotate.draw import ATTENTION, FALSE, TRUE, deal, draw_pairs, foil_rows
from misfired.annotate.options import ServeOptions, StudyOptions
from misfired.annotate.record import Record, read_lines
from misfired.annotate.study import Study, make_study
from misfired.errors import ArgumentError, DataError, RunFolderError
from misfired.suites.false_questions import false_questions


@pytest.fixture
def study(tmp_path):
    options = {"n_pairs": 32, "core": 8, "ratings": 1, "annotators": 3, "seed": 1}
    return make_study(make_suite(48), tmp_path / "study", **options)


def test_pairs_are_balanced_over_categories_and_scenarios():
    suite = pl.concat([make_suite(48, per_scenario=4), make_suite(12, per_scenario=2).with_columns(
        pl.col("id") + "_x", category=pl.lit("Age"), scenario=pl.lit("other"))])  # fmt: skip
    drawn = suite.filter(pl.col("id").is_in(draw_pairs(suite, 24, seed=3)))
    assert dict(drawn["category"].value_counts().iter_rows()) == {"Age": 12, "Religion": 12}
    sizes = drawn.group_by("category", "scenario").len()
    for _, part in sizes.group_by("category"):
        assert part["len"].max() - part["len"].min() <= 1
    shuffled = suite.sample(fraction=1, shuffle=True, seed=5)
    assert draw_pairs(shuffled, 24, seed=3) == draw_pairs(suite, 24, seed=3)
    assert draw_pairs(suite, 24, seed=4) != draw_pairs(suite, 24, seed=3)


def test_pairs_that_allow_a_false_question_come_first_without_loss_of_balance():
    suite = make_suite(48, per_scenario=4)
    able = {f"pair_{n}" for n in range(48) if n % 4 == 2 and n % 3}
    drawn = suite.filter(pl.col("id").is_in(draw_pairs(suite, 8, seed=0, able=able)))
    assert set(drawn["id"]) == able
    assert dict(drawn["category"].value_counts().iter_rows()) == {"Age": 4, "Religion": 4}
    assert drawn["scenario"].n_unique() == 8


def test_foils_are_twins_with_the_story_of_the_other_side():
    suite = make_suite(6)
    foils = foil_rows(suite)
    false = {row["id"]: row for row in false_questions(suite).to_dicts()}
    assert foils["twin_of"].to_list() == suite["id"].to_list()
    for foil in foils.to_dicts():
        assert foil["contrast"] == false[foil["twin_of"]]["stereotyped"]
        assert (foil["expected_stereotyped"], foil["expected_contrast"]) == ("no", "no")


def test_everyone_gets_the_core_and_an_equal_share_and_both_sides(study):
    items = {row["item"]: row for row in study.items().to_dicts()}
    orders = study.orders()
    seen = Counter()
    for order in orders.values():
        asked = [items[item] for item in order]
        assert len(order) == len(set(order))
        own = Counter(row["pair"] for row in asked if row["kind"] != ATTENTION)
        assert set(own.values()) == {4}
        assert Counter(row["kind"] for row in asked) == {
            TRUE: 2 * len(own),
            FALSE: 2 * len(own),
            ATTENTION: 6,
        }
        assert Counter(row["expected"] for row in asked if row["kind"] == ATTENTION) == {
            "yes": 2, "no": 2, "cannot tell": 2}  # fmt: skip
        seen.update(own.keys())
    assert Counter(seen.values()) == {3: 8, 1: 24}
    assert all(seen[name] == 3 for name in study.about["core"])
    assert {len(order) for order in orders.values()} == {16 * 4 + 6}


@pytest.mark.parametrize(
    ("n_people", "n_pairs", "each", "copies"),
    [
        (5, 100, 35, {1, 2}),
        (30, 100, 35, {8, 9}),
        (5, 300, 68, {1}),
        (4, 20, 20, {4}),
        (1, 100, 100, {1}),
    ],
)
def test_everyone_gets_as_many_pairs_as_a_rate_needs(n_people, n_pairs, each, copies):
    pairs = make_suite(n_pairs, per_scenario=1)
    drawn = draw_pairs(pairs, n_pairs, seed=0)
    hands = deal(pairs, drawn, StudyOptions(n_pairs=n_pairs, annotators=n_people))
    assert {len(hand) for hand in hands} == {each}
    assert all(len(set(hand)) == each for hand in hands)
    seen = Counter(name for hand in hands for name in hand)
    assert {seen[name] for name in drawn[10:]} == copies
    # Those that go to one more person are of all categories.
    most = pairs.filter(
        pl.col("id").is_in([name for name in drawn[10:] if seen[name] == max(copies)])
    )
    sizes = most["category"].value_counts()["count"]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("n_pairs", [3, 8, 30])
@pytest.mark.parametrize("foils", [0.0, 0.5, 1.0])
def test_items_of_a_pair_are_apart(tmp_path, n_pairs, foils):
    # With half of the foils some pairs have four questions, which need others between them.
    least = {(3, 0.5): 2, (8, 0.5): 6}.get((n_pairs, foils), min(8, n_pairs))
    for gap in (None, 1, 2):
        made = make_study(
            make_suite(48),
            tmp_path / f"{gap}",
            n_pairs=n_pairs,
            core=n_pairs,
            annotators=2,
            gap=gap,
            foils=foils,
        )
        pair_of = dict(made.items().select("item", "pair").iter_rows())
        first, second = made.orders().values()
        assert first != second
        for order in (first, second):
            last = {}
            for place, item in enumerate(order):
                pair = pair_of[item]
                # Attention items may only add distance.
                assert place - last.get(pair, -99) >= (gap or least)
                last[pair] = place


def test_gap_that_is_not_possible(tmp_path):
    with pytest.raises(ArgumentError, match=r"gap must be at most 4 with 4 pairs a person, got 5"):
        make_study(make_suite(24), tmp_path / "study", n_pairs=4, annotators=1, gap=5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_pairs": 25}, "n_pairs must be at most 24, the pairs of the suite, got 25"),
        ({"n_pairs": 4, "core": 5}, "core must be at most n_pairs 4, got 5"),
        ({"ratings": 6}, "ratings must be at most annotators 5, got 6"),
        ({"foils": 1.5}, "foils must be in 0 to 1, got 1.5"),
        ({"max_failures": 7}, "max_failures must be at most attention 6, got 7"),
        (
            {"n_pairs": 4, "core": 0, "ratings": 1},
            "annotators must be at most 4, so that everyone has a pair, got 5",
        ),
        ({"answers": ("yes", "yes", "no")}, "answers must be two or more unlike texts, got"),
    ],
)
def test_options_that_contradict(tmp_path, options, words):
    with pytest.raises(ArgumentError, match=words):
        make_study(make_suite(24), tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("change", "answers", "words"),
    [
        (
            lambda suite: pl.concat([suite, suite]),
            ("yes", "no"),
            "pairs, row 25: id must be unique",
        ),
        (lambda suite: suite.drop("scenario"), ("yes", "no"), "pairs: column scenario is missing"),
        (
            lambda suite: suite,
            ("ja", "nein"),
            "expected_stereotyped must be one of ja, nein, got 'yes'",
        ),
    ],
)
def test_what_is_no_suite_is_not_asked(tmp_path, change, answers, words):
    with pytest.raises(DataError, match=words):
        make_study(change(make_suite(24)), tmp_path / "study", n_pairs=4, answers=answers)
    assert not (tmp_path / "study").exists()


def test_same_seed_same_draw_but_other_links(tmp_path):
    one, two = (
        make_study(make_suite(24), tmp_path / name, n_pairs=9, annotators=2) for name in "ab"
    )
    assert one.about["sha256"] == two.about["sha256"]
    assert not set(one.links()) & set(two.links())


def test_secrets_are_private_and_changes_are_found(study):
    assert stat.S_IMODE((study.path / "links.json").stat().st_mode) == 0o600
    assert all(len(word) == 32 for word in study.links())
    items = study.items()
    items.with_columns(expected=pl.lit("no")).write_parquet(study.path / "items.parquet")
    with pytest.raises(DataError, match=r"items.parquet: changed since the study was made"):
        Study.read(study.path)
    with pytest.raises(RunFolderError, match="must be empty or not exist, it holds 'answers'"):
        make_study(make_suite(24), study.path, n_pairs=5)


def test_a_journal_keeps_every_revision_and_only_the_next(tmp_path):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    assert record.answer(0, "item-1", "yes", 0)
    assert not record.answer(0, "item-1", "yes", 0)  # the form was sent twice
    assert record.answer(0, "item-1", "no", 1)
    assert not record.answer(2, "item-3", "no", 0)  # no question is skipped
    assert record.answer(1, "item-2", "no", 0)
    again = Record(tmp_path / "a.jsonl")
    assert again.answers == record.answers
    assert [line["answer"] for line in again.answers[0]] == ["yes", "no"]
    assert again.place == 2


@pytest.mark.parametrize("n_torn", [1, 5, 30])
def test_a_torn_line_is_cut_off(tmp_path, n_torn):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    record.answer(0, "item-1", "yes", 0)
    whole = record.file.read_bytes()
    record.answer(1, "item-2", "no", 0)
    record.file.write_bytes(record.file.read_bytes()[: len(whole) + n_torn])
    again = Record(tmp_path / "a.jsonl")
    assert list(again.answers) == [0]
    assert again.answer(1, "item-2", "yes", 0)
    assert [line["answer"] for line in read_lines(again.file) if line["event"] == "answer"] == [
        "yes",
        "yes",
    ]


def test_an_answer_that_cannot_be_written_is_not_acknowledged(tmp_path, monkeypatch):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    before = record.file.read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:9]))
    with pytest.raises(OSError, match="No space left"):
        record.answer(0, "item-1", "yes", 0)
    monkeypatch.undo()
    assert record.file.read_bytes() == before
    assert record.answer(0, "item-1", "yes", 0)
    assert Record(record.file).answers == record.answers


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[]", "{}", '{"event": "answer", "at": 1}', '{"event": "dance", "at": 1}', "[" * 5000,
     '{"event": "shown", "at": "noon", "place": 0, "item": "item-1"}'],
)  # fmt: skip
def test_no_line_of_a_journal_is_taken_on_trust(tmp_path, line):
    file = tmp_path / "a.jsonl"
    file.write_text('{"event": "consent", "at": 1, "text_sha256": "0"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"a.jsonl: line 2: not a line of a journal"):
        Record(file)


def test_a_journal_of_another_study_is_refused(tmp_path):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    record.answer(0, "item-9", "yes", 0)
    allowed = dict.fromkeys(["item-1", "item-9"], ("yes", "no"))
    assert record.check(["item-9"], allowed) is record
    for order in (["item-1"], []):
        with pytest.raises(
            DataError, match=r"must be to the questions of this annotator, got 'item-9'"
        ):
            record.check(order, allowed)
    with pytest.raises(
        DataError, match="answers must be one of maybe, no, got 'yes' at place 1 of 1"
    ):
        record.check(["item-9"], {"item-9": ("maybe", "no")})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[1:], "got practice in line 1"),  # no consent
        (lambda lines: [lines[0], *lines], "got consent in line 2"),
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], "got answer in line 5"),  # doubled
        (lambda lines: [*lines[:3], *lines[4:]], "got shown in line 4"),  # an answer is lost
        (lambda lines: [*lines, lines[-2]], "got answer in line 8"),  # after the end
        (
            lambda lines: [*lines[:3], lines[3].replace('"revision": 0', '"revision": -7')],
            "in line 4",
        ),
        (lambda lines: [line.replace('"place": 0', '"place": -1') for line in lines], "in line 3"),
    ],
)
def test_lines_of_a_journal_follow_from_those_before(tmp_path, change, words):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    record.practise(0, "start")
    record.show(0, "item-1")
    record.answer(0, "item-1", "yes", 0)
    record.show(1, "item-2")
    record.end()
    lines = record.file.read_text().splitlines()
    Record(record.file)
    lines.insert(5, lines[3].replace('"place": 0', '"place": 1').replace("item-1", "item-2"))
    record.file.write_text("".join(f"{line}\n" for line in lines))
    Record(record.file)
    record.file.write_text("".join(f"{line}\n" for line in change(lines)))
    with pytest.raises(DataError, match=f"lines must follow those before, .*{words}"):
        Record(record.file)


@pytest.mark.parametrize("key", ["options", "answers", "core", "sha256", "made"])
@pytest.mark.parametrize("value", [None, 7, "x", [1], {"orders.parquet": 3}])
def test_no_key_of_a_study_is_taken_on_trust(study, key, value):
    about = study.about | {key: value}
    if key == "made" and value == 7:
        return
    (study.path / "study.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match=r"study.json: "):
        Study.read(study.path)


def test_the_preregistration_names_the_study(study):
    assert study.sha256 in (study.path / "preregistration.md").read_text()


@pytest.mark.parametrize(
    "url",
    ["study.example.org", "ftp://x", "https://x/sub", "https://", "javascript:alert(1)", "https://x/?a=b",
     "https://user:pw@x", "https://ex ample.org", "https://x:port", ""],
)  # fmt: skip
def test_links_lead_to_the_root_of_a_server(url):
    with pytest.raises(
        ArgumentError, match=r"url must be http.s.://HOST.:PORT. without a path, got"
    ):
        ServeOptions(url=url)
    for sound in (
        "https://study.example.org",
        "http://127.0.0.1:8000/",
        "HTTPS://Host",
        "http://[::1]:80",
    ):
        ServeOptions(url=sound)


def test_what_is_handed_in_is_not_changed(tmp_path):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    record.answer(0, "item-1", "yes", 0)
    record.end()
    for each in (record, Record(record.file)):
        assert not each.answer(0, "item-1", "no", 1)
        assert each.answers[0][-1]["answer"] == "yes"
    record.withdraw()
    assert not record.file.exists()


def test_withdrawing_deletes_and_stays(tmp_path):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    record.answer(0, "item-1", "yes", 0)
    content = record.file.read_bytes()
    record.withdraw()
    assert not record.file.exists()
    assert Record(record.file).withdrawn
    record.file.write_bytes(content)  # killed between the mark and the deletion
    assert not Record(record.file).answers
    assert not record.file.exists()


def test_a_full_disk_keeps_no_answer_of_who_withdraws(tmp_path, monkeypatch):
    record = Record(tmp_path / "a.jsonl")
    record.agree("0")
    record.answer(0, "item-1", "yes", 0)

    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", no_space)
    with pytest.raises(OSError, match="No space left"):
        record.withdraw()
    assert not record.file.exists()
    assert not record.answers
    assert not record.answer(0, "item-1", "yes", 0)


def test_make_tells_how_narrow_the_interval_can_get(misfired, tmp_path):
    file = tmp_path / "pairs.jsonl"
    make_suite(24).write_ndjson(file)
    done = misfired(
        "annotate", "make", file, "-o", tmp_path / "s", "--n-pairs", 24, "--annotators", 4
    )
    assert done.code == 0, done.err
    # 1 - 0.025^(1 / n): n = 6 (1.960 / 2.571)^2 = 3.49 for 6 scenarios, and for people 4, which gives less.
    assert "0 to 65.3 %  for these people (by scenario: 6)" in done.out
    assert "0 to 65.3 %  for people at large (by person: 4)" in done.out
    assert "4 people, 24 pairs each (under 30" in done.out
    text = (tmp_path / "s" / "preregistration.md").read_text()
    assert "65.3 %" in text
    assert "[Your hypothesis" in text
    about = json.loads((tmp_path / "s" / "study.json").read_text())
    assert about["counts"]["expected"]["yes"] == about["counts"]["expected"]["no"]


def test_make_promises_nothing_of_others_from_one_person(misfired, tmp_path):
    file = tmp_path / "pairs.jsonl"
    make_suite(40).write_ndjson(file)
    words = ("--n-pairs", 40, "--annotators", 1)
    done = misfired("annotate", "make", file, "-o", tmp_path / "s", *words)
    assert "1 person, 40 pairs each\n" in done.out
    assert "unknown for people at large: one person says nothing of others" in done.out
    assert "at large:" not in (tmp_path / "s" / "preregistration.md").read_text()
