"""From answers of people to run folders: one for each annotator, in the schema of every run."""

import shutil
import statistics
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from misfired._core import __version__
from misfired.annotate.draw import ATTENTION
from misfired.annotate.record import Record
from misfired.annotate.stories import CANNOT_TELL
from misfired.annotate.study import ANSWERS, Study
from misfired.annotate.texts import INSTRUCTIONS
from misfired.errors import RunFolderError
from misfired.files import replacing
from misfired.prompts.prompt_set import build_prompts
from misfired.runs.analyses import analyse
from misfired.runs.finished import ANALYSES, SUMMARY
from misfired.runs.folder import RunFolder
from misfired.runs.manifest import MANIFEST, build_manifest, load_manifest, run_settings
from misfired.runs.options import RunOptions
from misfired.scoring.answers import measured_columns
from misfired.scoring.protocol import Protocol
from misfired.stats import summarize
from misfired.stats.outcomes import build_outcomes
from misfired.types import checks_types

TIMINGS, PEOPLE = "timings.parquet", "people.parquet"
"""Files beside the run folders: every answer with its times, and one row for each annotator."""

MAJORITY = "majority"
"""Name of the run folder of the majority."""

NOT_ANSWERED = "not answered"
"""Reason of a prompt that its annotator has not reached."""

#: A pair and the side that is asked about, and what was said.
_Prompt = tuple[str, str]
_Given = dict[_Prompt, str]

TIMINGS_SCHEMA = {
    "annotator": pl.String(), "place": pl.Int64(), "kind": pl.String(), "id": pl.String(),
    "condition": pl.String(), "revision": pl.Int64(), "answer": pl.String(), "shown": pl.Float64(),
    "answered": pl.Float64(), "seconds": pl.Float64(),
}  # fmt: skip
"""Columns of `timings.parquet`, a row for each revision of an answer; times in seconds since 1970."""

PEOPLE_SCHEMA = {
    "annotator": pl.String(), "status": pl.String(), "n_questions": pl.Int64(), "n_answered": pl.Int64(),
    "n_cannot_tell": pl.Int64(), "n_revised": pl.Int64(), "n_attention": pl.Int64(),
    "n_failed": pl.Int64(), "excluded": pl.Boolean(), "median_seconds": pl.Float64(),
}  # fmt: skip
"""Columns of `people.parquet`. `status`: `complete`, `begun`, `not begun` or `withdrawn`."""


@dataclass(frozen=True)
class Collected:
    """What `collect_study` wrote.

    Attributes:
        people: One row for each annotator, of schema `PEOPLE_SCHEMA`.
        timings: Of schema `TIMINGS_SCHEMA`.
        folders: Run folders, those of excluded annotators not among them.
    """

    people: pl.DataFrame
    timings: pl.DataFrame
    folders: list[Path]


@checks_types
def collect_study(
    study: Study | Path | str, out: Path | str, *, with_majority: bool = False
) -> Collected:
    """Write a run folder for each annotator who has begun, and what stands beside them.

    A study may be collected again and while it is served: folders then hold what was answered until now.
    Annotators who fail too many attention items are left out if the study said so when it was made, and
    so are those who withdrew: a folder that an earlier call wrote is deleted.

    Args:
        study: A study, or its folder.
        out: Folder of the run folders, made if missing.
        with_majority: Also write the run folder `majority`. It is right where more than half of those
            who did not abstain are right, wrong where fewer are, and abstains at a tie.

    Raises:
        DataError: The study, or a journal, has been changed.
        RunFolderError: A folder there is of another run, or cannot be written.
    """
    study = study if isinstance(study, Study) else Study.read(study)
    out = Path(out)
    items = {row["item"]: row for row in study.items().iter_rows(named=True)}
    allowed, limit = study.allowed(), study.about["options"]["max_failures"]
    rows, times, folders = [], [], []
    said: list[_Given] = []
    for name, order in study.orders().items():
        record = Record(study.path / ANSWERS / f"{name}.jsonl", mend=False).check(order, allowed)
        asked = [items[item] for item in order]
        row = _person(name, record, asked, limit)
        rows.append(row)
        times += _times(name, record, asked)
        folder = out / name
        _clear(folder, study, name)
        if row["status"] in {"begun", "complete"} and not row["excluded"]:
            given = {_prompt(asked[p]): lines[-1]["answer"] for p, lines in record.answers.items()}
            ids = {item["id"] for item in asked}
            _write_run(study, folder, given, ids, description="a person", consent=record.consent)
            said.append(given)
            folders.append(folder)
    _clear(out / MAJORITY, study, MAJORITY)
    if with_majority and said:
        voted = _voted(said, {_prompt(item): item["expected"] for item in items.values()})
        ids, description = {name for name, _ in voted}, f"the majority of {len(said)} people"
        _write_run(study, out / MAJORITY, voted, ids, description=description)
    people, timings = pl.DataFrame(rows, PEOPLE_SCHEMA), pl.DataFrame(times, TIMINGS_SCHEMA)
    out.mkdir(parents=True, exist_ok=True)
    for file, table in ((PEOPLE, people), (TIMINGS, timings)):
        with replacing(out / file) as temporary:
            table.write_parquet(temporary)
    return Collected(people, timings, folders)


def _prompt(item: Mapping[str, Any]) -> _Prompt:
    return item["id"], item["condition"]


