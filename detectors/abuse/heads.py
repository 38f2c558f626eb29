"""Heads: the questions that are asked of every client, what an answer is worth, and what it would be called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.abuse.layout import AT, CLASS_CELLS, FAULT_CELLS, Reader, variety
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.rates import Counts, HonestRate, fit_rate
from detectors.clients.techniques import Misuse

LEAST_VARIETY: Final = 3.0
"""One column that is always broken is a defect; somebody who feels for edges tries several."""
LEAST_EVENTS: Final = 15.0
_MOST_BLOCKS: Final = 400


@dataclass(frozen=True, slots=True)
class Head:
    """One rate: hits of trials, as columns of the layout.

    Attributes:
        part: share of a client's false alarms that it may use.
        nominal: share of hits that is expected before anything is seen.
        minimum_effect: share of queries beyond what is expected that an alarm needs.
        cells: columns over which the hits of an accused client must be spread; None where that does not matter.
    """

    name: str
    title: str
    hits: str
    trials: str
    part: float
    nominal: float
    minimum_effect: float
    misuse: Misuse
    cells: slice | None = None

    def is_spread(self, sums: FloatArray) -> bool:
        """Whether the hits in a client's sums are of several sorts."""
        return self.cells is None or variety(sums[self.cells]) >= LEAST_VARIETY


RATES: Final = (
    Head("slow", "slow answers", "slow", "timed", 0.12, 0.05, 0.2, Misuse.SPONGE),
    Head("very slow", "very slow answers", "very_slow", "timed", 0.12, 0.01, 0.1, Misuse.SPONGE),
    Head("faults", "faulty inputs", "faulty", "events", 0.16, 0.01, 0.15, Misuse.RECONNAISSANCE, FAULT_CELLS),
    Head("sweeps", "one feature at a time", "stepped", "compared", 0.14, 0.05, 0.25, Misuse.RECONNAISSANCE),
    Head("classes", "rare classes", "rare", "classed", 0.1, 0.05, 0.2, Misuse.RECONNAISSANCE, CLASS_CELLS),
)
VOLUME: Final = len(RATES)
"""The number of the head that asks how much a client asks for; see ``volume.py``."""
VOLUME_PART: Final = 0.36
LEAST_FOLD: Final = 3.0
"""Times the usual volume that an alarm needs."""


def counts_of(sums: FloatArray) -> FloatArray:
    """(c, h, 2) hits and trials of each head from clients' sums (c, width)."""
    hits = np.stack([sums[:, AT[head.hits]] for head in RATES], axis=1)
    trials = np.stack([sums[:, AT[head.trials]] for head in RATES], axis=1)
    return np.stack([hits, trials], axis=2)


def fit_rates(rows: IntArray, batch: EventBatch, client: IntArray, n_clients: int, pane_s: float) -> list[HonestRate]:
    """Honest rates of every head, from the rows (n, width) of the reference's events in order of time."""
    span = float(batch.timestamp[-1] - batch.timestamp[0])
    block = np.floor((batch.timestamp - batch.timestamp[0]) / max(pane_s, span / _MOST_BLOCKS)).astype(np.int64)
    group = block * n_clients + client
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    sums = counts_of(np.add.reduceat(rows[order], first, axis=0).astype(np.float64))
    at = group[order][first]
    rates = []
    for j, head in enumerate(RATES):
        seen = sums[:, j, 1] > 0
        counts = Counts(at[seen] // n_clients, at[seen] % n_clients, sums[seen, j, 0], sums[seen, j, 1])
        rates.append(fit_rate(counts, n_clients, head.nominal) if seen.any() else HonestRate(0.5, 1.0, 1.0, 1.0, 0))
    return rates


def unwatched(rates: Mapping[str, HonestRate], reader: Reader) -> dict[str, str]:
    """Head → why it says nothing about this model."""
    out = {}
    for head in RATES:
        if not rates[head.name].n_clients:
            out[head.name] = "the reference logs nothing that it could be told by"
        elif not rates[head.name].usable:
            out[head.name] = f"it is usual here: {100 * rates[head.name].mean:.0f} % of honest queries"
    if reader.latency is None:
        out["slow"] = out["very slow"] = "the reference logs no latency of 50 events or more"
    if not reader.common:
        out["classes"] = "the model has too few rare classes"
    return out
