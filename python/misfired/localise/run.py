"""What localisation takes from a finished run: who was asked what, and how it answered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from misfired.errors import DataError, ModelError
from misfired.prompts.primings import Priming
from misfired.prompts.shots import Shot
from misfired.runs.folder import read_answers, read_pairs
from misfired.runs.manifest import TemplateSettings, read_manifest
from misfired.scoring.llama.model import Model, model_sha256
from misfired.scoring.llama.session import template_for
from misfired.scoring.protocol import Protocol
from misfired.scoring.template import ChatTemplate
from misfired.stats.outcomes import build_outcomes


@dataclass(frozen=True)
class RunData:
    """A run folder, read and checked against its model.

    Attributes:
        outcomes: Of the priming under study, one row per pair.
        pairs: What was asked.
        protocol: How the run asked.
        template: Through which template.
        shots: Demonstrations that it put before every prompt.
        priming: What is put to the prompts under study.
    """

    outcomes: pl.DataFrame
    pairs: pl.DataFrame
    protocol: Protocol
    template: ChatTemplate
    shots: tuple[Shot, ...]
    priming: Priming


def read_run(path: Path | str, model: Model, *, priming: str) -> RunData:
    """Read a run folder and check that it is a run of this model.

    Raises:
        DataError: The run is of another model or template, was not primed so, or has lost its pairs.
    """
    path = Path(path)
    answers = read_answers(path)
    settings = read_manifest(path).settings
    sha256 = model_sha256(model.path)
    if settings.model_sha256 is None or settings.template is None:
        raise DataError(
            f"{path}: a run of a server, which cannot be looked into; run the model's file"
        )
    if settings.model_sha256 != sha256:
        raise DataError(
            f"{path}: a run of another model (sha256 {settings.model_sha256[:12]}..., "
            f"{model.path} has {sha256[:12]}...)"
        )
    if settings.intervention is not None:
        raise DataError(
            f"{path}: a run with an intervention; localisation looks into the model as it is"
        )
    known = answers["priming"].unique().to_list()
    if priming not in known:
        raise DataError(f"{path}: no priming {priming!r}; the run has {', '.join(sorted(known))}")
    outcomes = build_outcomes(answers).filter(pl.col("priming") == priming)
    return RunData(
        outcomes,
        read_pairs(path),
        _checked(path, settings.protocol),
        _template(path, settings.template, model),
        () if settings.shots is None else settings.shots.demonstrations,
        next(one for one in settings.primings if one.name == priming),
    )


def _checked(path: Path, protocol: Protocol) -> Protocol:
    if protocol.reading != "first_token" or set(protocol.answers) != {"yes", "no"}:
        raise DataError(
            f"{path}: protocol {protocol.name!r} reads {', '.join(protocol.answers)} by {protocol.reading}; "
            "localisation needs yes and no, read by their first token"
        )
    return protocol


def _template(path: Path, stated: TemplateSettings, model: Model) -> ChatTemplate:
    choice = None if stated.name == "model" else stated.name
    template = template_for(model, choice)
    if _digest(template.source) != stated.sha256:
        raise DataError(f"{path}: chat template {stated.name!r} has changed since the run")
    return template


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check_base(model: Model, base: Model, prompts: Sequence[str]) -> None:
    """Refuse a base whose layers or tokens cannot be set beside the model's.

    Raises:
        ModelError: Another number of tokens, another token, another layer count, or a text that is
            tokenised otherwise.
    """
    for what, key in (("layers", "block_count"), ("heads", "attention.head_count")):
        counts = [_metadata_number(m, key) for m in (model, base)]
        if counts[0] != counts[1]:
            raise ModelError(
                f"{base.path}: a base with {counts[1]} {what}, the model has {counts[0]}"
            )
    sizes = [m.tokenizer.n_vocab for m in (model, base)]
    if sizes[0] != sizes[1]:
        raise ModelError(f"{base.path}: a base with {sizes[1]} tokens, the model has {sizes[0]}")
    for token in range(sizes[0]):
        if model.tokenizer.piece(token) != base.tokenizer.piece(token):
            raise ModelError(f"{base.path}: a base with another tokenizer: token {token} differs")
    for text in prompts:
        ids = [m.tokenizer.encode(text, parse_special=True).tolist() for m in (model, base)]
        if ids[0] != ids[1]:
            raise ModelError(
                f"{base.path}: a base with another tokenizer: {text[:40]!r}... has other tokens"
            )


def _metadata_number(model: Model, key: str) -> str:
    architecture = model.metadata.get("general.architecture", "")
    return model.metadata.get(f"{architecture}.{key}", "?")
