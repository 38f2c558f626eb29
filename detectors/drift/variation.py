"""Variation: how much a whole pane differs from the reference, as one more column with one value a pane.

Traffic whose panes always differ a little (another customer mix, other weather) has a usual distance between a pane and
the reference. Its distribution over the reference's own panes is cut into bins like any column; panes that are
stranger than those bet with the rest. The distance is Pearson's chi-square over its degrees of freedom, averaged over
columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.drift.bets import smoothed
from detectors.drift.columns import INNER, N_BINS, CodeArray, Group, NumericBins, WatchedColumn
from detectors.drift.digitise import count_slices
from detectors.evidence import overdispersion

NAME = "pane-to-pane variation"
FEWEST_PANES = 60
_FEWEST_EVENTS = 10.0


def distance(counts: IntArray, masses: FloatArray) -> float:
    """Mean chi-square over degrees of freedom of a pane's counts (columns, bins) against ``masses``.

    About 1 for independent events of the reference, whatever the number of events; 0 for a pane without events.
    """
    expected = counts.sum(axis=1)[:, None] * masses
    square = np.divide((counts - expected) ** 2, expected, out=np.zeros_like(expected), where=expected > 0)
    freedom = np.maximum((masses > 0).sum(axis=1) - 1, 1)
    return float((square.sum(axis=1) / freedom).mean())


def fit_variation(
    codes: CodeArray, pane: IntArray, strata: IntArray, counts: IntArray
) -> tuple[FloatArray, float] | None:
    """Distances of the reference's own panes and their overdispersion in time; None where there are too few panes.

    Each pane is compared with all the others, as a later pane will be.

    Args:
        codes: (n, columns) bins of the reference's events in time order; pane: (n,) number of each one's pane from 0
            on, without gaps; strata: (panes,) season stratum of each pane.
        counts: (strata, columns, N_BINS) of the reference.
    """
    n_panes = len(strata)
    if n_panes < FEWEST_PANES or len(codes) / n_panes < _FEWEST_EVENTS:
        return None
    found = np.empty(n_panes)
    starts = np.searchsorted(pane, np.arange(n_panes))
    used = counts.sum(axis=0) > 0
    for i, own in enumerate(count_slices(codes, starts)):
        found[i] = distance(own, _masses(counts[strata[i]] - own, used))
    return found, _in_time(found)


def variation_column(distances: FloatArray) -> WatchedColumn:
    """The column that the distances are counted in."""
    few = np.unique(distances).size <= INNER - 2
    bins = NumericBins.fit(distances) if few else NumericBins(_edges_in_gaps(np.sort(distances)))
    return WatchedColumn(NAME, Group.VARIATION, bins)


def _edges_in_gaps(ordered: FloatArray) -> FloatArray:
    """Edges in the gaps between ``ordered`` distances: in all that are wide if these are few, else near quantiles.

    Small panes of few columns have few distances, and these differ a little between the reference's own panes, each
    compared with all others, and live ones, compared with all. No edge may lie within that little.
    """
    n = len(ordered)
    little = 2.0 / n
    gaps = np.diff(ordered)
    wide = np.flatnonzero(gaps > little * ordered[:-1])
    if len(wide) > INNER - 3:
        reach = max(n // (3 * (INNER - 2)), 1)
        starts = np.rint(np.arange(1, INNER - 2) / (INNER - 2) * n).astype(np.int64) - reach
        widest = np.array([low + np.argmax(gaps[low : low + 2 * reach]) for low in np.maximum(starts, 0)])
        wide = np.intersect1d(wide, widest)
    inner = (ordered[wide] + ordered[wide + 1]) / 2
    return np.unique(np.concatenate([ordered[:1] * (1 - little), inner, ordered[-1:] * (1 + little)]))


def counted(column: WatchedColumn, distances: FloatArray) -> IntArray:
    """(N_BINS,) distances of panes as counts."""
    assert isinstance(column.bins, NumericBins)
    return np.bincount(column.bins.code(distances), minlength=N_BINS)


def reference_masses(counts: IntArray) -> FloatArray:
    """(strata, columns, N_BINS) masses of reference counts; bins that the reference never used stay empty."""
    return _masses(counts, counts.sum(axis=0) > 0)


def _masses(counts: IntArray, used: NDArray[np.bool_]) -> FloatArray:
    weights = np.where(used, smoothed(counts), 0.0)
    return np.asarray(weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-12))


def _in_time(series: FloatArray) -> float:
    """Overdispersion of a series of panes over blocks of 4, 16 and 64 panes, by ranks."""
    ranks = np.argsort(np.argsort(series, kind="stable"), kind="stable") / len(series)
    found = [1.0]
    for width in (4, 16, 64):
        if len(series) >= 8 * width:
            value = overdispersion(ranks, np.floor(np.arange(len(series)) / width))
            if value > 1.0 + 2.5 * np.sqrt(2.0 * width / len(series)):
                found.append(value)
    return max(found)
