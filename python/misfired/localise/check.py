"""Checks that the probe shows and changes what the model really computes, before anything else."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from misfired.errors import ModelError
from misfired.localise.cases import Prompt
from misfired.localise.held import Held, Interventions
from misfired.localise.probe import SITES, Activations, Probe
from misfired.stats.means import Floats

#: Largest difference of a margin that rounding explains where nothing was changed.
TOLERANCE = 1e-4

#: Architectures that the tests of misfired cover.
VERIFIED = ("gemma2", "gemma3", "gpt2", "llama", "phi3", "qwen2", "qwen3")


def check_probe(probe: Probe, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Check on one pair that reads and writes do what they should.

    All are differences of margins (see `Prompt.margin`):

    - `lens`: the last layer's residual through the lens, against the answer;
    - `identity`: each site of each layer overwritten with its own values, against nothing overwritten;
    - `transplant`: every layer's residual taken from the other prompt, against that prompt's answer;
    - `moved_by_zero`, `moved_by_feed_forward`: the largest change when all heads of a layer, or its
      feed-forward output, are zeroed. A write that is ignored would pass all other checks.
    - `redecoding`: the noise floor, below which effects mean nothing: the prompt's last token is
      re-decoded, as for an intervention, with nothing changed. This is rounding with f32 weights, and
      up to some hundredths where quantised weights make llama.cpp round activations too.

    Returns:
        These, `tolerance`, `architecture` and `verified` (True if the tests of misfired cover it).

    Raises:
        ModelError: `lens`, `identity` or `transplant` is above `TOLERANCE`, or zeros move nothing.
    """
    held = Held(probe, prompts)
    residual = held.last["residual"]
    plain, own = _run_at_every_site(held, None)
    same, _ = _run_at_every_site(held, own)
    other = Interventions(held)
    for slot, prompt in enumerate(prompts):
        job = other.add(slot)
        for layer in range(probe.n_layer):
            other.request.write(job, "residual", layer, prompt.last, residual[1 - slot, layer])
    swapped = held.unembed(residual[::-1, -1], [0, 1])
    architecture = probe.model.metadata.get("general.architecture", "?")
    found: dict[str, Any] = {
        "lens": _largest(held.unembed(residual[:, -1], [0, 1]) - held.margins),
        "identity": _largest(same - plain),
        "redecoding": _largest(plain.reshape(2, -1) - held.margins[:, None]),
        "transplant": _largest(other.margins() - swapped),
        "moved_by_zero": _moved_by_zeros(held, "attention"),
        "moved_by_feed_forward": _moved_by_zeros(held, "feed_forward"),
        "tolerance": TOLERANCE,
        "architecture": architecture,
        "verified": architecture in VERIFIED,
    }
    problems = [
        f"{name} must be at most {TOLERANCE:g} off in the margin, got {found[name]:.2e}"
        for name in ("lens", "identity", "transplant")
        # "not <=" so that NaN fails too.
        if not found[name] <= TOLERANCE
    ] + [
        f"{name} must be above {TOLERANCE:g}, got {found[name]:.2e}: writes are ignored"
        for name in ("moved_by_zero", "moved_by_feed_forward")
        if not found[name] > TOLERANCE
    ]
    if problems:
        raise ModelError(
            f"{probe.model.path}: architecture {architecture!r} cannot be vouched for: {problems[-1]}"
        )
    return found


def redecoding(held: Held) -> float:
    """Return the noise floor: how far re-decoding the last token alone moves any margin.

    A device may compute wide and narrow batches differently. So each prompt is decoded in a batch as wide
    as those of a sweep, and in one as narrow as the last of a sweep may be.
    """
    n = len(held.prompts)
    slots = [i % n for i in range(-(-held.probe.n_streams // n) * n)]
    runs = [Interventions(held) for _ in range(2)]
    for one, some in zip(runs, (slots, range(n)), strict=True):
        for slot in some:
            one.add(slot)
    wide, narrow = (one.margins() for one in runs)
    return max(_largest(wide - held.margins[slots]), _largest(narrow - held.margins))


def _run_at_every_site(
    held: Held, values: list[Activations] | None
) -> tuple[Floats, list[Activations]]:
    """Run each prompt for each layer and site, reading that place or overwriting it.

    Both kinds fill the same batches in the same order, so that they differ by the write alone.
    """
    runs = Interventions(held)
    places = product(enumerate(held.prompts), range(held.probe.n_layer), SITES)
    for (slot, prompt), layer, site in places:
        job = runs.add(slot)
        if values is None:
            runs.request.read(job, site, layer, prompt.last)
        else:
            runs.request.write(job, site, layer, prompt.last, values[job])
    return runs.run()


def _moved_by_zeros(held: Held, site: str) -> float:
    """Return the largest change of the first prompt's margin when a whole site of a layer is zeroed."""
    runs = Interventions(held)
    for layer in range(held.probe.n_layer):
        runs.zero(runs.add(0), site, layer, held.prompts[0].last, slice(0, held.probe.widths[site]))
    return _largest(runs.margins() - held.margins[0])


def _largest(differences: Floats) -> float:
    return float(np.abs(differences).max())
