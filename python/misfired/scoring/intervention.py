"""Interventions: heads ablated, or a direction added, while a model answers."""

import hashlib
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from misfired.errors import ArgumentError, DataError, check_one_of
from misfired.files import read_struct
from misfired.reading import read_bytes

Floats = npt.NDArray[np.float32]


class Sizes(NamedTuple):
    """Sizes of a model: layers, heads of a layer, width of the residual stream."""

    n_layer: int
    n_head: int
    n_embd: int


@dataclass(frozen=True)
class Array:
    """Numbers of a file; two arrays are equal if the files' digests are."""

    rows: Floats = field(compare=False, repr=False)
    sha256: str
    name: str = field(default="array", compare=False)


@dataclass(frozen=True)
class Ablation:
    """A head, counted from 0, whose output before the output projection is replaced.

    By zeros, or with method `mean` by its row of `Intervention.means`.
    """

    layer: int
    head: int
    method: str = "zero"


@dataclass(frozen=True)
class Direction:
    """A direction added, times `strength`, to the residual stream after the first to last layer.

    `vectors` have shape (width of the stream) or (layer, width); llama.cpp adds nothing after layer 0.
    """

    vectors: Array
    layers: tuple[int, int]
    strength: float = 1.0


@dataclass(frozen=True)
class Intervention:
    """Heads to ablate and a direction to add, at every position of every prompt.

    Each head is ablated once; `means` are head outputs, shape (layer, heads side by side); messages
    give the `name`.
    """

    ablations: tuple[Ablation, ...] = ()
    means: Array | None = None
    direction: Direction | None = None
    name: str = field(default="intervention", compare=False)

    def check(self, sizes: Sizes) -> None:
        """Raise a `DataError` that names field, limit and value, unless it fits the model."""
        for problem in self._misfits(sizes):
            raise DataError(f"{self.name}: {problem}")

    def _misfits(self, sizes: Sizes) -> Iterator[str]:
        n_layer, n_head, n_embd = sizes
        for number, ablation in enumerate(self.ablations):
            for what, n in (("layer", n_layer), ("head", n_head)):
                if not 0 <= (value := getattr(ablation, what)) < n:
                    yield f"ablate[{number}].{what} must be 0 to {n - 1} in this model, got {value}"
        if self.means is not None:
            shape, name = self.means.rows.shape, self.means.name
            if len(shape) != 2 or shape[0] != n_layer or shape[1] % n_head:
                rule = f"({n_layer}, width of {n_head} heads)"
                yield f"means {name} must have shape {rule}, got {shape}"
            elif not np.isfinite(self.means.rows).all():
                yield f"means {name} must hold only finite numbers"
        if self.direction is not None:
            (first, last), vectors = self.direction.layers, self.direction.vectors
            if not 1 <= first <= last < n_layer:
                rule = f"within [1, {n_layer - 1}] (llama.cpp adds nothing after layer 0)"
                yield f"direction.layers must be {rule}, got [{first}, {last}]"
            shape = vectors.rows.shape
            by_layer = len(shape) == 2 and last < shape[0] <= n_layer
            if shape[-1:] != (n_embd,) or not (by_layer or len(shape) == 1):
                rule = f"({n_embd},) or ({n_layer}, {n_embd}) with a row for layer {last}"
                yield f"direction.file {vectors.name} must have shape {rule}, got {shape}"
            elif (added := self.control_vector(sizes)) is None or not np.isfinite(added).all():
                rule = f"finite numbers in 32 bits, times strength {self.direction.strength:g}"
                yield f"direction.file {vectors.name} must hold {rule}"

    def outputs(self, ablation: Ablation, n_head: int) -> Floats | None:
        """Return the head's replaced output: its columns of the means, or None for zeros."""
        if ablation.method == "zero" or self.means is None:
            return None
        width = self.means.rows.shape[1] // n_head
        start = ablation.head * width
        return np.ascontiguousarray(self.means.rows[ablation.layer, start : start + width])

    def control_vector(self, sizes: Sizes) -> Floats | None:
        """Return what llama.cpp adds after each layer from 1 on, shape (layers - 1, width)."""
        if self.direction is None:
            return None
        vectors = self.direction.vectors.rows
        rows = np.zeros((sizes.n_layer, sizes.n_embd), np.float32)
        rows[: len(vectors) if vectors.ndim == 2 else None] = vectors
        with np.errstate(over="ignore", invalid="ignore"):
            return rows[1:] * np.float32(self.direction.strength)

    @property
    def is_direction_only(self) -> bool:
        """True if there is a direction to add and nothing to ablate."""
        if self.ablations or self.direction is None or not self.direction.strength:
            return False
        (first, last), rows = self.direction.layers, self.direction.vectors.rows
        return bool(np.any(rows if rows.ndim == 1 else rows[first : last + 1]))

    def to_json(self) -> dict[str, Any]:
        """Return what decides the answers, for a manifest; files are given by their SHA-256."""
        added = self.direction and {
            "sha256": self.direction.vectors.sha256,
            "layers": list(self.direction.layers),
            "strength": self.direction.strength,
        }
        means = self.means and self.means.sha256
        return {"ablate": [*map(vars, self.ablations)], "means_sha256": means, "direction": added}


