"""Mirrors: tries on both sides of one point, and whether their sender then moves the way the answers point.

Who estimates a gradient from answers alone asks at both ends of a line through one point, then of another line through
the same point, and then goes to another point: symmetric finite differences (ZOO: Chen et al. 2017), antithetic
natural evolution strategies (NES: Ilyas et al. 2018), simultaneous perturbation that averages tries (SPSA: Spall 1992;
with one pair a point there is nothing to tell it by). Both tries of a pair follow each other, or all first ones come
before all second ones, as in the code of Ilyas et al. Two pairs that follow each other and have one middle are
*mirrored*, of the latter order four; mirrored tries that follow each other form a *run* around its centre.
The slope of the answers is the sum of all tries' differences times those of their answers. A run that begins elsewhere
than the one before it has made a *move*, and its *descent* is the share of all directions that lead at least as steeply
down that slope: uniform if where the sender goes has nothing to do with the answers.

Everything is told from a client's recent queries in the projection of the rings, in the order in which they arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.batch import FloatArray, IntArray
from detectors.clients.walks import NO_LABEL, Arrivals

MIRRORED = "mirrored"
"""Annotation: 1.0 where the query and its other try have the middle of the pair before them, 0.0 where not."""
DESCENT = "descent"
"""Annotation of the query that shows a move: share of directions that lead at least as steeply to less sure answers."""
MIRRORS = (MIRRORED, DESCENT)
SAME_MIDDLE: Final = 0.35
"""Middles this near to each other, in units of the distance between two tries, are one; .7 is what chance makes it."""
STIR: Final = 0.1
"""A centre that moved by less, in the same units, did not move."""
FAR: Final = 3.0
"""A centre that moved by more, and beyond what continues a walk, belongs to another input."""
LATELY: Final = 32
"""Rows before a run within which the one before it has to show three pairs of tries."""
FARTHEST: Final = 64
"""Rows back that the other try may be."""
SAME_FAR_MIDDLE: Final = 0.2
"""``SAME_MIDDLE`` of pairs whose tries do not follow each other: many rows are looked at for the other one."""
APART: Final = 0.1
"""Square of the distance between tries that follow each other, at least, in units of that within a pair: what swings
to and fro by small steps, as a day does, mirrors itself as well."""
LEAST_DIRECTIONS: Final = 2.0
"""With fewer, a direction is no more than a sign."""
ENOUGH: Final = 5
"""Tries that tell in how many directions others would go."""
_QUAD = 4


def mirror(arrivals: Arrivals) -> Mapping[str, FloatArray]:
    """The annotations of the new rows; their notes are completed in place, in arrival order.

    Cost: two microseconds a row, a tenth of a millisecond a move.
    """
    held, m = arrivals.held, len(arrivals.distance)
    told = {MIRRORED: np.zeros(m), DESCENT: np.full(m, np.nan)}
    farthest = max(0, min(FARTHEST, arrivals.capacity - _QUAD))
    first = max(0, held - farthest - _QUAD + 1)
    rows = arrivals.rows[first:].astype(np.float32)
    lag = _far_lags(rows, held - first, farthest, arrivals.same)
    lag[_quads(rows, arrivals.same)] = 1
    arrivals.notes["mirror"][held:] = lag[held - first :]
    hits = held + np.flatnonzero(lag[held - first :])
    told[MIRRORED][hits - held] = 1.0
    for at in hits.tolist():
        if not _goes_on(arrivals.notes["mirror"], at):
            told[DESCENT][at - held] = _descent(arrivals, at)
    return told


def _goes_on(mirror: NDArray[np.uint8], at: int) -> bool:
    """Whether the pair that ends at row ``at`` goes on with a run."""
    lag = int(mirror[at])
    return bool(mirror[at - _stride(lag)] == lag)


def _stride(lag: int) -> int:
    """Rows from one pair of a run to the next."""
    return 2 if lag == 1 else 1


def _quads(rows: NDArray[np.float32], same: float) -> NDArray[np.bool_]:
    """(n,) whether each row ends two mirrored pairs; tries that are one query are none, nor is one pair sent twice."""
    out = np.zeros(len(rows), dtype=bool)
    if len(rows) < _QUAD:
        return out
    step, middle = rows[1:] - rows[:-1], rows[1:] + rows[:-1]
    length = np.einsum("ij,ij->i", step, step)
    gap = middle[2:] - middle[:-2]
    apart = np.einsum("ij,ij->i", gap, gap) / 4.0
    shorter = np.minimum(length[2:], length[:-2])
    hit = _QUAD - 1 + np.flatnonzero((apart <= SAME_MIDDLE**2 * shorter) & (shorter > same * same))
    moved = [rows[hit] - rows[hit - back] for back in (2, 3)]
    out[hit] = np.all([np.einsum("ij,ij->i", one, one) > same * same for one in moved], axis=0)
    return out


def _far_lags(rows: NDArray[np.float32], new: int, farthest: int, same: float) -> NDArray[np.uint8]:
    """(n,) how many rows back, at least 2, the other try of a row is that ends four mirrored pairs; 0 if it ends none.

    Only rows from ``new`` on are told. Tries that are one query are none.
    """
    n = len(rows)
    out = np.zeros(n, dtype=np.uint8)
    begin = max(1, new - _QUAD + 2)
    if n - begin < 1 or farthest < 2:
        return out
    step = rows[1:] - rows[:-1]
    length = np.einsum("ij,ij->i", step, step)
    some = step[begin - 1 :]
    gap = length[begin - 1 :, None] + length + 2.0 * (some @ step.T)
    at, other = np.nonzero(gap <= 4.0 * SAME_FAR_MIDDLE**2 / APART * length[begin - 1 :, None])
    at, other = at + begin, other + 1
    lag = at - other
    kept = (lag >= 2) & (lag <= farthest)
    at, other, lag = at[kept], other[kept], lag[kept]
    within = [np.einsum("ij,ij->i", one, one) for one in (rows[at] - rows[other], rows[at - 1] - rows[other - 1])]
    longest, shortest = np.maximum(*within), np.minimum(*within)
    fits = (gap[at - begin, other - 1] <= 4.0 * SAME_FAR_MIDDLE**2 * shortest) & (shortest > same * same)
    fits &= length[at - 1] >= APART * longest
    for back in range(2, _QUAD):
        moved = rows[at] - rows[np.maximum(at - back, 0)]
        fits &= np.einsum("ij,ij->i", moved, moved) > same * same
    hit = np.zeros((n, farthest + 1), dtype=bool)
    hit[at[fits], lag[fits]] = True
    run = hit.copy()
    for back in range(1, _QUAD - 1):
        run[back:] &= hit[:-back]
        run[:back] = False
    ends = run.any(axis=1) & (np.arange(n) >= new)
    out[ends] = run[ends].argmax(axis=1)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Mirrored pairs about one centre: (k, d) differences between their tries and (k,) of their answers."""

    centre: FloatArray
    differences: FloatArray
    answers: FloatArray

    @classmethod
    def of(cls, arrivals: Arrivals, pairs: IntArray) -> _Run:
        """The (k, 2) positions of the later try and of the other."""
        last, other = pairs.T
        after, before = arrivals.rows[last].astype(np.float64), arrivals.rows[other].astype(np.float64)
        now, then = arrivals.notes[last], arrivals.notes[other]
        alike = (now["label"] == then["label"]) & (now["label"] != NO_LABEL)
        gained = np.where(alike, now["sure"].astype(np.float64) - then["sure"].astype(np.float64), np.nan)
        return cls((after + before).mean(axis=0) / 2.0, after - before, gained)

    @property
    def length(self) -> float:
        """Usual distance between two tries."""
        return float(np.sqrt(np.mean(np.einsum("ij,ij->i", self.differences, self.differences))))


