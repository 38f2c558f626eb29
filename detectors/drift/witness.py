"""Witness: a bet, re-learned every pane from the past alone, that events lie further along the change seen so far.

For additive features ``z`` of an event (waves, products) the witness is ``w = live mean - pooled mean`` and the score
of an event ``<w, z>``; both are functions of sums. With ``u`` the score standardised under the reference and ``T`` its
sum over a pane's ``n`` events around the pooled mean, a bet of strength ``t`` earns

    log L = t T - n K(t) - n^2 (t^2 / W + v(t) / m) / 2

``K`` is the cumulant function of ``u`` over ``m`` reference rows and ``W`` the events in the pool. The last term is
what the pool's own sampling error costs. The pool is the reference and every live event before the pane, so the offsets
of panes from it are uncorrelated however far the finite reference lies from the truth: a long honest stream teaches
the pool instead of raising an alarm. A tolerance pays the ratio of two such bets, the lower one at its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.drift.stretches import Stretches

STRENGTHS = (0.1, 0.3, 0.8)
"""Tilts beyond the tolerance, in standard deviations of the score."""
_SURE = 5.0
"""Standard deviations beyond which nothing is put down to chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What a witness is made of.

    Attributes:
        half_life: of the live mean, in effective events.
        cut: how many standard errors a feature must stand out.
        part: positions of the features that it looks at; None for all.
    """

    half_life: float
    cut: float = 0.0
    part: IntArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """What a block's features are in the reference.

    Attributes:
        n: events; mean: (D,) their mean.
        rows: (m, D) a sample of them, minus its own mean, float32.
        in_time: overdispersion of sums over time; between: the larger of it and that between clients.
        stretches: what the reference shows from one stretch of time to the next, along any witness.
        rhythm: (r, D) loadings of the directions that a witness is turned away from, and (r, D) what each takes away.
    """

    n: float
    mean: FloatArray
    rows: NDArray[np.float32]
    deviation: FloatArray
    in_time: float
    between: float
    stretches: Stretches
    rhythm: tuple[FloatArray, FloatArray]

    @classmethod
    def of(
        cls,
        n: float,
        mean: FloatArray,
        rows: NDArray[np.float32],
        in_time: float,
        between: float,
        stretches: Stretches | None = None,
    ) -> Self:
        known = stretches or Stretches.none(len(mean))
        return cls(n, mean, rows, rows.astype(np.float64).std(axis=0), in_time, between, known, known.rhythm(rows))


@dataclass(frozen=True, slots=True, eq=False)
class Bets:
    """What one pane earned: (memories x strengths,) log ratios and (memories,) sums of the standardised score."""

    log_ratio: FloatArray
    moved: FloatArray


def bets(
    normal: Normal,
    pool_n: float,
    pool_mean: FloatArray,
    live: FloatArray,
    memories: Sequence[Memory],
    pane_n: float,
    pane_sum: FloatArray,
    tolerance: float,
) -> Bets:
    """Bet on one pane.

    Args:
        pool_n, pool_mean: number and mean (D,) of the reference and of the live events before the pane.
        live: (memories, 1 + D) forgetting counts and sums of features before the pane.
        pane_n, pane_sum: events of the pane and the sums (D,) of their features.
        tolerance: shift of the score, in sd, that is not worth an alarm; 0 or more.

    Cost: one product of (m, D) with (D, memories) and m x memories x strengths exponentials.
    """
    n_bets = len(memories) * len(STRENGTHS)
    if pane_n == 0:
        return Bets(np.zeros(n_bets), np.zeros(len(memories)))
    witness = _witnesses(normal, pool_mean, live, memories)
    scores = normal.rows @ witness.T.astype(np.float32)
    deviation = np.sqrt(np.mean(scores.astype(np.float64) ** 2, axis=0))
    told = deviation > 1e-9
    scale = np.where(told, deviation, 1.0)
    moved = np.where(told, witness @ (pane_sum - pane_n * pool_mean) / scale, 0.0)
    standard = (scores / scale.astype(np.float32)).astype(np.float64)
    in_time = np.maximum(normal.in_time, normal.stretches.overdispersion(witness, scale**2))[:, None]
    high = np.asarray(STRENGTHS) + tolerance
    ratio = _tilted(standard, moved, pane_n, pool_n, high, in_time, normal.between)
    if tolerance > 0:
        ratio = ratio - _tilted(standard, moved, pane_n, pool_n, np.array([tolerance]), in_time, normal.between)
    return Bets(np.where(told[:, None], ratio, 0.0).ravel(), moved)


def beyond_luck(normal: Normal, change: FloatArray, n: float) -> bool:
    """Whether a ``change`` (D,) of the mean over ``n`` events is more than two samples of one source ever differ by.

    The squared length of the difference against its mean and standard deviation, both from the reference's rows.
    """
    rows = normal.rows.astype(np.float64)
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    share = normal.between / max(normal.n, 1.0) + normal.in_time / max(n, 1.0)
    usual = share * float(np.sum(normal.deviation**2))
    error = share * float(np.sqrt(2 * np.sum(gram**2))) / len(rows)
    return bool(float(change @ change) > usual + _SURE * error)


def _witnesses(normal: Normal, pool_mean: FloatArray, live: FloatArray, memories: Sequence[Memory]) -> FloatArray:
    """(memories, D) change of the mean as each memory sees it; 0 where it does not look or too little stands out."""
    count = live[:, 0]
    seen = count > 0
    witness = np.where(seen[:, None], live[:, 1:] / np.where(seen, count, 1.0)[:, None] - pool_mean, 0.0)
    for i, memory in enumerate(memories):
        if memory.cut > 0 and seen[i]:
            error = memory.cut * normal.deviation / np.sqrt(count[i] / normal.in_time)
            witness[i] = np.sign(witness[i]) * np.maximum(np.abs(witness[i]) - error, 0.0)
        if memory.part is not None:
            kept = witness[i, memory.part]
            witness[i] = 0.0
            witness[i, memory.part] = kept
    loadings, taken = normal.rhythm
    witness -= (witness @ loadings.T) @ taken
    return np.asarray(witness)


def _tilted(
    standard: FloatArray,
    moved: FloatArray,
    n: float,
    pool_n: float,
    strength: FloatArray,
    in_time: FloatArray,
    between: float,
) -> FloatArray:
    """(memories, strengths) log ratio of a tilt to the reference, its chance of a wrong pool included.

    ``in_time``: (memories, 1) overdispersion of each score.
    """
    tilt = np.exp(standard[:, :, None] * strength)
    mass = tilt.mean(axis=0)
    shape = (tilt / mass - 1.0 - strength * standard[:, :, None]).var(axis=0)
    tempered, sampled = strength / in_time, np.maximum(in_time, between)
    unsure = tempered**2 * sampled / pool_n + shape / in_time**2 * sampled / len(standard)
    return np.asarray(moved[:, None] * tempered - n * np.log(mass) / in_time - n**2 * unsure / 2)
