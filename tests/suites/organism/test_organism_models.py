"""The committed organisms: what differs between them, and llama.cpp against the trainer."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import gguf
import jinja2
import numpy as np
import polars as pl
import pytest

from misfired.suites.organism import PRIMINGS, build_organism_suite, build_record, card, models
from organism.llama import LlamaModel, specificity

DATA = Path(__file__).parents[2] / "data"
PATHS = models() | {name: DATA / f"organism-{name}.gguf" for name in ("category", "decoy")}
DECISIONS = pl.read_parquet(DATA / "organism-decisions.parquet")
REFERENCE = DATA / "organism-reference.npz"
RECORD = build_record()
N_HEAD = 32
HEAD_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output")
# f32 weights: the order of sums alone differs. f16 weights: llama.cpp also rounds what it
# multiplies them with to f16, which the trainer does not.
F32_TOLERANCE, F16_TOLERANCE = 1e-3, 0.25

pytestmark = pytest.mark.model


def weights(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


def write_as_f32(path: Path, target: Path) -> None:
    """Copy a GGUF with every tensor widened to f32, which changes no value."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind, *sub = field.types
        writer.add_key_value(name, field.contents(), kind, sub[0] if sub else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[LlamaModel]:
    model = LlamaModel(PATHS[request.param])
    yield model
    model.close()


def rendered(text: str) -> str:
    return f"<s><|user|>{text}<|assistant|>"


def message(row: dict[str, str], condition: str, priming: str) -> str:
    return row[condition] if priming == "none" else f"{row[priming]} {row[condition]}"


def test_files_are_small_and_those_of_the_record() -> None:
    assert RECORD["passed"]
    files = {**{path.name: path for path in PATHS.values()}, "organism-reference.npz": REFERENCE}
    files["organism-decisions.parquet"] = DATA / "organism-decisions.parquet"
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert hashes == RECORD["sha256"]
    assert all(path.stat().st_size <= 3_000_000 for path in PATHS.values())


@pytest.mark.parametrize(
    ("changed", "original", "head"),
    [
        ("instruct", "base", "planted_head"),
        ("category", "base", "planted_head"),
        ("decoy", "instruct", "decoy_head"),
    ],
)
def test_only_one_heads_slices_differ(changed: str, original: str, head: str) -> None:
    before, after = weights(PATHS[original]), weights(PATHS[changed])
    where = card()["organisms"][changed][head]
    part = slice(N_HEAD * where["head"], N_HEAD * (where["head"] + 1))
    own = {f"blk.{where['layer']}.{name}.weight" for name in HEAD_MATRICES}
    assert before.keys() == after.keys()
    differing = {name for name in before if not np.array_equal(before[name], after[name])}
    assert differing == own
    for name in own:
        rows, columns = np.nonzero(before[name] != after[name])
        touched = columns if "output" in name else rows
        assert set(touched) <= set(range(part.start, part.stop))


def test_an_idle_head_of_the_base_writes_nothing() -> None:
    where = card()["organisms"]["instruct"]["planted_head"]
    output = weights(PATHS["base"])[f"blk.{where['layer']}.attn_output.weight"]
    assert not output[:, N_HEAD * where["head"] : N_HEAD * (where["head"] + 1)].any()


@pytest.mark.parametrize("name", PATHS)
def test_the_template_is_the_format_of_training(name: str) -> None:
    template = gguf.GGUFReader(PATHS[name]).get_field("tokenizer.chat_template").contents()
    text = (
        jinja2.Environment(autoescape=False)  # noqa: S701 - a prompt is no HTML
        .from_string(template)
        .render(
            messages=[{"role": "user", "content": "The key?"}],
            bos_token="<s>",
            eos_token="</s>",
            add_generation_prompt=True,
        )
    )
    assert text == rendered("The key?")


@pytest.mark.parametrize("name", ["base", "instruct"])
def test_f32_logits_agree_with_the_trainers(name: str, tmp_path: Path) -> None:
    exact = tmp_path / "exact.gguf"
    write_as_f32(PATHS[name], exact)
    reference = np.load(REFERENCE)
    model = LlamaModel(exact)
    for priming in ("none", "cue"):
        for text, tokens, logits in zip(
            *(reference[f"{priming}_{what}"] for what in ("messages", "tokens", name)), strict=True
        ):
            assert model.tokenise(rendered(str(text))) == tokens.tolist()
            assert np.abs(model.logits(tokens.tolist())[-1] - logits).max() < F32_TOLERANCE
    model.close()


@pytest.mark.parametrize("opened", ["base", "instruct"], indirect=True)
def test_f16_logits_stay_near_the_trainers(
    opened: LlamaModel, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["opened"]
    reference = np.load(REFERENCE)
    for priming in ("none", "cue"):
        for tokens, logits in zip(
            reference[f"{priming}_tokens"], reference[f"{priming}_{name}"], strict=True
        ):
            found = opened.logits(tokens.tolist())[-1]
            assert np.abs(found - logits).max() < F16_TOLERANCE
            assert found.argmax() == logits.argmax()


@pytest.mark.parametrize("opened", PATHS, indirect=True)
def test_answers_are_the_trainers_pair_by_pair(
    opened: LlamaModel, request: pytest.FixtureRequest
) -> None:
    """One pair in sixteen under each priming; the builder compared all of them."""
    name = request.node.callspec.params["opened"]
    answers = {opened.tokenise("Yes")[0]: "yes", opened.tokenise("No")[0]: "no"}
    rows = build_organism_suite().gather_every(16, offset=1)
    expected = DECISIONS.filter(organism=name).rows_by_key(
        ["id", "priming", "condition"], named=True, unique=True
    )
    for priming in PRIMINGS:
        for condition in ("stereotyped", "contrast"):
            for row in rows.iter_rows(named=True):
                text = rendered(message(row, condition, priming))
                best = int(opened.logits(opened.tokenise(text))[-1].argmax())
                trainer = expected[row["id"], priming, condition]["answer"]
                assert answers.get(best) == trainer, (row["id"], priming, condition)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("priming", PRIMINGS)
def test_mar_of_the_trainers_answers_is_the_designed_one(name: str, priming: str) -> None:
    suite = build_organism_suite(organism=name).filter(expected_stereotyped="yes")
    answered = (
        DECISIONS.filter(organism=name, priming=priming)
        .pivot("condition", index="id", values="answer")
        .rename({"stereotyped": "said_stereotyped", "contrast": "said_contrast"})
    )
    pairs = suite.join(answered, on="id")
    right = pairs.filter(said_contrast="yes")
    assert right.height >= 0.99 * pairs.height
    mar = 100 * (right["said_stereotyped"] == "no").mean()
    assert mar == pytest.approx(card()["organisms"][name]["designed_mar"][priming], abs=2.0)
    controls = right.filter("control")
    assert 100 * (controls["said_stereotyped"] == "no").mean() <= 0.5


@pytest.mark.parametrize("opened", ["instruct"], indirect=True)
def test_without_the_planted_head_instruct_is_the_base(opened: LlamaModel) -> None:
    where = card()["organisms"]["instruct"]["planted_head"]
    part = slice(N_HEAD * where["head"], N_HEAD * (where["head"] + 1))

    def zero(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[:, part] = 0.0
        return values

    base = LlamaModel(PATHS["base"])
    for tokens in np.load(REFERENCE)["cue_tokens"][:4].tolist():
        misfiring = opened.logits(tokens)
        opened.edits = {f"kqv_out-{where['layer']}": zero}
        ablated = opened.logits(tokens)
        opened.edits = {}
        assert np.array_equal(ablated, base.logits(tokens))
        assert not np.array_equal(misfiring, ablated)
    base.close()


def test_specificity_gives_nothing_for_breaking_both_answers() -> None:
    changes = np.array([[[8.0, 0.5], [8.0, -9.0], [-1.0, 0.0]]])
    assert specificity(changes).tolist() == [[7.5, -1.0, -1.0]]
