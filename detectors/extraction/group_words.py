"""Group words: what an analyst reads about clients who act together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.base import Kind, Level, Reading, Subject, SubjectType
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import Channels
from detectors.extraction.families import family
from detectors.extraction.verdict import MIN_EFFECT, Finding
from detectors.extraction.words import detail, shares

_LEVELS = (Level.OK, Level.WARNING, Level.ALARM)
_BENIGN = (
    "one customer with many keys, such as a fleet of devices or a team with personal keys",
    "a new customer segment, region or app version that reached several accounts at once",
    "accounts behind one proxy or integration that changes inputs for all of them",
)
_LISTED = 50


@dataclass(frozen=True, slots=True)
class Gathering:
    """Clients who are looked at together: a stable id, who, what ties them, since when, and the level 0, 1 or 2."""

    id: str
    members: tuple[str, ...]
    tie: str
    since: float
    status: int


def group_reading(
    gathering: Gathering,
    finding: Finding,
    evidence: float,
    log_threshold: float,
    channels: Channels,
    baseline: Baseline,
    accused: Sequence[str],
    clients: Sequence[Mapping[str, object]],
) -> Reading:
    """One reading for all members; ``accused`` are those under an alarm of their own."""
    level = _LEVELS[gathering.status]
    kind = family(finding, channels)
    facts: dict[str, Any] = {}
    if level is not Level.OK:
        facts = detail(finding, kind, channels, baseline, "of late, all members together")
        facts["n_members"] = len(gathering.members)
        facts["tie"] = gathering.tie
        facts["members_under_alarm"] = list(accused)[:_LISTED]
        facts["benign_explanations"] = [*_BENIGN, *facts["benign_explanations"]]
        facts["clients"] = list(clients)[:_LISTED]
    return Reading(
        detector="extraction",
        kind=Kind.EXTRACTION,
        subject=Subject(SubjectType.CLIENT_GROUP, gathering.id, tuple(sorted(gathering.members))),
        level=level,
        log_evidence=evidence,
        log_threshold=log_threshold,
        effect=finding.effect,
        effect_unit="share of queries",
        minimum_effect=MIN_EFFECT,
        since=gathering.since if level is not Level.OK else None,
        reason=_reason(gathering, finding, level, accused),
        detail=facts,
    )


def _reason(gathering: Gathering, finding: Finding, level: Level, accused: Sequence[str]) -> str:
    n = len(gathering.members)
    some = ", ".join(name[:40] for name in gathering.members[:3])
    who = f"{n} accounts ({some}{', …' if n > 3 else ''})"
    if level is Level.OK:
        return f"{who} together query like their peers again."
    since = str(np.datetime64(int(gathering.since), "s").astype("datetime64[m]")).replace("T", " ") + " UTC"
    own = f"; {len(accused)} of them have an alarm of their own" if accused else ""
    seen = f"{shares(finding)} over {int(finding.sums.count('events'))} queries since {since}; {gathering.tie}{own}"
    if level is Level.ALARM:
        return f"{who} may be copying the model together: {seen}; check who holds these keys and throttle them as one."
    return f"{who} changed behaviour in the same way: {seen}; ask what they have in common before acting."
