"""The other detectors of one column, each with the one knob that trades false alarms for delay, turned to match.

``strength`` is the knob on a scale where more means fewer alarms: minus the log of a significance level, or a
threshold. ``matched`` finds the strength at which the mean run length on clean streams is the wanted one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from river import drift as river_drift
from scipy.stats import ks_2samp, kstwo

from tests.benchmarks.drift.charts import cusum_path, one_sided
from tests.benchmarks.drift.figures import Lengths

Stream = tuple[np.ndarray, np.ndarray]
"""Reference values, live values."""


class Peer(Protocol):
    name: str
    weakest: float
    strongest: float

    def run_lengths(self, streams: Sequence[Stream]) -> Callable[[float], np.ndarray]:
        """Strength → (streams,) events to the first alarm, inf where none comes."""
        ...


@dataclass(frozen=True)
class Matched:
    """A peer at the strength whose mean run length on clean streams came closest to the wanted one."""

    peer: Peer
    strength: float
    run_length: Lengths

    def firsts(self, streams: Sequence[Stream]) -> np.ndarray:
        """(streams,) events to the first alarm, inf where none comes."""
        return self.peer.run_lengths(streams)(self.strength)

    def delays(self, streams: Sequence[Stream], onset: int, horizon: float) -> Lengths:
        return delays_of(self.firsts(streams), onset, horizon)


def delays_of(lengths: np.ndarray, onset: int, horizon: float) -> Lengths:
    """Events from the onset to the first alarm, over the streams that were silent until the onset."""
    late = lengths > onset
    return Lengths.of_delays(lengths[late] - onset, horizon, early=int((~late).sum()))


def as_it_is(peer: Peer, strength: float, clean: Sequence[Stream]) -> Matched:
    """A peer at a strength of its own, and its mean run length on clean streams."""
    return Matched(peer, strength, Lengths.of_runs(peer.run_lengths(clean)(strength), float(len(clean[0][1]))))


def matched(peer: Peer, clean: Sequence[Stream], wanted: float, steps: int = 14) -> Matched:
    """Bisection on one set of clean streams; the run length that was reached is part of the answer."""
    measure, horizon = peer.run_lengths(clean), float(len(clean[0][1]))
    weak, strong = peer.weakest, peer.strongest
    tried: list[tuple[float, float, Lengths]] = []
    for _ in range(steps):
        strength = (weak + strong) / 2
        reached = Lengths.of_runs(measure(strength), horizon)
        tried.append((abs(np.log(reached.mean / wanted)), strength, reached))
        weak, strong = (strength, strong) if reached.mean < wanted else (weak, strength)
    _, strength, reached = min(tried, key=lambda item: (item[0], item[1]))
    return Matched(peer, strength, reached)


@dataclass
class Traced:
    """A peer whose statistic does not depend on its threshold before the first alarm."""

    name: str
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray]
    weakest: float = 0.0
    strongest: float = 60.0

    def run_lengths(self, streams: Sequence[Stream]) -> Callable[[float], np.ndarray]:
        highest = [np.maximum.accumulate(self.statistic(reference, live)) for reference, live in streams]

        def measure(strength: float) -> np.ndarray:
            at = np.array([np.searchsorted(path, strength, side="left") for path in highest], dtype=np.float64)
            ends = np.array([len(path) for path in highest])
            return np.where(at < ends, at + 1, np.inf)

        return measure


@dataclass
class Stepped:
    """A detector of river as it is: fed the reference first, then the stream, up to its first alarm."""

    name: str
    make: Callable[[float], object]
    weakest: float
    strongest: float
    warm_up: int = field(default=500)

    def run_lengths(self, streams: Sequence[Stream]) -> Callable[[float], np.ndarray]:
        def measure(strength: float) -> np.ndarray:
            return np.array([self._first(strength, *stream) for stream in streams])

        return measure

    def _first(self, strength: float, reference: np.ndarray, live: np.ndarray) -> float:
        detector = self.make(strength)
        for value in reference[-self.warm_up :].tolist():
            detector.update(value)
        for i, value in enumerate(live.tolist()):
            detector.update(value)
            if detector.drift_detected:
                return i + 1.0
        return np.inf


def adwin() -> Stepped:
    """Its ``delta`` may exceed 1 here: no confidence any more, but the knob that short run lengths need."""
    return Stepped("river ADWIN", lambda s: river_drift.ADWIN(delta=float(np.exp(-s))), -3.0, 40.0)


def page_hinkley() -> Stepped:
    return Stepped("river PageHinkley", lambda s: river_drift.PageHinkley(threshold=float(np.exp(s))), 0.0, 9.0)


def kswin() -> Traced:
    """KSWIN by its p-value: same windows and draws as river's with its default sizes, the KS p-values from a table."""
    return Traced("river KSWIN", lambda reference, live: kswin_path(reference, live, seed=0))


