"""Verdict: p-values become one number, the evidence.

A client is looked at many times and over two windows; its p-values are those of the worst look of its life (``Tail``),
so looking often costs nothing more. The chance of a false alarm is split over the heads by ``HEAD_SHARES``: evidence
is -ln(p / share), to be compared with -ln(alpha) at any time.

Two-step rule: a client whose mean behaviour is odd beside its peers (H1) or beside its own past (H7) is only called a
thief when strange (H2) or nearly repeated (H3) queries, uncommonly wide coverage (H5) or an uncommonly good copy for so
few answers (H6) agree, and one with strange queries only when another head agrees. H5 and H6 never speak alone; H2 or
H3 alone must be overwhelming. Where no peers are at hand, a thief looks like a drift of everybody, and the client is
only called odd.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.batch import FloatArray
from detectors.clients.betabinomial import PAST_WEIGHT
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import EDGES, FOURIER
from detectors.extraction.history import History
from detectors.extraction.layout import Sums
from detectors.extraction.peers import Company
from detectors.extraction.selfhistory import Itself
from detectors.extraction.tails import Heard, mixed

HEAD_SHARES = (0.5, 0.2, 0.2, 0.1)
"""Of H1, H2, H3 and H7."""
AGREEMENT = float(np.log(0.03))
SECOND_WITNESS = 0.6
"""How much of the second head's evidence, beyond mere agreement, adds to the first's; both see the same queries."""
MIN_EFFECT = 0.04
OVERWHELMING_EFFECT = 0.15
OVERWHELMING_DISCOUNT = 1.25


@dataclass(frozen=True, slots=True)
class Beside:
    """Natural logs of the p-values of the heads that do not look at the window's mean: coverage (H5), exposure (H6)."""

    coverage: float = 0.0
    exposure: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What one look at one window of a client showed.

    Attributes:
        log_p: natural logs of the p-values of H1, H2, H3, before any splitting.
        odd: evidence that behaviour is odd (any head). stolen: evidence of extraction under the two-step rule.
        strange, strange_peers, near, near_peers: shares of queries, the client's and its peers'.
        unlike: least share of queries that cannot be like those of peers.
        itself: log p-value of H7. beside: those of H5 and H6.
    """

    sums: Sums
    log_p: tuple[float, float, float]
    odd: float
    stolen: float
    strange: float
    strange_peers: float
    near: float
    near_peers: float
    unlike: float
    centre: np.ndarray[tuple[int], np.dtype[np.float64]]
    itself: float = 0.0
    beside: Beside = Beside()

    @property
    def effect(self) -> float:
        """Share of the client's queries that cannot be queries like its peers': too rare, or near repeats."""
        return max(0.0, self.unlike, self.near - self.near_peers)


def share_unlike(mean: FloatArray, centre: FloatArray, n: float) -> float:
    """Least share of foreign queries that explains the mean channel row of n queries, less two standard errors.

    If a share s of the queries is foreign, the share rarer than an edge is at most s + (1 - s) times that of peers.
    """
    k = (len(mean) - 2 * FOURIER) // len(EDGES)
    client = np.clip(mean[: k * len(EDGES)].reshape(k, -1) + EDGES, 0.0, 1.0)
    peers = np.clip(centre[: k * len(EDGES)].reshape(k, -1) + EDGES, 0.0, 0.95)
    error = np.sqrt(peers * (1.0 - peers) / max(n, 1.0))
    return float(((client - peers - 2.0 * error) / (1.0 - peers))[:, :-2].max())


def examine(
    sums: Sums,
    baseline: Baseline,
    company: Company,
    own: History | None = None,
    itself: Itself | None = None,
    client: str = "",
    beside: Beside = Beside(),
) -> Finding:
    """One look at one window of a client among its peers, and beside its own past.

    The past ``own`` excuses what it explains; with ``itself`` it also accuses a client that is no longer like it.
    """
    fresh, compared = sums.count("fresh"), sums.count("compared")
    spread = baseline.spread
    drift = company.drift(spread)
    inflation = company.inflation(spread, fresh, drift)
    ratio = spread.ratio(sums.mean, fresh, drift, own) / inflation
    p7 = 0.0
    if itself is not None:
        p7 = itself.log_p(client, sums.mean, sums.classes, fresh, own, spread, drift, inflation)
    centre = spread.centre if drift is None else spread.centre + drift
    odd, rare, repeated, alike = baseline.tails
    h1 = odd.heard(ratio if fresh >= 10 else 0.0)
    peers = (company.rate(("strange_01",), "fresh"), company.rate(("strange_05",), "fresh"))
    near_peers = (company.rate(("near",), "compared"), company.rate(("near", "close"), "compared"))
    near = (sums.count("near"), sums.count("near") + sums.count("close"))
    usual = [max(*both, past) for *both, past in zip(peers, baseline.strange, _strange_past(own), strict=True)]
    hits = (sums.count("strange_01"), sums.count("strange_05"))
    excess = baseline.excuse.excess(hits, fresh, sums.mean, usual) if fresh >= 10 else 0.0
    p3 = -min(
        baseline.near[0].log_p(near[0], compared, near_peers[0], _near_past(own, 0)),
        baseline.near[1].log_p(near[1], compared, near_peers[1], _near_past(own, 1)),
    )
    filtered = spread.resemblance(baseline.made_up, sums.mean, fresh, drift, own) if fresh >= 10 else 0.0
    h2, h3 = rare.heard(excess).better(alike.heard(filtered)), repeated.heard(p3)
    p1, p2, p3 = h1.log_p, h2.log_p, h3.log_p
    e1, e2, e3, e7 = (float(-p + np.log(share)) for p, share in zip((p1, p2, p3, p7), HEAD_SHARES, strict=True))
    strange, seen_near = sums.share("strange_01", "fresh"), near[0] / max(1.0, compared)
    strange_peers, usual_near = max(peers[0], baseline.strange[0]), max(near_peers[0], baseline.near[0].mean)
    unlike = share_unlike(sums.mean, centre, fresh) if fresh >= 10 else 0.0
    if own is not None and unlike > 0:
        trust = own.fresh / (own.fresh + PAST_WEIGHT)
        unlike = min(unlike, share_unlike(sums.mean, centre + trust * (own.mean - spread.centre), fresh))
    witnesses = (h2, h3, Heard.alone(beside.coverage), Heard.alone(beside.exposure))
    routes = [
        _agreed(h1, HEAD_SHARES[0], *witnesses),
        _agreed(Heard.alone(p7), HEAD_SHARES[3], *witnesses),
        _agreed(h2, HEAD_SHARES[1], h1, h3),
        e2 / OVERWHELMING_DISCOUNT if strange - strange_peers >= OVERWHELMING_EFFECT else 0.0,
        e3 / OVERWHELMING_DISCOUNT if seen_near - usual_near >= OVERWHELMING_EFFECT else 0.0,
    ]
    stolen = 0.0 if company.is_thin else max(routes)
    shares = (strange, strange_peers, seen_near, usual_near, unlike)
    return Finding(sums, (p1, p2, p3), max(e1, e7, *routes), stolen, *shares, centre, p7, beside)


def _agreed(first: Heard, share: float, *witnesses: Heard) -> float:
    """The evidence of one head, with its share, where another agrees, and what that one adds; 0 where none does."""
    best = 0.0
    for witness in witnesses:
        if witness.log_p < AGREEMENT:
            shown, unshown = (
                one + SECOND_WITNESS * min(0.0, other - AGREEMENT)
                for one, other in ((first.shown, witness.shown), (first.unshown, witness.unshown))
            )
            best = max(best, float(np.log(share)) - mixed(shown, unshown, first.weight))
    return best


def _near_past(own: History | None, level: int) -> tuple[float, float]:
    return (0.0, 0.0) if own is None else (own.near[level], own.compared)


def _strange_past(own: History | None) -> tuple[float, float]:
    """Strange rates in the client's past, shrunk towards none."""
    if own is None:
        return 0.0, 0.0
    return own.strange[0] / (own.fresh + PAST_WEIGHT), own.strange[1] / (own.fresh + PAST_WEIGHT)
