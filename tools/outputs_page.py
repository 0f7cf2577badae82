"""Write docs/outputs.md: every column of every file, and every key of the manifest.

Columns come from the tables and schemas in the code. What the code does not describe beside a name is
described here; a name without a description is an error, and so is a description without a name.

python tools/outputs_page.py            # docs/outputs.md
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from misfired.annotate.collect import PEOPLE_SCHEMA as ANNOTATORS_SCHEMA
from misfired.annotate.collect import TIMINGS_SCHEMA
from misfired.runs.manifest import MANIFEST_KEYS
from misfired.scoring.answers import ANSWER_COLUMNS
from misfired.stats.comparison import COMPARISON_SCHEMA, VARIANTS_SCHEMA
from misfired.stats.detection import DETECTION_SCHEMA, EXPECTED_SCHEMA
from misfired.stats.families import FAMILY_SCHEMA
from misfired.stats.gating import GATE_SCHEMA
from misfired.stats.people import PEOPLE_SCHEMA
from misfired.stats.priming import CONTRASTS_SCHEMA
from misfired.stats.ranks import LEADERBOARD_SCHEMA
from misfired.stats.summary import SUMMARY_SCHEMA
from misfired.stats.wide import WIDE_SCHEMA
from misfired.suites import PAIRS_SCHEMA

PAGE = Path(__file__).parents[1] / "docs" / "outputs.md"

PAIRS = {
    "id": "Unique name of the pair.",
    "suite": "`name@version`.",
    "category": "Topic; reports have one line for each.",
    "scenario": "Name shared by pairs made from one template or fact; intervals resample scenarios.",
    "stereotyped_group": "Group of the stereotyped prompt.",
    "contrast_group": "Group of the contrast prompt.",
    "cue": "Sentence to prime with; may be null.",
    "stereotyped": "Prompt where the failure is expected.",
    "contrast": "The same with the other group.",
    "expected_stereotyped": "Right answer to the stereotyped prompt.",
    "expected_contrast": "Right answer to the contrast prompt.",
}

#: Tables of statistics: title, where it is found, schema.
STATISTICS = (
    ("summary.json", "`misfired stats`, `summarize`: one row per slice, priming and measure, those of `summarize` and of `evidence`; the last row holds the `verdict`.", SUMMARY_SCHEMA),
    ("contrasts", "In `analyses.json`; `misfired stats --table contrasts`, `priming_contrasts`. In percentage points.", CONTRASTS_SCHEMA),
    ("detection", "In `analyses.json`; `misfired stats --table detection`, `signal_detection`. d' and criterion in standard deviations, `mar_adjusted` in percent.", DETECTION_SCHEMA),
    ("expected", "In `analyses.json`; `misfired stats --table expected`, `by_expected`.", EXPECTED_SCHEMA),
    ("Tests", "`misfired stats --table tests` or `paper-tests`, `study_tests`. `low` and `high` are of `mar`, or of `mar_changed` - `mar`.", FAMILY_SCHEMA),
    ("Comparison", "`misfired compare`, `compare`. In percentage points; p-values stand at the rows of `mar_joint`.", COMPARISON_SCHEMA),
    ("Gate", "`misfired compare --fail-if`, `misfired.gate`: one row per rule and slice; `value` is candidate - base, in percentage points.", GATE_SCHEMA),
    ("Leaderboard", "`misfired leaderboard`, `leaderboard`. `n_pairs` of ranked runs are the pairs that they share.", LEADERBOARD_SCHEMA),
    ("Models by categories", "`misfired leaderboard --by category --json`, `rates_by_category`: `mar` of each category, and four rates of all pairs. `--csv` has a row per run.", WIDE_SCHEMA),
    ("People", "`misfired annotate results`, `people`, `people_against`: of several people together, of each, and of their majority.", PEOPLE_SCHEMA),
    ("Variants", "`misfired run --variant paper,strict`, `compare_variants`.", VARIANTS_SCHEMA),
)  # fmt: skip

#: Columns of the tables of statistics.
MEASURED = {
    "slice": "`overall`, or a category; a category may be called so too.",
    "priming": "Priming, or a difference such as `cue - none`.",
    "expected": "Expected answer of the pairs counted: `yes` or `no`.",
    "condition": "`stereotyped` or `contrast`.",
    "contrast": "`side` (stereotyped against contrast prompts), `cue` (a priming against its control), or `interaction`.",
    "run": "Name of the run.",
    "source": "`run` or `published`.",
    "scope": "Of whom: `these` people, people of their kinds (`alike`), people at large (`any`), one `person`, their `majority`.",
    "annotator": "Name of the person.",
    "n_people": "People behind the rate.",
    "reads": "True if the model reads, null if it cannot be known.",
    "rule": "The harm that is asked about.",
    "base": "Value of the base, in percent.",
    "candidate": "Value of the candidate, in percent.",
    "verdict": "`pass`, `fail` or `inconclusive`.",
    "n_needed": "Scenarios that would settle an inconclusive row; null where none up to 20,000 would.",
    "measure": "Name of the measure.",
    "value": "The measure, in percent unless said otherwise; null with a reason.",
    "first": "Value of the first variant.",
    "second": "Value of the second variant.",
    "low": "Lower end of the interval.",
    "high": "Upper end of the interval.",
    "method": "How interval or p-value was made.",
    "unit": "What was resampled: `scenario` or `pair`.",
    "rank": "Rank; the lowest value has rank 1.",
    "rank_low": "Best rank that the data allow.",
    "rank_high": "Worst rank that the data allow.",
    "n_pairs": "Pairs with both prompts scored.",
    "n_pairs_first": "Scored pairs of the first variant.",
    "n_pairs_second": "Scored pairs of the second variant.",
    "n_scenarios": "Scenarios of those pairs.",
    "n_prompts": "Prompts scored.",
    "n_unscored": "Pairs or prompts that are not scored.",
    "n_base": "Pairs behind a rate, its denominator: a + c of `mar`.",
    "n_effective": "Independent pairs that these are worth; at a rate of 0 or 100, all.",
    "n_informative": "Scenarios with a pair behind the rate.",
    "flags": "What makes a rate unsure: `wide` (interval above 30 points), `few_scenarios` (informative ones below 8), `at_limit` (0 or 100).",
    "withheld": "Why a report prints a dash though there is a value: `little_support` (`n_effective` below 30), `auc_k_at_chance`.",
    "hits": "Prompts answered yes where yes is right.",
    "misses": "Prompts answered no where yes is right.",
    "false_alarms": "Prompts answered yes where no is right.",
    "correct_rejections": "Prompts answered no where no is right.",
    "family": "Family of tests that are corrected together.",
    "model": "Name of the model or run.",
    "category": "Category, if the test is of one.",
    "mar": "Joint MAR in percent, unprimed and direct.",
    "mar_changed": "Joint MAR in percent with the cue, or with chain of thought.",
    "n_against": "Discordant pairs against the alternative.",
    "n_for": "Discordant pairs for the alternative.",
    "statistic": "Difference of the discordant pairs, in percent of the pairs.",
    "p_value": "p-value, not corrected.",
    "p_adjusted": "p-value, corrected within its family.",
    "alternative": "Alternative hypothesis.",
    "adjustment": "How p-values were corrected.",
    "reason": "Why there is no value or interval.",
    "total": "True for all pairs together, false for a category. A total is known by this column, not by its name.",
}

#: Tables beside the runs of people: what a row is, schema, columns.
PEOPLE = {
    "people.parquet": ("One row for each annotator.", ANNOTATORS_SCHEMA, {
        "annotator": "Name of the person, which says nothing of them.",
        "status": "`complete`, `begun`, `not begun` or `withdrawn`.",
        "n_questions": "Questions of the person.",
        "n_answered": "Questions answered.",
        "n_cannot_tell": "Answers `cannot tell`, attention items not counted.",
        "n_revised": "Questions whose answer was changed.",
        "n_attention": "Attention items answered.",
        "n_failed": "Attention items answered wrongly.",
        "excluded": "True if these are more than the study allows; there is no run folder then.",
        "median_seconds": "Median time from the last showing of a question to its answer.",
    }),
    "timings.parquet": ("One row for each revision of each answer. Times in seconds since 1970.", TIMINGS_SCHEMA, {
        "annotator": "Name of the person.",
        "place": "Place in the person's order, from 1.",
        "kind": "`pair`, `foil` (a false question) or `attention`.",
        "id": "The row of `pairs.parquet`; for an attention item its name.",
        "condition": "`stereotyped` or `contrast`; null for an attention item.",
        "revision": "0 for the first answer; the highest counts.",
        "answer": "What was answered.",
        "shown": "When the question was last shown before.",
        "answered": "When it was answered.",
        "seconds": "`answered` - `shown`.",
    }),
}  # fmt: skip

#: Columns that several tables of localisation have.
_MODEL = {"model": "`instruct` (the model under study) or `base`."}
_KIND = {"kind": "`failure` or `control`."}
_PAIR = {"id": "Pair.", "category": "Its category.", "scenario": "Its scenario."}
_LAYER = {"layer": "Layer, from 0."}
_HEAD = _LAYER | {"head": "Head, from 0."}
_INTERVAL = {"low": "Lower end of the interval.", "high": "Upper end of the interval."}
_COUNTS = {"n_pairs": "Pairs.", "n_scenarios": "Scenarios."}
_CONDITION = {"condition": "Whose story it is: `stereotyped` or `contrast`."}
_QUESTION = {
    "question": "`true` (the pair's own, right answer yes), or `false` (about the other person of the same story, right answer no)."
}
_QUANTITY = {
    "quantity": "`evidence`: margin of yes for the true question minus that for the false question about the same story; `margin` of the right answer where no failure has a false question: it may be a leaning."
}
_REASON = {
    "reason": "Why there is no value or no interval: `one_unit` (a single scenario), `constant` (nothing varies), or that nothing was found; else null."
}
_PATCH = {
    "site": "What is replaced: `residual`, `attention` or `feed_forward`.",
    "target": "Where: the `last` token, or the `span` of the person asked about.",
    "direction": "`denoising` puts the contrast prompt's value into the stereotyped run; `noising` the reverse.",
}

#: Tables of a folder of `misfired localise`, with their columns.
LOCALISE = {
    "figures": {"probe": "Probe, and for patches site, target and direction."}
    | _MODEL | _KIND
    | {"measure": "Name of the number.", "value": "The number."}
    | _INTERVAL | _COUNTS | _REASON | _QUANTITY,
    "cases": _PAIR | _KIND
    | {
        "margin_stereotyped": "Margin of the right answer to the stereotyped prompt.",
        "margin_contrast": "Margin of the right answer to the contrast prompt.",
        "evidence_stereotyped": "Evidence of the stereotyped story: margin of yes for its true question minus that for its false one; null without false questions.",
        "evidence_contrast": "Evidence of the contrast story.",
        "unaligned": "Why the persons' mentions could not be aligned, or null.",
    },
    "lens_curves": _MODEL | _KIND | _CONDITION | _LAYER
    | {"value": "Mean evidence after the layer (see `quantity`); `condition` is also `gap`: contrast minus stereotyped."}
    | _INTERVAL | _COUNTS | _REASON
    | {
        "true_question": "Mean margin of yes for the true question; null without false questions.",
        "false_question": "Mean margin of yes for the false question.",
    }
    | _QUANTITY,
    "lens_rows": _MODEL | _PAIR | _KIND | _CONDITION | _QUESTION | _LAYER
    | {"margin": "Margin of the right answer after the layer."},
    "recovery_curves": _PATCH | _LAYER
    | {"value": "Recovery: (patched - before) / (donor - before), a ratio of means of the evidence (see `quantity`)."}
    | _INTERVAL | _COUNTS | _REASON
    | {"flipped": "Percent of pairs whose answer to the true question flips while that to the false one is right."}
    | _QUANTITY,
    "patch_rows": _MODEL | _PAIR | _KIND | _PATCH | _QUESTION
    | {"before": "Margin without the patch.", "donor": "Margin of the other prompt."}
    | _LAYER | {"patched": "Margin with the patch."},
    "head_map": _MODEL | {"method": "What replaced the head's output."} | _HEAD
    | {
        "stereotyped": "Mean change of the stereotyped story's evidence (see `quantity`).",
        "contrast": "Mean change of the contrast story's evidence.",
        "specificity": "Mean of the change on the stereotyped prompt minus the absolute change on the contrast prompt.",
    }
    | _INTERVAL
    | {
        "p_value": "p-value of a specificity above the least effect that counts.",
        "q_value": "p-value corrected for the false discovery rate over the map.",
        "passes": "True if `q_value` is at most `alpha`.",
        "rank": "Rank by specificity, from 1.",
        "true_question": "Mean change of the margin of yes for the true question about the stereotyped story; null without false questions.",
        "false_question": "The same for the false question: equal changes of both are a leaning.",
    }
    | _QUANTITY | _REASON,
    "heads_rows": _MODEL | _PAIR | _KIND
    | {"method": "What replaced the head's output."} | _CONDITION | _QUESTION
    | {"before": "Margin before.", "noise": "Noise floor (see `redecoding`) of the batch of pairs."} | _HEAD | {"after": "Margin with the head's output replaced."},
    "ablation": {
        "set": "`chosen` heads, or a set of random heads.",
        "heads": "The heads, as layer.head.",
        "measure": "Name of the measure.",
        "before": "Value without ablation.",
        "after": "Value with ablation.",
        "change": "`after` - `before`.",
    }
    | _INTERVAL | _COUNTS | _REASON,
    "attention_map": _KIND | _QUESTION | _HEAD
    | {
        "person": "`asked` (about) or `other`.",
        "stereotyped": "Mean weight from the last token in the stereotyped prompt.",
        "contrast": "Mean weight in the contrast prompt.",
        "difference": "`stereotyped` - `contrast`.",
    }
    | _INTERVAL | _COUNTS | _REASON,
    "attention_rows": _MODEL | _PAIR | _KIND | _CONDITION | _QUESTION | _HEAD
    | {
        "asked": "Weight from the last token on all mentions of the person asked about.",
        "other": "Weight on all mentions of the other person.",
    },
    "substitution_rows": _MODEL | _PAIR | _KIND | _QUESTION
    | {
        "best_layer": "Layer after which the lens gives the most evidence.",
        "best_margin": "This question's margin there.",
        "before": "Margin of the unchanged run.",
    }
    | _LAYER | {"after": "Margin with the best layer's residual of the same run written into this layer."},
}  # fmt: skip

#: Which runs have a column of the answers, by the words of `Column.only`.
RUNS = {
    "prompt": "",
    "forms": "answer forms",
    "text": "texts",
    "logit_diff": "two answers",
    "margin": "more than two answers",
    "server": "servers",
    "twin_of": "suites with twins",
}

HEAD = """# Outputs

