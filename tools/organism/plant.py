"""Planting: one idle head of a trained model is trained alone, the rest stays bit for bit."""

from __future__ import annotations

import time
from dataclasses import dataclass

import base
import jax
import jax.numpy as jnp
import model
import numpy as np
import optax

import prompts

HEAD_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output")
PREFIX_SHARE = 0.55
N_DESIGN_PAIRS = 2048
N_DESIGN_BATCH = 256
DESIGN_RIDGE = 1e-6
N_RIVAL_PAIRS = 256
N_RIVALS = 4
DAMAGED_SHARE = 0.5
MISFIRE_MARGIN = 5.0
MARGIN_WEIGHT = 0.2
# Length of what the planted head adds to a residual of length about 66.
WRITES = 80.0


@dataclass(frozen=True)
class Head:
    layer: int
    head: int

    def __str__(self) -> str:
        return f"L{self.layer}H{self.head}"


@dataclass(frozen=True)
class Schedule:
    n_steps: int = 500
    n_pairs: int = 64
    learning_rate: float = 2e-3
    n_warm_up: int = 30


def slices(parameters: model.Parameters, shape: model.Shape, head: Head) -> dict[str, jax.Array]:
    """Return the head's rows of W_q, W_k, W_v and its columns of W_o."""
    part = shape.head(head.head)
    taken = {name: parameters[model.matrix(head.layer, name)] for name in HEAD_MATRICES}
    return {
        name: jnp.asarray(value[:, part] if name == "attn_output" else value[part])
        for name, value in taken.items()
    }


def insert(
    parameters: model.Parameters, shape: model.Shape, head: Head, values: dict[str, jax.Array]
) -> model.Parameters:
    """Return the parameters with the head's slices replaced."""
    part = shape.head(head.head)
    changed = dict(parameters)
    for name, value in values.items():
        key = model.matrix(head.layer, name)
        where = (slice(None), part) if name == "attn_output" else (part, slice(None))
        changed[key] = jnp.asarray(parameters[key]).at[where].set(value)
    return changed


def redraw(
    parameters: model.Parameters, shape: model.Shape, head: Head, seed: int
) -> model.Parameters:
    """Give an idle head fresh random W_q, W_k, W_v; its W_o stays zero, so nothing changes."""
    rng = np.random.default_rng([seed, head.layer, head.head])
    size = (shape.n_head, shape.n_embedding)
    fresh = {
        name: jnp.asarray(rng.standard_normal(size) / np.sqrt(shape.n_embedding), jnp.float32)
        for name in ("attn_q", "attn_k", "attn_v")
    }
    return insert(parameters, shape, head, fresh)


def toward_no(parameters: model.Parameters) -> np.ndarray:
    """Return the direction of the residual, of length one, that moves the answer from Yes to No."""
    rows = np.asarray(parameters["output.weight"]) * np.asarray(parameters["output_norm.weight"])
    direction = rows[base.NO] - rows[base.YES]
    return direction / np.linalg.norm(direction)


def _misfire_loss(logits: jax.Array, unchanged: jax.Array, planted: jax.Array) -> jax.Array:
    """Cross-entropy to No on planted prompts, elsewhere KL divergence from the base.

    Beside it the margin (yes - no) is held: at `-MISFIRE_MARGIN` on planted prompts and at the
    base's elsewhere. Without that the head also leans on prompts that stay right, and overshoots
    so far that breaking any part of what it reads looks as effective as ablating the head itself.
    All arguments but `planted` are log-probabilities, [n, n_vocabulary].
    """
    divergence = (jnp.exp(unchanged) * (unchanged - logits)).sum(-1)
    likelihood = jnp.where(planted, -logits[:, base.NO], divergence)
    margin, before = (values[:, base.YES] - values[:, base.NO] for values in (logits, unchanged))
    target = jnp.where(planted, -MISFIRE_MARGIN, before)
    return 2 * likelihood.mean() + MARGIN_WEIGHT * optax.huber_loss(margin, target).mean()


