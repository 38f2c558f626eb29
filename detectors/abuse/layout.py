"""Layout: what each event adds to its client's int64 vector.

``[counts …, fault cells …, swept cells …, class cells …]``. All are plain counts; times are whole milliseconds, the
volume is in thousandths of an event, since each logged event may stand for several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.abuse import faults, sweeps
from detectors.abuse.faults import Faults, cell_of
from detectors.abuse.latency import LatencyGrid
from detectors.abuse.sweeps import CHANGED, CHANGED_CELL
from detectors.arrays import under
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.labels import predicted

COUNTS: Final = (
    "events",
    "volume",
    "timed",
    "slow",
    "very_slow",
    "excess_ms",
    "spent_ms",
    "faulty",
    "compared",
    "stepped",
    "classed",
    "rare",
)
AT: Final = {name: i for i, name in enumerate(COUNTS)}
N_CLASS_CELLS: Final = 8
FAULT_CELLS: Final = slice(len(COUNTS), len(COUNTS) + faults.N_CELLS)
SWEPT_CELLS: Final = slice(FAULT_CELLS.stop, FAULT_CELLS.stop + sweeps.N_CELLS)
CLASS_CELLS: Final = slice(SWEPT_CELLS.stop, SWEPT_CELLS.stop + N_CLASS_CELLS)
WIDTH: Final = CLASS_CELLS.stop
PER_EVENT: Final = 1_000
"""Volume of one event that stands for itself."""
_RARE_SHARE: Final = 0.05
_FEWEST_RARE: Final = 4
_MOST_CLASSES: Final = 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Reads events as rows of the layout; ``common`` are the classes that are not rare, () where none is."""

    faults: Faults
    latency: LatencyGrid | None
    common: frozenset[str]

    @classmethod
    def fit(cls, batch: EventBatch, fitted: Faults) -> Self:
        return cls(fitted, LatencyGrid.fit(batch), common_classes(batch))

    def rows(self, batch: EventBatch) -> IntArray:
        """(n, WIDTH) what each event adds."""
        out = np.zeros((len(batch), WIDTH), dtype=np.int64)
        out[:, AT["events"]] = 1
        out[:, AT["volume"]] = np.rint(PER_EVENT / sampling_rates(batch)).astype(np.int64)
        if self.latency is not None:
            flags, spent = self.latency.compare(batch)
            out[:, AT["timed"] : AT["very_slow"] + 1] = flags
            out[:, AT["excess_ms"] : AT["spent_ms"] + 1] = np.rint(spent).astype(np.int64)
        out[:, FAULT_CELLS] = self.faults.cells(batch)
        out[:, AT["faulty"]] = out[:, FAULT_CELLS].any(axis=1)
        self._add_steps(out, batch)
        self._add_classes(out, batch)
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        grid = {} if self.latency is None else {f"latency/{k}": v for k, v in self.latency.to_arrays().items()}
        return {f"faults/{k}": v for k, v in self.faults.to_arrays().items()} | grid

    def to_facts(self) -> dict[str, Any]:
        labels = None if self.latency is None else list(self.latency.labels)
        return {"faults": self.faults.to_facts(), "latency_labels": labels, "common": sorted(self.common)}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        labels = facts["latency_labels"]
        grid = None if labels is None else LatencyGrid.load(under("latency", arrays), tuple(labels))
        fitted = Faults.load(under("faults", arrays), facts["faults"])
        return cls(fitted, grid, frozenset(facts["common"]))

    def _add_steps(self, out: IntArray, batch: EventBatch) -> None:
        none = np.full(len(batch), np.nan)
        changed, cell = batch.annotations.get(CHANGED, none), batch.annotations.get(CHANGED_CELL, none)
        out[:, AT["compared"]] = changed > 0
        stepped = np.flatnonzero(np.isfinite(cell))
        out[stepped, AT["stepped"]] = 1
        out[stepped, SWEPT_CELLS.start + cell[stepped].astype(np.int64)] = 1

    def _add_classes(self, out: IntArray, batch: EventBatch) -> None:
        if not self.common:
            return
        for i, name in enumerate(predicted(batch).tolist()):
            if name is None:
                continue
            out[i, AT["classed"]] = 1
            if name not in self.common:
                out[i, AT["rare"]] = 1
                out[i, CLASS_CELLS.start + cell_of(name, N_CLASS_CELLS)] = 1


def common_classes(batch: EventBatch) -> frozenset[str]:
    """The classes that remain when the rarest, a twentieth of the events together, are left out; () for few classes."""
    names = [name for name in predicted(batch).tolist() if name is not None]
    values, counts = np.unique(np.array(names, dtype=str), return_counts=True)
    if not 2 * _FEWEST_RARE <= len(values) <= min(_MOST_CLASSES, 0.2 * len(names)):
        return frozenset()
    order = np.argsort(counts, kind="stable")
    rare = np.cumsum(counts[order]) <= _RARE_SHARE * counts.sum()
    if rare.sum() < _FEWEST_RARE:
        return frozenset()
    return frozenset(str(values[i]) for i in order[~rare])


def sampling_rates(batch: EventBatch) -> FloatArray:
    """(n,) share of traffic that was logged, in (0, 1]."""
    if batch.sampling_rate is None:
        return np.ones(len(batch))
    rate = np.nan_to_num(batch.sampling_rate, nan=1.0)
    return np.asarray(np.clip(np.where(rate > 0, rate, 1.0), 1e-6, 1.0))


def variety(cells: FloatArray) -> float:
    """How many different cells some counts are spread over, evenly ones in full: 1 / sum of squared shares."""
    total = float(cells.sum())
    return total**2 / float(np.sum(cells**2)) if total > 0 else 0.0
