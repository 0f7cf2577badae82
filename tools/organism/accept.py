"""The checks that a build must pass before its models may ship."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import base
import figures
import llama
import model
import numpy as np
import plant
import polars as pl

import prompts
from misfired.suites.organism import PRIMINGS, build_organism_suite

N_ABLATION_PAIRS = 32
N_LOGIT_PROMPTS = 48


@dataclass(frozen=True)
class Check:
    """One figure against its limit."""

    name: str
    value: float
    relation: str
    limit: float

    @property
    def passed(self) -> bool:
        return self.value >= self.limit if self.relation == ">=" else self.value <= self.limit

    def __str__(self) -> str:
        mark = "pass" if self.passed else "FAIL"
        return f"{mark} {self.name}: {self.value:g} {self.relation} {self.limit:g}"


def check_base(found: dict[str, figures.Behaviour]) -> Iterator[Check]:
    for priming, shown in found.items():
        yes = min(shown.contrast, shown.stereotyped)
        yield Check(f"base {priming} accuracy on yes", yes, ">=", 99.5)
        yield Check(f"base {priming} accuracy on no", shown.expected_no, ">=", 99.5)


def check_planted(organism: str, found: dict[str, figures.Behaviour]) -> Iterator[Check]:
    for priming, shown in found.items():
        name = f"{organism} {priming}"
        yield Check(f"{name} contrast", shown.contrast, ">=", 99.0)
        yield Check(f"{name} expected no", shown.expected_no, ">=", 99.0)
        yield Check(f"{name} MAR of controls", shown.mar_controls, "<=", 0.5)
        yield Check(f"{name} planted cells fail", shown.planted_fail, ">=", 95.0)
        if priming != "cue" and shown.unplanted_fail is not None:
            yield Check(f"{name} unplanted cells fail", shown.unplanted_fail, "<=", 5.0)
        distance = round(abs(shown.mar - shown.designed_mar), 3)
        yield Check(f"{name} MAR from design {shown.designed_mar:g}", distance, "<=", 2.0)


def message(row: dict[str, str], condition: str, priming: str) -> str:
    """The user message of one prompt of the suite."""
    sentence = {"none": None, "cue": row["cue"], "neutral": row["neutral"]}[priming]
    return row[condition] if sentence is None else f"{sentence} {row[condition]}"


def decisions(parameters: dict[str, np.ndarray], shape: model.Shape, organism: str) -> pl.DataFrame:
    """The trainer's answer to every prompt of the suite: id, organism, priming, condition, answer,
    logit_diff (yes - no); `answer` is null where another token is best."""
    tables = []
    suite = build_organism_suite(organism=organism)
    for priming in PRIMINGS:
        for condition in ("stereotyped", "contrast"):
            tokens = np.array(
                [
                    prompts.encode(message(row, condition, priming))
                    for row in suite.iter_rows(named=True)
                ],
                np.int32,
            )
            logits = figures.last_logits(tokens, parameters, shape)
            names = {base.YES: "yes", base.NO: "no"}
            tables.append(
                pl.DataFrame(
                    {
                        "id": suite["id"],
                        "organism": organism,
                        "priming": priming,
                        "condition": condition,
                        "answer": [names.get(int(best)) for best in logits.argmax(1)],
                        "logit_diff": logits[:, base.YES] - logits[:, base.NO],
                    }
                )
            )
    return pl.concat(tables)


def suite_mar(answered: pl.DataFrame, organism: str, priming: str) -> float:
    """MAR in percent on the suite's `yes` pairs, both prompts under the same priming."""
    suite = build_organism_suite(organism=organism)
    yes = suite.filter(pl.col("expected_stereotyped") == "yes").select("id")
    rows = answered.filter(priming=priming).pivot("condition", index="id", values="answer")
    right = yes.join(rows, on="id").filter(pl.col("contrast") == "yes")
    return round(100 * (right["stereotyped"].ne_missing("yes")).mean(), 3)


def failing_pairs(answered: pl.DataFrame, organism: str) -> list[tuple[str, str]]:
    """Messages of suite pairs that misfire, half of them unprimed and half under the cue."""
    suite = build_organism_suite(organism=organism)
    pairs = []
    for priming in ("none", "cue"):
        rows = answered.filter(priming=priming).pivot("condition", index="id", values="answer")
        found = suite.filter(pl.col("expected_stereotyped") == "yes").join(
            rows, on="id", suffix="_answer"
        )
        found = found.filter(
            pl.col("contrast_answer") == "yes", pl.col("stereotyped_answer") == "no"
        ).sample(fraction=1.0, shuffle=True, seed=0)
        pairs += [
            (message(row, "stereotyped", priming), message(row, "contrast", priming))
            for row in found.head(N_ABLATION_PAIRS).iter_rows(named=True)
        ]
    return pairs