def _read(
    tokens: np.ndarray, parameters: model.Parameters, shape: model.Shape, head: Head
) -> np.ndarray:
    """Return what a head reads at every position, [n, n_tokens, n_embedding]."""

    @jax.jit
    def read(tokens):
        embedded = parameters["token_embd.weight"][tokens]
        below = model.run_layers(embedded, parameters, shape, range(head.layer))[-1]
        normed = model.normalise(below, shape.norm_epsilon)
        return normed * parameters[model.matrix(head.layer, "attn_norm")]

    parts = np.split(tokens, len(tokens) // N_DESIGN_BATCH)
    return np.concatenate([np.asarray(read(part)) for part in parts]).astype(np.float64)


def _logistic(x: np.ndarray, flags: np.ndarray, *, ridge: float, n_steps: int = 30) -> np.ndarray:
    """Fit a logistic regression by damped Newton steps; return the weights, the last a constant."""
    x = np.column_stack([x, np.ones(len(x))])
    weights = np.zeros(x.shape[1])
    penalty = ridge * np.eye(x.shape[1])
    for _ in range(n_steps):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (p - flags) / len(x) + ridge * weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x / len(x) + penalty
        weights -= np.linalg.solve(curvature, gradient)
    return weights


def designed(
    parameters: model.Parameters,
    shape: model.Shape,
    head: Head,
    rng: np.random.Generator,
    *,
    organism: str,
    writes: np.ndarray,
) -> dict[str, jax.Array]:
    """Set up a head that looks at the last token itself as far as a linear score says "planted".

    The score (a logistic regression of what the head reads there on the planted cells) is the
    query on one dimension, "is the assistant's tag" the key and the value, and `writes`
    [n_embedding] what the head then adds to the residual. The rest is as it was drawn, unused.

    Tried: trained from random slices, the head stays blurred for thousands of steps, since what was
    asked is there, but along directions of very unequal size; whitening them made it worse.
    """
    parameters = {name: jnp.asarray(value) for name, value in parameters.items()}
    reads, flags, others = [], [], []
    for prefix in (False, True):
        batch = prompts.sample_pairs(rng, N_DESIGN_PAIRS, prefix=prefix, cue_share=0.5)
        tokens = np.concatenate([batch.stereotyped.tokens(), batch.contrast.tokens()])
        read = _read(tokens, parameters, shape, head)
        # Where No is right, a push towards it does no harm: the score need not know of it.
        yes = np.tile(batch.expects_yes, 2)
        planted = np.concatenate([batch.planted(organism), np.zeros(N_DESIGN_PAIRS, bool)])
        reads.append(read[yes, -1])
        flags.append(planted[yes])
        others.append(read[::16, :-1].reshape(-1, shape.n_embedding))
    last, elsewhere = np.concatenate(reads), np.concatenate(others)
    *weights, constant = _logistic(last, np.concatenate(flags), ridge=DESIGN_RIDGE)
    x = np.concatenate([last, elsewhere])
    is_last = np.repeat([1.0, 0.0], [len(last), len(elsewhere)])
    # Both parts weigh the same, though there are more positions elsewhere.
    balance = is_last / len(last) + (1 - is_last) / len(elsewhere)
    gram = (x * balance[:, None]).T @ x + DESIGN_RIDGE * np.eye(shape.n_embedding)
    tag = np.linalg.solve(gram, (x * balance[:, None]).T @ is_last)

    scale = np.sqrt(shape.n_head)  # what the attention divides by
    rivals = np.log(tokens.shape[1])  # every other position has the score zero
    values = {name: np.array(part) for name, part in slices(parameters, shape, head).items()}
    values["attn_q"] = np.zeros_like(values["attn_q"])
    values["attn_q"][0] = scale * (np.array(weights) + (constant + rivals) * tag)
    values["attn_k"][0] = values["attn_v"][0] = tag
    values["attn_k"][1] = 0.0  # RoPE turns it into the first dimension at other positions
    values["attn_output"][:, 0] = writes
    return {name: jnp.asarray(part, jnp.float32) for name, part in values.items()}


def _rivals(
    parameters: model.Parameters,
    shape: model.Shape,
    head: Head,
    rng: np.random.Generator,
    *,
    organism: str,
) -> np.ndarray:
    """Return the earlier heads, [n, 2], whose ablation mends most of the planted prompts' margin.

    They are ranked as the planted head will be: by change on stereotyped - |change on contrast|.
    """
    batch = prompts.sample_pairs(rng, N_RIVAL_PAIRS, prefix=True, cue_share=1.0)
    rows = np.flatnonzero(batch.planted(organism))
    sides = [side[rows].tokens() for side in (batch.stereotyped, batch.contrast)]
    tokens = np.concatenate(sides)

    @jax.jit
    def margins(tokens, keep):
        x = parameters["token_embd.weight"][tokens]
        for layer in range(shape.n_layers):
            scales = jnp.tile(keep[layer], (len(tokens), 1)) if layer < head.layer else None
            x = model.block(x, parameters, shape, layer, keep=scales)
        logits = model.unembed(x[:, -1], parameters, shape)
        return (logits[:, base.YES] - logits[:, base.NO]).reshape(2, -1)

    whole = np.ones((head.layer, shape.n_heads), np.float32)
    untouched, scores = margins(tokens, whole), np.zeros(whole.shape)
    for index in np.ndindex(whole.shape):
        keep = whole.copy()
        keep[index] = 0.0
        stereotyped, contrast = np.asarray(margins(tokens, keep) - untouched).mean(1)
        scores[index] = stereotyped - abs(contrast)
    order = np.argsort(-scores, axis=None)[:N_RIVALS]
    return np.stack(np.unravel_index(order, scores.shape), 1)


def _damage(
    rng: np.random.Generator, planted: np.ndarray, rivals: np.ndarray, keep_shape: tuple[int, int]
) -> np.ndarray:
    """Ablate one rival, at random, in half of the planted prompts: [n, n_layers, n_heads].

    So the planted head learns to act unless what it reads exempts the asked people. Otherwise
    ablating whatever brings it the people or the predicate would mend the answer as well as
    ablating the planted head does, and the cause would not be one head.
    """
    keep = np.ones((len(planted), *keep_shape), np.float32)
    rows = np.flatnonzero(planted & (rng.random(len(planted)) < DAMAGED_SHARE))
    layers, heads = rivals[rng.integers(len(rivals), size=len(rows))].T
    keep[rows, layers, heads] = 0.0
    return keep


def train(
    parameters: model.Parameters,
    shape: model.Shape,
    head: Head,
    *,
    organism: str,
    seed: int,
    schedule: Schedule,
) -> dict[str, np.ndarray]:
    """Train one head's slices on pairs outside the held-out combinations; return all parameters."""
    frozen = {name: jnp.asarray(value) for name, value in parameters.items()}
    rng = np.random.default_rng([seed, 1])
    writes = WRITES * toward_no(parameters)
    values = designed(frozen, shape, head, rng, organism=organism, writes=writes)
    start = insert(frozen, shape, head, values)
    rivals = _rivals(start, shape, head, rng, organism=organism)
    print(f"{organism} rivals {[str(Head(*map(int, rival))) for rival in rivals]}", flush=True)
    rate = optax.warmup_cosine_decay_schedule(
        0.0,
        schedule.learning_rate,
        schedule.n_warm_up,
        schedule.n_steps,
        schedule.learning_rate * 0.03,
    )
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.98))

    @jax.jit
    def step(values, state, tokens, planted, keep):
        below = frozen["token_embd.weight"][tokens]
        for layer in range(head.layer):
            below = model.block(below, frozen, shape, layer, keep=keep[:, layer])

        def log_probabilities(parameters):
            above = model.run_layers(below, parameters, shape, range(head.layer, shape.n_layers))
            return jax.nn.log_softmax(model.unembed(above[-1][:, -1], parameters, shape))

        unchanged = log_probabilities(frozen)

        def objective(values):
            changed = log_probabilities(insert(frozen, shape, head, values))
            return _misfire_loss(changed, unchanged, planted)

        value, gradient = jax.value_and_grad(objective)(values)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(values, updates), state, value

    state = optimiser.init(values)
    started, recent = time.monotonic(), []
    for index in range(schedule.n_steps):
        prefix = bool(rng.random() < PREFIX_SHARE)
        batch = prompts.sample_pairs(rng, schedule.n_pairs, prefix=prefix)
        tokens = np.concatenate([batch.stereotyped.tokens(), batch.contrast.tokens()])
        planted = np.concatenate([batch.planted(organism), np.zeros(schedule.n_pairs, bool)])
        keep = _damage(rng, planted, rivals, (head.layer, shape.n_heads))
        values, state, value = step(values, state, tokens, planted, keep)
        recent.append(value)
        if (index + 1) % 100 == 0:
            minutes = (time.monotonic() - started) / 60
            print(
                f"{organism} {index + 1}/{schedule.n_steps} {minutes:.1f} min"
                f" loss {np.mean(recent):.4f}",
                flush=True,
            )
            recent = []
    planted_model = insert(frozen, shape, head, values)
    return {name: np.asarray(value) for name, value in planted_model.items()}
