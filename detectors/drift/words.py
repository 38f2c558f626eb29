"""What a drift reading says: changes ranked and measured, and one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors.batch import FloatArray, IntArray
from detectors.drift.bets import smoothed
from detectors.drift.columns import Group, NumericBins, Role, WatchedColumn
from detectors.drift.effects import (
    jensen_shannon_distance,
    mean_shift,
    population_stability_index,
    share_moved,
    share_moved_along,
    wasserstein_sd,
)
from detectors.drift.variation import NAME as VARIATION
from detectors.evidence import legendre_scores

_BEYOND_SD = 4.0
_GONE = {"missing": "is missing", "invalid": "is invalid", "unseen": "has values never seen before"}


def change(column: WatchedColumn, reference: FloatArray, seen: IntArray) -> dict[str, Any]:
    """How one column changed, JSON-ready.

    Args:
        reference: (N_BINS,) masses; seen: (N_BINS,) counts since the change began.
    """
    current, n = smoothed(seen), int(seen.sum())
    moved = max(share_moved(reference, current, n), _share_moved_along(column, reference, seen))
    numeric = column.role is Role.NUMERIC
    labels = column.labels()
    shown = [i for i, label in enumerate(labels) if label and (reference[i] > 1e-6 or seen[i])]
    return {
        "name": column.name,
        "role": "output" if column.group is Group.OUTPUT else column.role.value,
        "effect": _location_shift(column, reference, seen) if numeric else moved,
        "effect_unit": "sd" if numeric else "share of traffic",
        "psi": round(population_stability_index(reference, current), 4),
        "js": round(jensen_shannon_distance(reference, current), 4),
        "wasserstein_sd": round(_distance_sd(column, reference, seen), 4) if numeric else None,
        "share_moved": moved,
        "labels": [labels[i] for i in shown],
        "reference": [round(float(reference[i]), 6) for i in shown],
        "current": [round(float(seen[i] / max(n, 1)), 6) for i in shown],
    }


def sentence(changes: Sequence[Mapping[str, Any]], n_events: int, n_moved: int, where: str = "") -> str:
    """What moved, in one sentence; ``where`` says of which part of the traffic it is told."""
    of = f"Over the last {n_events:,} events{where}"
    if not changes:
        return f"{of} the distribution differs from the reference."
    words = [_words(item) for item in changes[:3]]
    more = f"; {n_moved - len(words)} more columns moved" if n_moved > len(words) else ""
    return f"{of} " + "; ".join(words) + more + "."


def _share_moved_along(column: WatchedColumn, reference: FloatArray, seen: IntArray) -> float:
    """The most that moved in location, in spread, or into or out of one bin."""
    raw = seen / max(float(seen.sum()), 1.0)
    single = float(np.abs(raw - reference).max())
    if not isinstance(column.bins, NumericBins) or column.bins.n_inner < 3:
        return single
    masses, now = _inner(column.bins, reference, seen)
    along = [share_moved_along(masses, now, score) for score in legendre_scores(masses)]
    return min(max(single, *along), 1.0)


def _location_shift(column: WatchedColumn, reference: FloatArray, seen: IntArray) -> float:
    if not isinstance(column.bins, NumericBins):
        return 0.0
    masses, now = _inner(column.bins, reference, seen)
    return mean_shift(masses, now, legendre_scores(masses)[0])


def _distance_sd(column: WatchedColumn, reference: FloatArray, seen: IntArray) -> float:
    if not isinstance(column.bins, NumericBins) or len(column.bins.edges) < 2:
        return 0.0
    return wasserstein_sd(*_inner(column.bins, reference, seen), column.bins.edges)


def _inner(bins: NumericBins, reference: FloatArray, seen: IntArray) -> tuple[FloatArray, FloatArray]:
    masses = reference[: bins.n_inner]
    return masses / masses.sum(), smoothed(seen[: bins.n_inner])


def _words(item: Mapping[str, Any]) -> str:
    if item["name"] == VARIATION:
        return "whole panes differ from the reference more than its own panes did"
    moved = f"{100 * item['share_moved']:.0f} % of its traffic moved"
    for label, words in _GONE.items():
        if label in item["labels"]:
            at = item["labels"].index(label)
            before, after = item["reference"][at], item["current"][at]
            if after - before >= max(0.5 * item["share_moved"], 0.01):
                return (
                    f"{item['name']} {words} in {100 * after:.0f} % of events ({100 * before:.1f} % in the reference)"
                )
    if item["effect_unit"] == "sd" and abs(item["effect"]) >= 0.1:
        direction = "rose" if item["effect"] > 0 else "fell"
        if abs(item["effect"]) > _BEYOND_SD:
            return f"{item['name']} {direction} beyond all that the reference knew ({moved})"
        return f"{item['name']} {direction} by {abs(item['effect']):.1f} sd ({moved})"
    return f"{item['name']} changed ({moved})"