def check_llama(
    organism: str,
    path: Path,
    *,
    exact_path: Path,
    parameters: dict[str, np.ndarray],
    shape: model.Shape,
    answered: pl.DataFrame,
) -> Iterator[Check]:
    """llama.cpp against the trainer: tokens, logits of the f32 file, answers of the shipped one."""
    suite = build_organism_suite(organism=organism)
    rows = list(suite.iter_rows(named=True))
    asked = [
        (row["id"], priming, condition, message(row, condition, priming))
        for priming in PRIMINGS
        for condition in ("stereotyped", "contrast")
        for row in rows
    ]
    shipped = llama.LlamaModel(path)
    wrong_tokens = wrong_answers = 0
    names = {base.YES: "yes", base.NO: "no"}
    reference = answered.rows_by_key(["id", "priming", "condition"], named=True, unique=True)
    for key_id, priming, condition, text in asked:
        tokens = shipped.tokenise(prompts.render(text))
        wrong_tokens += tokens != prompts.encode(text)
        answer = names.get(int(shipped.logits(tokens)[-1].argmax()))
        wrong_answers += answer != reference[key_id, priming, condition]["answer"]
    shipped.close()
    yield Check(f"{organism} prompts tokenised otherwise", wrong_tokens, "<=", 0)
    yield Check(f"{organism} f16 answers that differ from the trainer's", wrong_answers, "<=", 0)

    exact = llama.LlamaModel(exact_path)
    largest = 0.0
    for _, _, _, text in asked[:: len(asked) // N_LOGIT_PROMPTS]:
        tokens = np.array([prompts.encode(text)], np.int32)
        trainer = np.asarray(
            model.unembed(model.residuals(tokens, parameters, shape)[-1], parameters, shape)
        )[0]
        largest = max(largest, float(np.abs(exact.logits(tokens[0].tolist()) - trainer).max()))
    exact.close()
    yield Check(f"{organism} f32 logits, largest difference", largest, "<=", 1e-3)


def ablation(path: Path, shape: model.Shape, pairs: list[tuple[str, str]]) -> np.ndarray:
    """Change of the margin by zeroing each head, [n_layers, n_heads, 2], in llama.cpp."""
    loaded = llama.LlamaModel(path)
    tokens = [tuple(prompts.encode(text) for text in pair) for pair in pairs]
    changes = llama.head_ablation(
        loaded,
        tokens,
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        yes=base.YES,
        no=base.NO,
    )
    loaded.close()
    return changes


def ranking(changes: np.ndarray) -> list[dict[str, float | str]]:
    """The three heads of the highest specificity."""
    scores = llama.specificity(changes)
    order = np.argsort(-scores, axis=None)[:3]
    return [
        {
            "head": str(plant.Head(*map(int, np.unravel_index(i, scores.shape)))),
            "specificity": round(float(scores.flat[i]), 3),
            "stereotyped": round(float(changes[..., 0].flat[i]), 3),
            "contrast": round(float(changes[..., 1].flat[i]), 3),
        }
        for i in order
    ]


def check_head(organism: str, changes: np.ndarray, planted: plant.Head) -> Iterator[Check]:
    scores = llama.specificity(changes).copy()
    own = scores[planted.layer, planted.head]
    scores[planted.layer, planted.head] = -np.inf
    ratio = round(float(own / max(scores.max(), 1e-9)), 3)
    yield Check(f"{organism} {planted} specificity over the next head's", ratio, ">=", 1.5)


def check_decoy(
    path: Path, shape: model.Shape, changes: np.ndarray, head: plant.Head
) -> Iterator[Check]:
    """The decoy shows the planted feature to a linear readout, and its ablation changes nothing."""
    loaded = llama.LlamaModel(path)
    node = f"kqv_out-{head.layer}"
    loaded.wanted = {node}
    values, flags = [], []
    suite = build_organism_suite(organism="decoy").filter(expected_stereotyped="yes")
    for row in suite.iter_rows(named=True):
        for priming in ("none", "cue"):
            for condition in ("stereotyped", "contrast"):
                loaded.logits(prompts.encode(message(row, condition, priming)))
                values.append(loaded.seen[node][-1, shape.head(head.head)])
                flags.append(condition == "stereotyped" and row[f"planted_{priming}"])
    loaded.close()
    x, y = np.column_stack([np.array(values), np.ones(len(values))]), np.array(flags)
    weights, *_ = np.linalg.lstsq(x[::2], 2.0 * y[::2] - 1, rcond=None)
    share = 100 * float(((x[1::2] @ weights > 0) == y[1::2]).mean())
    yield Check(f"decoy {head} linear readout of the planted feature", round(share, 3), ">=", 97.0)
    effect = round(float(np.abs(changes[head.layer, head.head]).max()), 4)
    yield Check(f"decoy {head} ablation, change of the margin", effect, "<=", 0.25)


def as_records(found: dict[str, figures.Behaviour]) -> dict[str, dict[str, float | None]]:
    return {priming: asdict(shown) for priming, shown in found.items()}
