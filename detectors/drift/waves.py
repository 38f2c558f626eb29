"""Waves: random features of a vector whose sums are exact on every machine.

A kernel two-sample statistic compares means of random Fourier features (Rahimi and Recht, 2007). Here the vector is
standardised and rounded to 1/32 sd, the random directions are integers, so a float32 product of both is exact whatever
the order of its additions, and a triangle wave of the phase, taken by integer arithmetic, stands in for the cosine.
Its Fourier series is the cosine plus a ninth of its third harmonic and so on, so its kernel is a mixture of Gaussian
kernels of narrowing bandwidth, as characteristic as the Gaussian one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray

GRID = 32
"""Steps of one standard deviation."""
REACH = 4 * GRID
"""Values beyond four standard deviations count as four."""
WAVE_ONE = 1 << 14
"""Waves are whole numbers in [-WAVE_ONE, WAVE_ONE)."""
_TURN = 1 << 16
_QUARTER = _TURN // 4
_EXACT_FLOAT32 = 1 << 24
_ROWS_AT_ONCE = 256
_MAX_PAIRS = 20_000

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """From raw columns to whole steps of 1/32 sd around the reference's mean; ``mean``, ``scale``: (p,)."""

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, rows: FloatArray) -> Self:
        """Mean and spread of every column of ``rows`` (n, p), extreme values held in.

        A column that hardly varies gets an infinite scale, so that it never speaks.
        """
        clean = np.where(np.isfinite(rows), rows, np.nan)
        clean[:, np.isnan(clean).all(axis=0)] = 0.0
        low, high = np.nanquantile(clean, [0.005, 0.995], axis=0)
        kept = np.clip(clean, low, high)
        spread = np.nanstd(kept, axis=0)
        return cls(np.nanmean(kept, axis=0), np.where(spread > 1e-12, spread, np.inf))

    def steps(self, rows: FloatArray) -> tuple[Float32Array, NDArray[np.bool_]]:
        """(m, p) whole numbers in [-128, 128] of the rows that hold any finite value, and (n,) which rows those are.

        A missing or non-finite value lies at the mean; rows of another width than the reference's hold nothing.
        """
        if rows.shape[1] != len(self.mean):
            return np.zeros((0, len(self.mean)), dtype=np.float32), np.zeros(len(rows), dtype=np.bool_)
        steps = np.subtract(rows, self.mean)
        steps *= GRID / self.scale
        present: NDArray[np.bool_] = np.ones(len(rows), dtype=np.bool_)
        if not np.isfinite(steps.sum()):
            finite = np.isfinite(steps)
            present = np.asarray(finite.any(axis=1))
            steps[~finite] = 0.0
            steps = steps[present]
        np.clip(steps, -REACH, REACH, out=steps)
        return np.rint(steps, out=steps).astype(np.float32), present


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """Two waves, a quarter turn apart, along each of D/2 directions; ``directions``: (p, D/2) whole float32."""

    directions: Float32Array

    @property
    def width(self) -> int:
        """D, the number of waves."""
        return 2 * int(self.directions.shape[1])

    @classmethod
    def fit(cls, steps: Float32Array, width: int, seed: int) -> Self:
        """Random directions whose wavelength is set by the median distance of rows."""
        rng = np.random.default_rng(seed)
        n, p = steps.shape
        left, right = rng.integers(0, n, size=(2, min(_MAX_PAIRS, 10 * n)))
        keep = np.flatnonzero(left != right)[:2_000]
        distances = np.sqrt(((steps[left[keep]] - steps[right[keep]]).astype(np.float64) ** 2).sum(axis=1))
        median = max(float(np.median(distances)) if len(distances) else 0.0, 1.0)
        directions = np.rint(rng.normal(size=(p, width // 2)) * (_TURN / (2 * np.pi * median)))
        longest = float(np.abs(directions).sum(axis=0).max()) * REACH
        if longest + _TURN >= _EXACT_FLOAT32:
            directions = np.trunc(directions * ((_EXACT_FLOAT32 - 2 * _TURN) / longest))
        return cls(directions.astype(np.float32))

    def of(self, steps: Float32Array) -> Int32Array:
        """(n, D) waves of whole (n, p) ``steps``."""
        half = self.directions.shape[1]
        out = np.empty((len(steps), 2 * half), dtype=np.int32)
        phase = (steps @ self.directions).astype(np.int32)
        out[:, :half] = phase
        np.add(phase, _QUARTER, out=out[:, half:])
        return _triangle(out)

    def sums(self, steps: Float32Array) -> IntArray:
        """(D,) exact sums of the waves over rows."""
        total = np.zeros(self.width, dtype=np.int64)
        for start in range(0, len(steps), _ROWS_AT_ONCE):
            total += np.add.reduce(self.of(steps[start : start + _ROWS_AT_ONCE]), axis=0, dtype=np.int32)
        return total


def _triangle(phase: Int32Array) -> Int32Array:
    """In place: the low 16 bits of a phase, one turn, as a triangle wave in [-WAVE_ONE, WAVE_ONE)."""
    np.left_shift(phase, 16, out=phase)
    np.bitwise_xor(phase, phase >> 31, out=phase)
    np.right_shift(phase, 16, out=phase)
    phase -= WAVE_ONE
    return phase
