"""Fixtures of the dashboard's tests: seeded read sides."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def _load() -> ModuleType:
    path = Path(__file__).parent / "fake_queries.py"
    spec = importlib.util.spec_from_file_location("fake_queries", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_queries"] = module
    spec.loader.exec_module(module)
    return module


fake_queries = _load()


@pytest.fixture
def fakes() -> Any:
    """The module with the hostile strings and the factories."""
    return fake_queries


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def _rich() -> Any:
    return fake_queries.rich(NOW)


@pytest.fixture
def rich(_rich: Any) -> Any:
    """A read side of the test's own: its lists and tables are, the rows in them never change."""
    return dataclasses.replace(_rich, **{name: _own(value) for name, value in vars(_rich).items()})


def _own(value: Any) -> Any:
    if isinstance(value, list):
        return list(value)
    return {key: _own(item) for key, item in value.items()} if type(value) is dict else value


@pytest.fixture
def empty() -> Any:
    return fake_queries.empty()
