"""Rates: whether a client's share of some event is too high for an honest client, asked at every pane for a lifetime.

Honest clients differ, so the share of an honest client is a draw from a Beta distribution that the reference's clients
taught. Each pane bets against the client's own predictive distribution (that Beta, sharpened by the client's past): a
ratio of beta-binomial probabilities whose mean is one while the client is honest, and less where a fall would pay.
Evidence is the mixture over the pane in which an attack began, M <- (M + w) L, with start weights w that sum to one
over a client's life. So M is a supermartingale that starts below one, and P(M ever reaches 1/alpha) <= alpha for each
honest client (Ville's inequality), however often it is looked at. What the model leaves out (a past that fades, events
that cluster) tempers the bets as the reference's own panes show it.

A rise that other clients show in the same panes explains as much of a client's share; see ``explained``. All functions
work on many clients at once: arrays (c,).

Source: the mixture over starts is that of Shin, Ramdas, Rinaldo, "E-detectors" (2023), with summable weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

from detectors.batch import FloatArray, IntArray

FEW_CLIENTS: Final = 8
OWN_MEMORY: Final = 3_000.0
"""Events of a client's past that count towards what is expected of it: older ones fade, as customers change."""
SUREST: Final = 300.0
"""However long a client's past is, what it tells of the next pane is no surer than so many events make it."""
MEMORY: Final = 100.0
"""Events that the share of late rests on."""
RISES: Final = (0.25, 0.75)
"""Bets: this share of all other events turns; a third bet is on the client's share of late."""
FIELDS: Final = (*(f"log_m{i}" for i in range(len(RISES) + 1)), "own_hits", "own_n", "hits", "n", "panes")
_BETS: Final = len(RISES) + 1
_OWN, _RECENT, _PANES = slice(_BETS, _BETS + 2), slice(_BETS + 2, _BETS + 4), _BETS + 4
_CONCENTRATIONS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_ENOUGH_HITS: Final = 10.0
_FEW_HITS: Final = 8.0
_FEW_HITS_MANY_CLIENTS: Final = 15.0
"""Concentrations where the reference shows too few hits to tell how they are spread over clients."""
_UNKNOWN_DEFF: Final = 1.25
_BET_CONCENTRATION: Final = 6.0
_MOST_DEFF: Final = 25.0
_LEAST_TEMPER: Final = 0.15
_LEAST_TRIALS: Final = 10
_HIGHEST: Final = 0.6


@dataclass(frozen=True, slots=True)
class HonestRate:
    """How the shares of honest clients are distributed.

    Attributes:
        mean, concentration: of the Beta distribution, a + b = concentration.
        deff: how much more the events of one client cluster in panes than independent ones would; >= 1.
        temper: exponent of every bet, in (0, 1]: what keeps the evidence of the reference's own clients within its
            bound where no Beta fits them.
        n_clients: how many clients taught it.
    """

    mean: float
    concentration: float
    deff: float
    temper: float
    n_clients: int

    @property
    def usable(self) -> bool:
        """Whether the event is rare enough among honest clients for its share to say anything."""
        return self.mean <= _HIGHEST and self.n_clients > 0

    def to_array(self) -> FloatArray:
        return np.array([self.mean, self.concentration, self.deff, self.temper, self.n_clients], dtype=np.float64)

    @classmethod
    def from_array(cls, values: FloatArray) -> HonestRate:
        mean, concentration, deff, temper, n = (float(v) for v in values)
        return cls(mean, concentration, deff, temper, int(n))


NO_RATE: Final = HonestRate(1.0, 1.0, 1.0, 1.0, 0)
"""A rate that says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Hits of trials by block of time and client, each (k,), in order of time."""

    block: IntArray
    client: IntArray
    hits: FloatArray
    trials: FloatArray


def new_states(n_clients: int) -> FloatArray:
    """(c, len(FIELDS)) states of clients that were never seen."""
    states = np.zeros((n_clients, len(FIELDS)))
    states[:, :_BETS] = -np.inf
    return states


def with_past(states: FloatArray, hits: FloatArray, trials: FloatArray) -> FloatArray:
    """The states with what the reference saw of the same clients, as their past."""
    out = states.copy()
    scale = np.minimum(1.0, OWN_MEMORY / np.maximum(trials, 1.0))
    out[:, _OWN.start] = hits * scale
    out[:, _OWN.start + 1] = trials * scale
    return out


