"""Cohorts: does one client, or one segment, cause the drift?

Every event has a score per column and way of moving (location and spread of numeric columns; for categories a random
score per value). A client's sketch is its number of events and the sums of these scores, folded into at most 64 signed
buckets (a count sketch), so it has one small size whatever the number of columns. When a change is to be explained,
the shift is computed again without each client: the one whose absence takes most of it away is named.

Source: Charikar, Chen, Farach-Colton, "Finding frequent items in data streams" (2002), for the buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Arrays
from detectors.batch import FloatArray, IntArray, ObjectArray
from detectors.drift.bets import smoothed
from detectors.drift.columns import INVALID, MISSING, N_BINS, UNSEEN, CodeArray, NumericBins, WatchedColumn
from detectors.evidence import legendre_scores
from detectors.keys import client_key

MOST_BUCKETS = 64
MOST_CLIENTS = 200
_ONE = 64
"""A score of one, as an integer."""
_MOST_SCORE = 4.0
_SEED = 0x0D81F7
EXPLAINED = 0.7
"""Share of a shift that must go with a cohort for it to be named as the cause; less where chance explains the rest."""
_LEAST_EXPLAINED = 0.45
_CHANCE_SD = 2.0
_ALSO_SHIFTED = 0.5
_MOST_OF_TRAFFIC = 0.7


@dataclass(frozen=True, eq=False)
class CohortCode:
    """How events become the sums that cohorts are told apart by.

    Attributes:
        scores: (2, columns, N_BINS) integer scores of the two ways of moving, mean zero under the reference.
        bucket, sign: (2, columns) where each is summed.
        n_buckets: at most 64.
    """

    scores: IntArray
    bucket: IntArray
    sign: IntArray
    n_buckets: int

    @classmethod
    def design(cls, columns: Sequence[WatchedColumn], counts: IntArray) -> Self:
        """For ``columns`` with reference ``counts`` (columns, N_BINS); the same columns give the same code."""
        rng = np.random.default_rng(_SEED)
        scores = np.zeros((2, len(columns), N_BINS))
        for c, column in enumerate(columns):
            scores[:, c] = _bin_scores(column, counts[c], rng)
        flat = 2 * len(columns)
        n_buckets = min(flat, MOST_BUCKETS)
        bucket = np.arange(flat) if flat <= MOST_BUCKETS else rng.integers(0, n_buckets, size=flat)
        sign = np.ones(flat) if flat <= MOST_BUCKETS else rng.choice([-1, 1], size=flat)
        shape = (2, len(columns))
        return cls(
            np.rint(scores * _ONE).astype(np.int64),
            bucket.astype(np.int64).reshape(shape),
            sign.astype(np.int64).reshape(shape),
            n_buckets,
        )

    def sums(self, codes: CodeArray, names: ObjectArray) -> dict[str, IntArray]:
        """Name → (1 + buckets,) number of events and bucket sums; events without a name are left out.

        Args:
            codes: (n, columns) bins; names: (n,) str.
        """
        known = np.array([bool(name) for name in names.tolist()], dtype=np.bool_)
        if not known.any():
            return {}
        unique, member = np.unique(names[known].astype(str), return_inverse=True)
        order = np.argsort(member, kind="stable")
        starts = np.searchsorted(member[order], np.arange(len(unique)))
        rows = codes[known][order]
        column = np.arange(rows.shape[1])
        out = np.zeros((len(unique), 1 + self.n_buckets), dtype=np.int64)
        out[:, 0] = np.bincount(member)
        for way in (0, 1):
            sums = np.add.reduceat(self.scores[way][column, rows], starts, axis=0) * self.sign[way]
            np.add.at(out[:, 1:].T, self.bucket[way], sums.T)
        return {client_key(str(name)): row for name, row in zip(unique, out, strict=True)}

    def sums_of_counts(self, counts: IntArray) -> IntArray:
        """(1 + buckets,) what ``sums`` gives for events with these ``counts`` (columns, N_BINS)."""
        out = np.zeros(1 + self.n_buckets, dtype=np.int64)
        out[0] = counts[0].sum() if len(counts) else 0
        for way in (0, 1):
            np.add.at(out[1:], self.bucket[way], (counts * self.scores[way]).sum(axis=1) * self.sign[way])
        return out

    def shift(self, way: int, column: int, counts: IntArray) -> tuple[float, float]:
        """Sum of a column's scores over ``counts`` (N_BINS,), and the number of events; in units of ``_ONE``."""
        return float(counts @ self.scores[way, column]), float(counts.sum())

    def share_of(self, way: int, column: int, vector: IntArray) -> float:
        """Estimate of a cohort's sum of that column's scores."""
        return float(self.sign[way, column] * vector[1 + self.bucket[way, column]])