def kswin_path(reference: np.ndarray, live: np.ndarray, seed: int, window: int = 100, recent: int = 30) -> np.ndarray:
    """(n,) minus the log p-value that river's KSWIN reaches at each event, as long as it does not alarm."""
    table = _equal_size_table(recent)
    draw = random.Random(seed)
    values: deque[float] = deque(maxlen=window)
    out = np.zeros(len(live))
    counts = np.arange(1, 2 * recent + 1)
    for i, value in enumerate(np.concatenate([reference[-window:], live]).tolist(), -min(window, len(reference))):
        values.append(value)
        if len(values) < window:
            continue
        held = list(values)
        sample = [held[j] for j in draw.sample(range(window - recent), recent)]
        if i < 0:
            continue
        pooled = np.array(sample + held[window - recent :])
        order = np.argsort(pooled, kind="stable")
        gaps = np.abs(2 * np.cumsum(order < recent) - counts)
        ordered = pooled[order]
        last = np.append(ordered[1:] != ordered[:-1], True)
        out[i] = table[int(gaps[last].max())]
    return out


def _equal_size_table(n: int) -> np.ndarray:
    """Minus log p of the two-sample KS test with ``n`` against ``n``, by the count ``n D``; 0 up to river's D = 0.1."""
    out = np.zeros(n + 1)
    low = np.arange(n, dtype=np.float64)
    for count in range(1, n + 1):
        if count / n > 0.1:
            out[count] = -np.log(ks_2samp(low, low + count, method="auto").pvalue)
    return out


def windowed_ks(window: int = 50) -> Traced:
    """KS test of each window of events against the reference; on ``d`` columns its level is divided by ``d``."""
    return Traced(f"windowed KS ({window})", lambda reference, live: ks_path(reference, live, window))


def ks_path(reference: np.ndarray, live: np.ndarray, window: int) -> np.ndarray:
    """(n,) minus log p of the latest whole window, 0 before it is whole."""
    out = np.zeros(len(live))
    n_windows = len(live) // window
    if n_windows:
        size = round(window * len(reference) / (window + len(reference)))
        distance = ks_distances(np.sort(reference), live[: n_windows * window].reshape(n_windows, window))
        ends = (np.arange(n_windows) + 1) * window - 1
        out[ends] = -np.log(np.maximum(kstwo.sf(distance, size), 1e-300))
    return out


def ks_distances(reference: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """(windows,) two-sample KS distance of each row of ``windows`` (m, n) from the sorted ``reference``."""
    ordered = np.sort(windows, axis=1)
    n = ordered.shape[1]
    left = np.searchsorted(reference, ordered, side="left") / len(reference)
    right = np.searchsorted(reference, ordered, side="right") / len(reference)
    rank = np.arange(1, n + 1)
    same = np.zeros_like(ordered, dtype=bool)
    same[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    first = np.maximum.accumulate(np.where(same, 0, rank - 1), axis=1) / n
    last = np.minimum.accumulate(np.where(np.roll(same, -1, axis=1), n, rank)[:, ::-1], axis=1)[:, ::-1] / n
    return np.maximum(np.abs(last - right), np.abs(left - first)).max(axis=1)


def ks_p_values(reference: np.ndarray, windows: Sequence[np.ndarray]) -> np.ndarray:
    """(windows,) p-value of each window against ``reference``, missing values left out, 1 where nothing is left.

    The two-sample distance by the one-sample law at ``n m / (n + m)`` events.
    """
    known = np.sort(reference[np.isfinite(reference)])
    present = [window[np.isfinite(window)] for window in windows]
    distance = np.array([ks_distances(known, window[None, :])[0] if len(window) else 0.0 for window in present])
    sizes = np.array([max(len(window), 1) for window in present])
    return np.asarray(kstwo.sf(distance, np.rint(sizes * len(known) / (sizes + len(known)))))


def textbook_cusum(k: float = 0.5) -> Traced:
    """Two-sided CUSUM that knows mean and sd, and has the allowance for a shift of one sd whatever comes."""
    return Traced(f"CUSUM (k={k:g})", lambda reference, live: cusum_path(live, k), strongest=40.0)


def cusum_of_shift(shift: float) -> Traced:
    """Two-sided CUSUM that knows mean, sd and the shift."""
    return Traced("CUSUM told the change", lambda reference, live: cusum_path(live, shift / 2), strongest=40.0)


def cusum_of_scale(scale: float) -> Traced:
    """CUSUM of the log likelihood ratio of N(0, scale²) against N(0, 1)."""

    def statistic(reference: np.ndarray, live: np.ndarray) -> np.ndarray:
        return one_sided(live**2 / 2 * (1 - scale**-2) - np.log(scale))

    return Traced("CUSUM told the change", statistic, strongest=40.0)
