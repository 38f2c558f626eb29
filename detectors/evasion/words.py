"""Words: what an analyst reads beside an evasion reading, and the JSON-ready facts behind it."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np

from detectors.clients.techniques import ATLAS_RELEASE
from detectors.evasion.honest import Baseline
from detectors.evasion.tally import LENGTHS, TURNS, Tally
from detectors.evasion.verdict import MIRRORING, Finding


class Walk(StrEnum):
    """What kind of attack the walk looks like."""

    LINE = "line search"
    BOUNDARY = "boundary walk"
    SCORES = "score-based optimisation"
    GRADIENT = "gradient estimation"
    INVERSION = "inversion"


_DOES = {
    Walk.LINE: "halving its way along lines to where the predicted class changes",
    Walk.BOUNDARY: "feeling along the decision boundary",
    Walk.SCORES: "keeping each change that lowers the model's confidence and taking back the rest",
    Walk.GRADIENT: "asking on both sides of a point and then moving where the answers fall fastest",
    Walk.INVERSION: "climbing towards inputs that one class is most sure of",
}
_AIM = {Walk.INVERSION: "may be reading out what the model learned"}
_EVASION = (
    ("AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization", "MITRE ATLAS"),
    ("AML.T0042", "Verify Attack", "MITRE ATLAS"),
    ("AML.T0015", "Evade AI Model", "MITRE ATLAS"),
    ("ML01:2023", "Input Manipulation Attack", "OWASP ML Top 10"),
    ("NISTAML.025", "Black-box Evasion", "NIST AI 100-2 E2025"),
)
_INVERSION = (
    ("AML.T0024.001", "Invert AI Model", "MITRE ATLAS"),
    ("ML03:2023", "Model Inversion Attack", "OWASP ML Top 10"),
    ("NISTAML.032", "Reconstruction", "NIST AI 100-2 E2025"),
)
_BENIGN = (
    "a what-if, counterfactual or explanation tool that looks for the change that turns a decision",
    "a robustness evaluation or penetration test agreed with the model's owner",
    "a sensor or video stream that hovers where the model cannot decide",
    "a person who corrects one form again and again until it is accepted",
)
_TITLES = (
    ("class flips at short steps", "the predicted class changes between queries that are all but the same"),
    ("follows falling confidence", "goes on from tries that made the model less sure and takes back the others"),
    ("follows rising confidence", "goes on from tries that made the model surer and takes back the others"),
    ("turns back where the class flips", "goes on while the class holds and goes back where it changed"),
    ("halves lines at class flips", "goes straight on while the class holds and turns about where it changed"),
    ("follows the slope of the answers", "tries both sides of a point, then moves where the answers fall or rise"),
)


def family(finding: Finding) -> Walk:
    """Which attack the counts look like."""
    tally = finding.tally
    if finding.head == MIRRORING:
        return Walk.GRADIENT if tally["down"] >= tally["up"] else Walk.INVERSION
    if finding.head == 2:
        return Walk.INVERSION
    if finding.head == 1:
        return Walk.SCORES
    if finding.head == 4:
        return Walk.LINE
    straight = float(tally.turns[0] + tally.turns[-1])
    return Walk.LINE if straight >= 0.5 and tally.flip_rate >= 0.2 else Walk.BOUNDARY


def reason(client: str, finding: Finding, kind: Walk, level: str) -> str:
    """One sentence an analyst can act on."""
    tally, who = finding.tally, f"Client {client[:80]}"
    if level == "ok":
        return f"{who} no longer walks along the model's answers."
    walk = f"{tally['steps']} of its {tally['events']} queries nearly repeat its own, {_chains(tally)}, {_DOES[kind]}"
    if finding.head == MIRRORING:
        walk = f"{tally['mirrored']} of its {tally['events']} queries mirror the one before them, {_DOES[kind]}"
    if level == "alarm":
        aim = _AIM.get(kind, "may be searching for an input that slips past the model")
        return (
            f"{who} {aim}: {walk} ({_measure(finding)}); check who holds this key, and throttle it or "
            "round its scores if nobody can explain it."
        )
    return f"{who} walks along the model's answers: {walk} ({_measure(finding)}); ask its owner what it does."


def detail(finding: Finding, kind: Walk, baseline: Baseline, window: str) -> dict[str, Any]:
    """JSON-ready facts behind a warning or an alarm."""
    tally = finding.tally
    known = _INVERSION if kind is Walk.INVERSION else _EVASION
    return {
        "n_queries": tally["events"],
        "n_steps": tally["steps"],
        "n_chains": tally["chains"],
        "longest_chain": tally.longest,
        "n_flips": tally["flips"],
        "window": window,
        "heads": heads(finding),
        "coordinates": coordinates(finding, baseline),
        "histograms": histograms(tally, baseline),
        "techniques": [{"id": id_, "name": name, "source": source} for id_, name, source in known],
        "atlas_release": ATLAS_RELEASE,
        "benign_explanations": list(_BENIGN),
        "family": kind.value,
        "calibration": baseline.calibration,
    }


def heads(finding: Finding) -> list[dict[str, Any]]:
    """The heads with their p-values, before the price of repeated looks."""
    return [
        {
            "name": f"W{i + 1}",
            "title": title,
            "p_value": float(np.exp(max(p, -700.0))),
            "log10_evidence": round(-p / float(np.log(10.0)), 3),
            "words": words,
        }
        for i, ((title, words), p) in enumerate(zip(_TITLES, finding.log_p, strict=True))
    ]


def coordinates(finding: Finding, baseline: Baseline) -> list[dict[str, Any]]:
    """The client beside honest ones, in plain words."""
    tally = finding.tally
    table = [
        ("queries that nearly repeat an earlier one of its own", tally.walking, baseline.usual_share),
        ("of the shortest of these steps, the predicted class changed", tally.short_flip_rate, finding.peers_flips),
    ]
    for what, on, back in (
        ("of tries that made the model less sure, it went on from", "fell_on", "fell_back"),
        ("of tries that made the model surer, it went on from", "rose_on", "rose_back"),
        ("of tries that changed the class, it went on from", "flipped_on", "flipped_back"),
        ("of tries that kept the class, it went on from", "kept_on", "kept_back"),
    ):
        n = tally[on] + tally[back]
        if n:
            table.append((f"{what} ({tally[on]} of {n})", tally[on] / n, float("nan")))
    return [
        {"words": words, "client": round(client, 5)} | ({} if np.isnan(peers) else {"peers": round(peers, 5)})
        for words, client, peers in table
    ]


def histograms(tally: Tally, baseline: Baseline) -> list[dict[str, Any]]:
    """Cosines between consecutive steps, beside those of honest clients that walk."""
    turns = tally.turns
    if not turns.sum():
        return []
    edges = np.linspace(-1.0, 1.0, TURNS + 1)
    labels = [f"{a:.1f} to {b:.1f}" for a, b in pairwise(edges.tolist())]
    return [
        {
            "title": "Direction of each step against the one before (-1 back, 1 straight on)",
            "labels": labels,
            "reference": [round(float(v), 5) for v in baseline.turns],
            "current": [round(float(v), 5) for v in turns],
        }
    ]


def _chains(tally: Tally) -> str:
    longest = tally.longest
    more = "at least " if longest in LENGTHS else ""
    n = tally["chains"]
    begun = f"{n} chains" if n > 1 else "one chain" if n else "older chains"
    return f"in {begun}, the longest of {more}{longest}"


def _measure(finding: Finding) -> str:
    tally = finding.tally
    if finding.head == 0:
        return (
            f"the predicted class flips at {_percent(tally.short_flip_rate)} of its shortest steps, "
            f"{_percent(finding.peers_flips)} with honest clients"
        )
    if finding.head == MIRRORING:
        n, way = tally["moves"], "down" if tally["down"] >= tally["up"] else "up"
        steep = float(np.exp(tally[way] / 1000.0 / max(1, n)))
        return f"its {n} moves in between go {way} the slope of the answers as steeply as one direction in {steep:.0f}"
    if finding.head == 4:
        crossed, held = tally["flipped_turned"], tally["kept_ahead"]
        n, m = crossed + tally["flipped_ahead"], held + tally["kept_turned"]
        return (
            f"along a line it turns at {crossed} of {n} class flips and goes straight on at {held} of {m} other answers"
        )
    if finding.head == 3:
        flipped, kept = 1.0 - _gone_on(tally, "flipped"), 1.0 - _gone_on(tally, "kept")
        return f"it takes back {_percent(flipped)} of tries that change the class and {_percent(kept)} of others"
    fell, rose = _gone_on(tally, "fell"), _gone_on(tally, "rose")
    return (
        f"it goes on from {_percent(fell)} of tries that make the model less sure "
        f"and from {_percent(rose)} of those that make it surer"
    )


def _gone_on(tally: Tally, answer: str) -> float:
    return tally[f"{answer}_on"] / max(1, tally[f"{answer}_on"] + tally[f"{answer}_back"])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.1f} %"
