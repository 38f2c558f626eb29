"""Walks: how a client's query follows from its own recent ones, told in the order in which they arrive.

A query that lies near a recent one of the same client is a *step* and joins that query's *chain*. Of each chain one
member is the *base*, the point from which the client tries others: a step that lies nearer to the last member than to
the base has *gone on* from it, and that member becomes the base; any other step has gone *back*. Who searches with the
help of the model's answers goes on from answers it likes and goes back from the rest; who does not read the answers,
such as a camera, a scheduled what-if or test-time augmentation, goes on and back regardless of them.

Per query eight bytes are kept beside its projection. All of it is soft state; only counts of steps are ever summed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.batch import EventBatch, FloatArray, IntArray

CHAIN = "walk_chain"
"""Annotation: which query of its chain a step is, 2, 3 … 255 and beyond; 0 = no step; NaN = nothing can be said."""
FLIP = "walk_flip"
"""Annotation of a step: 1.0 where the predicted class differs from that of the nearest recent query, 0.0 where not."""
GAP = "walk_gap"
"""Annotation of a step: distance to the nearest recent query, in units of the walk limit, 0 to 1 or a little beyond."""
TRIED = "walk_tried"
"""Annotation of a step: what the last try had brought, see ``Tried``; NaN where the chain has no try yet."""
WENT_ON = "walk_went_on"
"""Annotation of a step: 1.0 where it went on from the last try, 0.0 where it went back to the base."""
TURN = "walk_turn"
"""Annotation of a step: cosine between it and the last try's own step, -1 (back along it) to 1 (straight on)."""
WALK = (CHAIN, FLIP, GAP, TRIED, WENT_ON, TURN)

NOTE: Final = np.dtype(
    [("label", "u1"), ("length", "u1"), ("base", "u1"), ("chain", "<u2"), ("sure", "<f2"), ("mirror", "u1")]
)
"""Beside each query of a ring: predicted class, length of its chain so far, how many rows back its base is (0 = it is
its own), number of its chain, log odds of its largest score (NaN where no scores are logged), and how many rows back
the other try of its pair is where it ends mirrored pairs (``clients.mirrors``; 0 = it does not)."""
NO_LABEL = 255
LONGEST = 255
_PATH: Final = ("label", "length", "base", "chain", "sure")
_CHAINS = 1 << 16
_SAME_ANSWER = 0.01
_IDENTICAL = 1e-3


class Tried:
    """Values of ``TRIED``: the last try beside its base."""

    FELL = -1.0
    LEVEL = 0.0
    ROSE = 1.0
    FLIPPED = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """New rows behind those of a ring: (k + m, d) float16 projections, notes, and of the m new ones ``nearest`` (m,)
    position and ``distance`` (m,) of the nearest row before it; ``limit`` (m,) is below which a distance is near, and
    ``same`` up to which it is the same query as far as the projection can tell. No row looks back farther than
    ``capacity`` rows, so that it does not matter where a stream was cut.
    """

    rows: NDArray[np.float16]
    notes: NDArray[np.void]
    nearest: IntArray
    distance: FloatArray
    limit: FloatArray
    same: float
    capacity: int

    @property
    def held(self) -> int:
        """k, rows that were there before."""
        return len(self.rows) - len(self.distance)


def new_notes(label: IntArray, known: NDArray[np.bool_], sure: FloatArray) -> NDArray[np.void]:
    """Notes of queries with these class positions, without a chain yet."""
    notes = np.zeros(len(label), dtype=NOTE)
    notes["label"] = np.where(known, np.minimum(label, NO_LABEL - 1), NO_LABEL)
    notes["sure"] = sure
    return notes


def confidence(batch: EventBatch) -> FloatArray:
    """(n,) log odds of the largest score against all others, at most 30; NaN where no two scores are logged."""
    scores = batch.probabilities
    if scores is None or scores.shape[1] < 2:
        scores = batch.logits
        if scores is None or scores.shape[1] < 2:
            return np.full(len(batch), np.nan)
        scores = special.softmax(np.where(np.isnan(scores), -np.inf, scores), axis=1)
    top = np.max(np.where(np.isnan(scores), -np.inf, scores), axis=1)
    rest = np.nansum(scores, axis=1) - top
    with np.errstate(invalid="ignore", divide="ignore"):
        odds = np.log(top) - np.log(np.maximum(rest, 1e-13))
    return np.where(np.isfinite(odds), np.minimum(odds, 30.0), np.nan)


