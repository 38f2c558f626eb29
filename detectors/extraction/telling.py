"""Telling: exposure, coverage and tempo of a client in words and as JSON-ready facts, and what may be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.clients.techniques import Family
from detectors.extraction.coverage import evenness, rarefied
from detectors.extraction.equals import SIZES
from detectors.extraction.exposure import Copy
from detectors.extraction.study import Dossier, Study
from detectors.extraction.tempo import Tempo

MOST_EXPOSED = 10
MITIGATIONS: Mapping[str, str] = {
    "AML.M0004": "Restrict Number of AI Model Queries",
    "AML.M0002": "Passive AI Output Obfuscation",
    "AML.M0015": "Adversarial Input Detection",
    "AML.M0019": "Control Access to AI Models and Data in Production",
    "AML.M0024": "AI Telemetry Logging",
}


@dataclass(frozen=True, slots=True, eq=False)
class Exposed:
    """The clients that could have trained the best copies: names (k,), and (k, 4) queries, agreement, share, gain."""

    names: NDArray[np.str_]
    figures: FloatArray

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None) -> Self:
        if not arrays or "exposed" not in arrays:
            return cls(np.empty(0, dtype=np.str_), np.empty((0, 4)))
        return cls(arrays["exposed"], arrays["exposed_figures"].reshape(-1, 4))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"exposed": self.names, "exposed_figures": self.figures}

    def with_(self, measured: Mapping[str, tuple[Copy, float]]) -> Exposed:
        """With new measurements: a client's copy and what it gained; the ``MOST_EXPOSED`` largest shares are kept."""
        if not measured:
            return self
        table = dict(zip(self.names.tolist(), self.figures.tolist(), strict=True))
        table |= {client: [float(c.n), c.agreement, c.share, gain] for client, (c, gain) in measured.items()}
        kept = sorted(table.items(), key=lambda item: (-item[1][2], -item[1][1], item[0]))[:MOST_EXPOSED]
        return replace(
            self,
            names=np.array([name for name, _ in kept], dtype=np.str_),
            figures=np.array([figures for _, figures in kept]),
        )

    def facts(self) -> list[dict[str, Any]]:
        """JSON-ready, the most exposed first."""
        return [
            {
                "client": name,
                "n_queries": int(n),
                "agreement": round(agreement, 4),
                "share": round(share, 4),
                "gain": round(gain, 4),
            }
            for name, (n, agreement, share, gain) in zip(self.names.tolist(), self.figures.tolist(), strict=True)
        ]


def study_detail(
    study: Study, dossier: Dossier, copy: Copy | None, classes: FloatArray, crowd: Tempo, family: Family, limit: float
) -> dict[str, Any]:
    """JSON-ready facts of one client: ``exposure``, ``coverage``, ``tempo`` and ``actions``; ``classes`` are counts."""
    out: dict[str, Any] = {"tempo": dossier.tempo.facts(crowd), "actions": actions(family, copy, limit)}
    if copy is not None:
        out["exposure"] = exposure_facts(copy, dossier)
    covered = coverage_facts(study, dossier, classes)
    return out | ({"coverage": covered} if covered else {})


def exposure_facts(copy: Copy, dossier: Dossier | None = None) -> dict[str, Any]:
    """What a copy trained on these answers would do, and what it won of late."""
    facts: dict[str, Any] = {
        "n_queries": copy.n,
        "agreement": round(copy.agreement, 4),
        "usual": round(copy.usual, 4),
        "ceiling": round(copy.ceiling, 4),
        "share": round(copy.share, 4),
    }
    gained = ""
    if dossier is not None:
        facts["gain"], facts["gain_day"] = dossier.gain
        gained = _gained(copy, dossier)
    facts["words"] = (
        f"A copy trained on these {copy.n:,} answers would agree with the model on {_percent(copy.agreement)} of "
        f"ordinary inputs{gained}; {_percent(copy.ceiling)} is what all reference answers give, "
        f"{_percent(copy.usual)} what always giving the commonest answer does."
    )
    return facts


def _gained(copy: Copy, dossier: Dossier) -> str:
    earlier = dossier.marks[2]
    if earlier[1]:
        day = np.datetime64(int(earlier[0]), "s").astype("datetime64[D]")
        return f" ({_points(copy.agreement - float(earlier[2]))} since {day})"
    for _, n, agreement in dossier.marks[:2].tolist():
        if 0 < n < copy.n:
            return f" ({_points(copy.agreement - agreement)} over its last {copy.n - int(n):,} queries)"
    return ""


def coverage_facts(study: Study, dossier: Dossier, classes: FloatArray) -> dict[str, Any]:
    """Cells met and evenness over classes beside honest clients of equal volume; {} for a few queries."""
    counts = study.counts(dossier.sums)
    size = study.coverage.below(float(counts.sum()))
    if size is None:
        return {}
    at = SIZES[size]
    met, usual = rarefied(counts, at), study.coverage.middle(size)
    even, even_usual = evenness(classes), study.evenness.middle(size)
    return {
        "at": at,
        "cells": round(met, 2),
        "cells_peers": round(usual, 2),
        "evenness": round(even, 4),
        "evenness_peers": round(even_usual, 4),
        "words": (
            f"In any {at} of its queries it visits {met:.0f} regions of the input space, honest clients of equal "
            f"volume {usual:.0f}; two of its queries get different answers {_percent(even)} of the time, theirs "
            f"{_percent(even_usual)}."
        ),
    }


def actions(family: Family, copy: Copy | None, limit: float) -> list[dict[str, str]]:
    """What may be done, most urgent first, each with the ATLAS mitigation it is."""
    far = copy is not None and copy.share >= limit
    steps = [
        ("AML.M0019", "Review who holds this key and, if nobody can explain the queries, revoke or replace it."),
        ("AML.M0004", "Limit how many queries a day this key may send until its owner has answered."),
        ("AML.M0002", "Answer this key with labels or rounded probabilities: a copy learns most from exact scores."),
        ("AML.M0024", "Keep the full log of this key, answers included, for a later comparison with a suspected copy."),
    ]
    if far:
        steps[0], steps[1] = steps[1], steps[0]
    if family in (Family.SYNTHETIC, Family.BOUNDARY, Family.RANDOM):
        steps.insert(2, ("AML.M0015", "Refuse or answer roughly what lies outside ordinary inputs or repeats nearly."))
    return [{"id": id_, "name": MITIGATIONS[id_], "words": words} for id_, words in steps]


def summary_words(exposed: Sequence[Mapping[str, Any]], limit: float) -> str:
    """One sentence about the most exposed clients; "" while nobody was measured."""
    if not exposed:
        return ""
    first = exposed[0]
    over = sum(item["share"] >= limit for item in exposed)
    least = f"at least {over}" if over == MOST_EXPOSED else str(over)
    return (
        f" The best copy a client could have trained agrees on {_percent(first['agreement'])} of ordinary inputs "
        f"({str(first['client'])[:80]}, {first['n_queries']:,} queries); {least} could have copied {_percent(limit)} "
        "of what can be copied."
    )


def _points(gain: float) -> str:
    return f"{round(100 * gain) or 0:+d} points"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
