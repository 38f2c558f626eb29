"""Verdict: p-values become one number, the evidence.

A client is looked at many times and over two windows; its p-values are those of the worst look of its life (``Tail``),
so looking often costs nothing more. The chance of a false alarm is split over the heads by ``HEAD_SHARES``: evidence
is -ln(p / share), to be compared with -ln(alpha) at any time.

Two-step rule: a client whose mean behaviour is odd beside its peers (H1) or beside its own past (H7) is only called a
thief when strange (H2) or nearly repeated (H3) queries, uncommonly hard or sure answers (H9), queries that keep apart
(H10) or are stamped (H11), uncommonly wide coverage (H5) or an uncommonly good copy for so few answers (H6) agree, and
one with strange queries or uncommon answers only when another head agrees. H5 and H6 never speak alone; H2, H3, H9 or
H10 alone must be overwhelming. Where no peers are at hand, a thief looks like a drift of everybody, and the client is
only called odd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.batch import FloatArray
from detectors.clients.betabinomial import PAST_WEIGHT
from detectors.clients.rings import APART_SHARE
from detectors.extraction.agreement import at_once, together
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import EDGES, FOURIER
from detectors.extraction.history import History
from detectors.extraction.layout import Sums
from detectors.extraction.peers import Company
from detectors.extraction.selfhistory import Itself
from detectors.extraction.tails import Heard
from detectors.extraction.wagers import WAGERS, Won, won_by_stamps


class HeadShares(NamedTuple):
    """Shares of the chance of a false alarm that the heads have."""

    h1: float
    h2: float
    h3: float
    h9: float
    h10: float
    h11: float
    h7: float


HEAD_SHARES = HeadShares(h1=0.24, h2=0.34, h3=0.08, h9=0.18, h10=0.08, h11=0.04, h7=0.04)


class LogP(NamedTuple):
    """Natural logs of the p-values of the heads that look at one window, before any splitting."""

    h1: float
    h2: float
    h3: float
    h9: float
    h10: float
    h11: float


DRIFT_SPREAD = 2.0
"""How many times as much as its peers a client may win that follows a drift of all."""
MIN_EFFECT = 0.04
OVERWHELMING_EFFECT = 0.15
OVERWHELMING_DISCOUNT = 1.25
MOSTLY_CHOSEN = 0.5
"""Least share of queries chosen to keep apart from which that accuses alone."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Natural logs of the p-values of the heads that do not look at the window's mean: coverage (H5), exposure (H6)."""

    coverage: float = 0.0
    exposure: float = 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """Shares of answers that are harder than 9 in 10 for their predicted class, or surer than 9 in 10."""

    harder: bool
    client: float
    peers: float

    @classmethod
    def of(cls, mean: FloatArray, centre: FloatArray, harder: bool) -> Answers:
        """From mean channel rows, in which hardness is the last conformal channel."""
        first = len(mean) - 2 * FOURIER - len(EDGES)
        edge = int(np.flatnonzero((0.1 if harder else 0.9) == EDGES)[0])
        client, peers = (float(np.clip(row[first + edge] + EDGES[edge], 0.0, 1.0)) for row in (mean, centre))
        return cls(harder, client, peers) if harder else cls(harder, 1.0 - client, 1.0 - peers)


