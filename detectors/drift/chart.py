"""The chart: the running test of a set of columns for one subject, the model as a whole or one segment.

Two verdicts are held side by side, each with every bet of the table. The *recent* one bets against the urn
(``urn.py``): the reference and all ordinary traffic since, with the user's tolerance and nothing else; it sees small
sudden changes. The *lasting* one bets against the reference as it was fitted, with its sampling error added to the
tolerance; what the urn has slowly got used to, it still sees. Their weighted mean is the evidence.

Every pane joins the urn once it was bet on; without that its ratios would not have mean one. While the evidence is up,
panes are remembered apart. Where an alarm comes and the lasting verdict agrees, they are taken out again, so that a
drift is not learned as normal and its end is no new drift; otherwise the reference was the odd one, and they stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.stats import norm

from detectors.base import Arrays
from detectors.batch import FloatArray, IntArray
from detectors.drift.bets import A_TILTS_WEIGHT, BetTable, smoothed, tilted_bins
from detectors.drift.columns import INNER, N_BINS, OTHER, UNSEEN, Group, NumericBins, Role, WatchedColumn
from detectors.drift.ladders import Scale
from detectors.drift.urn import Urn
from detectors.evidence import NO_EVIDENCE, accumulate, log_mean, tilt_bet

_LEAST_SUSPICION = float(np.log(10.0))
_LOG_CONFIRMED = float(np.log(100.0))
_OF_OTHER, _OF_UNSEEN = 4.0, 2.0
"""Variance of the shares of rare and of unseen values as a reference tells them, over that of a plain share.

Which values are heavy, rare or unknown is itself drawn with the reference: one that occurs twice counts twice, and one
at the end of the list of heavy ones with all its events or with none. Zipf's values show 2.1 to 3.6, and 1.3 to 1.6.
"""
_MOST_LIVE = 1_000_000
"""Effective events that the live part of the urn holds per column at most; beyond, all of it is halved."""
RECENT, LASTING = 0, 1
VERDICT_WEIGHTS = np.array([0.8, 0.2])


@dataclass(frozen=True, eq=False)
class ChartState:
    """What a chart keeps from pane to pane.

    Attributes:
        log_evidence: (2, bets) log M of the recent and the lasting verdict.
        doubt: (bets,) the lasting log M, not reset by alarms but capped: whether the present still looks odd.
        live: (strata, columns, N_BINS) ordinary traffic since the reference, in the urn to stay.
        waiting: the same for panes under suspicion, in the urn for now; also what a change is described from.
        age: (2, bets) seconds, how long before the last pane the change began if there is one: the mean over all starts
            that each M sums over, weighted by what they have earned.
        at: start of the last pane; NaN before the first.
        since: event time at which the suspicion began; NaN while there is none.
        n_panes: panes since the last reset.
    """

    log_evidence: FloatArray
    doubt: FloatArray
    live: IntArray
    waiting: IntArray
    age: FloatArray
    at: float
    since: float
    n_panes: int

    def to_arrays(self) -> dict[str, Any]:
        return {
            "log_evidence": self.log_evidence.astype(np.float32),
            "doubt": self.doubt.astype(np.float32),
            "live": self.live,
            "waiting": self.waiting,
            "age": self.age.astype(np.float32),
            "at": np.array([self.at, self.since]),
            "n_panes": np.array([self.n_panes], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return cls(
            np.asarray(arrays["log_evidence"], np.float64),
            np.asarray(arrays["doubt"], np.float64),
            np.asarray(arrays["live"], np.int64),
            np.asarray(arrays["waiting"], np.int64),
            np.asarray(arrays["age"], np.float64),
            float(arrays["at"][0]),
            float(arrays["at"][1]),
            int(arrays["n_panes"][0]),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a chart stands.

    Attributes:
        total: log of the weighted mean of all evidence.
        doubt: what the lasting verdict holds since before the last alarm, below the alarm line: a change that goes on.
    """

    total: float
    doubt: float

    @property
    def standing(self) -> float:
        return max(self.total, self.doubt)


