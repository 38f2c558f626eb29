"""Mirrors: tries on both sides of one point, and whether their sender then moves the way the answers point.

Who estimates a gradient from answers alone asks at both ends of a line through one point, then of another line through
the same point, and then goes to another point: symmetric finite differences (ZOO: Chen et al. 2017), antithetic
natural evolution strategies (NES: Ilyas et al. 2018), simultaneous perturbation that averages tries (SPSA: Spall 1992;
with one pair a point there is nothing to tell it by). Two tries and the two before them that have one middle are
*mirrored*; mirrored tries that follow each other form a *run* around its centre.
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
"""Annotation: 1.0 where the query and the one before it have the middle of the two before them, 0.0 where not."""
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
LEAST_DIRECTIONS: Final = 2.0
"""With fewer, a direction is no more than a sign."""
ENOUGH: Final = 5
"""Tries that tell in how many directions others would go."""
_QUAD = 4


def mirror(arrivals: Arrivals) -> Mapping[str, FloatArray]:
    """The annotations of the new rows; their notes are completed in place, in arrival order.

    Cost: some microseconds a call, a tenth of a millisecond a move.
    """
    held, m = arrivals.held, len(arrivals.distance)
    told = {MIRRORED: np.zeros(m), DESCENT: np.full(m, np.nan)}
    first = max(0, held - _QUAD + 1)
    hits = first + np.flatnonzero(_quads(arrivals.rows[first:].astype(np.float32), arrivals.same))
    arrivals.notes["mirrored"][hits] = True
    told[MIRRORED][hits - held] = 1.0
    for at in hits.tolist():
        if not arrivals.notes["mirrored"][at - 2]:
            told[DESCENT][at - held] = _descent(arrivals, at)
    return told


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


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Mirrored pairs about one centre: (k, d) differences between their tries and (k,) of their answers."""

    centre: FloatArray
    differences: FloatArray
    answers: FloatArray

    @classmethod
    def of(cls, arrivals: Arrivals, last: IntArray) -> _Run:
        """The pairs whose later tries are at the positions ``last``."""
        rows = arrivals.rows[np.concatenate([last, last - 1])].astype(np.float64)
        after, before = rows[: len(last)], rows[len(last) :]
        now, then = arrivals.notes[last], arrivals.notes[last - 1]
        alike = (now["label"] == then["label"]) & (now["label"] != NO_LABEL)
        gained = np.where(alike, now["sure"].astype(np.float64) - then["sure"].astype(np.float64), np.nan)
        return cls((after + before).mean(axis=0) / 2.0, after - before, gained)

    @property
    def length(self) -> float:
        """Usual distance between two tries."""
        return float(np.sqrt(np.mean(np.einsum("ij,ij->i", self.differences, self.differences))))


def _descent(arrivals: Arrivals, at: int) -> float:
    """Of the move to the run that begins at row ``at``; NaN where there was none, or no slope is known."""
    oldest = max(_QUAD - 1, at - arrivals.capacity + _QUAD)
    hits = oldest + np.flatnonzero(arrivals.notes["mirrored"][oldest : at - 1])
    if not (np.diff(hits[hits >= at - LATELY]) == 2).any():
        return float("nan")
    runs = [np.append(part[0] - 2, part) for part in np.split(hits, np.flatnonzero(np.diff(hits) > 2) + 1)]
    begun, earlier = _Run.of(arrivals, np.array([at - 2, at])), runs.pop()
    run = _Run.of(arrivals, earlier)
    while runs and _far(_Run.of(arrivals, runs[-1]), run) <= STIR:
        earlier = np.append(runs.pop(), earlier)
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
