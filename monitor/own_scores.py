"""Own scores: functions of the user's that score event batches, named in the settings.

A function takes an ``EventBatch`` of n events and returns n numbers, higher = stranger; it sees each event by itself
and keeps no state, so that a replay gives the same scores. It comes from a Python module or file that the operator
names, never from a log or a stored reference, which hold the score's name and calibration alone. What a function
raises, or returns in another shape, costs the batch this one score and nothing else: the events are then scored by
what is left, and the alert says that the score was missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from detectors.batch import EventBatch, FloatArray
from detectors.ood.inputs import OWN
from monitor.errors import PermanentError

ScoreFunction = Callable[[EventBatch], Any]
NAME = r"^[a-z0-9][a-z0-9_-]{0,40}$"
_TARGET = re.compile(r"(?P<module>[^:]+):(?P<function>[A-Za-z_][A-Za-z0-9_.]*)")
_MOST_LOGGED = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OwnScores:
    """The user's scores by name; ``failures`` counts the batches that each one failed on."""

    functions: Mapping[str, ScoreFunction] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)

    def annotate(self, batch: EventBatch) -> EventBatch:
        """The batch with every score as an annotation, NaN where it could not be computed."""
        if not self.functions or not len(batch):
            return batch
        seen = _read_only(batch)
        return batch.annotate(**{OWN + name: self._score(name, seen) for name in self.functions})

    def _score(self, name: str, batch: EventBatch) -> FloatArray:
        try:
            values = np.asarray(self.functions[name](batch), dtype=np.float64)
            if values.shape != (len(batch),):
                raise ValueError(f"returned an array of shape {values.shape} for {len(batch)} events")
        except Exception as error:
            self.failures[name] += 1
            if self.failures[name] <= _MOST_LOGGED:
                log.warning("own score failed", score=name, error=f"{type(error).__name__}: {error}"[:300])
            return np.full(len(batch), np.nan)
        return np.where(np.isfinite(values), values, np.nan)


def load_own_scores(targets: Mapping[str, str]) -> OwnScores:
    """The functions behind ``name → module:function`` or ``name → path/to/file.py:function``.

    Raises:
        PermanentError: one cannot be imported; the message says which and why.
    """
    return OwnScores({name: _load(name, target) for name, target in targets.items()})


def parse_own_scores(texts: Sequence[str]) -> dict[str, str]:
    """``NAME=MODULE:FUNCTION`` as a mapping.

    Raises:
        ValueError: one is not of that form.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, target = text.partition("=")
        if not equals or not re.fullmatch(NAME, name) or not _TARGET.fullmatch(target):
            raise ValueError(f"own score {text!r}: write NAME=MODULE:FUNCTION or NAME=path/to/file.py:FUNCTION")
        found[name] = target
    return found


def _load(name: str, target: str) -> ScoreFunction:
    match = _TARGET.fullmatch(target)
    if match is None:
        raise PermanentError(f"own score {name!r}: {target!r} is not MODULE:FUNCTION or path/to/file.py:FUNCTION")
    try:
        found: Any = _module(match["module"])
        for part in match["function"].split("."):
            found = getattr(found, part)
    except Exception as error:
        raise PermanentError(f"own score {name!r}: {target}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise PermanentError(f"own score {name!r}: {target} is no function")
    return found  # type: ignore[no-any-return]  # what it returns is checked batch by batch


def _module(named: str) -> Any:
    if not named.endswith(".py"):
        return importlib.import_module(named)
    path = Path(named)
    spec = importlib.util.spec_from_file_location(f"vedette_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot be read as Python: {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read_only(batch: EventBatch) -> EventBatch:
    """The same events in arrays that cannot be written to."""
    changed: dict[str, Any] = {}
    for item in fields(batch):
        value = getattr(batch, item.name)
        if isinstance(value, np.ndarray):
            changed[item.name] = _view(value)
        elif isinstance(value, Mapping):
            changed[item.name] = {name: _view(column) for name, column in value.items()}
    return replace(batch, **changed)


def _view(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view = array.view()
    view.flags.writeable = False
    return view
