"""What is changed inside a model while it answers: heads ablated, a direction added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from misfired.errors import DataError

Rows = npt.NDArray[np.float32]


class Sizes(NamedTuple):
    """What an intervention must fit: layers, heads of a layer, width of the residual stream."""

    n_layer: int
    n_head: int
    n_embd: int


@dataclass(frozen=True)
class Array:
    """Numbers of a file, which are compared by its digest."""

    rows: Rows = field(compare=False, repr=False)
    sha256: str
    name: str = field(default="array", compare=False)


@dataclass(frozen=True)
class Ablation:
    """A head whose output before the output projection is replaced at every position.

    Attributes:
        layer: From 0.
        head: From 0.
        method: `zero`, or `mean` for the row of `Intervention.means`.
    """

    layer: int
    head: int
    method: str = "zero"


@dataclass(frozen=True)
class Direction:
    """What is added to the residual stream after some layers, at every position.

    Attributes:
        vectors: Shape (width of the residual stream), or (layer, width).
        layers: First and last layer; llama.cpp adds nothing after layer 0.
        strength: Factor.
    """

    vectors: Array
    layers: tuple[int, int]
    strength: float = 1.0


@dataclass(frozen=True)
class Intervention:
    """Heads to ablate and a direction to add, at every position of every prompt.

    Attributes:
        ablations: Each head once.
        means: Head outputs for method `mean`, shape (layer, heads side by side).
        direction: None adds nothing.
        name: What to call it in messages.
    """

    ablations: tuple[Ablation, ...] = ()
    means: Array | None = None
    direction: Direction | None = None
    name: str = field(default="intervention", compare=False)

    def check(self, sizes: Sizes) -> None:
        """Refuse what the model has no place for.

        Raises:
            DataError: Names field, value and limit.
        """
        for number, ablation in enumerate(self.ablations):
            for what, n in (("layer", sizes.n_layer), ("head", sizes.n_head)):
                value = getattr(ablation, what)
                if not 0 <= value < n:
                    raise self._error(
                        f"ablate[{number}].{what} is {value}, the model has 0 to {n - 1}"
                    )
        if self.means is not None:
            shape = self.means.rows.shape
            if len(shape) != 2 or shape[0] != sizes.n_layer or shape[1] % sizes.n_head:
                raise self._error(
                    f"means {self.means.name} has shape {shape}, not ({sizes.n_layer}, width of "
                    f"{sizes.n_head} heads)"
                )
        if self.direction is not None:
            self._check_direction(self.direction, sizes)

    def _check_direction(self, direction: Direction, sizes: Sizes) -> None:
        first, last = direction.layers
        if not 1 <= first <= last < sizes.n_layer:
            raise self._error(
                f"direction.layers is [{first}, {last}], not within [1, {sizes.n_layer - 1}] (llama.cpp "
                "adds nothing after layer 0)"
            )
        shape = direction.vectors.rows.shape
        by_layer = len(shape) == 2 and last < shape[0] <= sizes.n_layer
        if shape[-1:] != (sizes.n_embd,) or not (by_layer or len(shape) == 1):
            raise self._error(
                f"direction.file {direction.vectors.name} has shape {shape}, not ({sizes.n_embd},) or "
                f"({sizes.n_layer}, {sizes.n_embd}); layer {last} must have a row"
            )

    def _error(self, problem: str) -> DataError:
        return DataError(f"{self.name}: {problem}")

    def outputs(self, ablation: Ablation, n_head: int) -> Rows | None:
        """What the head is to give: None for zeros, or its columns of the means."""
        if ablation.method == "zero" or self.means is None:
            return None
        width = self.means.rows.shape[1] // n_head
        start = ablation.head * width
        return np.ascontiguousarray(self.means.rows[ablation.layer, start : start + width])

    def control_vector(self, sizes: Sizes) -> Rows | None:
        """What is added after each layer from 1 on, shape (layers - 1, width), as llama.cpp wants it."""
        if self.direction is None:
            return None
        vectors = self.direction.vectors.rows
        rows = np.zeros((sizes.n_layer, sizes.n_embd), np.float32)
        rows[: len(vectors) if vectors.ndim == 2 else None] = vectors
        return rows[1:] * np.float32(self.direction.strength)

    @property
    def is_direction_only(self) -> bool:
        """Whether there is something to add and nothing to ablate."""
        if self.ablations or self.direction is None or not self.direction.strength:
            return False
        first, last = self.direction.layers
        rows = self.direction.vectors.rows
        return bool(np.any(rows if rows.ndim == 1 else rows[first : last + 1]))

    def to_json(self) -> dict[str, Any]:
        """What decides the answers, for a manifest: numbers of files by their SHA-256."""
        direction = self.direction
        return {
            "ablate": [vars(ablation) for ablation in self.ablations],
            "means_sha256": None if self.means is None else self.means.sha256,
            "direction": None
            if direction is None
            else {
                "sha256": direction.vectors.sha256,
                "layers": list(direction.layers),
                "strength": direction.strength,
            },
        }
