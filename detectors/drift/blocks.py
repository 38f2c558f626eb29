"""Blocks: the additive features of one source (``features`` or ``embedding``) and what they are in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.drift.dispersion import time_blocks
from detectors.drift.moments import MAX_PAIRED_COLUMNS, MOMENT_ONE, Moments
from detectors.drift.stretches import Stretches
from detectors.drift.waves import GRID, WAVE_ONE, Float32Array, Grid, Waves
from detectors.drift.witness import Memory, Normal
from detectors.evidence import overdispersion
from detectors.seasons import Seasons, find_seasons

HALF_LIVES = (16.0, 250.0)
"""Effective events after which the past counts half: for large changes, and for slight ones.

Where events hang together memories are longer by the overdispersion; else they would bet on what merely lingers.
"""
_CUT_OF_PRODUCTS = 2.0
"""Standard errors by which the long memory of products has them stand out: they are many, and few of them change."""
N_WAVES = 128
_MAX_ROWS = 1_000
_MIN_ROWS = 250
_MAX_CELLS = 500_000
_LEARNING_ROWS = 10_000
_DIRECTIONS = 8
_SEASONAL_COLUMNS = 64
_CLEAR = 1e-3
"""Chance among independent events of a dispersion that is taken for real."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One witness's view of one source; ``unit`` turns its whole sums into features of order one.

    ``normals`` holds one normal for each stratum of ``seasons``: their means differ, the rest they share.
    """

    source: str
    grid: Grid
    features: Waves | Moments
    seasons: Seasons
    normals: tuple[Normal, ...]

    @property
    def name(self) -> str:
        return f"{self.source} {'waves' if isinstance(self.features, Waves) else 'moments'}"

    @property
    def unit(self) -> float:
        return float(WAVE_ONE if isinstance(self.features, Waves) else MOMENT_ONE)

    @property
    def memories(self) -> tuple[Memory, ...]:
        """One short and one long memory: of all waves, or of means, squares and products each by itself.

        A change of one kind is learned sooner where the chance of the others does not cover it.
        """
        short, long = HALF_LIVES
        if isinstance(self.features, Waves):
            return Memory(short), Memory(long)
        cuts = (0.0, 0.0, _CUT_OF_PRODUCTS)
        return tuple(
            memory
            for part, cut in zip(self.features.parts, cuts, strict=False)
            for memory in (Memory(short, part=part), Memory(long, cut, part))
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        arrays: dict[str, NDArray[np.generic]] = {
            f"{self.name}.grid_mean": self.grid.mean,
            f"{self.name}.grid_scale": self.grid.scale,
            f"{self.name}.mean": np.stack([normal.mean for normal in self.normals]),
            f"{self.name}.n": np.array([normal.n for normal in self.normals]),
            f"{self.name}.rows": np.rint(self.normals[0].rows * self.unit).astype(np.int16),
            f"{self.name}.stretches": self.normals[0].stretches.number,
            f"{self.name}.stretch_n": self.normals[0].stretches.n,
            f"{self.name}.stretch_sums": self.normals[0].stretches.sums.astype(np.float32),
        }
        if isinstance(self.features, Waves):
            arrays[f"{self.name}.directions"] = self.features.directions
        return arrays

    def to_facts(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "name": self.name,
            "paired": isinstance(self.features, Moments) and self.features.paired,
            "seasons": self.seasons.to_json(),
            "in_time": self.normals[0].in_time,
            "between": self.normals[0].between,
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]) -> Self:
        name = str(facts["name"])
        grid = Grid(
            np.asarray(arrays[f"{name}.grid_mean"], dtype=np.float64),
            np.asarray(arrays[f"{name}.grid_scale"], dtype=np.float64),
        )
        directions = arrays.get(f"{name}.directions")
        features: Waves | Moments = (
            Moments(len(grid.mean), bool(facts["paired"]))
            if directions is None
            else Waves(np.asarray(directions, dtype=np.float32))
        )
        unit = MOMENT_ONE if directions is None else WAVE_ONE
        means = np.asarray(arrays[f"{name}.mean"], dtype=np.float64)
        sizes = np.asarray(arrays[f"{name}.n"], dtype=np.float64)
        rows = np.asarray(arrays[f"{name}.rows"], dtype=np.float32) / np.float32(unit)
        stretches = Stretches(
            np.asarray(arrays[f"{name}.stretches"], dtype=np.int64),
            np.asarray(arrays[f"{name}.stretch_sums"], dtype=np.float64),
            np.asarray(arrays[f"{name}.stretch_n"], dtype=np.float64),
        )
        normals = _normals(sizes, means, rows, float(facts["in_time"]), float(facts["between"]), stretches)
        return cls(str(facts["source"]), grid, features, Seasons.from_json(facts["seasons"]), normals)


def fit_source(source: str, rows: FloatArray, events: EventBatch, pane_s: float, seed: int) -> list[Block]:
    """Waves and moments of ``rows`` (n, p), each with a finite value; none when fewer than two columns vary."""
    grid = Grid.fit(rows)
    if np.isfinite(grid.scale).sum() < 2:
        return []
    steps, _ = grid.steps(rows)
    seasons = find_seasons(events.timestamp, steps[:, :_SEASONAL_COLUMNS] / np.float64(GRID), pane_s)
    strata = seasons.strata(events.timestamp)
    slots = Seasons(seasons.period_s, tuple(range(len(seasons.slots)))).strata(events.timestamp)
    paired = source == "features" and rows.shape[1] <= MAX_PAIRED_COLUMNS
    blocks = []
    for features in (Waves.fit(steps, N_WAVES, seed), Moments(rows.shape[1], paired)):
        unit = float(WAVE_ONE if isinstance(features, Waves) else MOMENT_ONE)
        sizes, means = _means(features, steps, strata, seasons.n_strata)
        means /= unit
        early = features.of(steps[:_LEARNING_ROWS]) / unit
        early -= (_means(features, steps, slots, len(seasons.slots))[1] / unit)[slots[:_LEARNING_ROWS]]
        in_time, between = _dispersion(early, events, pane_s)
        index = _spaced(features, len(steps))
        sample = (features.of(steps[index]) / unit - means[strata[index]]).astype(np.float32)
        sample -= sample.mean(axis=0)
        stretches = Stretches.measure(events.timestamp, strata, means, partial(_sums_of, features, steps, unit), pane_s)
        normals = _normals(sizes, means, sample, in_time, between, stretches)
        blocks.append(Block(source, grid, features, seasons, normals))
    return blocks


def _normals(
    sizes: FloatArray,
    means: FloatArray,
    rows: Float32Array,
    in_time: float,
    between: float,
    stretches: Stretches,
) -> tuple[Normal, ...]:
    first = Normal.of(float(sizes[0]), means[0], rows, in_time, between, stretches)
    return tuple(replace(first, n=float(n), mean=mean) for n, mean in zip(sizes, means, strict=True))


def _means(
    features: Waves | Moments, steps: Float32Array, group: IntArray, n_groups: int
) -> tuple[FloatArray, FloatArray]:
    """(groups,) events, and (groups, D) means of their features, in whole units."""
    sizes = np.bincount(group, minlength=n_groups).astype(np.float64)
    return sizes, np.stack([features.sums(steps[group == g]) / max(n, 1.0) for g, n in enumerate(sizes)])


def _sums_of(features: Waves | Moments, steps: Float32Array, unit: float, run: slice) -> FloatArray:
    return np.asarray(features.sums(steps[run]) / unit)


def _spaced(features: Waves | Moments, n: int) -> IntArray:
    """Evenly spaced reference rows, as many as are kept."""
    most = int(np.clip(_MAX_CELLS // features.width, _MIN_ROWS, _MAX_ROWS))
    return np.unique(np.linspace(0, n - 1, min(most, n)).astype(np.int64))


def _dispersion(values: FloatArray, events: EventBatch, pane_s: float) -> tuple[float, float]:
    """Overdispersion of the leading directions of ``values`` (m, D) over time, and the larger of it and by client."""
    centred = values - values.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    scores = (centred @ axes[:, -_DIRECTIONS:]).T
    timestamp = events.timestamp[: len(values)]
    in_time = max(_above_chance(scores, labels) for labels in time_blocks(timestamp, pane_s))
    in_time = max(in_time, *(_lingering(score) for score in scores))
    if events.client_id is None:
        return in_time, in_time
    _, clients = np.unique(events.client_id[: len(values)].astype(str), return_inverse=True)
    return in_time, max(in_time, _above_chance(scores, clients.astype(np.float64)))


def _above_chance(scores: FloatArray, labels: FloatArray) -> float:
    """Overdispersion clearly beyond what as many groups of independent events show: typical, or in one direction."""
    values = np.array([overdispersion(score, labels) for score in scores])
    k, freedom = len(values), max(np.unique(labels).size - 1, 1)
    found = 1.0
    if values.mean() > chi2.isf(_CLEAR, k * freedom) / (k * freedom):
        found = float(values.mean())
    if values.max() > chi2.isf(_CLEAR / k, freedom) / freedom:
        found = max(found, float(values.max() / (1 + 2 * np.sqrt(2.0 / freedom))))
    return found


def _lingering(score: FloatArray) -> float:
    """Overdispersion of an autoregression with the lag-one correlation of ``score`` less two errors, if clear."""
    n, centred = len(score), score - score.mean()
    correlation = float(centred[1:] @ centred[:-1] / max(float(centred @ centred), 1e-12))
    error = float(np.sqrt(max(1 - correlation**2, 0.0) / n))
    if correlation < norm.isf(_CLEAR / _DIRECTIONS) * error:
        return 1.0
    sure = correlation - 2 * error
    return (1 + sure) / (1 - min(sure, 0.99))
