"""Small random-weight models, and pairs of prompts to probe them with."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from misfired.localise import Probe, Prompt
from misfired.localise.cases import Case
from misfired.runs.pipeline import run
from misfired.scoring.llama.model import Model
from random_model import make_model

N_LAYER = 3


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes each model once for the session."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def make(arch: str, quantisation: str = "f32", **options: object) -> Path:
        name = "-".join([arch, quantisation, *(f"{k}{v}" for k, v in sorted(options.items()))])
        if name not in made:
            width = 64 if quantisation == "f32" else 256
            sizes = {"n_layer": N_LAYER, "n_embd": width, "n_ff": 2 * width, **options}
            made[name] = make_model(
                folder / f"{name}.gguf", arch, quantisation=quantisation, **sizes
            )
        return made[name]

    return make


@pytest.fixture
def open_probe(model_file: Callable[..., Path]) -> Iterator[Callable[..., Probe]]:
    opened: list[Model | Probe] = []

    def make(arch: str = "llama", quantisation: str = "f32", **options: object) -> Probe:
        settings = {"longest": 40, "n_threads": 1, **options}
        model = Model(model_file(arch, quantisation))
        opened.append(model)
        probe = Probe(model, **settings)
        opened.append(probe)
        return probe

    yield make
    for one in reversed(opened):
        one.close()


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Case]:
    """A pair of prompts of random tokens that differ where the persons are named."""

    def make(seed: int = 0, *, n_tokens: int = 24, n_vocab: int = 1000) -> Case:
        rng = np.random.default_rng(seed)
        ids = rng.integers(10, n_vocab, n_tokens).astype(np.int32)
        first, second, question = (slice(4, 6), slice(10, 12), slice(n_tokens - 8, n_tokens - 6))
        ids[question] = ids[first]
        swapped = ids.copy()
        swapped[first], swapped[second] = ids[second], ids[first]
        swapped[question] = swapped[first]
        names = [tuple(range(s.start, s.stop)) for s in (first, second, question)]
        prompts = tuple(
            Prompt(
                one,
                yes=(5, 6),
                no=(7, 8, 9),
                expected="yes",
                span=range(question.start, question.stop),
                asked=(*names[0], *names[2]),
                other=names[1],
            )
            for one in (ids, swapped)
        )
        return Case(f"p{seed}", "A", f"s{seed}", "failure", prompts, None)

    return make


#: One token each, with or without a space before, in the built-in vocabulary.
WORDS = ("1", "2", "3", "4", "5", "6")


@pytest.fixture(scope="session")
def pairs() -> pl.DataFrame:
    """Role swaps whose answers differ, by chance, in a model with random weights."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(240):
        a, b = rng.permutation(WORDS)[:2]
        deed = f"{rng.integers(100)} of {rng.integers(100)}"
        text = "No. {0} saw {deed}. No. {1} did not. Is it true that No. {0} saw {deed}?"
        rows.append(
            {
                "id": f"p{i}",
                "suite": "test@1",
                "category": "A" if i < 120 else "B",
                "scenario": f"s{i // 6}",
                "stereotyped_group": a,
                "contrast_group": b,
                "cue": None,
                "stereotyped": text.format(a, b, deed=deed),
                "contrast": text.format(b, a, deed=deed),
                "expected_stereotyped": "yes",
                "expected_contrast": "yes",
            }
        )
    return pl.DataFrame(rows, schema_overrides={"cue": pl.String})


@pytest.fixture(scope="session")
def run_folder(
    pairs: pl.DataFrame, model_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    run(model_file("llama"), pairs, out=folder, protocol="logit-bare", n_resamples=50, n_threads=1)
    return folder
