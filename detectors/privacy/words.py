"""Words: what an analyst reads beside a privacy reading, and the JSON-ready facts behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.batch import FloatArray
from detectors.clients.techniques import ATLAS_RELEASE, MISUSE_EXPLANATIONS, Misuse, misuse_techniques
from detectors.privacy.hits import HEADS

UNIT: Final = "share of distinct queries beyond its peers"
_ONE_RECORD: Final = 0.5
_ENOUGH_HITS: Final = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is known of one client when it is spoken of.

    Attributes:
        evidence, share, n, expected: (h,) of the heads, over the last hundred distinct queries or so.
        records: (cells,) hits of late by record. alone: whether no other client is there to compare it with.
    """

    evidence: FloatArray
    share: FloatArray
    n: FloatArray
    expected: FloatArray
    records: FloatArray
    alone: bool

    @property
    def of_one_record(self) -> float:
        """Share of the hits that are around one record; 0 for few hits."""
        total = float(self.records.sum())
        return float(self.records.max()) / total if total >= _ENOUGH_HITS else 0.0


def reason(client: str, head: int, facts: Facts, level: str) -> str:
    """One sentence an analyst can act on."""
    who = f"Client {client[:80]}"
    if level == "ok":
        return f"{who} queries like its peers again."
    said = _said(head, facts)
    if facts.of_one_record >= _ONE_RECORD:
        said += f", most of them ({_percent(facts.of_one_record)}) around a single record"
    if level == "warning":
        return f"{who} hits training data oddly often, but nobody is there to compare it with, or it is little: {said}."
    return (
        f"{who} may be probing which records the model was trained on: {said}; check whether it has a right to know "
        "these records, and answer without scores if nobody can explain it."
    )


def detail(facts: Facts, calibration: str) -> dict[str, Any]:
    """JSON-ready facts behind a warning or an alarm; nothing of any record."""
    coordinates = [
        {"words": _said(j, facts), "client": float(facts.share[j]), "peers": float(facts.expected[j])}
        for j in range(len(HEADS))
    ]
    if facts.of_one_record:
        words = f"{_percent(facts.of_one_record)} of its hits are around one record"
        coordinates.append({"words": words, "client": facts.of_one_record, "peers": 1.0 / len(facts.records)})
    return {
        "n_queries": int(facts.n.max()),
        "heads": [
            {
                "name": HEADS[j].name,
                "title": HEADS[j].title,
                "p_value": float(np.exp(-np.clip(facts.evidence[j], 0.0, 700.0))),
                "log10_evidence": round(float(facts.evidence[j] / np.log(10.0)), 3),
                "words": _said(j, facts),
            }
            for j in np.argsort(-facts.evidence).tolist()
            if np.isfinite(facts.evidence[j])
        ],
        "coordinates": coordinates,
        "techniques": misuse_techniques(Misuse.MEMBERSHIP),
        "atlas_release": ATLAS_RELEASE,
        "benign_explanations": list(MISUSE_EXPLANATIONS[Misuse.MEMBERSHIP]),
        "family": Misuse.MEMBERSHIP.value,
        "calibration": calibration,
    }


def _said(head: int, facts: Facts) -> str:
    share, usual = facts.share[head], facts.expected[head]
    return f"{_percent(share)} of its last distinct queries {HEADS[head].does} (peers {_percent(usual)})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
