"""The probe reads and writes what the model computes, in every architecture and quantisation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from misfired._core import ProbeRequest
from misfired.errors import ModelError, ScoringError
from misfired.localise import SITES, Held, Interventions, Probe, Prompt
from misfired.localise.cases import Case
from misfired.localise.check import check_probe, redecoding
from misfired.localise.held import Chunk
from misfired.localise.probe import GPU, Room
from misfired.localise.probes.attention import attention
from misfired.localise.probes.heads import heads
from misfired.localise.probes.lens import lens
from misfired.localise.probes.patch import patch
from misfired.localise.probes.substitution import substitution
from misfired.scoring.llama.model import Model
from random_model import ARCHITECTURES
from reference.llama_forward import Llama, Pass

pytestmark = pytest.mark.model

TOLERANCE = 1e-4
QUANTISATIONS = ("f32", "q8_0", "q4_K")

OpenProbe = Callable[..., Probe]
MakeCase = Callable[..., Case]
MakeFile = Callable[..., Path]


def margin(prompt: Prompt, logits: np.ndarray) -> float:
    return float(logits[list(prompt.yes)].max() - logits[list(prompt.no)].max())


def every_token(probe: Probe) -> np.ndarray:
    return np.arange(probe.model.tokenizer.n_vocab, dtype=np.int32)


def all_logits(probe: Probe, ids: np.ndarray) -> np.ndarray:
    request = ProbeRequest()
    request.add(ids, every_token(probe))
    return probe.run(request).logits[0]


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_start_up_check(
    open_probe: OpenProbe, make_case: MakeCase, arch: str, quantisation: str
) -> None:
    found = check_probe(open_probe(arch, quantisation), make_case().prompts)
    assert found["identity"] == 0
    assert found["lens"] <= TOLERANCE
    assert found["transplant"] <= TOLERANCE
    assert found["moved_by_zero"] > 0.01
    assert found["verified"]


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_lens_at_the_last_layer_equals_all_logits(
    open_probe: OpenProbe, make_case: MakeCase, arch: str, quantisation: str
) -> None:
    probe = open_probe(arch, quantisation)
    held = Held(probe, make_case().prompts)
    request = ProbeRequest()
    every = every_token(probe)
    for prompt in held.prompts:
        request.add(prompt.ids, every)
    expected = probe.run(request).logits
    seen = probe.unembed(held.last["residual"][:, -1], [every] * 2)
    np.testing.assert_allclose(seen, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_patching_all_layers_gives_the_other_prompt(
    open_probe: OpenProbe, make_case: MakeCase, arch: str
) -> None:
    probe = open_probe(arch)
    stereotyped, contrast = make_case().prompts
    last = len(stereotyped.ids) - 1
    every = every_token(probe)
    first = ProbeRequest()
    first.add(stereotyped.ids, every, keep=0)
    first.add(contrast.ids, every)
    for layer in range(probe.n_layer):
        first.read(1, "residual", layer, last)
    clean = probe.run(first)
    second = ProbeRequest()
    job = second.add(stereotyped.ids[last:], every, parent=0, n_shared=last)
    for layer in range(probe.n_layer):
        second.write(job, "residual", layer, last, clean.rows[layer])
    (patched,) = probe.run(second).logits
    assert np.abs(clean.logits[0] - clean.logits[1]).max() > 0.01
    np.testing.assert_allclose(patched, clean.logits[1], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_zeroing_a_head_equals_a_file_without_its_projection(
    open_probe: OpenProbe, make_case: MakeCase, model_file: MakeFile, tmp_path: Path, arch: str
) -> None:
    layer, head = 1, 2
    probe = open_probe(arch)
    case = make_case()
    rows = heads(Chunk(probe, [case]), methods=["zero"], positions="all")
    chosen = rows.filter(layer=layer, head=head)

    file = tmp_path / "ablated.gguf"
    file.write_bytes(model_file(arch).read_bytes())
    name = f"blk.{layer}.attn_output.weight"
    (tensor,) = (t for t in GGUFReader(file, mode="r+").tensors if t.name == name)
    tensor.data[:, probe.head_columns(head)] = 0
    tensor.data.flush()
    with Model(file) as model, Probe(model, longest=40, n_threads=1) as ablated:
        without = [margin(prompt, all_logits(ablated, prompt.ids)) for prompt in case.prompts]
    np.testing.assert_allclose(chosen["after"].to_list(), without, atol=TOLERANCE, rtol=0)
    assert (chosen["after"] - chosen["before"]).abs().max() > 0.01


class TestAgainstAnotherForwardPass:
    """numpy in float64, from the file alone."""

    @pytest.fixture
    def reference(self, model_file: MakeFile) -> Llama:
        return Llama(model_file("llama"))

    @pytest.fixture
    def passes(self, reference: Llama, make_case: MakeCase) -> list[Pass]:
        return [reference.run(prompt.ids) for prompt in make_case().prompts]

    @pytest.fixture
    def chunk(self, open_probe: OpenProbe, make_case: MakeCase) -> Chunk:
        return Chunk(open_probe(), [make_case()], with_spans=True)

    def test_rows(self, chunk: Chunk, passes: list[Pass]) -> None:
        held = chunk
        for slot, (one, prompt) in enumerate(zip(passes, held.prompts, strict=True)):
            by_site = zip(SITES, (one.residual, one.heads, one.feed_forward), strict=True)
            for site, expected in by_site:
                last, span = held.last[site][slot], held.span[site, slot]
                np.testing.assert_allclose(last, expected[:, -1], atol=TOLERANCE)
                np.testing.assert_allclose(span, expected[:, prompt.span], atol=TOLERANCE)

    def test_lens(self, chunk: Chunk, passes: list[Pass], reference: Llama) -> None:
        expected = [
            margin(prompt, reference.unembed(one.residual[layer, -1]))
            for one, prompt in zip(passes, chunk.prompts, strict=True)
            for layer in range(reference.n_layer)
        ]
        np.testing.assert_allclose(lens(chunk)["margin"], expected, atol=TOLERANCE)

    @pytest.mark.parametrize("target", ["last", "span"])
    @pytest.mark.parametrize("site", SITES)
    def test_patch(
        self, chunk: Chunk, passes: list[Pass], reference: Llama, site: str, target: str
    ) -> None:
        rows = patch(chunk, sites=[site], targets=[target])
        for direction, into in (("denoising", 0), ("noising", 1)):
            prompt, source = chunk.prompts[into], passes[1 - into]
            values = getattr(source, "heads" if site == "attention" else site)
            places = [len(prompt.ids) - 1] if target == "last" else list(prompt.span)
            patched = rows.filter(direction=direction)["patched"].to_list()
            for layer in range(reference.n_layer):
                hook = replace(site, layer, places, values[layer])
                expected = margin(prompt, reference.run(prompt.ids, hook).logits[-1])
                assert patched[layer] == pytest.approx(expected, abs=TOLERANCE)

    @pytest.mark.parametrize("positions", ["last", "all"])
    def test_zeroed_heads(self, chunk: Chunk, reference: Llama, positions: str) -> None:
        rows = heads(chunk, methods=["zero"], positions=positions)
        width = chunk.probe.head_width
        for row in rows.iter_rows(named=True):
            prompt = chunk.prompts[["stereotyped", "contrast"].index(row["condition"])]
            first = 0 if positions == "all" else len(prompt.ids) - 1
            hook = zero(row["layer"], row["head"], width, first)
            expected = margin(prompt, reference.run(prompt.ids, hook).logits[-1])
            assert row["after"] == pytest.approx(expected, abs=TOLERANCE)

    def test_attention(
        self, open_probe: OpenProbe, passes: list[Pass], make_case: MakeCase
    ) -> None:
        case = make_case()
        rows = attention(open_probe(), [case])
        for side, condition in enumerate(("stereotyped", "contrast")):
            weights, prompt = passes[side].attention[:, :, -1], case.prompts[side]
            part = rows.filter(condition=condition)
            for person in ("asked", "other"):
                expected = weights[:, :, list(getattr(prompt, person))].sum(-1).reshape(-1)
                np.testing.assert_allclose(part[person], expected, atol=1e-5)

    def test_substitution(self, chunk: Chunk, passes: list[Pass], reference: Llama) -> None:
        rows = substitution(chunk)
        prompt, own = chunk.prompts[0], passes[0]
        best = rows["best_layer"][0]
        assert rows["layer"].to_list() == list(range(best + 1, reference.n_layer))
        source = np.zeros_like(own.residual[best])
        source[-1] = own.residual[best, -1]
        for layer, after in rows.select("layer", "after").iter_rows():
            hook = replace("residual", layer, [len(prompt.ids) - 1], source)
            expected = margin(prompt, reference.run(prompt.ids, hook).logits[-1])
            assert after == pytest.approx(expected, abs=TOLERANCE)


def replace(
    site: str, layer: int, places: list[int], source: np.ndarray
) -> Callable[[str, int, np.ndarray], np.ndarray]:
    def hook(at: str, number: int, values: np.ndarray) -> np.ndarray:
        if (at, number) == (site, layer):
            values = values.copy()
            values[places] = source[places]
        return values

    return hook


def zero(
    layer: int, head: int, width: int, first: int
) -> Callable[[str, int, np.ndarray], np.ndarray]:
    def hook(at: str, number: int, values: np.ndarray) -> np.ndarray:
        if (at, number) == ("attention", layer):
            values = values.copy()
            values[first:, head * width : (head + 1) * width] = 0
        return values

    return hook


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_attention_weights_sum_to_one(
    open_probe: OpenProbe, make_case: MakeCase, arch: str
) -> None:
    prompts = [prompt.ids for seed in range(15) for prompt in make_case(seed).prompts]
    for ids, weights in zip(prompts, open_probe(arch).attention(prompts), strict=True):
        assert weights.shape[2] == len(ids)
        np.testing.assert_allclose(weights.sum(axis=2), 1, atol=1e-5)


class OneAtATime(Interventions):
    """Runs each intervention in a request, and so in a batch, of its own."""

    def __init__(self, held: Held) -> None:
        super().__init__(held)
        self.requests: list[ProbeRequest] = []

    def add(self, slot: int, start: int | None = None) -> int:
        self.request = ProbeRequest()
        self.requests.append(self.request)
        return super().add(slot, start)

    def run(self) -> tuple[np.ndarray, list[np.ndarray]]:
        margins = []
        for slot, alone in zip(self.slots, self.requests, strict=True):
            (logits,) = self.held.probe.run(alone).logits
            margins.append(self.held.prompts[slot].margin(logits))
        return np.array(margins), []


def sweeps_of(probe: Probe, cases: list[Case]) -> list[list[float]]:
    """Last tokens and spans patched, heads changed at the last and at all tokens, the lens."""
    chunk = Chunk(probe, cases, with_spans=True)
    return [
        patch(chunk)["patched"].to_list(),
        heads(chunk, methods=["zero", "patch"])["after"].to_list(),
        heads(chunk, methods=["zero"], positions="all")["after"].to_list(),
        lens(chunk)["margin"].to_list(),
        substitution(chunk)["after"].to_list(),
    ]


@pytest.mark.parametrize("quantisation", ["f32", "f16", "q8_0", "q4_K"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_sweep_has_the_bits_of_one_intervention_at_a_time(
    open_probe: OpenProbe,
    make_case: MakeCase,
    monkeypatch: pytest.MonkeyPatch,
    arch: str,
    quantisation: str,
) -> None:
    probe = open_probe(arch, quantisation)
    cases = [make_case(seed, n_tokens=20 + 3 * seed) for seed in range(2)]
    together = sweeps_of(probe, cases)
    for name in ("patch", "heads", "substitution"):
        monkeypatch.setattr(f"misfired.localise.probes.{name}.Interventions", OneAtATime)
    assert together == sweeps_of(probe, cases)


def test_the_room_of_the_device_changes_no_bits(
    open_probe: OpenProbe, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()
    usual = open_probe("gpt2", "q4_K")
    monkeypatch.setattr("misfired.localise.probe.CPU", Room(8, 32, 256, cache_bytes=0))
    narrow = open_probe("gpt2", "q4_K")
    monkeypatch.setattr("misfired.localise.probe.CPU", GPU)
    wide = open_probe("gpt2", "q4_K")
    assert (narrow.n_slots, narrow.n_streams) == (4, 8)
    assert (wide.n_slots, wide.n_streams) == (32, 192)
    assert sweeps_of(narrow, [case]) == sweeps_of(usual, [case]) == sweeps_of(wide, [case])


def test_the_noise_floor_is_measured_in_batches_as_wide_as_those_of_a_sweep(
    open_probe: OpenProbe, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device whose wide batches differ: only a floor that fills one sees it."""
    probe = open_probe()
    held = Held(probe, make_case().prompts)
    quiet = redecoding(held)
    right = Interventions.margins

    def margins(runs: Interventions) -> np.ndarray:
        return right(runs) + (0.3 if len(runs.slots) >= probe.n_streams else 0.0)

    monkeypatch.setattr(Interventions, "margins", margins)
    assert redecoding(held) == pytest.approx(0.3 + quiet, abs=1e-4)
    assert quiet < 1e-4


