"""A finished run, as localisation reads it: its pairs, settings and outcomes."""

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
from misfired.scoring.llama.guard import try_loading
from misfired.scoring.llama.model import Model, model_sha256
from misfired.scoring.llama.session import Session
from misfired.scoring.options import ScoringOptions
from misfired.scoring.protocol import Protocol
from misfired.stats.outcomes import build_outcomes


@dataclass(frozen=True)
class RunData:
    """A run folder, read and checked against its model.

    Attributes:
        path: The folder.
        model: The model's file.
        outcomes: Of the priming under study, one row per pair.
        pairs: The suite.
        priming: The priming under study.
        protocol: The run's protocol.
        template: Its chat template, as the manifest has it.
        shots: Demonstrations before every prompt.
    """

    path: Path
    model: Path
    outcomes: pl.DataFrame
    pairs: pl.DataFrame
    priming: Priming
    protocol: Protocol
    template: TemplateSettings
    shots: tuple[Shot, ...]

    def open(self, n_gpu_layers: int = 0) -> Session:
        """Load the model and set it up as the run did.

        Raises:
            DataError: The chat template has changed since the run.
        """
        name = self.template.name
        options = ScoringOptions(
            protocol=self.protocol,
            template=None if name == "model" else name,
            n_gpu_layers=n_gpu_layers,
        )
        session = Session(self.model, options, self.shots)
        source = session.template.source
        if hashlib.sha256(source.encode()).hexdigest() != self.template.sha256:
            session.close()
            raise DataError(f"{self.path}: chat template {name!r} has changed since the run")
        return session


def read_run(path: Path | str, model: Path | str, *, priming: str) -> RunData:
    """Read a run folder and check that it is a run of this model.

    Raises:
        DataError: The run is of another model or a server, with an intervention, without this priming,
            or with a protocol that is not read by first tokens; or its pairs are lost.
        ModelError: The model cannot be loaded.
    """
    try_loading(model)
    path, model = Path(path), Path(model)
    answers = read_answers(path)
    settings = read_manifest(path).settings
    if settings.model_sha256 is None or settings.template is None:
        raise DataError(
            f"{path}: run must be of a model file, got a run of a server; run the model's file"
        )
    sha256 = model_sha256(model)
    if settings.model_sha256 != sha256:
        raise DataError(
            f"{path}: run must be of {model} (sha256 {sha256[:12]}...), got a run of another model "
            f"({settings.model_sha256[:12]}...)"
        )
    if settings.intervention is not None:
        raise DataError(
            f"{path}: run must be without an intervention, got a run with an intervention"
        )
    known = answers["priming"].unique().to_list()
    if priming not in known:
        raise DataError(
            f"{path}: priming must be one of {', '.join(sorted(known))}, got {priming!r}"
        )
    return RunData(
        path,
        model,
        build_outcomes(answers).filter(pl.col("priming") == priming),
        read_pairs(path),
        next(one for one in settings.primings if one.name == priming),
        _checked(path, settings.protocol),
        settings.template,
        () if settings.shots is None else settings.shots.demonstrations,
    )


def _checked(path: Path, protocol: Protocol) -> Protocol:
    if protocol.reading != "first_token" or set(protocol.answers) != {"yes", "no"}:
        raise DataError(
            f"{path}: protocol must read yes and no by their first token, got {protocol.name!r}, which "
            f"reads {', '.join(protocol.answers)} by {protocol.reading}"
        )
    return protocol


def check_base(model: Model, base: Model, prompts: Sequence[str]) -> None:
    """Refuse a base with other layers, heads or tokens than the model's.

    Raises:
        ModelError: Layers, heads, tokens, or the tokens of a text differ.
    """
    numbers = {
        "layers": [m.metadata.get(_key(m, "block_count"), "?") for m in (model, base)],
        "heads": [m.metadata.get(_key(m, "attention.head_count"), "?") for m in (model, base)],
        "tokens": [str(m.tokenizer.n_vocab) for m in (model, base)],
    }
    for name, (expected, got) in numbers.items():
        if got != expected:
            raise ModelError(f"{base.path}: base must have {expected} {name}, got {got}")
    for token in range(model.tokenizer.n_vocab):
        if model.tokenizer.piece(token) != base.tokenizer.piece(token):
            raise ModelError(
                f"{base.path}: base must have the model's tokens: token {token} differs"
            )
    for text in prompts:
        ids = [m.tokenizer.encode(text, parse_special=True).tolist() for m in (model, base)]
        if ids[0] != ids[1]:
            raise ModelError(
                f"{base.path}: base must have the model's tokenizer: {text[:40]!r}... differs"
            )


def _key(model: Model, name: str) -> str:
    return f"{model.metadata.get('general.architecture', '')}.{name}"