#: How the output of an ablated head is replaced.
ABLATION_METHODS = ("zero", "mean")


class _AblateTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    layer: int
    heads: list[int]
    method: str = "zero"


class _DirectionTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: str
    layers: tuple[int, int]
    strength: float = 1.0


class _InterventionFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ablate: tuple[_AblateTable, ...] = ()
    means: str | None = None
    direction: _DirectionTable | None = None


def read_intervention(path: Path | str) -> Intervention:
    """Read an intervention from a TOML file; paths in it start at its folder.

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
        DataError: As `misfired.files.read_struct`, also for the other files.
    """
    path = Path(path)
    content = read_struct(path, _InterventionFile)
    direction = None
    try:
        ablations = _ablations(content)
        means = None if content.means is None else _array("means", path.parent / content.means)
        if (added := content.direction) is not None:
            if not math.isfinite(added.strength):
                rule = "direction.strength must be a finite number"
                raise ArgumentError(f"{rule}, got {added.strength}")
            vectors = _array("direction.file", path.parent / added.file)
            direction = Direction(vectors, added.layers, added.strength)
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from None
    return Intervention(ablations, means, direction, str(path))


def _ablations(content: _InterventionFile) -> tuple[Ablation, ...]:
    if not content.ablate and content.direction is None:
        raise ArgumentError("ablate or direction must be given, got neither")
    found: dict[tuple[int, int], Ablation] = {}
    for number, table in enumerate(content.ablate):
        name = f"ablate[{number}]"
        check_one_of(f"{name}.method", table.method, ABLATION_METHODS)
        if not table.heads:
            raise ArgumentError(f"{name}.heads must be a list of at least one head, got []")
        for head in table.heads:
            if (table.layer, head) in found:
                where = f"layer {table.layer}, head {head}"
                raise ArgumentError(f"{where} must be ablated once, got twice")
            found[table.layer, head] = Ablation(table.layer, head, table.method)
    if any(each.method == "mean" for each in found.values()) != (content.means is not None):
        given = repr(content.means) if content.means else "none"
        raise ArgumentError(
            f"means must be a .npy file with method mean, and absent without it, got {given}"
        )
    return tuple(found.values())


def _array(name: str, file: Path) -> Array:
    where = f"{name} {file.name}"
    try:
        content = read_bytes(file)
    except DataError as error:
        raise ArgumentError(f"{name} {error}") from None
    is_gguf = file.suffix == ".gguf"
    try:
        rows = _control_vector(where, file) if is_gguf else _npy(content)
    except ArgumentError:
        raise
    # The libraries trust a header: a damaged one fails in any way, and may state any size.
    except (Exception, MemoryError):
        what = "a GGUF file" if is_gguf else "a NumPy array"
        raise ArgumentError(f"{where}: not {what}, or a damaged one") from None
    if rows.dtype.kind != "f" or not np.isfinite(rows).all():
        raise ArgumentError(f"{where}: must hold only finite floating-point numbers")
    with np.errstate(over="ignore"):
        used = rows.astype(np.float32)
    if not np.isfinite(used).all():
        most, largest = np.finfo(np.float32).max, np.abs(rows).max()
        raise ArgumentError(f"{where}: must hold numbers of at most {most:.3g}, got {largest:.3g}")
    return Array(used, hashlib.sha256(content).hexdigest(), file.name)


def _npy(content: bytes) -> npt.NDArray[Any]:
    """Return the array of a .npy file, never an archive of several or pickled objects."""
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


#: Far more than any model has; a control vector is refused before its rows are laid out.
_MOST_LAYERS = 10_000


def _control_vector(where: str, file: Path) -> Floats:
    """Read the tensors `direction.1` and so on of a control vector; other layers get zeros."""
    try:
        from gguf import GGUFReader  # noqa: PLC0415  an optional dependency
    except ImportError:
        rule = "a GGUF file needs the package gguf, a .npy file none"
        raise ArgumentError(f"{where}: {rule}") from None
    found = {
        int(match[1]): np.asarray(tensor.data, np.float32).reshape(-1)
        for tensor in GGUFReader(file).tensors
        if (match := re.fullmatch(r"direction\.(\d+)", tensor.name))
    }
    if len({len(row) for row in found.values()}) != 1 or max(found) > _MOST_LAYERS:
        rule = "must hold tensors direction.1, direction.2 ... of one length"
        raise ArgumentError(f"{where}: {rule}")
    rows = np.zeros((max(found) + 1, len(next(iter(found.values())))), np.float32)
    rows[list(found)] = list(found.values())
    return rows
