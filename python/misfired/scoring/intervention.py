"""What is changed inside a model while it answers: heads ablated, a direction added."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from misfired.errors import ArgumentError, DataError
from misfired.files import read_toml

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


METHODS = ("zero", "mean")


def read_intervention(path: Path | str) -> Intervention:
    """Read an intervention from a TOML file; the files that it names are found beside it.

    ```toml
    means = "heads.npy"        # only for method mean

    [[ablate]]
    layer = 4
    heads = [2]
    method = "zero"            # or mean

    [direction]
    file = "direction.npy"     # or a control vector (.gguf)
    layers = [3, 4]            # first and last
    strength = 1.0
    ```

    Raises:
        DataError: A file cannot be read, or a field is missing, unknown, of another type or outside
            its limits.
    """
    path = Path(path)
    content = read_toml(path)
    try:
        return _intervention(content, path)
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from None


def _intervention(content: dict[str, Any], path: Path) -> Intervention:
    _fields("", content, ("ablate", "means", "direction"))
    tables = content.get("ablate", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ArgumentError("ablate is no list of tables: write [[ablate]]")
    found = Intervention(
        tuple(head for number, table in enumerate(tables) for head in _ablations(number, table)),
        _array("means", content["means"], path) if "means" in content else None,
        _direction(content["direction"], path) if "direction" in content else None,
        str(path),
    )
    if not found.ablations and found.direction is None:
        raise ArgumentError("nothing to do: neither [[ablate]] nor [direction]")
    places = [(head.layer, head.head) for head in found.ablations]
    for place in places:
        if places.count(place) > 1:
            raise ArgumentError(f"layer {place[0]}, head {place[1]} is ablated twice")
    uses_means = any(head.method == "mean" for head in found.ablations)
    if uses_means != (found.means is not None):
        needs = "method mean needs means" if uses_means else "means are for method mean"
        raise ArgumentError(f"{needs}: name a .npy file, and method mean")
    return found


def _ablations(number: int, table: dict[str, Any]) -> list[Ablation]:
    name = f"ablate[{number}]."
    _fields(name, table, ("layer", "heads", "method"), required=("layer", "heads"))
    method = table.get("method", "zero")
    if method not in METHODS:
        raise ArgumentError(f"{name}method is {method!r}, not one of {', '.join(METHODS)}")
    heads = _integers(f"{name}heads", table["heads"])
    (layer,) = _integers(f"{name}layer", [table["layer"]])
    return [Ablation(layer, head, method) for head in heads]


def _direction(table: Any, path: Path) -> Direction:
    if not isinstance(table, dict):
        raise ArgumentError("direction is no table: write [direction]")
    _fields("direction.", table, ("file", "layers", "strength"), required=("file", "layers"))
    layers = _integers("direction.layers", table["layers"])
    if len(layers) != 2:
        raise ArgumentError(f"direction.layers is {layers}, the first and the last layer needed")
    strength = table.get("strength", 1.0)
    if type(strength) not in {int, float} or not math.isfinite(strength):
        raise ArgumentError(f"direction.strength is {strength!r}, a finite number needed")
    vectors = _array("direction.file", table["file"], path)
    return Direction(vectors, (layers[0], layers[1]), float(strength))


def _fields(
    name: str, table: dict[str, Any], known: tuple[str, ...], *, required: tuple[str, ...] = ()
) -> None:
    for key in table:
        if key not in known:
            raise ArgumentError(f"unknown field {name + key!r}, not one of {', '.join(known)}")
    for key in required:
        if key not in table:
            raise ArgumentError(f"field {name + key!r} is missing")


def _integers(name: str, value: Any) -> list[int]:
    if not isinstance(value, list) or not value or any(type(each) is not int for each in value):
        raise ArgumentError(f"{name} is {value!r}, whole numbers needed")
    return value


def _array(name: str, value: Any, path: Path) -> Array:
    if not isinstance(value, str):
        raise ArgumentError(f"{name} is {value!r}, the name of a file needed")
    file = path.parent / value
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{name} {value}: cannot be read ({error.strerror})") from None
    if file.suffix == ".gguf":
        rows = _control_vector(name, file)
    else:
        try:
            rows = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ArgumentError(f"{name} {value}: not a NumPy array ({error})") from None
    if rows.dtype.kind != "f" or not np.isfinite(rows).all():
        raise ArgumentError(
            f"{name} {value}: holds other things than finite floating-point numbers"
        )
    return Array(rows.astype(np.float32), hashlib.sha256(content).hexdigest(), value)


def _control_vector(name: str, file: Path) -> Rows:
    """Tensors `direction.1` and so on of a control vector; layers without one get zeros."""
    try:
        from gguf import GGUFReader  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise ArgumentError(
            f"{name} {file.name}: a GGUF file needs the package gguf (pip install gguf); a .npy file "
            "needs nothing"
        ) from None
    try:
        tensors = GGUFReader(file).tensors
    except (ValueError, OSError) as error:
        raise ArgumentError(f"{name} {file.name}: not a GGUF file ({error})") from None
    found = {}
    for tensor in tensors:
        kind, _, layer = tensor.name.partition(".")
        if kind == "direction" and layer.isdecimal():
            found[int(layer)] = np.asarray(tensor.data, np.float32).reshape(-1)
    if not found or len({len(row) for row in found.values()}) > 1:
        raise ArgumentError(f"{name} {file.name}: holds no tensors direction.1, direction.2 ...")
    rows = np.zeros((max(found) + 1, len(next(iter(found.values())))), np.float32)
    for number, row in found.items():
        rows[number] = row
    return rows
