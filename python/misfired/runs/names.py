"""Names that tell models and runs apart: the file's name, then its folder's before it, then a hash."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from misfired.errors import ArgumentError
from misfired.runs.manifest import read_manifest
from misfired.scoring.backend import is_url
from misfired.scoring.model_file import find_model, model_sha256

_Thing = TypeVar("_Thing", bound=Hashable)

_N_DIGITS = 8  # of a hash that ends a name


def tell_apart(names: Mapping[_Thing, Iterator[str]], what: str) -> dict[_Thing, str]:
    """Return for each thing the first of its names that it shares with no other.

    Args:
        names: The names that each thing may have, the shortest first; the others are made where needed.
        what: What the things are, for the message.

    Raises:
        ArgumentError: Two things have the same last name.

    Example:
        >>> tell_apart({1: iter(["m", "x-m"]), 2: iter(["m", "y-m"]), 3: iter(["n", "y-n"])}, "models")
        {1: 'x-m', 2: 'y-m', 3: 'n'}
    """
    chosen = {thing: next(own) for thing, own in names.items()}
    while True:
        counts = Counter(chosen.values())
        shared = [thing for thing, name in chosen.items() if counts[name] > 1]
        longer = {thing: name for thing in shared if (name := next(names[thing], None)) is not None}
        if not shared:
            return chosen
        if not longer:
            name = chosen[shared[0]]
            alike = " and ".join(str(thing) for thing in shared if chosen[thing] == name)
            raise ArgumentError(f"{what} must differ, got {alike}, both {name!r}")
        chosen |= longer


def run_names(models: Sequence[Path | str]) -> list[str]:
    """Return a folder name for each model: its file name, after its folder's where two are equal.

    Where that is not enough, a hash of the file follows. The name of a server is its host and port.

    Raises:
        ArgumentError: A model is named twice, or two files of one name and folder hold the same model.
    """
    paths = [str(model) if is_url(model) else str(find_model(model).resolve()) for model in models]
    for path, n_times in Counter(paths).items():
        if n_times > 1:
            *_, name = islice(_names(path), 2)
            raise ArgumentError(f"model {name!r} is named twice: {path}")
    names = tell_apart({path: _names(path) for path in paths}, "models")
    return [names[path] for path in paths]


def model_names(runs: Sequence[Path]) -> list[str]:
    """Return the name of the model of each run folder; the same for runs of the same model.

    A file of outcomes stands for a model of its own.

    Raises:
        DataError: A folder holds no complete run.
        ArgumentError: Two models cannot be told apart; the message names both runs.
    """
    known = [_model_of(run) for run in runs]
    first = {model: str(run) for run, (model, _) in zip(runs[::-1], known[::-1], strict=True)}
    names = {first[model]: own for model, own in reversed(known)}
    chosen = tell_apart(names, "models of runs")
    return [chosen[first[model]] for model, _ in known]


def _model_of(run: Path) -> tuple[str, Iterator[str]]:
    """Return what the model of a run is known by, whatever it is called, and its names."""
    if not run.is_dir():
        path = str(run.resolve())
        return path, _names(path)
    manifest = read_manifest(run)
    path, own = manifest.model.path, manifest.model.description
    if is_url(path):
        return f"{path} {own}", _names(path, own)
    model = manifest.settings.model_sha256 or path
    return model, _names(path, manifest.settings.model_sha256)


def _names(path: str, known: str | None = None) -> Iterator[str]:
    """Yield the names of a model; its hash, or its name at a server, may be `known`."""
    if is_url(path):
        parts = urlsplit(path)
        host = parts.netloc.replace(":", "-")
        own = (known or "").replace("/", "-")
        yield (known or "").rpartition("/")[2] or host
        yield "-".join(filter(None, [host, own]))
        yield "-".join(filter(None, [host, *parts.path.split("/"), own]))
        return
    file = Path(path)
    yield file.stem
    longer = f"{file.parent.name}-{file.stem}"
    yield longer
    if known is not None or file.is_file():
        yield f"{longer}-{(known or model_sha256(file))[:_N_DIGITS]}"
