"""Verdict: what one look at one window of a client shows, as one number that already paid for all looks and heads.

Evidence is -ln(p / share): shares split what a client may spend in its life over heads, two windows and looks, and sum
to one, so it may be compared with -ln(alpha) at any time. An accusation needs a walk and a head that says that the
client acts on the answers; how rare walks of that extent are among honest clients is the smaller part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.evasion.heads import descent_log_p, pursuit_log_p
from detectors.evasion.honest import Baseline
from detectors.evasion.tally import Tally

HEAD_SHARES = (0.25, 0.2, 0.15, 0.15, 0.15, 0.1)
MIRRORING = 5
"""Position of W6."""
MIRRORS = float(np.log(0.02))
"""Ln of the share of walking clients that are taken to mirror their tries for honest reasons, as some methods of
explanation do; no reference has shown one yet."""
ENOUGH_SHORT_STEPS = 30
"""Flips come in bursts where an honest walk crosses from class to class, so a few steps say nothing of a rate."""
MIN_EFFECT = 0.02
"""Least share of a window's queries that must be steps of a walk."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What one look showed.

    Attributes:
        log_p: natural logs of the p-values of W1 to W6, before any splitting.
        evidence: of the strongest head. head: its position.
        peers_flips: how often the class flips at an honest short step.
    """

    tally: Tally
    log_p: tuple[float, ...]
    evidence: float
    head: int
    peers_flips: float

    @property
    def effect(self) -> float:
        return self.tally.share


def examine(tally: Tally, look: int, baseline: Baseline, peers_flips: float) -> Finding:
    """Look number ``look`` (0, 1, …) at one window; ``peers_flips`` is the flip rate of today's peers, 0 if unknown."""
    hits, short = tally["tight_flips"], tally["tight_labelled"]
    flips = baseline.flips.log_p(hits, short, peers_flips) if short >= ENOUGH_SHORT_STEPS else 0.0
    pursuits = (pursuit_log_p(tally, baseline.couplings) * baseline.stretch).tolist()
    log_p = (flips, *pursuits, descent_log_p(tally))
    rarity = baseline.log_rarity(tally.walking)
    share = np.log(look_share(look) / 2.0) + np.log(HEAD_SHARES)
    rarities = [rarity] * len(log_p)
    rarities[MIRRORING] += MIRRORS
    evidence = [float(s - p - r) if p < 0 else 0.0 for p, s, r in zip(log_p, share, rarities, strict=True)]
    head = int(np.argmax(evidence))
    usual = max(baseline.flips.mean, peers_flips)
    return Finding(tally, log_p, max(0.0, evidence[head]), head, usual)


def look_share(look: int) -> float:
    """Part of a window's false alarms that look number ``look`` may use: a tenth each at first, then ever less."""
    return 0.1 if look < 6 else 0.4 / ((look - 5) * (look - 4))