@dataclass(frozen=True, slots=True, eq=False)
class Cohorts:
    """The clients (or segments) with most events since suspicion began: names (k,), vectors (k, 1 + buckets)."""

    names: NDArray[np.str_]
    vectors: IntArray

    @classmethod
    def none(cls, n_buckets: int) -> Cohorts:
        return cls(np.empty(0, dtype="<U1"), np.empty((0, 1 + n_buckets), dtype=np.int64))

    def plus(self, keyed: Mapping[str, IntArray]) -> Cohorts:
        """With a pane's sums added, cut to the ``MOST_CLIENTS`` with most events."""
        if not keyed:
            return self
        sums = dict(zip(self.names.tolist(), self.vectors, strict=True))
        for name, vector in keyed.items():
            sums[name] = sums[name] + vector if name in sums else vector
        kept = sorted(sums, key=lambda name: (-int(sums[name][0]), name))[:MOST_CLIENTS]
        return Cohorts(np.array(kept), np.stack([sums[name] for name in kept]).astype(np.int64))

    def to_arrays(self, name: str) -> dict[str, Any]:
        return {name: self.names, f"{name}.sums": self.vectors}

    @classmethod
    def from_arrays(cls, arrays: Arrays, name: str) -> Cohorts:
        return cls(np.asarray(arrays[name], np.str_), np.asarray(arrays[f"{name}.sums"], np.int64))


@dataclass(frozen=True, slots=True)
class Cause:
    """One cohort without which the change would be (nearly) gone.

    Attributes:
        type: ``client`` or ``segment``.
        share_of_events: in (0, 1).
        explains: share of the shift that goes with it, in (0, 1].
    """

    type: str
    id: str
    share_of_events: float
    explains: float

    def to_json(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "id": self.id,
            "share_of_events": round(self.share_of_events, 4),
            "explains": round(self.explains, 4),
            "words": self.words(),
        }

    def words(self) -> str:
        return (
            f"{self.type} {self.id} alone causes it: without its {100 * self.share_of_events:.0f} % of the events, "
            f"{100 * self.explains:.0f} % of the change is gone"
        )


def find_cause(code: CohortCode, column: int, counts: IntArray, cohorts: Mapping[str, Cohorts]) -> Cause | None:
    """The cohort that causes the shift of ``column``; None when no single one does.

    Args:
        counts: (columns, N_BINS) of all events since the suspicion began.
        cohorts: ``client`` and ``segment`` → theirs since then.
    """
    shifts = [code.shift(way, column, counts[column]) for way in (0, 1)]
    largest = max(abs(whole) for whole, _ in shifts)
    found: list[Cause] = []
    for way, (whole, n) in enumerate(shifts):
        if abs(whole) < _ALSO_SHIFTED * largest:
            continue
        for type_, known in cohorts.items():
            for name, vector in zip(known.names.tolist(), known.vectors, strict=True):
                found += _cause(type_, name, whole, n, code.share_of(way, column, vector), float(vector[0]))
    return min(found, key=lambda cause: (cause.share_of_events, -cause.explains, cause.id), default=None)


def _cause(type_: str, name: str, whole: float, n: float, own: float, n_own: float) -> list[Cause]:
    if not 0 < n_own < _MOST_OF_TRAFFIC * n or not whole:
        return []
    without, with_all = (whole - own) / (n - n_own), whole / n
    explains = 1.0 - max(without / with_all, 0.0)
    chance = _CHANCE_SD * _ONE / np.sqrt(n - n_own)
    gone = explains >= EXPLAINED or (explains >= _LEAST_EXPLAINED and abs(without) <= chance)
    return [Cause(type_, name, n_own / n, explains)] if gone else []


def _bin_scores(column: WatchedColumn, counts: IntArray, rng: np.random.Generator) -> FloatArray:
    """(2, N_BINS) scores, mean zero under the reference and clipped."""
    masses = counts / max(float(counts.sum()), 1.0)
    if isinstance(column.bins, NumericBins):
        n_inner = column.bins.n_inner
        raw = np.zeros((2, N_BINS))
        for way, score in enumerate(legendre_scores(smoothed(counts[:n_inner]))):
            raw[way, :n_inner] = score
        raw[1, [MISSING, INVALID]] = _MOST_SCORE
    else:
        raw = np.stack([rng.normal(size=N_BINS), np.zeros(N_BINS)])
        raw[0, [UNSEEN, MISSING, INVALID]] = _MOST_SCORE
    raw -= (raw * masses).sum(axis=1, keepdims=True)
    return np.clip(raw, -_MOST_SCORE, _MOST_SCORE)
