"""Layout: where each sum sits in a client's int64 vector, and how a batch becomes such vectors.

``[counts …, predicted classes …, wagers …, channel row …]``: the counts are plain, wagers and the channel row are in
fixed point and sum only over *fresh* queries. Repeats and near repeats of the same client are counted apart, so that an
honest key that sends the same inputs all day does not look like a distribution of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.rings import APART, NEAREST_RECENT, Code, Nearness
from detectors.clients.stamps import STAMPED
from detectors.extraction.channels import Rows
from detectors.extraction.wagers import WAGERS, growth_apart
from detectors.sketch import from_fixed, to_fixed

COUNTS = (
    "events",
    "unseen",
    "exact",
    "near",
    "close",
    "compared",
    "fresh",
    "strange",
    "placed",
    "apart",
    "stamped",
)
_AT = {name: i for i, name in enumerate(COUNTS)}


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Sums over some queries of one client (or a weighted mixture of clients), float64 views of the stored vector."""

    vector: FloatArray
    n_classes: int

    def count(self, name: str) -> float:
        return float(self.vector[_AT[name]])

    @property
    def classes(self) -> FloatArray:
        """(C + 1,) predicted classes of all queries."""
        return self.vector[len(COUNTS) : len(COUNTS) + self.n_classes]

    @property
    def mean(self) -> FloatArray:
        """(d,) mean channel row of the fresh queries."""
        return self.vector[row_at(self.n_classes) :] / max(1.0, self.count("fresh"))

    @property
    def won(self) -> FloatArray:
        """(6,) nats that each of ``WAGERS`` won over the fresh queries."""
        return self.vector[len(COUNTS) + self.n_classes : row_at(self.n_classes)]

    def share(self, part: str, whole: str) -> float:
        return self.count(part) / max(1.0, self.count(whole))


def row_at(n_classes: int) -> int:
    """Where the channel row begins."""
    return len(COUNTS) + n_classes + len(WAGERS)


def width(n_labels: int, d: int) -> int:
    """Length of a client's vector."""
    return row_at(n_labels + 1) + d


def unpack(vector: IntArray, n_labels: int) -> Sums:
    """The sums of a stored int64 vector."""
    head = len(COUNTS) + n_labels + 1
    return Sums(np.concatenate([vector[:head].astype(np.float64), from_fixed(vector[head:])]), n_labels + 1)


def contributions(rows: Rows, batch: EventBatch, n_labels: int) -> IntArray:
    """(n, width) what each event adds to its client's vector."""
    blank = np.full(len(batch), np.nan)
    near = Nearness(*(batch.annotations.get(name, blank) for name in (NEAREST_RECENT, APART, STAMPED)))
    return event_sums(rows, near, n_labels)


def event_sums(rows: Rows, nearness: Nearness, n_labels: int) -> IntArray:
    """(n, width) from channel rows and what rings say (NaN where they say nothing)."""
    n, d = rows.phi.shape
    codes, apart = nearness.codes, nearness.apart
    out = np.zeros((n, width(n_labels, d)), dtype=np.int64)
    exact, near = codes == Code.EXACT, (codes == Code.NEAREST) | (codes == Code.NEAR)
    new = fresh(rows, codes)
    columns: dict[str, NDArray[np.bool_]] = {
        "events": np.ones(n, dtype=bool),
        "unseen": ~rows.present,
        "exact": exact,
        "near": near,
        "close": codes == Code.CLOSE,
        "compared": ~np.isnan(codes) & ~exact,
        "fresh": new,
        "strange": new & rows.strange,
        "placed": new & ~np.isnan(apart),
        "apart": new & (apart == 1.0),
        "stamped": nearness.stamped == 1.0,
    }
    for name, values in columns.items():
        out[:, _AT[name]] = values
    out[np.arange(n), len(COUNTS) + rows.label] = 1
    summed = np.concatenate([winnings(rows, apart), rows.phi], axis=1)
    out[:, len(COUNTS) + n_labels + 1 :] = to_fixed(summed) * new[:, None]
    return out


def winnings(rows: Rows, apart: FloatArray) -> FloatArray:
    """(n, 6) growth of each of ``WAGERS`` by every event."""
    return np.column_stack([rows.won, growth_apart(apart)])


def fresh(rows: Rows, codes: FloatArray) -> NDArray[np.bool_]:
    """(n,) events that count into the mean row: seen, and not a repeat or near repeat."""
    return np.asarray(rows.present & ~(codes < Code.CLOSE))