def follow(arrivals: Arrivals, first_chain: int) -> Mapping[str, FloatArray]:
    """The walk annotations of the new rows; their notes are completed in place, in arrival order.

    Every new row starts a chain of its own, numbered from ``first_chain``; a step then joins the chain of the nearest.
    Cost: some microseconds a step, nothing to speak of for other rows.
    """
    held, m = arrivals.held, len(arrivals.distance)
    notes = arrivals.notes
    notes["chain"][held:] = (first_chain + np.arange(m)) % _CHAINS
    notes["length"][held:] = 1
    told = {name: np.full(m, np.nan) for name in WALK}
    told[CHAIN][:] = 0.0
    repeat = _repeats(arrivals)
    step = ~repeat & (arrivals.distance < np.maximum(arrivals.limit, arrivals.same))
    due = np.flatnonzero(step | repeat)
    if not len(due):
        return told
    path = _Path(arrivals.rows.astype(np.float32), *(notes[name] for name in _PATH))
    told[GAP][step] = arrivals.distance[step] / np.maximum(arrivals.limit, arrivals.same)[step]
    latest: dict[int, int] = {}
    for i, near, again in zip(due.tolist(), arrivals.nearest[due].tolist(), repeat[due].tolist(), strict=True):
        at, chain = held + i, int(path.chain[near])
        path.chain[at] = chain
        if again:
            back = int(path.base[near])
            path.length[at] = path.length[near]
            path.base[at] = at - near + back if back and at - near + back <= LONGEST else 0
        else:
            last = latest.get(chain)
            if last is None:
                last = int(np.flatnonzero(path.chain[:at] == chain)[-1])
            _step(path, i, at, near, last, arrivals.capacity, told)
        latest[chain] = at
    return told


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """Rows of a ring and of a batch, (k + m, d) float32, and the fields of their notes, each (k + m,)."""

    rows: NDArray[np.float32]
    label: NDArray[np.uint8]
    length: NDArray[np.uint8]
    base: NDArray[np.uint8]
    chain: NDArray[np.uint16]
    sure: NDArray[np.float16]


def _repeats(arrivals: Arrivals) -> NDArray[np.bool_]:
    """(m,) rows that repeat an earlier one: identical, or nearly so with the same answer."""
    held, notes = arrivals.held, arrivals.notes
    if not len(notes):
        return np.zeros(0, dtype=bool)
    new, old = notes[held:], notes[arrivals.nearest]
    with np.errstate(invalid="ignore"):
        moved = np.abs(new["sure"].astype(np.float32) - old["sure"].astype(np.float32)) > _SAME_ANSWER
    alike = (new["label"] == old["label"]) & ~moved
    return np.asarray((arrivals.distance <= _IDENTICAL) | ((arrivals.distance <= arrivals.same) & alike))


def _step(path: _Path, i: int, at: int, near: int, last: int, capacity: int, told: Mapping[str, FloatArray]) -> None:
    """Fold new row ``i``, at position ``at`` and nearest to ``near``, into its chain, whose last member is ``last``."""
    length = min(LONGEST, int(path.length[last]) + 1)
    path.length[at] = length
    told[CHAIN][i] = length
    here, there = int(path.label[at]), int(path.label[near])
    if NO_LABEL not in (here, there):
        told[FLIP][i] = here != there
    base = last - int(path.base[last])
    if base == last or at - base > capacity:
        base = last
    else:
        middle = path.rows[last]
        move, tried = path.rows[at] - middle, middle - path.rows[base]
        along, length_move, length_tried = float(move @ tried), float(move @ move), float(tried @ tried)
        went_on = length_tried + 2.0 * along > 0.0
        told[WENT_ON][i] = went_on
        told[TURN][i] = max(-1.0, min(1.0, along / max(sqrt(length_move * length_tried), 1e-12)))
        told[TRIED][i] = _outcome(path, last, base)
        base = last if went_on else base
    path.base[at] = at - base if at - base <= LONGEST else 0


def _outcome(path: _Path, last: int, base: int) -> float:
    first, second = int(path.label[base]), int(path.label[last])
    if NO_LABEL in (first, second):
        return float("nan")
    if first != second:
        return Tried.FLIPPED
    change = float(path.sure[last]) - float(path.sure[base])
    if not abs(change) > _SAME_ANSWER:
        return Tried.LEVEL
    return Tried.ROSE if change > 0 else Tried.FELL
