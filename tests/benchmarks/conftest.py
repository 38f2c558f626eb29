"""The victim that the tests of attacks share."""

from __future__ import annotations

import pytest

from tests.benchmarks.extraction.images import Digits


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Nobody changes it; who wants another one takes a copy."""
    return Digits(1)
