"""Stamps: queries that differ from one of their sender's own by one size in column after column, here up, there down.

Whoever follows the sign of a gradient moves every column by the same step: the fast gradient sign method (Goodfellow et
al., Explaining and harnessing adversarial examples, 2015), Jacobian augmentation (Papernot et al., Practical black-box
attacks, 2017; Juuti et al., PRADA, 2019), projected descent (Madry et al. 2018). Devices, noise and what honest people
change leave sizes that differ, or move everything in one direction.

A few columns are watched, chosen in secret; steps are of one size in units of the log, as pixels are moved, or in the
standard deviation of each column, as tables are. A client whose numbers all lie on a coarse grid of that size, as those
of a sensor with few bits do, counts in steps and is not stamped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.vectors import VectorMap
from detectors.schema import numeric_matrix

STAMPED = "stamped"
"""Annotation: 1.0 where the query differs from the client's nearest recent one by one size, 0.0 where not; NaN = it is
the same query, there is none, or nothing is watched."""
WATCHED: Final = 10
FEWEST: Final = 4
"""Columns that have to change; with fewer watched nothing is said."""
SAME_SHARE: Final = 0.75
"""Share of the changed columns that have to change by one size."""
SAME_SIZE: Final = 0.03
LEAST_SIZE: Final = 16
"""In parts of a unit; smaller changes are as good as none."""
PARTS: Final = 512
"""A unit in the numbers that are remembered, which hold ±64 of them."""
ON_GRID: Final = 0.1
_LEAST_VARIED: Final = 0.3
_LEAST_VALUES: Final = 20
_SAMPLE: Final = 3_000
_OTHERS: Final = 6
_SHARP: Final = 0.1
_STEPS: Final = 4.5
_FEWEST_STEPS: Final = 3
_SATURATED: Final = 32_767


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """The watched columns: ``names`` (k,), ``centre`` (k,) and ``unit`` (k,) in units of the log; one unit for all of
    them where they are of one kind.
    """

    names: tuple[str, ...]
    centre: FloatArray
    unit: FloatArray

    @classmethod
    def none(cls) -> Self:
        """Nothing is watched."""
        return cls((), np.zeros(0), np.ones(0))

    @classmethod
    def fit(cls, source: VectorMap, batch: EventBatch, rng: np.random.Generator) -> Self:
        """Some columns of the features that have more than a few values; none of an embedding or of scores."""
        if source.view != "features" or not source.numeric:
            return cls.none()
        some = batch.take(np.arange(0, len(batch), max(1, len(batch) // _SAMPLE)))
        values = numeric_matrix(some, source.numeric)
        least = _LEAST_VARIED * float(np.median(source.scale)) if source.one_kind else 0.0
        varied = source.scale >= least
        able = [j for j in np.flatnonzero(varied).tolist() if len(np.unique(values[:, j])) > _LEAST_VALUES]
        chosen = np.sort(rng.permutation(able)[:WATCHED]).astype(np.int64)
        if len(chosen) < FEWEST:
            return cls.none()
        whole = np.full(len(source.scale), float(np.sqrt(np.mean(source.scale**2))))
        unit = (whole if source.one_kind else source.scale)[chosen]
        return cls(tuple(source.numeric[j] for j in chosen), source.centre[chosen], unit)

    def numbers(self, batch: EventBatch) -> NDArray[np.int16]:
        """(n, k) what is remembered of queries; a missing value is the mean."""
        values = (numeric_matrix(batch, self.names) - self.centre) / self.unit * PARTS
        return np.clip(np.rint(np.nan_to_num(values)), -_SATURATED, _SATURATED).astype(np.int16)

    @property
    def weights(self) -> FloatArray:
        """(s, k) by which differences of the numbers are weighed to be of one size: as they are, and as in the log."""
        plain = np.ones((1, len(self.names)))
        if not len(self.names) or float(np.ptp(self.unit)) == 0.0:
            return plain
        return np.vstack([plain, self.unit / np.median(self.unit)])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"names": np.array(self.names, dtype=np.str_), "centre": self.centre, "unit": self.unit}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(tuple(map(str, arrays["names"].tolist())), arrays["centre"], arrays["unit"])


def stamped(numbers: NDArray[np.int16], nearest: IntArray, weights: FloatArray, capacity: int) -> FloatArray:
    """(m,) 1.0 for each of the last m of (k + m, w) rows that is stamped beside the row ``nearest`` (m,) to it, or 0.0.

    By any of the ``weights`` (s, w). NaN where fewer than ``FEWEST`` columns are watched. Cost: about a microsecond a
    row.
    """
    m, watched = len(nearest), numbers.shape[1]
    if watched < FEWEST:
        return np.full(m, np.nan)
    held = len(numbers) - m
    gap = numbers[held:].astype(np.int32) - numbers[nearest]
    out = np.zeros(m)
    for weight in weights:
        hit, step = _of_one_size(gap, weight)
        for i in np.flatnonzero(hit & (out == 0.0)).tolist():
            at = held + i
            first = max(0, at - capacity)
            others = [j for j in np.linspace(first, at - 1, _OTHERS, dtype=np.int64).tolist() if j != nearest[i]]
            apart = (numbers[at] - numbers[others].astype(np.int32)) * weight
            out[i] = not _counts_in(float(step[i]), apart)
    return out


def _of_one_size(gap: NDArray[np.int32], weight: FloatArray) -> tuple[NDArray[np.bool_], FloatArray]:
    """(m,) whether most of what changed of (m, w) differences changed by one size, up here and down there; the size."""
    size = np.abs(gap) * weight
    changed = np.sum(gap != 0, axis=1)
    ordered, last = np.sort(size, axis=1), gap.shape[1] - 1
    middle = ordered[np.arange(len(gap)), np.minimum(last + 1 - (changed + 1) // 2, last)]
    blur = 1.5 * weight
    close = np.abs(size - middle[:, None]) <= np.maximum(blur, SAME_SIZE * middle[:, None])
    same = close & (gap != 0) & (blur <= _SHARP * middle[:, None])
    up, down = (np.sum(same & way, axis=1) for way in (gap > 0, gap < 0))
    hit = (changed >= FEWEST) & (middle >= LEAST_SIZE) & (np.minimum(up, down) > 0)
    return hit & (up + down >= SAME_SHARE * changed), np.sum(size * same, axis=1) / np.maximum(up + down, 1)


def _counts_in(step: float, gaps: FloatArray) -> bool:
    """Whether most of the small differences between a client's queries are whole steps."""
    steps = np.abs(gaps[gaps != 0]) / step
    small = steps[steps <= _STEPS]
    if len(small) < _FEWEST_STEPS:
        return False
    return float(np.mean(np.abs(small - np.rint(small)) <= ON_GRID)) >= SAME_SHARE