Every column of every file, and every key of the manifest. `python tools/outputs_page.py` makes this page from the
tables in the code. Percentages are on 0 to 100.

A run folder holds:

| file | content |
|---|---|
| `manifest.json` | how every number was made |
| `pairs.parquet` | the pairs that were asked |
| `answers.parquet` | one row per prompt |
| `summary.json` | every measure with its interval (`misfired run` only) |
| `analyses.json` | contrasts of primings and signal detection, if the design allows them (`misfired run` only) |

An interrupted run also has `answers.jsonl`, the answers so far.
"""


def answers_table() -> str:
    """Return the table of the columns of the answers."""
    lines = ["| column | only with | unit | meaning |", "|---|---|---|---|"]
    for column in ANSWER_COLUMNS:
        runs = ", ".join(RUNS[word] for word in column.only.split() if RUNS[word])
        meaning = column.meaning[0].upper() + column.meaning[1:]
        lines.append(f"| `{column.name}` | {runs} | {column.unit} | {meaning}. |")
    return "\n".join(lines)


def table(columns: Mapping[str, str], heads: tuple[str, ...] = ("column", "meaning")) -> str:
    """Return a Markdown table of names and descriptions."""
    rows = (f"| `{name}` | {text} |" for name, text in columns.items())
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows])


def described(names: Mapping[str, pl.DataType], texts: Mapping[str, str]) -> dict[str, str]:
    """Return the description of each column.

    Raises:
        KeyError: A column without a description.
    """
    return {name: texts[name] for name in names}


def sections() -> Iterator[str]:
    """Yield the page, part by part."""
    yield HEAD
    yield "## Pairs\n"
    yield "`pairs.parquet`, and any suite. All columns hold text. [Suites](suites.md) names columns that may be added.\n"
    yield table(described(PAIRS_SCHEMA, PAIRS))
    yield "\n## Answers\n"
    yield "`answers.parquet`: one row per prompt.\n"
    yield answers_table()
    yield "\n## Manifest\n"
    yield "`manifest.json`. Dots separate sections; keys that do not apply to a run are left out.\n"
    yield table(MANIFEST_KEYS, ("key", "meaning"))
    yield "\n## Statistics\n"
    for title, where, schema in STATISTICS:
        yield f"### {title}\n\n{where}\n\n{table(described(schema, MEASURED))}\n"
    yield "## People\n"
    yield "Beside the run folders of `misfired annotate collect`.\n"
    for title, (where, schema, texts) in PEOPLE.items():
        yield f"### {title}\n\n{where}\n\n{table(described(schema, texts))}\n"
    yield "## Localise\n"
    yield "A folder of `misfired localise`: one Parquet file for each table, `manifest.json`, and figures.\n"
    for title, columns in LOCALISE.items():
        yield f"### {title}\n\n{table(columns)}\n"


def page() -> str:
    """Return docs/outputs.md.

    Raises:
        ValueError: A description that no table needs.
    """
    needed = {name for *_, schema in STATISTICS for name in schema}
    if unused := MEASURED.keys() - needed:
        raise ValueError(f"no table has the columns {', '.join(sorted(unused))}")
    return "\n".join(sections()).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