def _pairs(hits: IntArray, lag: int) -> IntArray:
    """(k, 2) positions of the tries of a run whose mirrored pairs end at ``hits``: those, and the ones before them."""
    stride = _stride(lag)
    before = 1 if lag == 1 else _QUAD - 1
    last = np.concatenate([hits[0] - stride * np.arange(before, 0, -1), hits])
    return np.stack([last, last - lag], axis=1)


def _descent(arrivals: Arrivals, at: int) -> float:
    """Of the move to the run that begins at row ``at``; NaN where there was none, or no slope is known."""
    mirror = arrivals.notes["mirror"]
    lag = int(mirror[at])
    oldest = max(0, at - arrivals.capacity + 1) + _QUAD - 1 + (lag if lag > 1 else 0)
    hits = oldest + np.flatnonzero(mirror[oldest : at - 1] == lag)
    late = hits[hits >= at - LATELY - 2 * (lag - 1)]
    if not len(late) or (lag == 1 and not (np.diff(late) == 2).any()):
        return float("nan")
    parts = np.split(hits, np.flatnonzero(np.diff(hits) > _stride(lag)) + 1)
    runs = [_pairs(part, lag) for part in parts]
    begun, earlier = _Run.of(arrivals, _pairs(np.array([at]), lag)), runs.pop()
    run = _Run.of(arrivals, earlier)
    while runs and _far(_Run.of(arrivals, runs[-1]), run) <= STIR:
        earlier = np.concatenate([runs.pop(), earlier])
        run = _Run.of(arrivals, earlier)
    move, limit = begun.centre - run.centre, float(arrivals.limit[at - arrivals.held])
    if not STIR * run.length <= float(np.linalg.norm(move)) <= max(FAR * run.length, limit):
        return float("nan")
    return steepness(move, run.differences, run.answers)


def _far(one: _Run, other: _Run) -> float:
    """Distance between two centres, in units of that between two tries about the latter."""
    return float(np.linalg.norm(one.centre - other.centre)) / max(other.length, 1e-12)


def steepness(move: FloatArray, differences: FloatArray, answers: FloatArray) -> float:
    """Share of directions that lead at least as steeply down the slope as ``move`` (d,) does; NaN where none is known.

    ``differences`` (k, d) lie between tries, ``answers`` (k,) are how much surer the later of two was. As many
    directions count as tries go in: the participation ratio, which of ``ENOUGH`` tries or more also says how many there
    are that those have not shown (of k tries in n directions it is about k n / (k + n)).
    """
    known = np.isfinite(answers)
    slope = answers[known] @ differences[known]
    length = float(np.linalg.norm(slope) * np.linalg.norm(move))
    gram = differences @ differences.T
    ways = float(np.trace(gram) ** 2 / max(float(np.sum(gram * gram)), 1e-300))
    if len(answers) >= ENOUGH:
        ways = 1.0 / max(1.0 / ways - 1.0 / len(answers), 1.0 / differences.shape[1])
    if known.sum() < 2 or length <= 0.0 or ways < LEAST_DIRECTIONS:
        return float("nan")
    cosine = float(np.clip(slope @ move / length, -1.0 + 1e-9, 1.0 - 1e-9))
    freedom = ways - 1.0
    return float(special.stdtr(freedom, cosine * np.sqrt(freedom / (1.0 - cosine * cosine))))
