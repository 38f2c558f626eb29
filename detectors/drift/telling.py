"""Telling: from where a chart stands to a reading that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors.base import Kind, Level, Reading, Subject
from detectors.drift.chart import Chart, ChartState, Verdict
from detectors.drift.cohorts import Cause
from detectors.drift.columns import Group, WatchedColumn
from detectors.drift.effects import listed_by_e_bh
from detectors.drift.words import change, sentence

FALSE_DISCOVERY_RATE = 0.1
WARNING_MARGIN = float(np.log(100.0))
UNIT = "share of traffic"
_LEAST_LOG_EVIDENCE = -50.0
_TOP_COLUMNS = 8
_MOST_EFFECTS = 3
_CONVINCING_LOG_EVIDENCE = float(np.log(1_000.0))
"""A column's own evidence from which it is listed beside the leading one."""
_SEGMENTS_TOLD = 10


@dataclass(frozen=True, eq=False)
class Charted:
    """A subject, its chart, and what an alarm of it takes.

    Attributes:
        where: which part of the traffic it is, for sentences; "" for all of it.
    """

    subject: Subject
    chart: Chart
    columns: tuple[WatchedColumn, ...]
    log_threshold: float
    minimum_effect: float
    where: str = ""

    def speaks(self, verdict: Verdict) -> bool:
        """Whether the evidence comes near the alarm line."""
        return verdict.standing >= self.log_threshold - WARNING_MARGIN

    def leading(self, state: ChartState) -> int:
        """Position of the column with most evidence."""
        return int(np.argmax(self.chart.by_column(state.log_evidence) + np.log(self.chart.weight)))


def calm_reading(detector: str, charted: Charted, verdict: Verdict) -> Reading:
    return _reading(detector, charted, Level.OK, verdict, 0.0, None, "No column has moved beyond the tolerance.", {})


def loud_reading(detector: str, charted: Charted, state: ChartState, verdict: Verdict) -> Reading:
    """What moved, by how much and since when: an alarm where evidence and effect suffice, a warning otherwise."""
    changes, n_moved = _changes(charted, state, verdict.total)
    effect = max((item["share_moved"] for item in changes[:_MOST_EFFECTS]), default=0.0)
    alarmed = verdict.total >= charted.log_threshold and effect >= charted.minimum_effect
    n_events, onset = int(state.waiting[:, 0].sum()), charted.chart.onset(state)
    detail = {
        "columns": changes,
        "n_events": n_events,
        "n_columns": len(charted.columns),
        "n_moved": n_moved,
    }
    reason = sentence(changes, n_events, n_moved, charted.where)
    level = Level.ALARM if alarmed else Level.WARNING
    return _reading(detector, charted, level, verdict, effect, onset, reason, detail)


def with_cause(reading: Reading, cause: Cause | None) -> Reading:
    """The reading with the one cohort that causes the change."""
    if cause is None:
        return reading
    words = cause.words()
    return replace(
        reading,
        reason=f"{reading.reason} {words[:1].upper()}{words[1:]}.",
        detail={**reading.detail, "cohort": cause.to_json()},
    )


def with_segments(reading: Reading, told: Sequence[Reading]) -> Reading:
    """The model's reading with those of its segments, the strongest first."""
    if not told:
        return reading
    ranked = sorted(told, key=lambda other: other.log_threshold - other.log_evidence)[:_SEGMENTS_TOLD]
    segments = [
        {
            "segment": other.subject.id,
            "n_events": other.detail["n_events"],
            "log10_evidence": round(other.log_evidence / np.log(10), 2),
            "words": other.reason,
        }
        for other in ranked
    ]
    return replace(reading, detail={**reading.detail, "segments": segments})


def _reading(
    detector: str,
    charted: Charted,
    level: Level,
    verdict: Verdict,
    effect: float,
    since: float | None,
    reason: str,
    detail: Mapping[str, Any],
) -> Reading:
    return Reading(
        detector=detector,
        kind=Kind.DRIFT,
        subject=charted.subject,
        level=level,
        log_evidence=max(verdict.standing, _LEAST_LOG_EVIDENCE),
        log_threshold=charted.log_threshold,
        effect=effect,
        effect_unit=UNIT,
        minimum_effect=charted.minimum_effect,
        since=since,
        reason=reason,
        detail=detail,
    )


def _changes(charted: Charted, state: ChartState, total: float) -> tuple[list[dict[str, Any]], int]:
    """What moved, by evidence and single columns before joint directions, and how many columns are convincing."""
    chart, columns = charted.chart, charted.columns
    own = chart.by_column(state.log_evidence)
    weighted = own + np.log(chart.weight)
    e_values = own - np.log(max(state.n_panes, 1))
    listed = set(listed_by_e_bh(e_values, FALSE_DISCOVERY_RATE))
    convincing = own > _CONVINCING_LOG_EVIDENCE
    ranked = np.argsort(-weighted, kind="stable")
    top = [int(c) for i, c in enumerate(ranked[:_TOP_COLUMNS]) if i == 0 or convincing[c]]
    top.sort(key=lambda c: columns[c].group in (Group.JOINT, Group.VARIATION))
    seen = state.waiting.sum(axis=0)
    reference = chart.reference_of(state.waiting)
    changes = [
        {
            **change(columns[c], reference[c], seen[c]),
            "evidence_share": float(np.exp(weighted[c] - total)),
            "e_value_log10": round(float(e_values[c] / np.log(10)), 3),
            "listed": c in listed,
        }
        for c in top
    ]
    return changes, int(convincing.sum())
