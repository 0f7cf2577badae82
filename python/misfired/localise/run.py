"""A finished run, as localisation reads it: its pairs, settings and outcomes."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from misfired.errors import DataError, ModelError
from misfired.localise.cases import FAILED, choose_cases
from misfired.prompts.primings import Priming
from misfired.prompts.shots import Shot
from misfired.runs.finished import open_run
from misfired.runs.manifest import TemplateSettings
from misfired.scoring.llama.guard import try_loading
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import Session
from misfired.scoring.model_file import find_model, model_sha256
from misfired.scoring.options import Devices, ScoringOptions
from misfired.scoring.protocol import Protocol
from misfired.stats.outcomes import build_outcomes
from misfired.stats.verdict import Verdict, verdict


@dataclass(frozen=True)
class RunData:
    """A run folder, read and checked against its model.

    Attributes:
        outcomes: Of the priming under study, one row per pair.
        elsewhere: Failures under the run's other primings.
        verdict: Whether the run reads under this priming, and which way it leans.
        template: The chat template, as the manifest has it.
    """

    path: Path
    model: Path
    outcomes: pl.DataFrame
    elsewhere: dict[str, int]
    verdict: Verdict
    pairs: pl.DataFrame
    priming: Priming
    protocol: Protocol
    template: TemplateSettings
    shots: tuple[Shot, ...]
    model_sha256: str

    def choose(
        self, *, n_pairs: int | None, seed: int, among: Collection[str] | None = None
    ) -> pl.DataFrame:
        """Draw failures and controls as `choose_cases` does.

        Raises:
            DataError: There is no failure to study; says which other priming has some.
        """
        try:
            return choose_cases(self.outcomes, n_pairs=n_pairs, seed=seed, among=among)
        except DataError as error:
            some = [f"{name} {n}" for name, n in self.elsewhere.items() if n]
            others = f"; --priming has some under: {', '.join(some)}" if some else ""
            raise DataError(f"{self.path}: priming {self.priming.name}: {error}{others}") from None

    def open(self, devices: Devices) -> Session:
        """Load the model and set it up as the run did.

        Raises:
            DataError: The chat template has changed since the run.
            ModelError: The model file has changed since it was compared with the run.
        """
        name = self.template.name
        template = None if name == "model" else name
        options = ScoringOptions(protocol=self.protocol, template=template, **vars(devices))
        session = Session(self.model, options, self.shots)
        source = session.template.source
        if session.model.file.sha256 != self.model_sha256:
            session.close()
            raise ModelError(f"{self.model}: must stay as it is while it is loaded, but it changed")
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
    path, model = Path(path), find_model(model)
    run = open_run(path)
    settings = run.manifest.settings
    if settings.model_sha256 is None or settings.template is None:
        raise DataError(
            f"{path}: run must be of a model file, got a run of a server; run the model's file"
        )
    protocol, sha256, problem = settings.protocol, model_sha256(model), None
    primings = {one.name: one for one in settings.primings}
    if settings.model_sha256 != sha256:
        problem = (
            f"run must be of {model} (sha256 {sha256[:12]}...), got a run of another model "
            f"({settings.model_sha256[:12]}...)"
        )
    elif settings.intervention is not None:
        problem = "run must be without an intervention, got a run with an intervention"
    elif priming not in primings:
        problem = f"priming must be one of {', '.join(sorted(primings))}, got {priming!r}"
    elif protocol.reading != "first_token" or not protocol.is_yes_no:
        problem = (
            f"protocol must read yes and no by their first token, got {protocol.name!r}, which reads "
            f"{', '.join(protocol.answers)} by {protocol.reading}"
        )
    if problem is not None:
        raise DataError(f"{path}: {problem}")
    if run.pairs is None:
        raise DataError(f"{path}: must hold pairs.parquet to be localised, which is missing")
    outcomes = build_outcomes(run.answers)
    failures = outcomes.filter(FAILED).group_by("priming", maintain_order=True).len()
    elsewhere = {name: n for name, n in failures.iter_rows() if name != priming}
    shots = () if settings.shots is None else settings.shots.demonstrations
    return RunData(
        path=path, model=model, outcomes=outcomes.filter(priming=priming), elsewhere=elsewhere,
        verdict=verdict(run.answers, priming=priming), pairs=run.pairs, priming=primings[priming],
        protocol=protocol, template=settings.template,
        shots=shots, model_sha256=sha256,
    )  # fmt: skip


def check_base(model: Model, base: Model, prompts: Sequence[str]) -> None:
    """Refuse a base with other layers, heads or tokens than the model's.

    Raises:
        ModelError: Layers, heads, tokens, or the tokens of a text differ.
    """
    for (name, expected), got in zip(_shape(model).items(), _shape(base).values(), strict=True):
        if got != expected:
            raise ModelError(f"{base.path}: base must have {expected} {name}, got {got}")
    for token in range(model.tokenizer.n_vocab):
        if model.tokenizer.piece(token) != base.tokenizer.piece(token):
            raise ModelError(
                f"{base.path}: base must have the model's tokens: token {token} differs"
            )
    for text in prompts:
        own, other = (m.tokenizer.encode(text, parse_special=True) for m in (model, base))
        if not np.array_equal(own, other):
            raise ModelError(
                f"{base.path}: base must have the model's tokenizer: {text[:40]!r}... differs"
            )


def _shape(model: Model) -> dict[str, str]:
    arch = model.metadata.get("general.architecture", "")
    return {
        "layers": model.metadata.get(f"{arch}.block_count", "?"),
        "heads": model.metadata.get(f"{arch}.attention.head_count", "?"),
        "tokens": str(model.tokenizer.n_vocab),
    }