def expected(rate: HonestRate, states: FloatArray, shift: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and concentration (c,) of what each client's share should be in the next pane if it is honest."""
    hits, trials = states[:, _OWN.start] / rate.deff, states[:, _OWN.start + 1] / rate.deff
    concentration = rate.concentration + trials
    mean = (rate.mean * rate.concentration + hits) / concentration
    concentration = np.minimum(concentration, rate.concentration + SUREST)
    return 1.0 - (1.0 - np.clip(mean, 1e-6, 0.98)) * (1.0 - np.clip(shift, 0.0, 0.98)), concentration


def step(
    rate: HonestRate, states: FloatArray, hits: FloatArray, trials: FloatArray, shift: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """States (c, len(FIELDS)) after a pane of ``hits`` of ``trials``, and the share (c,) that peers would have."""
    mean, concentration = expected(rate, states, shift)
    live = trials > 0
    out = states.copy()
    null = _log_beta_binomial(hits, trials, mean * concentration, (1.0 - mean) * concentration)
    for i, (alternative, sure) in enumerate(_alternatives(states, mean)):
        a, b = alternative * sure, (1.0 - alternative) * sure
        ratio = (_log_beta_binomial(hits, trials, a, b) - null) * rate.temper / rate.deff
        ratio = np.where(hits > mean * trials, ratio, np.minimum(ratio, 0.0))
        moved = np.logaddexp(states[:, i], np.log(start_weight(states[:, _PANES]))) + ratio
        out[live, i] = moved[live]
    for at, memory in ((_OWN.start, OWN_MEMORY), (_RECENT.start, MEMORY)):
        kept = np.exp(-trials / memory)
        new = np.minimum(1.0, memory / np.maximum(trials, 1.0))
        out[:, at] = states[:, at] * kept + hits * new
        out[:, at + 1] = states[:, at + 1] * kept + trials * new
    out[live, _PANES] += 1
    return out, 1.0 - (1.0 - rate.mean) * (1.0 - np.clip(shift, 0.0, 1.0))


def start_weight(panes: FloatArray) -> FloatArray:
    """Weight of an attack that begins at the client's pane number ``panes`` (0, 1, ...); they sum to one."""
    later = np.maximum(panes, 1.0)
    return np.asarray(np.where(panes < 1, 0.5, 0.5 / (later * (later + 1.0))))


def log_evidence(states: FloatArray) -> FloatArray:
    """(c,) log of the mean evidence of the bets."""
    return np.asarray(special.logsumexp(states[:, :_BETS], axis=1) - np.log(_BETS))


def recent(states: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(c,) share of hits among each client's last hundred events or so, and how many trials that rests on."""
    n = states[:, _RECENT.start + 1]
    return np.asarray(states[:, _RECENT.start] / np.maximum(n, 1e-9)), n


def without_evidence(states: FloatArray) -> FloatArray:
    """The states with nothing held against anybody, as after an incident."""
    out = states.copy()
    out[:, :_BETS] = -np.inf
    return out


def explained(rate: HonestRate, faded: FloatArray, pane: FloatArray) -> FloatArray:
    """(c,) share of events that turned for everybody, as the other clients show it.

    Args:
        faded, pane: (c, 2) hits and trials of the other clients of late, and in this very pane.
    """
    k, n = faded.T
    late = (k + rate.mean) / (n + 1.0)
    upper = late + 1.64 * np.sqrt(late * (1.0 - late) / (n + 1.0))
    now = (pane[:, 0] + rate.mean) / (pane[:, 1] + 1.0)
    others = np.maximum(np.where(n > 0, upper, 0.0), now)
    return np.asarray(np.clip((others - rate.mean) / (1.0 - min(rate.mean, 0.98)), 0.0, 1.0))


def fit_rate(counts: Counts, n_clients: int, nominal: float) -> HonestRate:
    """Learn from the reference's clients; ``nominal`` is the share that is expected before anything is seen."""
    hits = np.bincount(counts.client, weights=counts.hits, minlength=n_clients).astype(np.float64)
    trials = np.bincount(counts.client, weights=counts.trials, minlength=n_clients).astype(np.float64)
    able = trials >= _LEAST_TRIALS
    k, n = _ordinary(hits[able], trials[able])
    weight = np.minimum(1.0, 3.0 * np.median(n) / n) if len(n) else np.ones(0)
    pooled = (float(np.sum(k * weight)) + 1.0) / (float(np.sum(n * weight)) + 1.0 / nominal)
    mean = min(max(pooled, float(np.mean(k / n)) if len(n) else 0.0, 1e-4), 0.95)
    if len(n) < FEW_CLIENTS:
        return HonestRate(min(2.0 * mean + 0.01, 1.0), 4.0, 2.0, 1.0, int((trials > 0).sum()))
    many = len(n) >= 50
    concentration = _FEW_HITS_MANY_CLIENTS if many else _FEW_HITS
    if k.sum() >= _ENOUGH_HITS:
        offered = _CONCENTRATIONS if many else _CONCENTRATIONS[:-2]
        fits = [float(_log_beta_binomial(k, n, mean * c, (1.0 - mean) * c).sum()) for c in offered]
        concentration = offered[int(np.argmax(fits))]
    plain = HonestRate(mean, concentration, _deff(counts, hits, trials), 1.0, len(n))
    return HonestRate(mean, plain.concentration, plain.deff, _temper(plain, counts, n_clients), len(n))


def _ordinary(hits: FloatArray, trials: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The clients without the one in a hundred that is oddest: that one is known by its past, and blinds no head."""
    order = np.argsort(hits / np.maximum(trials, 1.0), kind="stable")
    kept = np.sort(order[: len(hits) - _n_odd(len(hits))])
    return hits[kept], trials[kept]


def _n_odd(n_clients: int) -> int:
    return max(n_clients // 100, int(n_clients >= 50))


def _alternatives(states: FloatArray, mean: FloatArray) -> Sequence[tuple[FloatArray, FloatArray | float]]:
    """Mean (c,) and concentration of what each bet expects of an attacker; the last one learns from events of late."""
    share, n = recent(states)
    prior = 4.0
    late = (share * n + 0.5 * (1.0 + mean) * prior) / (n + prior)
    fixed = [(mean + rise * (1.0 - mean), _BET_CONCENTRATION) for rise in RISES]
    return [*fixed, (np.clip(np.maximum(late, mean + 0.1 * (1.0 - mean)), 1e-6, 0.99), n + prior)]


def _deff(counts: Counts, hits: FloatArray, trials: FloatArray) -> float:
    """Pearson's chi-square of each client's blocks around the client's own share, over its degrees of freedom."""
    share = np.clip(hits / np.maximum(trials, 1.0), 0.0, 1.0)[counts.client]
    varied = (share > 0) & (share < 1) & (counts.trials > 0)
    blocks = np.bincount(counts.client[varied], minlength=len(hits))
    freedom = float(np.maximum(blocks - 1, 0).sum())
    if freedom < 20:
        return _UNKNOWN_DEFF
    p, n, k = share[varied], counts.trials[varied], counts.hits[varied]
    chi = float(np.sum((k - n * p) ** 2 / (n * p * (1.0 - p))))
    return float(np.clip(chi / freedom, 1.0, _MOST_DEFF))


def _temper(rate: HonestRate, counts: Counts, n_clients: int) -> float:
    """Exponent at which the reference's own clients keep P(M ever reaches x) <= 1/x, as far as they can show it."""
    states = new_states(n_clients)
    highest = np.full(n_clients, -np.inf)
    for rows in np.split(np.arange(len(counts.block)), np.flatnonzero(np.diff(counts.block)) + 1):
        who, none = counts.client[rows], np.zeros(len(rows))
        if not len(rows):
            continue
        states[who], _ = step(rate, states[who], counts.hits[rows], counts.trials[rows], none)
        highest[who] = np.maximum(highest[who], log_evidence(states[who]))
    seen = np.sort(highest[np.isfinite(highest)])[::-1]
    bound = np.log(len(seen) / (np.arange(len(seen)) + 1.0)) if len(seen) else np.empty(0)
    skipped = _n_odd(len(seen))
    above = (seen > np.maximum(bound, 0.5)) & (np.arange(len(seen)) >= skipped) & (bound > 0.5)
    if not above.any():
        return 1.0
    return float(np.clip(np.min(bound[above] / seen[above]), _LEAST_TEMPER, 1.0))


def _log_beta_binomial(k: FloatArray, n: FloatArray, a: FloatArray | float, b: FloatArray | float) -> FloatArray:
    """Log probability of exactly which events were hits (k of n), without the binomial coefficient: it cancels."""
    return np.asarray(special.betaln(k + a, n - k + b) - special.betaln(a, b))
