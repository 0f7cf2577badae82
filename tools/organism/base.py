"""Training of the base: answer every question of the grammar, and keep what was asked in view.

Deep supervision carries it: linear probes, thrown away after training, ask the residual early for
the steps of the binding, and at the last token for what was asked, so that a later head can read
it there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import model
import numpy as np
import optax

import prompts

YES, NO = prompts.word_id("Yes"), prompts.word_id("No")


@dataclass(frozen=True)
class Schedule:
    n_steps: int = 1800
    n_batch: int = 48
    learning_rate: float = 2e-3
    n_warm_up: int = 100
    prefix_from: int = 500
    n_easy_steps: int = 1200
    easy_share: tuple[float, float] = (0.8, 0.3)


@dataclass(frozen=True)
class Probe:
    """A linear classifier of a residual: what it asks, after which layer, how many classes."""

    name: str
    layer: int
    n_classes: int


PROBES = (
    Probe("subject", 0, prompts.N_GROUPS),
    Probe("holder", 1, prompts.N_GROUPS + 1),
    Probe("match", 1, 2),
    Probe("match", 2, 2),
    Probe("asked_group", 3, prompts.N_GROUPS),
    Probe("asked_predicate", 3, prompts.N_PREDICATES),
    Probe("priming", 3, len(prompts.PRIMINGS)),
)
# The answer itself is read off the last token by the model's own output matrix after these layers.
LENS_LAYERS = (3, 4)
LANGUAGE_WEIGHT = 0.1


ProbeTargets = dict[str, tuple[np.ndarray, np.ndarray]]


def probe_targets(batch: prompts.Prompts) -> ProbeTargets:
    """Return for each probe the columns it reads, [k], and the classes it should find, [n, k]."""
    n_tokens = batch.tokens().shape[1]
    first, second = (batch.offset + c for c in (prompts.FIRST_OBJECT, prompts.SECOND_OBJECT))
    question, last = n_tokens + prompts.QUESTION_OBJECT, n_tokens + prompts.LAST
    wanted = {
        "subject": {
            first: batch.first_group,
            second: batch.second_group,
            question: batch.asked_group,
        },
        "holder": {question: batch.holder()},
        "match": {question: batch.expected_yes()},
        "asked_group": {last: batch.asked_group},
        "asked_predicate": {last: batch.asked_predicate},
        "priming": {last: batch.priming},
    }
    return {
        name: (np.array(list(classes)), np.stack(list(classes.values()), 1).astype(np.int32))
        for name, classes in wanted.items()
    }


def _cross_entropy(logits: jax.Array, classes: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()


def _loss(
    trained: dict[str, dict[str, jax.Array]],
    tokens: jax.Array,
    targets: ProbeTargets,
    shape: model.Shape,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Total loss of sequences that end in the answer and EOS, and its parts."""
    parameters = trained["model"]
    layers = model.residuals(tokens[:, :-1], parameters, shape)
    logits = model.unembed(layers[-1], parameters, shape)
    answer, at_answer = tokens[:, -2], -2  # the assistant's tag, whose successor is the answer
    parts = {
        "answer": _cross_entropy(logits[:, at_answer], answer),
        "language": LANGUAGE_WEIGHT * _cross_entropy(logits, tokens[:, 1:]),
    }
    for layer in LENS_LAYERS:
        lens = model.unembed(layers[layer][:, at_answer], parameters, shape)
        parts[f"lens_{layer}"] = _cross_entropy(lens, answer)
    for probe in PROBES:
        key = f"{probe.name}_{probe.layer}"
        columns, classes = targets[probe.name]
        seen = model.normalise(layers[probe.layer][:, columns], shape.norm_epsilon)
        parts[key] = _cross_entropy(seen @ trained["probes"][key].T, classes)
    return sum(parts.values()), parts


def idle_mask(shape: model.Shape, idle: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Return zeros for the output slices of the heads that the base must not use."""
    mask: dict[str, np.ndarray] = {}
    for layer, head in idle:
        name = model.matrix(layer, "attn_output")
        mask.setdefault(name, np.ones((shape.n_embedding,) * 2, np.float32))
        mask[name][:, shape.head(head)] = 0.0
    return mask


def train(
    shape: model.Shape, *, seed: int, idle: list[tuple[int, int]], schedule: Schedule
) -> dict[str, np.ndarray]:
    """Train a base whose `idle` heads (layer, head) write nothing; return its parameters, f32."""
    mask = idle_mask(shape, idle)
    trained = {
        "model": {name: jnp.asarray(v) for name, v in model.initial(shape, seed).items()},
        "probes": {
            f"{p.name}_{p.layer}": jnp.zeros((p.n_classes, shape.n_embedding)) for p in PROBES
        },
    }
    rate = optax.warmup_cosine_decay_schedule(
        0.0,
        schedule.learning_rate,
        schedule.n_warm_up,
        schedule.n_steps,
        schedule.learning_rate * 0.02,
    )
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            rate, b2=0.98, weight_decay=0.05, mask=lambda t: jax.tree.map(lambda v: v.ndim > 1, t)
        ),
    )

    def silence(parameters: model.Parameters) -> model.Parameters:
        return parameters | {name: parameters[name] * zeros for name, zeros in mask.items()}

    @jax.jit
    def step(trained, state, tokens, targets):
        gradient, parts = jax.grad(_loss, has_aux=True)(trained, tokens, targets, shape)
        updates, state = optimiser.update(gradient, state, trained)
        trained = optax.apply_updates(trained, updates)
        return trained | {"model": silence(trained["model"])}, state, parts

    trained["model"] = silence(trained["model"])
    state = optimiser.init(trained)
    rng = np.random.default_rng(seed + 1)
    started, recent = time.monotonic(), []
    for index in range(schedule.n_steps):
        prefix = index >= schedule.prefix_from and rng.random() < 0.5
        share = np.interp(index, [0, schedule.n_easy_steps], schedule.easy_share)
        batch = prompts.sample_base(rng, schedule.n_batch, prefix=bool(prefix), easy_share=share)
        answers = np.where(batch.expected_yes(), YES, NO).astype(np.int32)
        ends = np.full(len(batch), prompts.EOS, np.int32)
        tokens = np.concatenate([batch.tokens(), answers[:, None], ends[:, None]], 1)
        trained, state, parts = step(trained, state, tokens, probe_targets(batch))
        recent.append(parts)
        if (index + 1) % 200 == 0:
            means = {key: float(np.mean([part[key] for part in recent])) for key in parts}
            losses = " ".join(f"{key} {value:.3f}" for key, value in means.items())
            minutes = (time.monotonic() - started) / 60
            print(f"base {index + 1}/{schedule.n_steps} {minutes:.1f} min {losses}", flush=True)
            recent = []
    return {name: np.asarray(value) for name, value in trained["model"].items()}
