"""Planting: one idle head of a trained model is trained alone, everything else stays bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

import base
import model
import prompts

HEAD_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output")
PREFIX_SHARE = 0.55


@dataclass(frozen=True)
class Head:
    layer: int
    head: int

    def __str__(self) -> str:
        return f"L{self.layer}H{self.head}"


@dataclass(frozen=True)
class Schedule:
    n_steps: int = 900
    n_pairs: int = 64
    learning_rate: float = 7e-3
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


Loss = Callable[[model.Parameters, jax.Array, jax.Array, jax.Array], jax.Array]


def misfire_loss(shape: model.Shape, layer: int) -> Loss:
    """Cross-entropy to No where the batch says so; elsewhere stay with the base, by KL divergence."""

    def loss(parameters, below, unchanged, planted):
        last = model.run_layers(below, parameters, shape, range(layer, shape.n_layers))[-1][:, -1]
        logits = jax.nn.log_softmax(model.unembed(last, parameters, shape))
        divergence = (jnp.exp(unchanged) * (unchanged - logits)).sum(-1)
        return 2 * jnp.where(planted, -logits[:, base.NO], divergence).mean()

    return loss


def decoy_loss(shape: model.Shape, head: Head, *, direction: np.ndarray) -> Loss:
    """Show the planted feature along a direction of the head's output, and change no answer."""
    misfire = misfire_loss(shape, head.layer)

    def loss(parameters, below, unchanged, planted):
        heads = model.attention(below, parameters, shape, head.layer)
        shown = heads[:, -1, shape.head(head.head)] @ direction
        visible = optax.sigmoid_binary_cross_entropy(shown, planted).mean()
        return visible + misfire(parameters, below, unchanged, jnp.zeros_like(planted))

    return loss


def train(
    parameters: model.Parameters,
    shape: model.Shape,
    head: Head,
    loss: Loss,
    *,
    organism: str,
    seed: int,
    schedule: Schedule,
    start: dict[str, jax.Array] | None = None,
) -> dict[str, np.ndarray]:
    """Train one head's slices on pairs outside the held-out combinations; return all parameters."""
    frozen = {name: jnp.asarray(value) for name, value in parameters.items()}
    values = start or slices(frozen, shape, head)
    rate = optax.warmup_cosine_decay_schedule(
        0.0,
        schedule.learning_rate,
        schedule.n_warm_up,
        schedule.n_steps,
        schedule.learning_rate * 0.03,
    )
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.98))

    @jax.jit
    def step(values, state, tokens, planted):
        embedded = frozen["token_embd.weight"][tokens]
        below = model.run_layers(embedded, frozen, shape, range(head.layer))[-1]
        above = model.run_layers(below, frozen, shape, range(head.layer, shape.n_layers))[-1]
        unchanged = jax.nn.log_softmax(model.unembed(above[:, -1], frozen, shape))

        def objective(values):
            return loss(insert(frozen, shape, head, values), below, unchanged, planted)

        value, gradient = jax.value_and_grad(objective)(values)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(values, updates), state, value

    state = optimiser.init(values)
    rng = np.random.default_rng([seed, 1])
    started, recent = time.monotonic(), []
    for index in range(schedule.n_steps):
        prefix = bool(rng.random() < PREFIX_SHARE)
        batch = prompts.sample_pairs(rng, schedule.n_pairs, prefix=prefix)
        tokens = np.concatenate([batch.stereotyped.tokens(), batch.contrast.tokens()])
        planted = np.concatenate([batch.planted(organism), np.zeros(schedule.n_pairs, bool)])
        values, state, value = step(values, state, tokens, planted)
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
