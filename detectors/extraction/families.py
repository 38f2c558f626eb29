"""Families: which kind of theft a client's sums look like. It names an attack that was found; it accuses nobody.

Sources: Knockoff Nets (Orekondy 2019) ask natural inputs of another domain, the Jacobian augmentation of Papernot
(2017) perturbs its own earlier ones, Tramèr (2016) asks random and gridded ones and searches along the boundary,
ActiveThief (Pal 2020) those that the model is least sure of, or that lie farthest from all earlier ones.
"""

from __future__ import annotations

import numpy as np

from detectors.clients.rings import LEVELS
from detectors.clients.techniques import Family
from detectors.extraction.channels import CATEGORIES, EDGES, GRAIN, LIKENESS, MARGIN, Channels, shares_by_edge
from detectors.extraction.verdict import Finding

STRANGE_EDGE = 0.01
HARD_EDGE = 0.25
MOSTLY_HARD = 0.5
ALIKE = 0.2
ODD = 0.05
VERY_ODD = 0.25
WIDE = float(np.log(0.03))
"""Log p-value from which coverage, exposure or a departure from the own past say that ordinary queries were taken."""


def family(finding: Finding, channels: Channels) -> Family:
    """Which kind of querying the sums look like.

    Queries close to the client's own earlier ones are perturbations, or a walk where most of them are hard, and so are
    those that differ from them by steps of one size; those that hardly ever come close to one were chosen for their
    diversity. Strange ones are natural unless the structure of the input or its digits are strange and the categories
    have met before. Of the rest those are perturbed that a network which knows random, gridded and recombined inputs
    takes for others.
    """
    odd = _excess(finding, channels)
    made_up, structure = odd.get(LIKENESS, 0.0), max(odd.get("residual", 0.0), odd.get(GRAIN, 0.0))
    hard = _share_harder(finding, channels)
    alike = finding.sums.share("near", "compared") + finding.sums.share("close", "compared") - LEVELS[-1]
    if alike >= max(ALIKE, made_up):
        return Family.BOUNDARY if hard >= MOSTLY_HARD else Family.SYNTHETIC
    most = max(odd.values(), default=0.0)
    log_p = finding.log_p
    if log_p.h11 < min(log_p[:-1]) and made_up < VERY_ODD:
        return Family.SYNTHETIC
    if hard >= MOSTLY_HARD and most < VERY_ODD:
        return Family.UNCERTAINTY
    if most < VERY_ODD and log_p.h10 < min(log_p.h1, log_p.h2, log_p.h3, log_p.h9):
        return Family.DIVERSE
    if most < ODD:
        wide = min(finding.itself, finding.beside.coverage, finding.beside.exposure) < WIDE
        return Family.NATURAL if wide else Family.UNCLEAR
    if structure < 0.3 * most or odd.get(CATEGORIES, 0.0) > 0.5 * most:
        return Family.NATURAL
    return Family.RANDOM if made_up >= 0.5 * structure else Family.SYNTHETIC


def _excess(finding: Finding, channels: Channels) -> dict[str, float]:
    """Score of every channel but hardness → share of queries rarer than 1 in 100, less that, in the strangest view."""
    rarer = shares_by_edge(finding.sums.mean, channels)[:, int(np.flatnonzero(EDGES == STRANGE_EDGE)[0])]
    out: dict[str, float] = {}
    for name, share in zip(channels.names, rarer.tolist(), strict=True):
        score = name.rpartition(".")[2]
        if score != MARGIN:
            out[score] = max(out.get(score, 0.0), share - STRANGE_EDGE)
    return out


def _share_harder(finding: Finding, channels: Channels) -> float:
    """Share of queries harder than 3 in 4 of their class; 0 where hardness is not logged."""
    if MARGIN not in channels.names:
        return 0.0
    rarer = shares_by_edge(finding.sums.mean, channels)[channels.names.index(MARGIN)]
    return float(rarer[int(np.flatnonzero(EDGES == HARD_EDGE)[0])])