@dataclass(frozen=True, eq=False)
class Chart:
    """See the module's text.

    Attributes:
        reference: (strata, columns, N_BINS) balls of the reference, already divided by its overdispersion.
        in_time: (columns,) overdispersion of panes, by which every pane's counts are divided; ≥ 1.
        weight: (columns,) share of each column in the evidence, summing to one.
        lasting_tilts: (strata, tilts, INNER) log ratio of an event in each inner bin against the reference as fitted.
        lasting_rates: (strata, rates, 2) the same of an event inside and outside the bin of a rate.
        log_cap: what the doubt rises to at most.
        bet_column, bet_weight: (bets,) column of each bet, and its share of a verdict's evidence.
    """

    bets: BetTable
    urn: Urn
    reference: FloatArray
    in_time: FloatArray
    weight: FloatArray
    lasting_tilts: FloatArray
    lasting_rates: FloatArray
    log_cap: float
    bet_column: IntArray
    bet_weight: FloatArray

    @classmethod
    def design(
        cls,
        columns: Sequence[WatchedColumn],
        counts: IntArray,
        in_time: FloatArray,
        between: FloatArray,
        weight: FloatArray,
        per_pane: float,
        tolerance: float,
        log_threshold: float,
    ) -> Self:
        """The chart for a reference.

        Args:
            counts: (strata, columns, N_BINS) of the reference.
            in_time, between: (columns,) overdispersion over time, and of the reference as a sample; ≥ 1.
            weight: (columns,) relative weights.
            per_pane: events that a pane usually holds.
            tolerance: share of traffic that may move.
            log_threshold: the subject's alarm line.
        """
        effective = counts / np.maximum(in_time, between)[:, None]
        shares = weight / weight.sum()
        a_pane = np.array([1.0 if column.group is Group.VARIATION else per_pane for column in columns]) / in_time
        needed = log_threshold - np.log(VERDICT_WEIGHTS[RECENT] * shares * A_TILTS_WEIGHT)
        scales = [
            Scale(float(whole), float(pane), float(nats))
            for whole, pane, nats in zip(effective.sum(axis=(0, 2)), a_pane, needed, strict=True)
        ]
        bets = BetTable.design(columns, counts.sum(axis=0), scales, tolerance)
        lasting = [_lasting_ratios(bets, columns, stratum) for stratum in effective]
        return cls(
            bets=bets,
            urn=Urn(bets),
            reference=np.stack([_balls(columns, stratum, len(counts)) for stratum in effective]),
            in_time=in_time,
            weight=shares,
            lasting_tilts=np.stack([tilts for tilts, _ in lasting]),
            lasting_rates=np.stack([rates for _, rates in lasting]),
            log_cap=log_threshold,
            bet_column=bets.column,
            bet_weight=bets.weight * shares[bets.column],
        )

    @property
    def log_suspicion(self) -> float:
        """Evidence from which panes are remembered apart, to describe a change: half way to the alarm line."""
        return max(_LEAST_SUSPICION, self.log_cap / 2)

    def start(self) -> ChartState:
        n_bets, shape = len(self.bets.weight), self.reference.shape
        return ChartState(
            log_evidence=np.full((2, n_bets), NO_EVIDENCE),
            doubt=np.full(n_bets, NO_EVIDENCE),
            live=np.zeros(shape, dtype=np.int64),
            waiting=np.zeros(shape, dtype=np.int64),
            age=np.zeros((2, n_bets)),
            at=np.nan,
            since=np.nan,
            n_panes=0,
        )

    def resumed(self, state: ChartState) -> ChartState:
        """A stored state under this chart; where it is of another number of bets, its evidence starts anew.

        How many bets there are depends on the budget and the tolerance, which may have changed since. What traffic was
        ordinary stays known.
        """
        if state.log_evidence.shape[1] == len(self.bets.weight):
            return state
        return replace(self.start(), live=state.live + state.waiting)

    def bet(self, state: ChartState, counts: IntArray, stratum: int, at: float) -> ChartState:
        """The state after a pane of ``counts`` (columns, N_BINS), which now waits; ``at`` is the pane's start."""
        drawn = counts / self.in_time[:, None]
        balls = self.reference[stratum] + (state.live[stratum] + state.waiting[stratum]) / self.in_time[:, None]
        ratios = np.stack(
            [
                self.urn.log_ratios(balls, drawn),
                self._lasting(drawn, stratum),
            ]
        )
        started = np.logaddexp(state.log_evidence, 0.0)
        passed = 0.0 if np.isnan(state.at) else at - state.at
        waiting = state.waiting.copy()
        waiting[stratum] += counts
        return replace(
            state,
            log_evidence=started + ratios,
            doubt=np.minimum(accumulate(state.doubt, ratios[LASTING]), self.log_cap),
            waiting=waiting,
            age=(state.age + passed) * np.exp(state.log_evidence - started),
            at=at,
            since=at if np.isnan(state.since) else state.since,
            n_panes=state.n_panes + 1,
        )

    def _lasting(self, drawn: FloatArray, stratum: int) -> FloatArray:
        """(bets,) log ratios against the reference as fitted."""
        bets = self.bets
        inside = drawn[bets.rate_column, bets.rate_bin]
        outside = drawn.sum(axis=1)[bets.rate_column] - inside
        rates = self.lasting_rates[stratum]
        tilts = np.einsum("tk,tk->t", drawn[bets.tilt_column, :INNER], self.lasting_tilts[stratum])
        return np.concatenate([tilts, inside * rates[:, 0] + outside * rates[:, 1]])[bets.order]

    def settled(self, state: ChartState, level: Verdict) -> ChartState:
        """After a pane without alarm: what waits stays in the urn once nothing speaks against it."""
        if level.standing >= self.log_suspicion:
            return state
        return replace(self._emptied(state, joins=True), since=np.nan)

    def alarmed(self, state: ChartState) -> ChartState:
        """After an alarm: the evidence starts anew; the change goes on until the lasting verdict denies it."""
        confirmed = log_mean(state.log_evidence[LASTING], self.bet_weight) >= _LOG_CONFIRMED
        fresh = np.full_like(state.log_evidence, NO_EVIDENCE)
        goes_on = np.full_like(state.doubt, self.log_cap)
        emptied = self._emptied(state, joins=not confirmed)
        return replace(emptied, log_evidence=fresh, doubt=goes_on, since=np.nan, n_panes=0)

    def verdict(self, state: ChartState) -> Verdict:
        """What the evidence comes to."""
        total = log_mean(state.log_evidence, VERDICT_WEIGHTS[:, None] * self.bet_weight)
        return Verdict(total, min(log_mean(state.doubt, self.bet_weight), self.log_cap - 1e-6))

    def by_column(self, log_evidence: FloatArray) -> FloatArray:
        """(columns,) log of each column's own weighted mean over bets and verdicts; −inf without any."""
        with np.errstate(divide="ignore"):
            weights = np.log(VERDICT_WEIGHTS)[:, None] + np.log(self.bets.weight)
        both = np.logaddexp.reduce(log_evidence + weights, axis=0)
        return np.asarray(np.logaddexp.reduceat(both, self.bets.starts))

    def onset(self, state: ChartState) -> float | None:
        """Event time at which what the strongest bet is on began; None before the first pane."""
        with np.errstate(divide="ignore"):
            weighted = state.log_evidence + np.log(VERDICT_WEIGHTS)[:, None] + np.log(self.bet_weight)
        leading = np.unravel_index(int(np.argmax(weighted)), weighted.shape)
        return None if np.isnan(state.at) else state.at - float(state.age[leading])

    def reference_of(self, counts: IntArray) -> FloatArray:
        """(columns, N_BINS) masses of the reference as mixed over strata as ``counts`` (strata, columns, N_BINS) is."""
        share = counts.sum(axis=2) / np.maximum(counts.sum(axis=(0, 2)), 1)
        if len(self.reference) == 1:
            share = np.ones_like(share)
        return np.asarray((share[:, :, None] * smoothed(self.reference)).sum(axis=0))

    def _emptied(self, state: ChartState, joins: bool) -> ChartState:
        live = state.live + state.waiting if joins else state.live
        effective = live.sum(axis=(0, 2)) / self.in_time
        live = np.where((effective > _MOST_LIVE)[None, :, None], live - live // 2, live)
        return replace(state, live=live, waiting=np.zeros_like(state.waiting))


def _balls(columns: Sequence[WatchedColumn], counts: FloatArray, n_strata: int) -> FloatArray:
    """(columns, N_BINS) one ball per gap between neighbouring reference values, in effective numbers.

    Cut points are order statistics of the whole reference, so the outer bins of an uncut numeric column hold one gap
    each; everywhere else a value is a ball, and half a ball (Jeffreys) stands for what was never seen.
    """
    balls = counts + 0.5
    for c, column in enumerate(columns):
        n_inner = column.bins.n_inner
        balls[c, n_inner : N_BINS - 2] = 0.0
        if n_strata == 1 and isinstance(column.bins, NumericBins) and not column.bins.values.size and n_inner >= 3:
            balls[c, 1 : n_inner - 1] -= 0.5
            balls[c, n_inner - 2] = max(balls[c, n_inner - 2] - 1.0, 0.5)
            balls[c, [0, n_inner - 1]] = 1.0
    return balls


def _lasting_ratios(
    bets: BetTable, columns: Sequence[WatchedColumn], counts: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(tilts, INNER) and (rates, 2) log ratios against one stratum, the sampling error of its ``counts`` tolerated.

    Among many bets some reference is always unlucky somewhere: the number of standard errors grows with their number.
    A share of few events may be a good deal larger than it looks: counts are normal on the scale of their square root.
    """
    n_nulls = max(len(bets.null_rows) + len(bets.rate_column), 1)
    z = max(2.5, float(norm.isf(0.02 / n_nulls)))
    tilts = np.zeros((len(bets.tilt_column), INNER))
    for i, c in enumerate(bets.tilt_column):
        inner = tilted_bins(columns[c])
        null = bets.tilt_tolerance[i] + z / np.sqrt(max(counts[c, inner].sum(), 1.0))
        further = null + bets.tilt_step[i]
        tilts[i, inner] = tilt_bet(smoothed(counts[c, inner]), bets.tilt_scores[i, inner], null, further)
    whole = np.maximum(counts.sum(axis=1)[bets.rate_column], 1.0)
    rate = counts[bets.rate_column, bets.rate_bin] / whole
    errors = z * np.sqrt(_variance_of_rest(bets, columns))
    skew = np.where(bets.rate_rises, errors**2 / 4 / whole, 0.0)
    low, high = bets.rate_range(rate, errors * np.sqrt(np.maximum(rate * (1 - rate), 1 / whole) / whole) + skew)
    return tilts, np.stack([np.log(high / low), np.log1p(-high) - np.log1p(-low)], axis=1)


def _variance_of_rest(bets: BetTable, columns: Sequence[WatchedColumn]) -> FloatArray:
    """(rates,) ``_OF_OTHER`` and ``_OF_UNSEEN`` for these bins of categories, 1 elsewhere."""
    categorical = np.array([column.role is Role.CATEGORICAL for column in columns], dtype=np.bool_)[bets.rate_column]
    other, unseen = (categorical & (bets.rate_bin == bin_) for bin_ in (OTHER, UNSEEN))
    return np.where(other, _OF_OTHER, np.where(unseen, _OF_UNSEEN, 1.0))
