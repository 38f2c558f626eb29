"""Sequential evidence: Shiryaev-Roberts e-detectors on binned scores.

A *bet* assigns each bin of a score a log likelihood ratio ``log q1(bin) - log q0(bin)``. For ``n`` events of a pane the
bet earns ``log L = counts @ bet``, and the evidence moves as ``M <- (M + 1) * L``. Where ``E[L | past] <= 1`` while
nothing is wrong, ``E[M after m panes] <= m``, so a threshold ``B`` gives at most ``m / B`` false alarms in ``m`` panes,
under any dependence between bets (a weighted mean of evidences keeps the bound).

``q0`` is not the reference itself but the reference moved to the edge of the *tolerance* in the bet's own direction.
Each bet's likelihood ratio is monotone in its score, so its mean is at most one for every distribution that lies
inside the tolerance, not only at the reference.

Source: Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2023), §2-3.
"""

from __future__ import annotations

import numpy as np

from detectors.batch import FloatArray

NO_EVIDENCE = -np.inf
"""log M before the first pane."""


def accumulate(log_evidence: FloatArray, log_ratio: FloatArray) -> FloatArray:
    """One Shiryaev-Roberts step in logarithms: ``log((M + 1) L)``; any shape, cost linear."""
    return np.asarray(np.logaddexp(log_evidence, 0.0) + log_ratio)


def log_mean(log_evidence: FloatArray, weights: FloatArray) -> float:
    """``log sum w M`` for weights that sum to at most one; −inf when there is no evidence."""
    live = (weights > 0) & (log_evidence > -np.inf)
    if not np.any(live):
        return NO_EVIDENCE
    terms = log_evidence[live] + np.log(weights[live])
    top = float(terms.max())
    return top + float(np.log(np.exp(terms - top).sum()))


def tilt_bet(probabilities: FloatArray, scores: FloatArray, null: float, alternative: float) -> FloatArray:
    """Bet on an exponential tilt of ``scores``: ``log q_alternative - log q_null`` per bin.

    Args:
        probabilities: (k,) reference masses of the bins, summing to one.
        scores: (k,) bounded score of each bin, mean 0 and variance 1 under the reference.
        null, alternative: tilt strengths of one sign, ``|alternative| > |null|``; in units of the score's sd.
    """
    log_p = np.log(probabilities)
    log_q0 = log_p + null * scores
    log_q1 = log_p + alternative * scores
    return np.asarray((alternative - null) * scores - _log_sum(log_q1) + _log_sum(log_q0))


def tilt_masses(masses: FloatArray, scores: FloatArray, strength: FloatArray) -> FloatArray:
    """(t, k) ``masses`` tilted exponentially by ``strength`` (t,) × ``scores`` (t, k); each row sums to one."""
    exponent = strength[:, None] * scores
    weights = masses * np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def rate_bet(inside: FloatArray, null: float, alternative: float) -> FloatArray:
    """Bet on the rate of the bins where ``inside`` is 1: Bernoulli ``alternative`` against ``null``.

    The mean ratio is at most one for every rate on the null's side: rates below ``null`` when ``alternative > null``,
    rates above it otherwise.
    """
    up = np.log(alternative / null)
    rest = np.log1p(-alternative) - np.log1p(-null)
    return np.asarray(np.where(inside > 0, up, rest))


def legendre_scores(probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Location and spread scores of ordered bins, standardised under ``probabilities``.

    Shifted Legendre polynomials of degree one and two at the bins' mid-ranks, made orthonormal under the binned
    reference. A score that cannot be told from the lower ones (fewer than two, or three, bins with mass) is all zero.
    """
    mid = np.cumsum(probabilities) - probabilities / 2
    location = _standardise(mid - 0.5, probabilities)
    spread = (mid - 0.5) ** 2
    spread = spread - np.sum(probabilities * spread * location) * location
    return location, _standardise(spread, probabilities)


def overdispersion(scores: FloatArray, groups: FloatArray) -> float:
    """Variance of group means of ``scores`` over what independent events would give; at least 1.

    Args:
        scores: (n,) values with variance about one.
        groups: (n,) group label of each value (time block, client).

    The size-weighted cluster estimate: ``sum_g n_g^2 (mean_g - mean)^2 / (n var)``; about 1 for independent events.
    """
    variance = float(np.var(scores))
    if len(scores) < 2 or variance < 1e-12:
        return 1.0
    _, inverse = np.unique(groups, return_inverse=True)
    sums = np.bincount(inverse, weights=scores - scores.mean())
    if len(sums) < 5:
        return 1.0
    return max(1.0, float(np.sum(sums**2) / (len(scores) * variance)) * len(sums) / (len(sums) - 1))


def _standardise(values: FloatArray, probabilities: FloatArray) -> FloatArray:
    centred = values - np.sum(probabilities * values)
    deviation = float(np.sqrt(np.sum(probabilities * centred**2)))
    return np.asarray(centred / deviation) if deviation > 1e-9 else np.zeros_like(values)


def _log_sum(log_values: FloatArray) -> float:
    top = float(log_values.max())
    return top + float(np.log(np.exp(log_values - top).sum()))