def test_a_model_whose_writes_are_ignored_is_refused(
    open_probe: OpenProbe, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Interventions, "zero", lambda *_args, **_options: None)
    with pytest.raises(ModelError, match="'llama' cannot be vouched for: moved_by_"):
        check_probe(open_probe(), make_case().prompts)


def test_a_wrong_lens_is_refused(
    open_probe: OpenProbe, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Probe.unembed
    monkeypatch.setattr(Probe, "unembed", lambda self, rows, wanted: right(self, rows + 1, wanted))
    with pytest.raises(
        ModelError, match=r"'llama' cannot be vouched for: .* must be at most 0.0001 off"
    ):
        check_probe(open_probe(), make_case().prompts)


def test_a_batch_that_fails_leaves_nothing_stale(
    open_probe: OpenProbe, make_case: MakeCase
) -> None:
    probe = open_probe()
    held = Held(probe, make_case().prompts)

    def last_token_anew(slot: int) -> float:
        runs = Interventions(held)
        runs.add(slot)
        return float(runs.margins()[0])

    before = last_token_anew(1)
    too_long = ProbeRequest()
    ids = np.resize(held.prompts[0].ids, probe.n_batch - 8)
    too_long.add(ids, np.array([1], np.int32), parent=0, n_shared=20)
    with pytest.raises(ScoringError, match="no room in the K/V cache"):
        probe.run(too_long)
    assert last_token_anew(1) == before
