"""Words: what an analyst reads beside an extraction reading, and the JSON-ready facts behind it."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.batch import FloatArray
from detectors.clients.techniques import ATLAS_RELEASE, BENIGN_EXPLANATIONS, Family, techniques
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import EDGES, Channels, shares_by_edge
from detectors.extraction.verdict import Finding

_TITLES = (
    ("H1", "behaviour unlike honest clients", "mean behaviour lies outside the spread of honest clients"),
    ("H2", "strange queries", "queries rarer than 1 in 100 or 1 in 20 for their predicted class"),
    ("H3", "near repeats", "queries that almost repeat one of the client's own recent queries"),
    ("H9", "hard or too sure answers", "answers that are less sure, or surer, than usual for their predicted class"),
    ("H10", "queries kept apart", "queries that hardly ever come near one of the client's own recent queries"),
    (
        "H11",
        "steps of one size",
        "queries that differ from one of the client's own by one size, up here and down there",
    ),
)
_OTHERS = (
    ("H7", "unlike itself", "mean behaviour lies outside what the client's own past and honest wavering allow"),
    ("H5", "wide coverage", "regions and classes visited, beside honest clients of equal volume; never alone"),
    ("H6", "a good copy for so few answers", "exposure beside honest clients of equal volume; never alone"),
)
_MEASURES = {
    "distance": "distance to the class",
    "residual": "structure of the input",
    "centroid": "distance to usual inputs",
    "categories": "combination of categories",
    "grain": "digits that nobody else sends",
    "likeness": "looks made up",
    "margin": "closeness to the decision boundary",
}
_RARER = {
    0.002: "1 in 500",
    0.01: "1 in 100",
    0.05: "1 in 20",
    0.1: "1 in 10",
    0.25: "1 in 4",
    0.5: "1 in 2",
    0.75: "3 in 4",
    0.9: "9 in 10",
}
_LIKE = {
    Family.NATURAL: "natural inputs, of another domain or of everybody's",
    Family.UNCERTAINTY: "inputs chosen close to the decision boundary",
    Family.DIVERSE: "inputs chosen to lie far from each other",
    Family.SYNTHETIC: "small perturbations of earlier inputs",
    Family.RANDOM: "made-up inputs: random, gridded or strongly perturbed",
    Family.BOUNDARY: "steps along the decision boundary",
    Family.UNCLEAR: "inputs unlike those of honest clients",
}


def reason(who: str, finding: Finding, kind: Family, level: str, ask: str = "check who holds this key") -> str:
    """One sentence an analyst can act on; ``who`` begins it, ``ask`` is the first thing to do."""
    n = int(finding.sums.count("events"))
    if level == "alarm":
        return (
            f"{who} may be copying the model: {shares(finding)} over {n} events ({_LIKE[kind]}); "
            f"{ask}, and throttle it or round its scores if nobody can explain it."
        )
    if level == "warning":
        return f"{who} changed behaviour: {shares(finding)} over {n} events; ask its owner what changed."
    return f"{who} queries like its peers again."


def detail(finding: Finding, kind: Family, channels: Channels, baseline: Baseline, window: str) -> dict[str, Any]:
    """JSON-ready facts behind a warning or an alarm."""
    peers_classes = baseline.classes
    own_classes = finding.sums.classes / max(1.0, float(finding.sums.classes.sum()))
    return {
        "n_queries": int(finding.sums.count("events")),
        "n_fresh": int(finding.sums.count("fresh")),
        "n_exact_repeats": int(finding.sums.count("exact")),
        "n_near_repeats": int(finding.sums.count("near")),
        "window": window,
        "heads": heads(finding),
        "coordinates": coordinates(finding, channels),
        "classes": {
            "labels": [*channels.labels, "other"],
            "client": _rounded(own_classes),
            "peers": _rounded(peers_classes),
        },
        "histograms": histograms(finding, channels),
        "techniques": techniques(kind),
        "atlas_release": ATLAS_RELEASE,
        "benign_explanations": list(BENIGN_EXPLANATIONS[kind]),
        "family": kind.value,
        "calibration": baseline.calibration,
    }


def shares(finding: Finding) -> str:
    """Which share of queries is strange or nearly repeated, or of answers uncommon, against peers: half a sentence."""
    said = _most_said(finding)
    return f"it behaves unlike its own past, and {said}" if finding.itself < min(finding.log_p) else said


def _most_said(finding: Finding) -> str:
    """The share that the head which says most is about."""
    if finding.log_p.h11 < min(finding.log_p[1:-1]):
        return f"{_percent(finding.stamped)} of queries differ from one of the sender's own by steps of one size"
    if finding.log_p.h10 < min(finding.log_p.h2, finding.log_p.h3, finding.log_p.h9):
        came, usual = 1.0 - finding.apart.client, 1.0 - finding.apart.peers
        return f"only {_percent(came)} of queries come near one of the sender's own (peers {_percent(usual)})"
    if finding.log_p.h9 < min(finding.log_p.h2, finding.log_p.h3):
        answers = finding.answers
        how = "less sure than 9 in 10 of their class" if answers.harder else "surer than 9 in 10 of their class"
        return f"{_percent(answers.client)} of answers are {how} (peers {_percent(answers.peers)})"
    if finding.near - finding.near_peers > finding.strange - finding.strange_peers:
        return (
            f"{_percent(finding.near)} of queries nearly repeat the sender's own (peers {_percent(finding.near_peers)})"
        )
    return (
        f"{_percent(finding.strange)} of queries are rarer than 1 in 100 for their class "
        f"(peers {_percent(finding.strange_peers)})"
    )


def heads(finding: Finding) -> list[dict[str, Any]]:
    """The heads with their p-values, before the price of repeated looks."""
    told = [*zip(_TITLES, finding.log_p, strict=True)]
    others = (finding.itself, finding.beside.coverage, finding.beside.exposure)
    told += [(title, p) for title, p in zip(_OTHERS, others, strict=True) if p < 0.0]
    return [
        {
            "name": name,
            "title": title,
            "p_value": float(np.exp(max(p, -700.0))),
            "log10_evidence": round(-p / float(np.log(10.0)), 3),
            "words": words,
        }
        for (name, title, words), p in told
    ]


def coordinates(finding: Finding, channels: Channels) -> list[dict[str, Any]]:
    """The five channel coordinates in which the client lies farthest from its peers, in plain words."""
    client, peers = shares_by_edge(finding.sums.mean, channels), shares_by_edge(finding.centre, channels)
    gap = (client - peers) / np.sqrt(np.maximum(peers * (1 - peers), 0.002))
    out: list[dict[str, Any]] = []
    for flat in np.argsort(-np.abs(gap), axis=None):
        j, k = divmod(int(flat), len(EDGES))
        if any(j == item["channel"] for item in out):
            continue
        words = (
            f"{_percent(client[j, k])} of queries are rarer than {_RARER[float(EDGES[k])]} for their predicted class "
            f"({_measure(channels.names[j])}); peers {_percent(peers[j, k])}"
        )
        out.append({"words": words, "client": float(client[j, k]), "peers": float(peers[j, k]), "channel": j})
        if len(out) == 5:
            break
    return [{k: v for k, v in item.items() if k != "channel"} for item in out]


def histograms(finding: Finding, channels: Channels) -> list[dict[str, Any]]:
    """Where queries fall between the edges, client against peers, for the three channels that differ most."""
    client, peers = shares_by_edge(finding.sums.mean, channels), shares_by_edge(finding.centre, channels)
    labels = ["rarer than 1 in 500", *(f"to {_RARER[float(e)]}" for e in EDGES[1:]), "commoner"]
    return [
        {
            "title": f"Rarity for the predicted class: {_measure(channels.names[j])}",
            "labels": labels,
            "reference": _rounded(_bins(peers[j])),
            "current": _rounded(_bins(client[j])),
        }
        for j in np.argsort(-np.abs(client - peers).max(axis=1))[:3].tolist()
    ]


def _measure(name: str) -> str:
    view, _, score = name.rpartition(".")
    words = _MEASURES.get(score, score)
    return f"{words}, {view}" if view else words


def _bins(cumulative: FloatArray) -> FloatArray:
    return np.maximum(np.diff(np.concatenate([[0.0], cumulative, [1.0]])), 0.0)


def _rounded(values: FloatArray) -> list[float]:
    return [round(float(v), 5) for v in values]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
