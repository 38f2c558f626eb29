"""Every example in a docstring runs and says what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import detectors


def _modules() -> list[str]:
    return [found.name for found in pkgutil.walk_packages(detectors.__path__, "detectors.")]


@pytest.mark.parametrize("module", _modules())
def test_examples_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
