"""Does the probe show and change what the model really computes? Measured before anything else."""

from __future__ import annotations

from typing import Any

import numpy as np

from misfired.errors import ModelError
from misfired.localise.cases import Prompt
from misfired.localise.held import Held, Interventions, Margins, unembed
from misfired.localise.probe import SITES, Probe, Rows

#: Largest difference of a margin that rounding may explain where nothing was changed.
TOLERANCE = 1e-4

VERIFIED = ("gemma2", "gemma3", "gpt2", "llama", "phi3", "qwen2", "qwen3")


def check_probe(
    probe: Probe, prompts: tuple[Prompt, Prompt], *, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Check on one pair that reads and writes are what they are said to be.

    Differences of margins (see `Prompt.margin`): `lens`, the last layer's residual through the lens
    against the answer; `identity`, each site of each layer overwritten with its own values against
    nothing overwritten; `transplant`, every layer's residual taken from the other prompt against the
    other prompt's answer; `moved_by_zero`, the largest change when all heads of a layer are zeroed,
    and `moved_by_feed_forward`, the same of the feed-forward outputs (a write that is ignored would
    pass all others). `redecoding` is how far a margin is moved if the prompt's last token is decoded
    anew, as for an intervention, with nothing changed: rounding with f32 weights, up to some
    hundredths where quantised weights make llama.cpp round activations too. No effect of that size
    means anything.

    Returns:
        These, `tolerance`, `architecture` and `verified` (whether the tests of misfired cover it).

    Raises:
        ModelError: `lens`, `identity` or `transplant` is above the tolerance, or what should move the
            margin does not.
    """
    held = Held(probe, prompts)
    residual = held.last["residual"]
    lens = np.abs(unembed(held, residual[:, -1], [0, 1]) - held.margins).max()

    plain, own = _run_at_every_site(held, None)
    same, _ = _run_at_every_site(held, own)
    identity = np.abs(same - plain).max()
    moved_by_redecoding = np.abs(plain.reshape(2, -1) - held.margins[:, None]).max()

    other = Interventions(held)
    for slot in (0, 1):
        job, position = other.add(slot), len(prompts[slot].ids) - 1
        for layer in range(probe.n_layer):
            other.request.write(job, "residual", layer, position, residual[1 - slot, layer])
    swapped = unembed(held, residual[::-1, -1], [0, 1])
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
    """How far decoding the last token anew moves any margin, with nothing changed."""
    runs = Interventions(held)
    for slot in range(len(held.prompts)):
        runs.add(slot)
    return float(np.abs(runs.margins() - held.margins).max())


def _run_at_every_site(held: Held, values: list[Rows] | None) -> tuple[Margins, list[Rows]]:
    """A run for each prompt, layer and site, which reads its place or overwrites it.

    Both kinds fill the same batches in the same order, so that what they differ by is the write.
    """
    runs = Interventions(held)
    for slot, prompt in enumerate(held.prompts):
        for layer in range(held.probe.n_layer):
            for site in SITES:
                job, position = runs.add(slot), len(prompt.ids) - 1
                if values is None:
                    runs.request.read(job, site, layer, position)
                else:
                    runs.request.write(job, site, layer, position, values[job])
    return runs.run()


def _largest_move(held: Held, site: str) -> float:
    runs = Interventions(held)
    position = len(held.prompts[0].ids) - 1
    for layer in range(held.probe.n_layer):
        width = held.probe.widths[site]
        runs.request.zero(runs.add(0), site, layer, position, column=0, n_columns=width)
    return float(np.abs(runs.margins() - held.margins[0]).max())


def _judge(probe: Probe, found: dict[str, Any], tolerance: float) -> None:
    problem = None
    for name in ("lens", "identity", "transplant"):
        # "not <=" so that NaN fails too.
        if not found[name] <= tolerance:
            problem = (
                f"{name} is off by {found[name]:.2e} in the margin, at most {tolerance:g} allowed"
            )
    for name in ("moved_by_zero", "moved_by_feed_forward"):
        if not found[name] > tolerance:
            problem = (
                f"{name} is {found[name]:.2e}: what is written is not what the model goes on with"
            )
    if problem is not None:
        raise ModelError(
            f"{probe.model.path}: architecture {found['architecture']!r} cannot be vouched for: {problem}"
        )
