"""From journals to run folders that every command reads, and what is reported of people."""

import json

import polars as pl
import pytest

from helpers import make_suite
from misfired.annotate.collect import collect_study
from misfired.annotate.record import Record
from misfired.annotate.results import read_people
from misfired.annotate.study import make_study
from misfired.errors import RunFolderError
from misfired.prompts.prompt_set import build_prompts
from misfired.runs.finished import open_run
from misfired.stats import people
from simulated_people import answer_all

FIVE = ["never", "seldom", "careless", "always yes", "cannot tell"]


@pytest.fixture
def study(tmp_path):
    suite = make_suite(80, per_scenario=2)
    return make_study(suite, tmp_path / "study", n_pairs=80, core=40, annotators=5, max_failures=3)


def test_a_run_folder_is_that_of_any_run(study, tmp_path):
    answer_all(study, FIVE)
    found = collect_study(study, tmp_path / "human")
    for folder in found.folders:
        run = open_run(folder)  # checks hashes, prompts and outcomes
        prompts = build_prompts(run.pairs)
        assert run.answers["id"].to_list() == prompts["id"].to_list()
        assert run.manifest.settings.annotator["name"] == folder.name
        measured = [
            name
            for name in run.answers.columns
            if name.startswith(("logp", "logit", "mass", "top"))
        ]
        assert measured
        assert all(run.answers[name].null_count() == len(run.answers) for name in measured)
        assert (folder / "summary.json").exists()
    never = open_run(tmp_path / "human" / "annotator-01").answers
    assert set(never["outcome"]) == {"correct"}
    assert set(never["expected"]) == {"yes", "no"}


def test_each_person_is_reported_as_they_answered(study, tmp_path):
    answer_all(study, FIVE)
    found = collect_study(study, tmp_path / "human").people
    rows = dict(zip(FIVE, found.to_dicts(), strict=True))
    assert {kind: row["n_failed"] for kind, row in rows.items() if kind != "careless"} == {
        "never": 0, "seldom": 0, "always yes": 4, "cannot tell": 4}  # fmt: skip
    assert rows["always yes"]["excluded"]
    assert rows["cannot tell"]["n_cannot_tell"] == 4 * 48
    assert not (tmp_path / "human" / "annotator-04").exists()
    outcomes, _ = read_people([tmp_path / "human"])
    assert set(outcomes["annotator"]) == {"annotator-01", "annotator-02", "annotator-03"}


def test_nobody_is_excluded_unless_the_study_said_so(tmp_path):
    study = make_study(make_suite(24), tmp_path / "study", n_pairs=24, annotators=2)
    answer_all(study, ["always yes", "careless"])
    found = collect_study(study, tmp_path / "human")
    assert found.people["n_failed"].to_list()[0] == 4
    assert not found.people["excluded"].any()
    assert len(found.folders) == 2


def test_what_is_not_answered_is_unscored_with_a_reason_and_collected_later(study, tmp_path):
    answer_all(study, ["seldom"] * 4, n_places=30)
    first = collect_study(study, tmp_path / "human")
    assert first.people["status"].to_list() == ["begun"] * 4 + ["not begun"]
    answers = open_run(tmp_path / "human" / "annotator-01").answers
    assert len(answers) == 48 * 4
    unscored = answers.filter(outcome="error")
    assert set(unscored["reason"]) == {"not answered"}
    assert len(answers) - len(unscored) == 30 - first.people["n_attention"][0]
    answer_all(study, ["seldom"] * 5)
    again = collect_study(study, tmp_path / "human")
    assert again.people["status"].to_list() == ["complete"] * 5
    assert not len(open_run(tmp_path / "human" / "annotator-01").answers.filter(outcome="error"))


def test_the_last_revision_counts_and_all_are_in_the_timings(study, tmp_path):
    answer_all(study, ["never"])
    record = Record(study.path / "answers" / "annotator-01.jsonl")
    items = {row["item"]: row for row in study.items().to_dicts()}
    order = study.orders()["annotator-01"]
    place = next(p for p, item in enumerate(order) if items[item]["kind"] == "pair")
    record.answer(place, order[place], "no", 1)
    found = collect_study(study, tmp_path / "human")
    item = items[order[place]]
    row = (
        open_run(found.folders[0])
        .answers.filter(id=item["id"], condition=item["condition"])
        .to_dicts()[0]
    )
    assert (row["answer"], row["outcome"]) == ("no", "wrong")
    times = found.timings.filter(annotator="annotator-01", place=place + 1)
    assert times["answer"].to_list() == ["yes", "no"]
    assert times["revision"].to_list() == [0, 1]
    assert (times["answered"] >= times["shown"]).all()
    assert found.people["n_revised"][0] == 1


def test_who_withdraws_after_a_collection_leaves_no_folder(study, tmp_path):
    answer_all(study, FIVE)
    collect_study(study, tmp_path / "human")
    assert (tmp_path / "human" / "annotator-02").exists()
    Record(study.path / "answers" / "annotator-02.jsonl").withdraw()
    found = collect_study(study, tmp_path / "human")
    assert not (tmp_path / "human" / "annotator-02").exists()
    assert found.people["status"][1] == "withdrawn"
    assert "annotator-02" not in set(found.timings["annotator"])


