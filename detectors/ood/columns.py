"""Which columns make events strange: for one event in a few words, for many as sums that add up.

A column is blamed for an event when it holds a fifth or more of what sets the event apart from its nearest reference
rows, and is among the three that hold most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.batch import IntArray
from detectors.ood.features import ColumnBlame

MOST_BLAMED = 3
LEAST_SHARE = 0.2
FARTHEST = 10_000.0
"""Spreads beyond which a distance counts as this much."""
N, ABOVE, BELOW, MISSING, NEW = range(5)


@dataclass(frozen=True, slots=True)
class StrangeColumn:
    """A column of one strange event.

    Attributes:
        z: distance from the nearest reference rows in spreads of the reference; None where it is no number.
        words: that, or "missing", "never seen", "unusual with the rest".
    """

    name: str
    z: float | None
    words: str


def blamed(found: ColumnBlame) -> NDArray[np.bool_]:
    """(n, columns) which columns are blamed for each event."""
    blame = found.blame
    if not blame.size:
        return np.zeros(blame.shape, dtype=bool)
    k = min(MOST_BLAMED, blame.shape[1])
    least = np.partition(blame, -k, axis=1)[:, -k][:, None]
    return np.asarray((blame >= least) & (blame > 0) & (blame >= LEAST_SHARE * blame.sum(axis=1, keepdims=True)))


def tally_columns(found: ColumnBlame) -> IntArray:
    """(columns, 5): events that blame the column; hundredths of spreads above and below; missing; never seen."""
    chosen, z = blamed(found), found.z
    size = np.rint(100.0 * np.clip(np.nan_to_num(z, nan=0.0, posinf=0.0), -FARTHEST, FARTHEST)).astype(np.int64)
    return np.stack(
        [
            chosen.sum(axis=0),
            np.where(chosen, np.maximum(size, 0), 0).sum(axis=0),
            np.where(chosen, np.maximum(-size, 0), 0).sum(axis=0),
            (chosen & np.isnan(z)).sum(axis=0),
            (chosen & np.isposinf(z)).sum(axis=0),
        ],
        axis=1,
    ).astype(np.int64)


def columns_of(found: ColumnBlame, row: int, names: Sequence[str]) -> tuple[StrangeColumn, ...]:
    """What makes one event strange, the worst first."""
    chosen = np.flatnonzero(blamed(ColumnBlame(found.blame[row : row + 1], found.z[row : row + 1]))[0])
    ranked = sorted(chosen.tolist(), key=lambda j: (-found.blame[row, j], j))
    return tuple(_column(names[j], float(found.z[row, j])) for j in ranked)


def _column(name: str, z: float) -> StrangeColumn:
    if np.isnan(z):
        return StrangeColumn(name, None, "missing")
    if np.isinf(z):
        return StrangeColumn(name, None, "never seen")
    if z == 0.0:
        return StrangeColumn(name, None, "unusual with the rest")
    near = round(float(np.clip(z, -FARTHEST, FARTHEST)), 2)
    return StrangeColumn(name, near, distance_in_words(near))


def distance_in_words(z: float) -> str:
    """A distance from the nearest reference rows.

    >>> distance_in_words(-3.21), distance_in_words(10_000.0)
    ('3.2 sd below', 'over 9,999 sd above')
    """
    size = abs(z)
    told = f"over {FARTHEST - 1:,.0f}" if size >= FARTHEST else f"{size:,.1f}" if size < 100 else f"{size:,.0f}"
    return f"{told} sd {'above' if z > 0 else 'below'}"


def columns_in_words(name: str, sums: IntArray) -> str:
    """What the events that blame a column have in common."""
    n, above, below, missing, new = (int(value) for value in sums)
    numbers = n - missing - new
    if missing >= max(numbers, new):
        return f"{name} is missing"
    if new >= numbers:
        return f"{name} has values that were never seen"
    if above + below == 0:
        return f"{name} does not go with the rest"
    mean = (above if above >= below else -below) / 100.0 / max(numbers, 1)
    return f"{name} is {distance_in_words(float(np.clip(mean, -FARTHEST, FARTHEST)))} the reference rows nearest"
