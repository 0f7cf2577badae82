"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of test data, or a skip where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MISFIRED_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (set MISFIRED_TEST_DATA)")
    return folder