def test_a_folder_of_something_else_is_left_alone(study, tmp_path):
    answer_all(study, FIVE)
    strange = tmp_path / "human" / "annotator-01"
    strange.mkdir(parents=True)
    (strange / "thesis.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="annotator-01: must be of this study, or not exist"):
        collect_study(study, tmp_path / "human")
    assert (strange / "thesis.txt").exists()


def test_a_journal_that_is_being_written_is_read_and_not_cut(study, tmp_path):
    answer_all(study, ["never"], n_places=10)
    file = study.path / "answers" / "annotator-01.jsonl"
    content = file.read_bytes() + b'{"event": "answer", "pl'
    file.write_bytes(content)
    assert collect_study(study, tmp_path / "human").people["n_answered"][0] == 10
    assert file.read_bytes() == content


def test_existing_commands_read_the_folders(study, tmp_path, misfired):
    answer_all(study, FIVE)
    done = misfired("annotate", "collect", study.path, "-o", tmp_path / "human")
    assert done.code == 0, done.err
    assert "people at large" in done.out
    first, second = tmp_path / "human" / "annotator-01", tmp_path / "human" / "annotator-02"
    shown = misfired("stats", first)
    assert shown.code == 0, shown.err
    assert "Reads" in shown.out
    for words in (
        ["compare", first, second],
        ["leaderboard", first, second],
        ["agreement", first, second],
    ):
        done = misfired(*words)
        assert done.code == 0, done.err
    found = json.loads(misfired("agreement", first, second, "--json").out)
    assert (found["n_raters"], found["n_items"]) == (2, 40 * 4)
    done = misfired("annotate", "results", tmp_path / "human", "--against", second, "--json")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert {row["scope"] for row in rows if row["against"]} == {"these", "alike", "any"}


def test_results_are_those_of_the_function(study, tmp_path, misfired):
    answer_all(study, ["never", "often", "seldom"])
    collect_study(study, tmp_path / "human")
    done = misfired("annotate", "results", tmp_path / "human", "--csv")
    found = pl.read_csv(done.out.encode())
    expected = people(read_people([tmp_path / "human"])[0], measures=["mar"])
    assert found["value"].to_list() == pytest.approx(expected["value"].to_list())
    often = expected.filter(annotator="annotator-02").row(0, named=True)
    assert often["low"] <= 30 <= often["high"]


def test_a_model_is_no_person(study, tmp_path, misfired):
    answer_all(study, FIVE)
    collect_study(study, tmp_path / "human")
    folder = tmp_path / "human" / "annotator-01"
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["settings"]["annotator"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = misfired("annotate", "results", tmp_path / "human")
    assert (done.code, done.err) == (
        2, f"error: {folder}: must be the run of a person, got one of a model\n")  # fmt: skip


def test_nobody_yet(study, tmp_path, misfired):
    done = misfired("annotate", "collect", study.path, "-o", tmp_path / "human")
    assert done.code == 2
    assert "nobody has answered yet" in done.err
    assert "not begun" in done.out


def test_the_majority_is_a_run_of_what_most_said(study, tmp_path, misfired):
    answer_all(study, ["never", "never", "always yes", "cannot tell"])
    study.about["options"]["max_failures"] = None
    collect_study(study, tmp_path / "human", with_majority=True)
    run = open_run(tmp_path / "human" / "majority")
    core = run.answers.filter(pl.coalesce("twin_of", "id").is_in(study.about["core"]))
    assert len(core) == 160
    assert set(core["outcome"]) == {"correct"}
    others = run.answers.join(core, on=["id", "condition"], how="anti")
    assert set(others["outcome"]) == {"correct", "wrong", "abstained"}
    assert set(others.filter(outcome="abstained")["reason"]) == {"cannot tell"}
    expected = people(read_people([tmp_path / "human"])[0], measures=["mar"])
    row = expected.filter(scope="majority").row(0, named=True)
    done = json.loads(
        misfired("stats", run.path, "--json", "--table", "summary").out.splitlines()[5]
    )
    assert (done["measure"], done["value"]) == ("mar", row["value"])
    collect_study(study, tmp_path / "human")
    assert not run.path.exists()


def test_one_answer_is_enough_for_a_run(study, tmp_path, misfired):
    answer_all(study, ["never"], n_places=1)
    done = misfired("annotate", "collect", study.path, "-o", tmp_path / "human")
    assert done.code == 0, done.err
    assert len(open_run(tmp_path / "human" / "annotator-01").answers.filter(outcome="error")) == 191


def test_a_dash_has_a_reason(study, tmp_path, misfired):
    answer_all(study, ["seldom", "always no"])
    study.about["options"]["max_failures"] = None
    collect_study(study, tmp_path / "human")
    one, other = tmp_path / "human" / "annotator-01", tmp_path / "human" / "annotator-02"
    shown = " ".join(misfired("annotate", "results", one, "--against", other).out.split())
    assert "one_unit, one scenario or person alone has no spread" in shown
    assert "no_contrast_correct, no contrast side is right" in shown
    assert "on the same pairs, points" in shown
