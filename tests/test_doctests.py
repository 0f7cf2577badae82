"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import misfired


def modules() -> list[str]:
    found = pkgutil.walk_packages(misfired.__path__, "misfired.")
    return ["misfired", *(m.name for m in found if not m.name.endswith(("_core", "__main__")))]


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    results = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    assert results.failed == 0