def _person(
    name: str, record: Record, asked: Sequence[dict[str, Any]], limit: int | None
) -> dict[str, Any]:
    given = {place: lines[-1] for place, lines in record.answers.items()}
    checks = [place for place, item in enumerate(asked) if item["kind"] == ATTENTION]
    failed = [p for p in checks if p in given and given[p]["answer"] != asked[p]["expected"]]
    seconds = [line["at"] - line["shown"] for line in given.values() if line["shown"] is not None]
    begun = "complete" if len(given) == len(asked) else "begun" if given else "not begun"
    return {
        "annotator": name,
        "status": "withdrawn" if record.withdrawn else begun,
        "n_questions": len(asked),
        "n_answered": len(given),
        "n_cannot_tell": sum(
            line["answer"] == CANNOT_TELL for p, line in given.items() if p not in checks
        ),
        "n_revised": sum(len(lines) > 1 for lines in record.answers.values()),
        "n_attention": sum(place in given for place in checks),
        "n_failed": len(failed),
        "excluded": limit is not None and len(failed) > limit,
        "median_seconds": statistics.median(seconds) if seconds else None,
    }


def _times(name: str, record: Record, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for place, lines in sorted(record.answers.items()):
        item = asked[place]
        head = {"annotator": name, "place": place + 1, "kind": item["kind"]}
        head |= {"id": item["id"], "condition": item["condition"]}
        for line in lines:
            shown, at = line["shown"], line["at"]
            seconds = None if shown is None else at - shown
            times = {"shown": shown, "answered": at, "seconds": seconds}
            rows.append(head | {"revision": line["revision"], "answer": line["answer"]} | times)
    return rows


def _clear(folder: Path, study: Study, name: str) -> None:
    """Delete the folder of an earlier call; refuse one of another run."""
    if not folder.exists():
        return
    own = None
    if (folder / MANIFEST).exists():
        own = load_manifest(folder)["settings"].get("annotator")
    if own != _annotator(study, name):
        raise RunFolderError(f"{folder}: must be of this study, or not exist; name another folder")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise RunFolderError(f"{folder}: {error.strerror or error}") from None


def _annotator(study: Study, name: str) -> dict[str, Any]:
    return {"name": name, "study_sha256": study.sha256, "made": study.about["made"]}


def _voted(said: Sequence[_Given], expected: Mapping[_Prompt, str]) -> _Given:
    """Return the answers of the majority; a tie, or nothing but abstentions, cannot tell."""
    voted: _Given = {}
    for prompt in dict.fromkeys(key for given in said for key in given):
        votes = Counter(given[prompt] for given in said if prompt in given)
        votes.pop(CANNOT_TELL, None)
        right = expected[prompt]
        n_right = votes.pop(right, 0)
        if n_right == votes.total():
            voted[prompt] = CANNOT_TELL
        else:
            # Several wrong answers are as one; the first by name of the most frequent stands for them.
            wrong = max(sorted(votes), key=votes.__getitem__, default=CANNOT_TELL)
            voted[prompt] = right if n_right > votes.total() else wrong
    return voted


def _write_run(
    study: Study,
    folder: Path,
    given: _Given,
    ids: Collection[str],
    *,
    description: str,
    consent: Mapping[str, Any] | None = None,
) -> None:
    """Write the run folder of a person who was asked these pairs, or of the majority."""
    started, name = time.time(), folder.name
    pairs = study.pairs().filter(pl.col("id").is_in(ids))
    protocol = people_protocol(study.answers, study.text(INSTRUCTIONS))
    options = RunOptions(protocol=protocol, seed=study.about["options"]["seed"])
    settings = run_settings(pairs, options, [], {"annotator": _annotator(study, name)})
    answers = answers_of(pairs, given, protocol)
    facts = {
        "model": {"path": name, "description": description, "metadata": None},
        "versions": {"misfired": __version__, "study": study.about["misfired"]},
        "consent": consent,
    }
    with RunFolder(folder, settings) as run:
        run.keep_pairs(pairs)
        manifest = build_manifest(
            settings, pairs, answers, facts=facts, counts={}, held_out=pl.Series([], dtype=pl.String),
            started=started, n_resumed_from=0,
        )  # fmt: skip
        asked_for = options.statistics | {"rng": options.seed}
        outcomes = build_outcomes(answers)
        analyses = analyse(answers, outcomes, **asked_for)
        summary = analyses.summary_rows(summarize(outcomes, **asked_for))
        run.finish(answers, manifest, {SUMMARY: summary, ANALYSES: analyses.to_json()})


def people_protocol(answers: Sequence[str], instructions: str) -> Protocol:
    """Return what stands for the protocol of people in a manifest: instructions, and the answers of the buttons."""
    buttons: dict[str, tuple[str, ...]] = {
        answer: (answer[:1].upper() + answer[1:],) for answer in answers
    }
    return Protocol("people", "1", instructions, buttons, reading="whole_form")


def answers_of(
    pairs: pl.DataFrame, given: Mapping[_Prompt, str], protocol: Protocol
) -> pl.DataFrame:
    """Return answers by pair and condition in the order and columns of every run.

    What only a model has is null; what is not given is an error with the reason `NOT_ANSWERED`.
    """
    prompts = build_prompts(pairs).drop("text", "system")
    columns = measured_columns(protocol)
    rows = []
    for name, condition, expected in prompts.select("id", "condition", "expected").iter_rows():
        answer = given.get((name, condition))
        if answer is None:
            outcome, reason = "error", NOT_ANSWERED
        elif answer == CANNOT_TELL and CANNOT_TELL not in protocol.answers:
            answer, outcome, reason = None, "abstained", CANNOT_TELL
        else:
            outcome, reason = ("correct" if answer == expected else "wrong"), None
        blank = dict.fromkeys(columns)
        rows.append(blank | {"answer": answer, "outcome": outcome, "reason": reason})
    return prompts.hstack(pl.DataFrame(rows, schema=columns))
