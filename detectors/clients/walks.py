"""Walks: how a client's query follows from its own recent ones, told in the order in which they arrive.

A query that lies near a recent one of the same client is a *step* and joins that query's *chain*. Of each chain one
member is the *base*, the point from which the client tries others: a step that lies nearer to the last member than to
the base has *gone on* from it, and that member becomes the base; any other step has gone *back*. Who searches with the
help of the model's answers goes on from answers it likes and goes back from the rest; who does not read the answers,
such as a camera, a scheduled what-if or test-time augmentation, goes on and back regardless of them.

Per query seven bytes are kept beside its projection. All of it is soft state; only counts of steps are ever summed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

NOTE: Final = np.dtype([("label", "u1"), ("length", "u1"), ("base", "u1"), ("chain", "<u2"), ("sure", "<f2")])
"""Beside each query of a ring: predicted class, length of its chain so far, how many rows back its base is (0 = it is
its own), number of its chain, and log odds of its largest score (NaN where no scores are logged)."""
NO_LABEL = 255
LONGEST = 255
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
    latest: dict[int, int] = {}
    for i in np.flatnonzero(step | repeat).tolist():
        at, near = held + i, int(arrivals.nearest[i])
        chain = notes["chain"][near]
        notes["chain"][at] = chain
        if repeat[i]:
            back = int(notes["base"][near])
            notes["length"][at] = notes["length"][near]
            notes["base"][at] = at - near + back if back and at - near + back <= LONGEST else 0
        else:
            told[GAP][i] = arrivals.distance[i] / max(arrivals.limit[i], arrivals.same)
            _step(arrivals, i, near, latest.get(int(chain)), told)
        latest[int(chain)] = at
    return told


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


def _step(arrivals: Arrivals, i: int, near: int, last: int | None, told: Mapping[str, FloatArray]) -> None:
    """Fold step ``i`` into its chain, whose last member is ``last`` (None = to be looked up)."""
    notes, rows = arrivals.notes, arrivals.rows
    label, back = notes["label"], notes["base"]
    at = arrivals.held + i
    if last is None:
        last = int(np.flatnonzero(notes["chain"][:at] == notes["chain"][near])[-1])
    length = min(LONGEST, int(notes["length"][last]) + 1)
    notes["length"][at] = length
    told[CHAIN][i] = length
    if label[at] != NO_LABEL and label[near] != NO_LABEL:
        told[FLIP][i] = float(label[at] != label[near])
    base = last - int(back[last])
    if base == last or at - base > arrivals.capacity:
        base = last
    else:
        here, there, start = rows[[at, last, base]].astype(np.float32)
        move, tried = here - there, there - start
        far_on, far_back, far_tried = (float(gap @ gap) for gap in (move, here - start, tried))
        went_on = far_on < far_back
        told[WENT_ON][i] = float(went_on)
        told[TURN][i] = np.clip(float(move @ tried) / max(np.sqrt(far_on * far_tried), 1e-12), -1.0, 1.0)
        told[TRIED][i] = _outcome(notes, last, base)
        base = last if went_on else base
    back[at] = at - base if at - base <= LONGEST else 0


def _outcome(notes: NDArray[np.void], last: int, base: int) -> float:
    first, second = int(notes["label"][base]), int(notes["label"][last])
    if NO_LABEL in (first, second):
        return float("nan")
    if first != second:
        return Tried.FLIPPED
    change = float(notes["sure"][last]) - float(notes["sure"][base])
    if not abs(change) > _SAME_ANSWER:
        return Tried.LEVEL
    return Tried.ROSE if change > 0 else Tried.FELL
