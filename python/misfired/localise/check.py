"""Checks that the probe shows and changes what the model really computes, before anything else."""

from __future__ import annotations

from typing import Any

import numpy as np

from misfired.errors import ModelError
from misfired.localise.cases import Prompt
from misfired.localise.held import Held, Interventions, Margins
from misfired.localise.probe import SITES, Activations, Probe

#: Largest difference of a margin that rounding explains where nothing was changed.
TOLERANCE = 1e-4

#: Architectures that the tests of misfired cover.
VERIFIED = ("gemma2", "gemma3", "gpt2", "llama", "phi3", "qwen2", "qwen3")


def check_probe(
    probe: Probe, prompts: tuple[Prompt, Prompt], *, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Check on one pair that reads and writes do what they should.

    All are differences of margins (see `Prompt.margin`):

    - `lens`: the last layer's residual through the lens, against the answer;
    - `identity`: each site of each layer overwritten with its own values, against nothing overwritten;
    - `transplant`: every layer's residual taken from the other prompt, against that prompt's answer;
    - `moved_by_zero`, `moved_by_feed_forward`: the largest change when all heads of a layer, or its
      feed-forward output, are zeroed. A write that is ignored would pass all other checks.
    - `redecoding`: the noise floor. The prompt's last token is re-decoded, as for an intervention, with
      nothing changed. This is rounding with f32 weights, and up to some hundredths where quantised
      weights make llama.cpp round activations too. Smaller effects mean nothing.

    Returns:
        These, `tolerance`, `architecture` and `verified` (True if the tests of misfired cover it).

    Raises:
        ModelError: `lens`, `identity` or `transplant` is above the tolerance, or zeros do not move
            the margin.
    """
    held = Held(probe, prompts)
    residual = held.last["residual"]
    lens = np.abs(held.unembed(residual[:, -1], [0, 1]) - held.margins).max()

    plain, own = _run_at_every_site(held, None)
    same, _ = _run_at_every_site(held, own)
    identity = np.abs(same - plain).max()
    moved_by_redecoding = np.abs(plain.reshape(2, -1) - held.margins[:, None]).max()

    other = Interventions(held)
    for slot in (0, 1):
        job, last = other.add(slot), prompts[slot].last
        for layer in range(probe.n_layer):
            other.request.write(job, "residual", layer, last, residual[1 - slot, layer])
    swapped = held.unembed(residual[::-1, -1], [0, 1])
    transplant = np.abs(other.margins() - swapped).max()

    moved = {site: _largest_move(held, site) for site in ("attention", "feed_forward")}
    architecture = probe.model.metadata.get("general.architecture", "?")
    found = {
        "lens": float(lens),
        "identity": float(identity),
        "redecoding": float(moved_by_redecoding),
        "transplant": float(transplant),
        "moved_by_zero": moved["attention"],
        "moved_by_feed_forward": moved["feed_forward"],
        "tolerance": tolerance,
        "architecture": architecture,
        "verified": architecture in VERIFIED,
    }
    _judge(probe, found, tolerance)
    return found


def redecoding(held: Held) -> float:
    """Return the noise floor: how far re-decoding the last token alone moves any margin."""
    runs = Interventions(held)
    for slot in range(len(held.prompts)):
        runs.add(slot)
    return float(np.abs(runs.margins() - held.margins).max())


def _run_at_every_site(
    held: Held, values: list[Activations] | None
) -> tuple[Margins, list[Activations]]:
    """Run each prompt for each layer and site, reading that place or overwriting it.

    Both kinds fill the same batches in the same order, so that they differ by the write alone.
    """
    runs = Interventions(held)
    for slot, prompt in enumerate(held.prompts):
        for layer in range(held.probe.n_layer):
            for site in SITES:
                job = runs.add(slot)
                if values is None:
                    runs.request.read(job, site, layer, prompt.last)
                else:
                    runs.request.write(job, site, layer, prompt.last, values[job])
    return runs.run()


def _largest_move(held: Held, site: str) -> float:
    runs = Interventions(held)
    whole = slice(0, held.probe.widths[site])
    for layer in range(held.probe.n_layer):
        runs.zero(runs.add(0), site, layer, held.prompts[0].last, whole)
    return float(np.abs(runs.margins() - held.margins[0]).max())


def _judge(probe: Probe, found: dict[str, Any], tolerance: float) -> None:
    problem = None
    for name in ("lens", "identity", "transplant"):
        # "not <=" so that NaN fails too.
        if not found[name] <= tolerance:
            problem = (
                f"{name} must be at most {tolerance:g} off in the margin, got {found[name]:.2e}"
            )
    for name in ("moved_by_zero", "moved_by_feed_forward"):
        if not found[name] > tolerance:
            problem = (
                f"{name} must be above {tolerance:g}, got {found[name]:.2e}: writes are ignored"
            )
    if problem is not None:
        raise ModelError(
            f"{probe.model.path}: architecture {found['architecture']!r} cannot be vouched for: {problem}"
        )