@dataclass(frozen=True, slots=True)
class Apart:
    """Shares of queries that keep apart from the sender's own recent ones, and of how many queries the client's is."""

    client: float
    peers: float
    n: float

    @property
    def chosen(self) -> float:
        """Least share of queries that were chosen to keep apart, less two standard errors.

        If a share s is chosen, the share that comes near a recent one is 1 - s times that of peers.
        """
        usual = max(1.0 - self.peers, 0.01)
        error = np.sqrt(usual * (1.0 - usual) / max(self.n, 1.0))
        return max(0.0, float(1.0 - (1.0 - self.client + 2.0 * error) / usual))


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What one look at one window of a client showed.

    Attributes:
        odd: evidence that behaviour is odd (any head). stolen: evidence of extraction under the two-step rule.
        strange, strange_peers, near, near_peers: shares of queries, the client's and its peers'.
        answers: whether they are uncommonly hard rather than uncommonly sure, and the shares of such, the client's and
            its peers'.
        apart: how many queries keep apart from the sender's own. stamped: share of queries that are stamped.
        unlike: least share of queries that cannot be like those of peers.
        itself: log p-value of H7. beside: those of H5 and H6.
    """

    sums: Sums
    log_p: LogP
    odd: float
    stolen: float
    strange: float
    strange_peers: float
    near: float
    near_peers: float
    apart: Apart
    stamped: float
    unlike: float
    answers: Answers
    centre: np.ndarray[tuple[int], np.dtype[np.float64]]
    itself: float = 0.0
    beside: Beside = Beside()

    @property
    def effect(self) -> float:
        """Share of queries that cannot be like those of peers: too rare, near repeats, stamped, or kept apart."""
        return max(0.0, self.unlike, self.near - self.near_peers, self.stamped, self.apart.chosen)


def share_unlike(mean: FloatArray, centre: FloatArray, n: float) -> float:
    """Least share of foreign queries that explains the mean channel row of n queries, less two standard errors.

    If a share s of the queries is foreign, the share rarer than an edge is at most s + (1 - s) times that of peers, and
    so is the share commoner than an edge.
    """
    k = (len(mean) - 2 * FOURIER) // len(EDGES)
    client = np.clip(mean[: k * len(EDGES)].reshape(k, -1) + EDGES, 0.0, 1.0)
    peers = np.clip(centre[: k * len(EDGES)].reshape(k, -1) + EDGES, 0.0, 0.95)
    error = np.sqrt(peers * (1.0 - peers) / max(n, 1.0))
    rarer = ((client - peers - 2.0 * error) / (1.0 - peers))[:, :-2].max()
    commoner = ((peers - client - 2.0 * error) / np.maximum(peers, 0.05))[:, -2:].max()
    return float(max(rarer, commoner))


def examine(
    sums: Sums,
    baseline: Baseline,
    company: Company,
    own: History | None = None,
    itself: Itself | None = None,
    client: str = "",
    beside: Beside = Beside(),
    drift_spread: float = DRIFT_SPREAD,
) -> Finding:
    """One look at one window of a client among its peers, and beside its own past.

    The past ``own`` excuses what it explains; with ``itself`` it also accuses a client that is no longer like it.
    ``drift_spread`` is how many times as much as its peers it may win if it follows a drift of all.
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
    tails = baseline.tails
    h1 = tails.distance.heard(ratio if fresh >= 10 else 0.0)
    near_peers = (company.rate(("near",), "compared"), company.rate(("near", "close"), "compared"))
    near = (sums.count("near"), sums.count("near") + sums.count("close"))
    known = np.maximum(drift_spread * company.won(), _won_past(own))
    won = baseline.excuse.excess(sums.won, fresh, sums.mean, known) if fresh >= 10 else Won.nothing()
    p3 = -min(
        baseline.near[0].log_p(near[0], compared, near_peers[0], _near_past(own, 0)),
        baseline.near[1].log_p(near[1], compared, near_peers[1], _near_past(own, 1)),
    )
    h2, h3 = tails.asked.heard(won.asked, won.asked_left), tails.repeats.heard(p3)
    hard, sure = tails.hard.heard(won.hard, won.hard_left), tails.sure.heard(won.sure, won.sure_left)
    h9, h10 = hard.better(sure), tails.apart.heard(won.apart, won.apart_left)
    usual_stamped = max(company.rate(("stamped",), "compared"), _past_rate(own, 2))
    h11 = tails.stamped.heard(won_by_stamps(sums.count("stamped"), compared, usual_stamped))
    log_p = LogP(*(head.log_p for head in (h1, h2, h3, h9, h10, h11)))
    alone = zip((*log_p, p7), HEAD_SHARES, strict=True)
    e1, e2, e3, e9, e10, e11, e7 = (float(-p + np.log(share)) for p, share in alone)
    strange, seen_near = sums.share("strange", "fresh"), near[0] / max(1.0, compared)
    strange_peers = max(company.rate(("strange",), "fresh"), baseline.strange)
    usual_near = max(near_peers[0], baseline.near[0].mean)
    apart_peers = max(company.rate(("apart",), "placed"), APART_SHARE)
    apart = Apart(sums.share("apart", "placed"), apart_peers, sums.count("placed"))
    unlike = share_unlike(sums.mean, centre, fresh) if fresh >= 10 else 0.0
    if own is not None and unlike > 0:
        trust = own.fresh / (own.fresh + PAST_WEIGHT)
        unlike = min(unlike, share_unlike(sums.mean, centre + trust * (own.mean - spread.centre), fresh))
    much = (Heard.alone(beside.coverage), Heard.alone(beside.exposure))
    routes = [
        _agreed(h1, HEAD_SHARES.h1, h2, h9, h10, h11, *much),
        max(0.0, float(np.log(HEAD_SHARES.h1)) - at_once(h1, h3)),
        _agreed(Heard.alone(p7), HEAD_SHARES.h7, h2, h3, h9, h10, h11, *much),
        _agreed(h2, HEAD_SHARES.h2, h3, h9, h10, h11),
        _agreed(h9, HEAD_SHARES.h9, h3, h10, h11, *much),
        _agreed(h10, HEAD_SHARES.h10, *much),
        e2,
        e3 / OVERWHELMING_DISCOUNT if seen_near - usual_near >= OVERWHELMING_EFFECT else 0.0,
        e9 if unlike >= OVERWHELMING_EFFECT else 0.0,
        e10 if apart.chosen >= MOSTLY_CHOSEN else 0.0,
        e11,
    ]
    stolen = 0.0 if company.is_thin else max(routes)
    answers = Answers.of(sums.mean, centre, hard.log_p <= sure.log_p)
    stamp = sums.share("stamped", "compared")
    shares = (strange, strange_peers, seen_near, usual_near, apart, stamp, unlike, answers)
    return Finding(sums, log_p, max(e1, e7, *routes), stolen, *shares, centre, p7, beside)


def _agreed(first: Heard, share: float, *witnesses: Heard) -> float:
    """The evidence of one head, with its share, where another agrees; 0 where none does."""
    return max(0.0, float(np.log(share)) - min(together(first, one) for one in witnesses))


def _near_past(own: History | None, level: int) -> tuple[float, float]:
    return (0.0, 0.0) if own is None else (own.near[level], own.compared)


def _past_rate(own: History | None, level: int) -> float:
    """Share of queries in the client's past, shrunk towards none."""
    return 0.0 if own is None else own.near[level] / (own.compared + PAST_WEIGHT)


def _won_past(own: History | None) -> FloatArray:
    """(6,) nats a query that bets won in the client's past, shrunk towards none."""
    return np.zeros(len(WAGERS)) if own is None else own.won / (own.fresh + PAST_WEIGHT)
