"""Words: what an analyst reads beside an abuse reading, and the JSON-ready facts behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.abuse import faults
from detectors.abuse.heads import RATES, VOLUME
from detectors.abuse.layout import AT, FAULT_CELLS, SWEPT_CELLS, variety
from detectors.batch import FloatArray
from detectors.clients.techniques import ATLAS_RELEASE, MISUSE_EXPLANATIONS, Misuse, misuse_techniques

_DOES: Final[Mapping[str, str]] = {
    "slow": "are slower than 19 in 20 comparable ones",
    "very slow": "are slower than 99 in 100 comparable ones",
    "faults": "hold what ordinary queries do not",
    "sweeps": "differ from the one before in a single feature",
    "classes": "are answered with a rare class",
}
_AS: Final[Mapping[Misuse, str]] = {
    Misuse.SPONGE: "may be sending inputs made to be slow",
    Misuse.WALLET: "asks for far more than is expected of it",
    Misuse.RECONNAISSANCE: "seems to be feeling for the model's edges",
}
_DO: Final[Mapping[Misuse, str]] = {
    Misuse.SPONGE: "ask if its inputs are meant to be costly, and cap the time an answer may take",
    Misuse.WALLET: "check who holds this key, and set a quota if nobody can explain it",
    Misuse.RECONNAISSANCE: "check who holds this key, and answer malformed queries with errors that say little",
}


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is known of one client when it is spoken of.

    Attributes:
        evidence: (h + 1,) of every head; share, n, expected: (h,) of the rates, over the last hundred events or so.
        sums: (width,) faded sums. today, usual: (w,) volumes. widths: (w,) seconds. hours: active ones of today.
        rise: (w,) log of the rise that everybody shows.
    """

    evidence: FloatArray
    share: FloatArray
    n: FloatArray
    expected: FloatArray
    sums: FloatArray
    today: FloatArray
    usual: FloatArray
    widths: FloatArray
    window: int
    hours: int
    rise: FloatArray
    alone: bool


def misuse_of(head: int) -> Misuse:
    return Misuse.WALLET if head == VOLUME else RATES[head].misuse


def reason(client: str, head: int, facts: Facts, level: str) -> str:
    """One sentence an analyst can act on."""
    who = f"Client {client[:80]}"
    if level == "ok":
        return f"{who} queries like its peers again."
    said = _volume(facts) if head == VOLUME else _rate(head, facts)
    if level == "alarm":
        return f"{who} {_AS[misuse_of(head)]}: {said}; {_DO[misuse_of(head)]}."
    return f"{who} stands out, but this may be no attack: {said}{_but(head, facts)}."


def _but(head: int, facts: Facts) -> str:
    if facts.alone:
        return ", and no other client is there to compare it with"
    if head != VOLUME and not RATES[head].is_spread(facts.sums):
        return ", all of one sort, as a defect on its side would"
    return ""


def _rate(head: int, facts: Facts) -> str:
    share, usual = facts.share[head], facts.expected[head]
    return f"{_percent(share)} of its last queries {_DOES[RATES[head].name]} (peers {_percent(usual)})"


def _volume(facts: Facts) -> str:
    i = facts.window
    rise = float(np.exp(facts.rise[i]))
    common = f", where all clients together rose {rise:.2g}-fold" if rise > 1.2 else ""
    return (
        f"{facts.today[i]:,.0f} events in its {window_name(i, facts.widths)}, {_fold(facts, i):,.3g} times "
        f"what is expected ({max(facts.usual[i], 0.0):,.3g}){common}"
    )


def window_name(i: int, widths: FloatArray) -> str:
    """A window in words; the last is the period itself."""
    if widths[i] >= 86_400:
        return "day"
    return "hour" if widths[i] >= 3_600 else f"busiest {widths[i]:.0f} seconds"


def _fold(facts: Facts, i: int) -> float:
    return float((facts.today[i] + 1.0) / (max(facts.usual[i], 0.0) + 1.0))


def detail(head: int, facts: Facts, calibration: str) -> dict[str, Any]:
    """JSON-ready facts behind a warning or an alarm."""
    misuse = misuse_of(head)
    return {
        "n_queries": int(facts.n[2] if len(facts.n) > 2 else 0),
        "heads": _heads(facts),
        "coordinates": _coordinates(head, facts),
        "histograms": _histograms(facts),
        "techniques": misuse_techniques(misuse),
        "atlas_release": ATLAS_RELEASE,
        "benign_explanations": list(MISUSE_EXPLANATIONS[misuse]),
        "family": misuse.value,
        "calibration": calibration,
    }


def _heads(facts: Facts) -> list[dict[str, Any]]:
    titles = [(head.name, head.title, _rate(j, facts)) for j, head in enumerate(RATES)]
    if len(facts.widths):
        titles.append(("volume", "volume", _volume(facts)))
    order = [j for j in np.argsort(-facts.evidence).tolist() if j < len(titles) and np.isfinite(facts.evidence[j])]
    return [
        {
            "name": titles[j][0],
            "title": titles[j][1],
            "p_value": float(np.exp(-np.clip(facts.evidence[j], 0.0, 700.0))),
            "log10_evidence": round(float(facts.evidence[j] / np.log(10.0)), 3),
            "words": titles[j][2],
        }
        for j in order
    ]


def _coordinates(head: int, facts: Facts) -> list[dict[str, Any]]:
    out = [
        {"words": _rate(j, facts), "client": float(facts.share[j]), "peers": float(facts.expected[j])}
        for j in range(len(RATES))
        if facts.n[j] > 0 and (j == head or facts.share[j] > 2.0 * facts.expected[j])
    ]
    for i in range(len(facts.widths)):
        words = f"{facts.today[i]:,.0f} events in its {window_name(i, facts.widths)} so far"
        usual = max(float(facts.usual[i]), 0.0)
        numbers = {"client": float(facts.today[i]), "peers": usual} if usual > 1.0 else {"client": None, "peers": None}
        out.append({"words": f"{words}, {usual:,.3g} expected", **numbers})
    out.append(
        {"words": f"active in {facts.hours} of 24 hours of this day", "client": float(facts.hours), "peers": None}
    )
    spent = float(facts.sums[AT["spent_ms"]])
    if spent > 0:
        share = float(facts.sums[AT["excess_ms"]]) / spent
        words = f"{_percent(share)} of the time spent on its answers is beyond what half of comparable ones take"
        out.append({"words": words, "client": share, "peers": None})
    swept = variety(facts.sums[SWEPT_CELLS])
    if head != VOLUME and RATES[head].name == "sweeps":
        out.append({"words": f"about {swept:.0f} features or more were varied alone", "client": None, "peers": None})
    return out


def _histograms(facts: Facts) -> list[dict[str, Any]]:
    """Which sorts of faults, as shares of the last queries."""
    by_sort = facts.sums[FAULT_CELLS].reshape(len(faults.SORTS), -1).sum(axis=1)
    if by_sort.sum() <= 0:
        return []
    shares: Sequence[float] = [round(float(v), 5) for v in by_sort / max(1.0, float(facts.sums[AT["events"]]))]
    usual = [0.0] * len(faults.SORTS)
    return [{"title": "Faulty inputs by sort", "labels": list(faults.SORTS), "reference": usual, "current": shares}]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
